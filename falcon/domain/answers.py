"""What the sender of an accepted command is told. Stored with the event, so that a retry is told the same.

Their tags stand in the log: they never change.
"""

from typing import TypeAlias

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.domain.message import Message


class MessageAnswer(msgspec.Struct, frozen=True, tag="message-answer"):
    message: Message


class RoomAnswer(msgspec.Struct, frozen=True, tag="room-answer"):
    """``role`` is the caller's own; ``peer_id`` the other account of a direct room; ``created``: by this command."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    role: Role
    last_seq: Seq
    created_at: str
    peer_id: AccountId | None = None
    created: bool = False


class MemberAnswer(msgspec.Struct, frozen=True, tag="member-answer"):
    account_id: AccountId
    role: Role
    read_seq: Seq


class ReadAnswer(msgspec.Struct, frozen=True, tag="read-answer"):
    """``last_seq`` as it stood, so that what is unread can be counted the same way again."""

    room_id: RoomId
    read_seq: Seq
    last_seq: Seq


class AccountAnswer(msgspec.Struct, frozen=True, tag="account-answer"):
    account_id: AccountId
    name: str


class TokenAnswer(msgspec.Struct, frozen=True, tag="token-answer"):
    token_id: int


class ImportAnswer(msgspec.Struct, frozen=True, tag="import-answer"):
    imported: int
    skipped: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is so now; there is nothing to show."""


Answer: TypeAlias = (
    MessageAnswer | RoomAnswer | MemberAnswer | ReadAnswer | AccountAnswer | TokenAnswer | ImportAnswer | Done
)
