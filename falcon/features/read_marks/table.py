"""Members of rooms with their roles, read marks and mentions."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec

from falcon.domain.ids import ID_MAX, AccountId, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.reactions.table import ShownReactions
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, Role, RoomCreated, RoomDeleted
from falcon.features.rooms.table import RoomRow
from falcon.features.threads.rules import QUIET_MILLIS, ThreadFollowed, ThreadUnfollowed
from falcon.journal.envelope import Recorded
from falcon.read.times import rfc3339
from falcon.read.write import Write


class Access(msgspec.Struct, frozen=True):
    """An account's rights in a room, and its newest message. ``role``: None in an open room that it has not joined.

    ``version``: changes whenever messages that could be read before may read otherwise. ``reactions``: likewise for the
    reactions to all messages of the room, 0 if there has never been one; None if the tables do not tell.

    In a thread the rights are those in its room, and ``follows`` says that the account is one of its own members.
    """

    role: Role | None
    read_seq: Seq
    last_seq: Seq
    version: int
    reactions: int | None = None
    has_threads: bool = False
    follows: bool = False


class Newest(msgspec.Struct):
    """A page of so many newest messages, which a caller of ``access`` reads next. A store may read it along: all these
    messages, and what they show of reactions, both at least as new as the versions of the access. None: ask for it."""

    count: int
    messages: list[bytes] | None = None
    reactions: ShownReactions | None = None


class MemberRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    role: Role
    read_seq: Seq


class MemberRoom(NamedTuple):
    """A room, with the role and the read mark of one of its members, or of an account that reads an open room."""

    room: RoomRow
    role: Role | None
    read_seq: Seq

    @property
    def membership(self) -> "MembershipAt":
        room = self.room
        parent = 0 if room.parent is None else room.parent[0]
        return MembershipAt(self.role, room.updated_at, room.last_seq, parent, self.read_seq)


class RoomSummaryRow(msgspec.Struct, frozen=True):
    """A room in a member's list. ``room_summary`` makes it and says what holds for its numbers.

    ``last_message`` is the JSON of message ``room.last_seq``, None in a room without messages.
    """

    room: RoomRow
    role: Role | None
    read_seq: Seq
    mentions: int
    last_message: bytes | None

    @property
    def unread(self) -> int:
        return self.room.last_seq - self.read_seq


def room_summary(
    room: RoomRow, role: Role | None, read_seq: Seq, mentions: int, newest: tuple[Seq, bytes] | None
) -> RoomSummaryRow:
    """A summary whose numbers belong to one place in the log, although they come from tables with different positions.

    ``newest``: the newest message that the timeline has up to ``room.last_seq``. ``mentions``: counted from
    ``read_seq`` (excluded) to it. What is ahead of the timeline, or of the room, is left out. So every summary has
    ``read_seq <= last_seq`` and ``unread == last_seq - read_seq``, ``last_message`` is message ``last_seq``, and pages
    have every message up to ``last_seq``.
    """
    last_seq, last_message = newest or (0, None)
    if last_seq != room.last_seq:
        room = msgspec.structs.replace(room, last_seq=last_seq)
    return RoomSummaryRow(room, role, min(read_seq, last_seq), mentions, last_message)


class MembershipAt(NamedTuple):
    """A role in a room as in MemberRoom, the time of the room's newest activity, and the number of its newest message.
    ``parent``: the room of a thread that the account follows; 0 for a room."""

    role: Role | None
    updated_at: str
    last_seq: Seq
    parent: RoomId = 0
    read_seq: Seq = 0


# A follow of a thread ends after 90 days without a message. An owner has no timers: lists leave it out, and the next
# message of the thread ends it in the log.


def is_quiet(room: RoomRow) -> bool:
    return room.updated_at < _quiet_before()


def followed_threads(memberships: Mapping[RoomId, MembershipAt]) -> dict[RoomId, MembershipAt]:
    """The threads among an account's memberships whose rooms it is in, each with its role there."""
    since = _quiet_before()
    return {
        thread_id: at._replace(role=memberships[at.parent].role)
        for thread_id, at in memberships.items()
        if at.parent in memberships and at.updated_at >= since
    }


def _quiet_before() -> str:
    return rfc3339(int(time.time() * 1_000) - QUIET_MILLIS)


class ManyRooms(Exception):
    """The account is in more rooms than the caller wants to look at."""


class RoomCursor(msgspec.Struct, frozen=True, array_like=True):
    """The place at which a list of rooms by newest activity continues."""

    updated_at: str
    room_id: Annotated[RoomId, msgspec.Meta(ge=1, le=ID_MAX)]


class MembershipQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def access(self, room_id: RoomId, account_id: AccountId, newest: Newest | None = None) -> Access | None:
        """None if the account is no member and the room is not open, or the room does not exist. ``newest``: filled if
        reading it along saves a call."""

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        """The newest activity first, without threads. It reads every room of the account, whatever the limit.

        Raises ManyRooms before it reads them if the account is in more than ``most`` rooms.
        """

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        """The account's roles by room id, from ``after`` (excluded) on, without threads.

        Cheap: it reads the memberships alone.
        """

    async def follows_of(self, account_id: AccountId) -> dict[RoomId, RoomId]:
        """The threads that the account follows, each with the room that it belongs to. The account may have left
        that."""

    async def member_rooms(
        self, account_id: AccountId, limit: int, after: RoomId = 0
    ) -> tuple[list[MemberRoom], RoomId | None]:
        """The account's rooms and threads by id, from ``after`` (excluded) on. It looks at ``limit`` memberships, and
        returns the last of them too, if there may be more."""

    async def member_rooms_among(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[MemberRoom]:
        """The account's rooms and threads among these."""

    async def summaries(self, account_id: AccountId, rooms: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
        """Each of the account's rooms with its newest message up to ``last_seq``."""

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        """Like :meth:`rooms_of` for these rooms, the newest activity first. Rooms that are gone, or that the account is
        not in, are left out."""

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        """Members by account id, from ``after`` (excluded) on. Of a thread: the followers who are in its room, with
        their roles there."""

    async def members_among(self, room_id: RoomId, account_ids: Collection[AccountId]) -> set[AccountId]:
        """The members of the room among these accounts."""

    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        """How many of the messages ``after`` (excluded) to ``through`` mention the account."""


async def roles_in_parts(
    store: MembershipQueries, account_id: AccountId, size: int
) -> AsyncIterator[dict[RoomId, Role]]:
    """All of :meth:`MembershipQueries.roles_of`, so many at once, with turns for others in between.

    Raises ReadStoreUnavailable, and BeingFilled.
    """
    part = await store.roles_of(account_id, size)
    yield part
    while len(part) == size:
        await asyncio.sleep(0)
        part = await store.roles_of(account_id, size, max(part))
        yield part


class UpsertMember(NamedTuple):
    """``parent`` as in MembershipAt."""

    room_id: RoomId
    account_id: AccountId
    role: Role
    read_seq: Seq
    parent: RoomId = 0


class SetRole(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    role: Role


class SetReadMark(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    read_seq: Seq


class DropMember(NamedTuple):
    room_id: RoomId
    account_id: AccountId


class SetMention(NamedTuple):
    """``mentioned``: True if message ``seq``, as it now stands, mentions the account."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    mentioned: bool


TAKES: Final = (
    MessagePosted,
    MessageEdited,
    MessageDeleted,
    ReadMoved,
    RoomCreated,
    MemberJoined,
    MemberChanged,
    MemberLeft,
    ThreadFollowed,
    ThreadUnfollowed,
    RoomDeleted,
)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case MessagePosted(message=message, author_read_seq=read_seq):
            moved: tuple[Write, ...] = ()
            if read_seq is not None:
                moved = (SetReadMark(message.room_id, message.author_id, read_seq),)
            return moved + _mentions(message) if message.mentions else moved
        case (
            MessageEdited(message=message, unmentioned=unmentioned)
            | MessageDeleted(message=message, unmentioned=unmentioned)
        ):
            dropped = tuple(SetMention(account, message.room_id, message.seq, False) for account in unmentioned)
            return dropped + _mentions(message)
        case ReadMoved(room_id=room_id, account_id=account_id, read_seq=read_seq):
            return (SetReadMark(room_id, account_id, read_seq),)
        case RoomCreated(room_id=room_id, members=members):
            return tuple(UpsertMember(room_id, member.account_id, member.role, 0) for member in members)
        case MemberJoined(room_id=room_id, account_id=account_id, role=role, read_seq=read_seq):
            return (UpsertMember(room_id, account_id, role, read_seq),)
        case MemberChanged(room_id=room_id, account_id=account_id, role=role):
            return (SetRole(room_id, account_id, role),)
        case MemberLeft(room_id=room_id, account_id=account_id):
            return (DropMember(room_id, account_id),)
        case ThreadFollowed(room_id=room_id, account_id=account_id, read_seq=read_seq, parent=parent):
            return (UpsertMember(room_id, account_id, "member", read_seq, parent),)
        case ThreadUnfollowed(room_id=room_id, account_id=account_id):
            return (DropMember(room_id, account_id),)
        case RoomDeleted(room_id=room_id, members=former):
            return tuple(DropMember(room_id, member.account_id) for member in former)
        case _:
            return ()


def _mentions(message: Message) -> tuple[Write, ...]:
    return tuple(SetMention(account_id, message.room_id, message.seq, True) for account_id in message.mentions)


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case RoomCreated(room_id=room_id, members=members) if members:
            return f"the first members of room {room_id} cannot read it until they are removed and added again"
        case MemberJoined(room_id=room_id, account_id=account_id):
            return f"account {account_id} cannot read room {room_id} until it is removed and added again"
        case MemberLeft(room_id=room_id, account_id=account_id):
            return f"account {account_id} can still read room {room_id} until it is added and removed again"
        case MemberChanged(room_id=room_id, account_id=account_id):
            return f"account {account_id} is shown with its old role in room {room_id} until that is changed again"
        case RoomDeleted(room_id=room_id):
            return f"nothing, if rooms has applied it: room {room_id} is shown nowhere then"
        case ThreadFollowed(room_id=room_id, account_id=account_id):
            return f"account {account_id} does not follow thread {room_id} until it unfollows and follows it again"
        case ThreadUnfollowed(room_id=room_id, account_id=account_id):
            return f"account {account_id} follows thread {room_id} until it follows and unfollows it again"
        case ReadMoved(room_id=room_id, account_id=account_id):
            return f"how far account {account_id} has read room {room_id}, until it reads on"
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"whom message {m.seq} of room {m.room_id} mentions, and that its author has read it"
        case _:
            return None
