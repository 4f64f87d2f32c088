"""What has happened. Events carry results, so that readers set values and never add to them.

``falcon.journal.shapes`` says how they are written: renaming a class or a field here changes nothing that was written.
The envelope says who did it, and when.
"""

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
    """``members``: the ones that the room had, so that readers need not look them up. The other fields are the room's
    last ones."""

    room_id: RoomId
    members: tuple[Membership, ...]
    name: str
    description: str
    created_at: Millis
    last_seq: Seq


class MemberJoined(msgspec.Struct, frozen=True):
    """All earlier messages count as read: ``read_seq`` is the newest of them."""

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
    """``author_read_seq``: where the author's own read mark has moved to, if it moved."""

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
    """``token_hash`` is the hex SHA-256 of the secret. Falcon stores the secret nowhere."""

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
    """An event of the account with the smaller id: its room with ``peer`` is this one, for ever."""

    account_id: AccountId
    peer: AccountId
    room_id: RoomId


class CommandAnswered(msgspec.Struct, frozen=True):
    """A keyed command was answered without a change. The record carries the answer, and a retry gets it."""


class PassedOver(msgspec.Struct, frozen=True):
    """Stands for an event of a newer Falcon that this one does not know. It changes nothing, and is never written."""

    name: str
    version: int
