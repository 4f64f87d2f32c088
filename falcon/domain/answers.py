"""The answers to accepted commands. They are stored with the events, so that a retry gets the same answer.

Their tags go from process to process. How they stand in the log is in ``falcon.journal.shapes``.
"""

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
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
    created_at: Millis
    peer_id: AccountId | None = None
    created: bool = False


class MemberAnswer(msgspec.Struct, frozen=True, tag="member-answer"):
    account_id: AccountId
    role: Role
    read_seq: Seq


class ReadAnswer(msgspec.Struct, frozen=True, tag="read-answer"):
    """How much was unread then."""

    room_id: RoomId
    read_seq: Seq
    unread: int
    mentions: int


class AccountAnswer(msgspec.Struct, frozen=True, tag="account-answer"):
    """``sealed``: the secret of the account's first token, readable to the edge alone."""

    account_id: AccountId
    name: str
    sealed: str = ""


class TokenAnswer(msgspec.Struct, frozen=True, tag="token-answer"):
    """``sealed`` as in AccountAnswer."""

    token_id: int
    sealed: str = ""


class ImportAnswer(msgspec.Struct, frozen=True, tag="import-answer"):
    imported: int
    skipped: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The command is done; there is nothing to show."""


class PositionAnswer(msgspec.Struct, frozen=True, tag="position-answer"):
    """``offset``: every change that was acknowledged in the partition before the command came stands there or below.

    -1 if there was none. The answer is never kept, since it is another one each time.
    """

    offset: int
