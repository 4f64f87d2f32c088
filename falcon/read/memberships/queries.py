"""Queries of memberships, and the rows that they return."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Annotated, NamedTuple, Protocol

import msgspec

from falcon.domain.commands import Role
from falcon.domain.ids import ID_MAX, AccountId, RoomId, Seq
from falcon.read.rooms.queries import RoomRow


class Access(msgspec.Struct, frozen=True):
    """A member's rights in a room, and its newest message.

    ``version``: changes whenever messages that could be read before may read otherwise. ``reactions``: likewise for the
    reactions to all messages of the room, 0 if there has never been one; None if the tables do not tell.
    """

    role: Role
    read_seq: Seq
    last_seq: Seq
    version: int
    reactions: int | None = None


class MemberRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    role: Role
    read_seq: Seq


class MemberRoom(NamedTuple):
    """A room, with the role and the read mark of one of its members."""

    room: RoomRow
    role: Role
    read_seq: Seq

    @property
    def membership(self) -> "MembershipAt":
        return MembershipAt(self.role, self.room.updated_at, self.room.last_seq)


class RoomSummaryRow(msgspec.Struct, frozen=True):
    """A room in a member's list. ``room_summary`` makes it and says what holds for its numbers.

    ``last_message`` is the JSON of message ``room.last_seq``, None in a room without messages.
    """

    room: RoomRow
    role: Role
    read_seq: Seq
    mentions: int
    last_message: bytes | None

    @property
    def unread(self) -> int:
        return self.room.last_seq - self.read_seq


def room_summary(
    room: RoomRow, role: Role, read_seq: Seq, mentions: int, newest: tuple[Seq, bytes] | None
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
    """A member's role in a room, the time of the room's newest activity, and the number of its newest message."""

    role: Role
    updated_at: str
    last_seq: Seq


class ManyRooms(Exception):
    """The account is in more rooms than the caller wants to look at."""


class RoomCursor(msgspec.Struct, frozen=True, array_like=True):
    """The place at which a list of rooms by newest activity continues."""

    updated_at: str
    room_id: Annotated[RoomId, msgspec.Meta(ge=1, le=ID_MAX)]


class MembershipQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        """None if the account is no member, or the room does not exist."""

    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        """A room as in :meth:`rooms_of`. None if the account is no member, or the room does not exist."""

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        """The newest activity first. It reads every room of the account, whatever the limit.

        Raises ManyRooms before it reads them if the account is in more than ``most`` rooms.
        """

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        """The account's roles by room id, from ``after`` (excluded) on.

        Cheap: it reads the memberships alone.
        """

    async def member_rooms(
        self, account_id: AccountId, limit: int, after: RoomId = 0
    ) -> tuple[list[MemberRoom], RoomId | None]:
        """The account's rooms by id, from ``after`` (excluded) on. It looks at ``limit`` memberships, and returns the
        last of them too, if there may be more."""

    async def member_rooms_among(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[MemberRoom]:
        """The account's rooms among these."""

    async def summaries(self, account_id: AccountId, rooms: Sequence[MemberRoom]) -> list[RoomSummaryRow]:
        """Each of the account's rooms with its newest message up to ``last_seq``."""

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        """These rooms as in :meth:`rooms_of`, the newest activity first. Rooms that are gone, or that the account is
        not in, are left out."""

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        """By account id, from ``after`` (excluded) on."""

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
