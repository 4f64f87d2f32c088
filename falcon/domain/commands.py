"""The commands of the write side. ``by`` is the account that asks, already authenticated."""

from typing import Literal, TypeAlias

import msgspec

from falcon.domain.ids import AccountId, Millis, Partition, RoomId, Seq
from falcon.domain.message import Message

Role: TypeAlias = Literal["admin", "member", "readonly"]
RoomKind: TypeAlias = Literal["group", "direct"]


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member that a new room begins with."""

    account_id: AccountId
    role: Role = "member"


class CreateRoom(msgspec.Struct, frozen=True, tag=True):
    """The sender has made sure that the members are accounts, since accounts live in other partitions."""

    by: AccountId
    name: str
    description: str = ""
    members: tuple[Invitation, ...] = ()


class OpenDirect(msgspec.Struct, frozen=True, tag=True):
    """The room of two accounts. It is decided where the smaller of their ids lives, so there is one for ever.

    The sender has made sure that the peer is an account.
    """

    by: AccountId
    peer: AccountId


class ChangeRoom(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId
    name: str | None = None
    description: str | None = None


class DeleteRoom(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId


class PutMember(msgspec.Struct, frozen=True, tag=True):
    """Add an account to the room, or change its role. ``account_exists``: as the sender has read.

    The sender does not refuse by itself: only members of the room may learn which accounts there are.
    """

    by: AccountId
    room_id: RoomId
    account_id: AccountId
    role: Role
    account_exists: bool = True


class RemoveMember(msgspec.Struct, frozen=True, tag=True):
    """Removing oneself is leaving."""

    by: AccountId
    room_id: RoomId
    account_id: AccountId


class PostMessage(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId
    text: str
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()


class EditMessage(msgspec.Struct, frozen=True, tag=True):
    """``known`` is the message as the read side showed it, at the room's ``known_revision``; see Room.changes."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    text: str
    mentions: tuple[AccountId, ...] | None = None
    known: Message | None = None
    known_revision: int = 0


class DeleteMessage(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId
    seq: Seq
    known: Message | None = None
    known_revision: int = 0


class MoveRead(msgspec.Struct, frozen=True, tag=True):
    """Forward only, unless forced. ``mentions``: how many the read side counts after the mark, for the answer; None if
    it has not counted them. ``counted_to``: the message up to which it has for certain; None if the owner must take the
    count as it is, as an ``api`` of the release before this field expects."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    force: bool = False
    mentions: int | None = 0
    counted_to: Seq | None = None


class CreateAccount(msgspec.Struct, frozen=True, tag=True):
    """``token_hash`` of the first token; an imported account has none. ``imported_as`` names where it comes from.

    ``sealed``: the token's secret, readable to the edge alone, for the answer.
    """

    name: str
    is_admin: bool = False
    token_hash: str | None = None
    sealed: str = ""
    imported_as: str | None = None


class IssueToken(msgspec.Struct, frozen=True, tag=True):
    """``sealed`` as in CreateAccount."""

    account_id: AccountId
    token_hash: str
    sealed: str = ""


class RevokeToken(msgspec.Struct, frozen=True, tag=True):
    """``token_hash``: names the token if ``token_id`` is 0."""

    account_id: AccountId
    token_id: int = 0
    token_hash: str = ""


class ImportRoom(msgspec.Struct, frozen=True, tag=True):
    """A room with its members from elsewhere. The same ``imported_as`` is the same room, for ever."""

    imported_as: str
    kind: RoomKind
    name: str
    description: str
    created_at: Millis
    members: tuple[Invitation, ...]


class ImportMembers(msgspec.Struct, frozen=True, tag=True):
    """Further members of an imported room. The ones that it has are skipped, and all of them once it has messages: an
    import that is repeated brings back no member who has left."""

    room_id: RoomId
    members: tuple[Invitation, ...]


class ImportMessages(msgspec.Struct, frozen=True, tag=True):
    """The next messages of an imported room; the ones that it has already are skipped."""

    room_id: RoomId
    messages: tuple[Message, ...]


class ReadPosition(msgspec.Struct, frozen=True, tag=True):
    """Asks how far the partition's log has been acknowledged. It changes nothing, and has no key.

    The owner proves with a record that it still is the owner, as Raft's read index does with a round of heartbeats.
    """

    partition: Partition
