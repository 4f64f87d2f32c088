"""What has happened. Events carry results, so that whoever follows them sets and never adds.

How they are written is in ``falcon.journal.shapes``: renaming a class or a field here changes nothing that was written.
Who did it, and when, is said by the envelope.
"""

from typing import TypeAlias

import msgspec

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import DEFAULT_ORGANIZATION, AccountId, Millis, OrganizationId, RoomId, Seq
from falcon.domain.message import Message


class Membership(msgspec.Struct, frozen=True):
    account_id: AccountId
    role: Role


class RoomCreated(msgspec.Struct, frozen=True):
    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: Millis
    members: tuple[Membership, ...]
    imported_as: str | None = None
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class RoomChanged(msgspec.Struct, frozen=True):
    """Name and description as they now stand. ``created_at``, ``last_seq``: the room's, so that streams look nothing
    up."""

    room_id: RoomId
    name: str
    description: str
    created_at: Millis
    last_seq: Seq


class RoomDeleted(msgspec.Struct, frozen=True):
    """``members`` are those who are in it no longer, so that nobody has to look them up. The rest is the room as it was
    last."""

    room_id: RoomId
    members: tuple[Membership, ...]
    name: str
    description: str
    created_at: Millis
    last_seq: Seq


class MemberJoined(msgspec.Struct, frozen=True):
    """One who joins has read what was there before."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    read_seq: Seq


class MemberChanged(msgspec.Struct, frozen=True):
    """``was``: the role before it."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    was: Role


class MemberLeft(msgspec.Struct, frozen=True):
    """``role``: that the account had."""

    room_id: RoomId
    account_id: AccountId
    role: Role


class MessagePosted(msgspec.Struct, frozen=True):
    """``author_read_seq``: where the author's own read mark has moved on to, if it moved."""

    message: Message
    author_read_seq: Seq | None = None


class MessageEdited(msgspec.Struct, frozen=True):
    """The whole message as it now stands; ``revision`` counts the room's edits and deletions.

    ``unmentioned`` are the accounts that the message mentions no longer.
    """

    message: Message
    revision: int
    unmentioned: tuple[AccountId, ...] = ()


class MessageDeleted(msgspec.Struct, frozen=True):
    """As MessageEdited; the message keeps its ``seq`` and has lost its text."""

    message: Message
    revision: int
    unmentioned: tuple[AccountId, ...] = ()


class ReadMoved(msgspec.Struct, frozen=True):
    """``unread``, ``mentions``: what is left to read, as the account was told."""

    room_id: RoomId
    account_id: AccountId
    read_seq: Seq
    unread: int
    mentions: int


class AccountCreated(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: Millis
    imported_as: str | None = None
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class TokenIssued(msgspec.Struct, frozen=True):
    """``token_hash`` is the hex SHA-256 of the secret; the secret itself is nowhere."""

    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: Millis
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class TokenRevoked(msgspec.Struct, frozen=True):
    account_id: AccountId
    token_id: int
    token_hash: str
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class DirectRoomOpened(msgspec.Struct, frozen=True):
    """Kept by the smaller id of the pair: the room with ``peer`` is this one, for ever."""

    account_id: AccountId
    peer: AccountId
    room_id: RoomId


class CommandAnswered(msgspec.Struct, frozen=True):
    """A keyed command was answered without changing anything; a retry gets this answer, which the record carries."""


class PassedOver(msgspec.Struct, frozen=True):
    """An event that a newer Falcon wrote and this one does not know. It changes nothing here; no Falcon writes it."""

    name: str
    version: int


# isinstance goes through these in their order: the most frequent ones come first.
RoomEvent: TypeAlias = (
    MessagePosted
    | ReadMoved
    | MessageEdited
    | MessageDeleted
    | RoomCreated
    | RoomChanged
    | RoomDeleted
    | MemberJoined
    | MemberChanged
    | MemberLeft
)
AccountEvent: TypeAlias = AccountCreated | TokenIssued | TokenRevoked | DirectRoomOpened
Event: TypeAlias = RoomEvent | AccountEvent | CommandAnswered | PassedOver
