"""Rooms: their names, newest messages and newest activity."""

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessagePosted
from falcon.features.rooms.rules import MemberJoined, MemberLeft, RoomChanged, RoomCreated, RoomDeleted, RoomKind
from falcon.features.threads.rules import ThreadFollowed, ThreadStarted
from falcon.journal.envelope import Recorded
from falcon.read.times import rfc3339
from falcon.read.write import Write


class RoomRow(msgspec.Struct, frozen=True):
    """``peers``: the pair of a direct room. ``members``: how many an open room has. ``parent``: the room and message of
    a thread. ``has_threads``: one of its messages has a thread."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    last_seq: Seq
    updated_at: str
    imported: bool
    peers: tuple[AccountId, AccountId] | None
    open: bool = False
    default: bool = False
    members: int = 0
    parent: tuple[RoomId, Seq] | None = None
    has_threads: bool = False

    def peer_of(self, account_id: AccountId) -> AccountId | None:
        """The other account of a direct room."""
        if self.peers is None:
            return None
        smaller, larger = self.peers
        return larger if account_id == smaller else smaller


class RoomQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def room(self, room_id: RoomId) -> RoomRow | None: ...

    async def rooms_among(self, room_ids: Collection[RoomId]) -> list[RoomRow]:
        """The rooms that exist among these."""

    async def direct_rooms(self, pairs: Collection[tuple[AccountId, AccountId]]) -> list[RoomRow]:
        """The direct rooms of these pairs, of which the smaller account comes first."""

    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]: ...


class UpsertRoom(NamedTuple):
    """``smaller``, ``larger``: the pair of a direct room. ``parent``, ``parent_seq``: the message of a thread."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    smaller: AccountId | None
    larger: AccountId | None
    imported: bool = False
    parent: RoomId | None = None
    parent_seq: Seq | None = None


class SetRoomName(NamedTuple):
    room_id: RoomId
    name: str
    description: str
    updated_at: str


class SetRoomActivity(NamedTuple):
    room_id: RoomId
    last_seq: Seq
    updated_at: str


class SetRoomOpen(NamedTuple):
    """Written when a room is opened, or an open one changes."""

    room_id: RoomId
    open: bool
    default: bool
    members: int


class SetRoomMembers(NamedTuple):
    """How many members an open room has."""

    room_id: RoomId
    members: int


class SetRoomThreads(NamedTuple):
    """A message of the room has a thread."""

    room_id: RoomId


class DropRoom(NamedTuple):
    room_id: RoomId


TAKES: Final = (
    MessagePosted,
    RoomCreated,
    RoomChanged,
    MemberJoined,
    MemberLeft,
    ThreadStarted,
    ThreadFollowed,
    RoomDeleted,
)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case MessagePosted(message=message):
            return (SetRoomActivity(message.room_id, message.seq, rfc3339(message.posted_at)),)
        case RoomCreated() as created:
            made = (_row(created), SetRoomActivity(created.room_id, 0, rfc3339(created.created_at)))
            if not created.open:
                return made
            return (*made, SetRoomOpen(created.room_id, True, created.default, len(created.members)))
        case RoomChanged(room_id=room_id, name=name, description=description) as changed:
            named = SetRoomName(room_id, name, description, rfc3339(recorded.envelope.at))
            if not (changed.open or changed.was_open):
                return (named,)
            return named, SetRoomOpen(room_id, changed.open, changed.default, changed.members or 0)
        case MemberJoined(room_id=room_id, members=int(members)) | MemberLeft(room_id=room_id, members=int(members)):
            return (SetRoomMembers(room_id, members),)
        case ThreadStarted(room_id=room_id):
            return (SetRoomThreads(room_id),)
        case ThreadFollowed(room_id=room_id, read_seq=last_seq, woke_at=int(woke_at)):
            return (SetRoomActivity(room_id, last_seq, rfc3339(woke_at)),)
        case RoomDeleted(room_id=room_id):
            return (DropRoom(room_id),)
        case _:
            return ()


def _row(created: RoomCreated) -> UpsertRoom:
    smaller = larger = None
    if created.kind == "direct":
        smaller, larger = sorted(member.account_id for member in created.members)
    return UpsertRoom(
        created.room_id,
        created.kind,
        created.name,
        created.description,
        rfc3339(created.created_at),
        smaller,
        larger,
        created.imported_as is not None,
        *(created.parent or ()),
    )


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case RoomCreated(room_id=room_id):
            return f"room {room_id} is in no list, and nobody can read it"
        case RoomChanged(room_id=room_id):
            return (
                f"room {room_id} keeps its old name and description in lists until it is changed again, and stays open "
                "or closed to accounts that have not joined it"
            )
        case MemberJoined(room_id=room_id, members=int()) | MemberLeft(room_id=room_id, members=int()):
            return f"the number of members of room {room_id} in the directory, until another joins or leaves"
        case ThreadStarted(room_id=room_id):
            return f"room {room_id} shows no threads until another is started there"
        case ThreadFollowed(room_id=room_id, woke_at=int()):
            return f"thread {room_id} is in no list of threads until the next message is sent there"
        case RoomDeleted(room_id=room_id):
            return f"room {room_id} stays in its members' lists, though nothing can be done in it any more"
        case MessagePosted(message=m):
            return f"room {m.room_id} seems to end before message {m.seq} until the next one is sent there"
        case _:
            return None
