"""What can be asked of memberships, and the rows that it gives."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Annotated, NamedTuple, Protocol

import msgspec

from falcon.domain.commands import Role
from falcon.domain.ids import ID_MAX, AccountId, RoomId, Seq
from falcon.read.rooms.queries import RoomRow


class Access(msgspec.Struct, frozen=True):
    """A member's standing in a room, and how far the room's messages go.

    ``version``: another one whenever messages that could be read before may read otherwise.
    """

    role: Role
    read_seq: Seq
    last_seq: Seq
    version: int


class MemberRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    role: Role
    read_seq: Seq


class RoomSummaryRow(msgspec.Struct, frozen=True):
    """A room as one of its members lists it; ``room_summary`` makes it and says what holds of its numbers.

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
    """A summary whose numbers belong to one place in the log, though the tables they come from stand at several.

    ``newest``: the newest message that the timeline has up to ``room.last_seq``. ``mentions``: counted from
    ``read_seq`` (excluded) to it. What is ahead of the timeline, or of the room, is not told yet, so that of every
    summary: ``read_seq <= last_seq``, ``unread == last_seq - read_seq``, ``last_message`` is message ``last_seq``, and
    pages have every message up to ``last_seq``.
    """
    last_seq, last_message = newest or (0, None)
    if last_seq != room.last_seq:
        room = msgspec.structs.replace(room, last_seq=last_seq)
    return RoomSummaryRow(room, role, min(read_seq, last_seq), mentions, last_message)


class MembershipAt(NamedTuple):
    """A member's role in a room, when something last happened there, and the number of its newest message."""

    role: Role
    updated_at: str
    last_seq: Seq


class ManyRooms(Exception):
    """The account is in more rooms than were to be looked at."""


class RoomCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a list of rooms by newest activity goes on."""

    updated_at: str
    room_id: Annotated[RoomId, msgspec.Meta(ge=1, le=ID_MAX)]


class MembershipQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        """None for one who is no member, or a room that is not there."""

    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        """A room as :meth:`rooms_of` gives it; None for one who is no member, or a room that is not there."""

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        """The newest activity first. It looks at every room that the account is in, whatever the limit.

        Raises ManyRooms, before it looks at them, where the account is in more than ``most`` rooms.
        """

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        """The rooms that the account is in, and as what, by room id from ``after`` (excluded) on.

        It reads the memberships alone, which is cheap."""

    async def standings_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, MembershipAt]:
        """Of these rooms, those that there are and that the account is in."""

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        """These rooms as :meth:`rooms_of` gives them, the newest activity first; without those that are gone, or that
        the account is not in."""

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        """By account id, from ``after`` on, excluded."""

    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        """How many of the messages ``after`` (excluded) to ``through`` mention the account."""


async def roles_in_parts(
    store: MembershipQueries, account_id: AccountId, size: int
) -> AsyncIterator[dict[RoomId, Role]]:
    """All of :meth:`MembershipQueries.roles_of`, so many at once; others have their turns between two parts.

    Raises ReadStoreUnavailable, and BeingFilled.
    """
    part = await store.roles_of(account_id, size)
    yield part
    while len(part) == size:
        await asyncio.sleep(0)
        part = await store.roles_of(account_id, size, max(part))
        yield part
