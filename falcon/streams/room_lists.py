"""Room lists of accounts that are in many rooms, in memory, ordered by newest activity.

The read tables have no such order: each message would have to write one row for every member. Instead a list is read
once, in parts. From then on the feed tells which of its rooms may have changed, and these are read again when the list
is next asked for. The cost of a page does not depend on the number of rooms (docs/decisions/0026).
"""

import asyncio
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from falcon.base.shared import Shared
from falcon.domain.ids import AccountId, Partition, RoomId
from falcon.features.read_marks.table import ManyRooms, MemberRoom, MembershipAt, RoomCursor, RoomSummaryRow
from falcon.features.rooms.rules import MemberJoined, RoomCreated
from falcon.features.threads.rules import ThreadFollowed
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import ReadStore
from falcon.streams.feed import Feed, decoded
from falcon.streams.tail import LocatedRecord

FEW: Final = 100  # accounts with fewer rooms are read from the tables each time
_PART: Final = 2_000  # rooms in a query, so that none holds a thread for long
_MANY: Final = 1_000  # rooms that change: sorting all of them once is cheaper than moving each
_ENTRIES_MAX: Final = 200_000  # rooms in all lists together, about 550 bytes each
_REACH_SECONDS: Final = 1.0  # the feed is mostly there already; else the table is asked
_IDLE_SECONDS: Final = 60.0  # a client that comes back within a minute finds its list
_LIVES_SECONDS: Final = 600.0  # then the list is read again, since a rebuild may correct tables without an event
_JOINED: Final = codec.names_of(RoomCreated, MemberJoined, ThreadFollowed)

_Place = tuple[int, int]  # a segment, and an offset in it


class RoomListPage(NamedTuple):
    """``next``: the cursor at which the list continues; None at its end."""

    rows: list[RoomSummaryRow]
    next: RoomCursor | None


class NewestRooms(NamedTuple):
    """The rooms of an account with the newest activity, and its membership in each of its rooms and of the threads that
    it follows."""

    rooms: list[MemberRoom]
    memberships: dict[RoomId, MembershipAt]


class RoomLists:
    """One instance per event loop. A list is at least as new as the tables were at the time of the call.

    ``applied``: where the tables stand."""

    def __init__(self, store: ReadStore, feed: Feed, applied: Shared[dict[Partition, Position]]) -> None:
        self._store = store
        self._feed = feed
        self._applied = applied
        self._lists: OrderedDict[AccountId, _List] = OrderedDict()
        self._by_room: dict[RoomId, set[_List]] = {}  # lists that have the room, or may have it
        self._entries = 0
        self._asked: WeakValueDictionary[AccountId, Shared[_List]] = WeakValueDictionary()
        self._hold = ExitStack()
        self._sweeping: asyncio.TimerHandle | None = None

    async def page(self, account_id: AccountId, cursor: RoomCursor | None, limit: int) -> RoomListPage:
        """Raises ReadStoreUnavailable."""
        if account_id not in self._lists:
            with suppress(ManyRooms):
                return _page(await self._store.rooms_of(account_id, cursor, limit + 1, FEW), limit)
        picked, following = (await self._current(account_id)).pick(cursor, limit)
        return RoomListPage(await self._store.summaries_of(account_id, picked), following)

    async def newest(self, account_id: AccountId, limit: int) -> NewestRooms:
        """Returns at most ``limit`` rooms. Raises ReadStoreUnavailable."""
        if account_id not in self._lists:
            rooms, following = await self._store.member_rooms(account_id, FEW + 1)
            if following is None:
                return newest_first(rooms, limit)
        current = await self._current(account_id)
        picked, _ = current.pick(None, limit)
        rooms = await self._store.member_rooms_among(account_id, picked)
        return NewestRooms(newest_first(rooms, limit).rooms, dict(current.memberships))

    # --- changes from the feed ----------------------------------------------------------------------------------------

    def saw(self, raw: LocatedRecord) -> None:
        """Called for each record of a followed segment."""
        room_id, place = raw.record.key, (raw.segment, raw.at.offset)
        if raw.record.type in _JOINED and self._lists:
            for account_id in _who_joined(raw):
                kept = self._lists.get(account_id)
                if kept is not None:  # later events in the room concern the list too, before the tables show the room
                    self._by_room.setdefault(room_id, set()).add(kept)
        for kept in self._by_room.get(room_id, ()):
            kept.doubts[room_id] = place

    # --- lists in memory ----------------------------------------------------------------------------------------------

    async def _current(self, account_id: AccountId) -> "_List":
        """Reads one list at a time for an account. Concurrent callers share it."""
        asked = self._asked.get(account_id)
        if asked is None:
            asked = self._asked[account_id] = Shared(lambda: self._bring_up_to_date(account_id))
        return await asked.get()

    async def _bring_up_to_date(self, account_id: AccountId) -> "_List":
        with self._feed.held():
            try:
                applied = await self._reach_tables()
            except (JournalUnavailable, TimeoutError):
                return await self._read(account_id)  # the tables can be read without the log
            kept = self._lists.get(account_id)
            if kept is None:
                kept = await self._read(account_id)
                if not self._catches_up(kept, applied):
                    return kept
                self._add(kept)
            kept.used_at = asyncio.get_running_loop().time()
            self._lists.move_to_end(account_id)
            await self._settle(kept, applied)
            return kept

    async def _reach_tables(self) -> dict[int, Position]:
        """Wait until the feed has read as much of each segment as the tables show. Returns where they stand there."""
        applied = self._in_segments(await self._applied.get())
        self._feed.follow(applied)
        async with asyncio.timeout(_REACH_SECONDS):
            await self._feed.reach({segment: position.offset for segment, position in applied.items()})
        return applied

    def _in_segments(self, applied: Mapping[Partition, Position]) -> dict[int, Position]:
        segments: dict[int, Position] = {}
        for partition, position in applied.items():
            segment = self._feed.segment_of(partition)
            segments[segment] = min(segments.get(segment, position), position)
        return segments

    async def _read(self, account_id: AccountId) -> "_List":
        found: dict[RoomId, MembershipAt] = {}
        following: RoomId | None = 0
        while following is not None:
            rooms, following = await self._store.member_rooms(account_id, _PART, following)
            found |= _memberships(rooms)
            await asyncio.sleep(0)
        return _List(account_id, found, asyncio.get_running_loop().time())

    def _catches_up(self, kept: "_List", applied: Mapping[int, Position]) -> bool:
        """Note the rooms that changed while the list was read: it may have them or not. False if the feed has dropped
        those events."""
        feed = self._feed
        if any(at.offset < max(feed.begins(segment), feed.history_begins(segment)) for segment, at in applied.items()):
            return False
        for segment, position in applied.items():
            for offset, event in feed.history_about(segment, kept.account_id, position.offset):
                if isinstance(event, RoomCreated | MemberJoined | ThreadFollowed):
                    kept.doubts[event.room_id] = (segment, max(offset, feed.last_of(event.room_id)))
        for room_id in kept.memberships:
            segment, last = feed.segment_with(room_id), feed.last_of(room_id)
            if last >= applied[segment].offset:
                kept.doubts[room_id] = (segment, last)
        return True

    async def _settle(self, kept: "_List", applied: Mapping[int, Position]) -> None:
        """Read rooms again that may have changed, in parts, so that others have their turns in between. A room stays in
        doubt until the tables are certain to show the change."""
        doubts = dict(kept.doubts)
        room_ids = list(doubts)
        found: dict[RoomId, MembershipAt] = {}
        for first in range(0, len(room_ids), _PART):
            part = await self._store.member_rooms_among(kept.account_id, room_ids[first : first + _PART])
            found |= _memberships(part)
            await asyncio.sleep(0)
        for room_id, place in doubts.items():
            segment, offset = place
            if kept.doubts[room_id] == place and applied[segment].offset > offset:
                del kept.doubts[room_id]
        self._put(kept, {room_id: found.get(room_id) for room_id in doubts})

    def _add(self, kept: "_List") -> None:
        if not self._lists:
            self._hold.enter_context(self._feed.held())
            self._feed.watch = self.saw
            self._sweeping = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._sweep)
        self._lists[kept.account_id] = kept
        for room_id in kept.rooms():
            self._by_room.setdefault(room_id, set()).add(kept)
        self._entries += len(kept.memberships)
        while self._entries > _ENTRIES_MAX and len(self._lists) > 1:
            self._drop(next(iter(self._lists.values())))

    def _put(self, kept: "_List", changed: Mapping[RoomId, MembershipAt | None]) -> None:
        before = len(kept.memberships)
        kept.put(changed)
        if self._lists.get(kept.account_id) is not kept:  # it was dropped meanwhile
            return
        self._entries += len(kept.memberships) - before
        for room_id, membership in changed.items():
            if membership is None and room_id not in kept.doubts:
                self._unlink(kept, room_id)

    def _drop(self, kept: "_List") -> None:
        del self._lists[kept.account_id]
        self._entries -= len(kept.memberships)
        for room_id in kept.rooms():
            self._unlink(kept, room_id)
        if not self._lists:
            self._feed.watch = None
            self._hold.close()
            if self._sweeping is not None:
                self._sweeping.cancel()

    def _unlink(self, kept: "_List", room_id: RoomId) -> None:
        lists = self._by_room.get(room_id, set())
        lists.discard(kept)
        if not lists:
            self._by_room.pop(room_id, None)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        self._sweeping = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._sweep)
        for kept in list(self._lists.values()):
            if now - kept.used_at > _IDLE_SECONDS or now - kept.read_at > _LIVES_SECONDS:
                self._drop(kept)


class _List:
    """``doubts``: rooms that may have changed, each with the place in the log of the last such event."""

    def __init__(self, account_id: AccountId, memberships: dict[RoomId, MembershipAt], now: float) -> None:
        self.account_id = account_id
        self.memberships = memberships
        self.doubts: dict[RoomId, _Place] = {}
        self.read_at = self.used_at = now
        self._order = sorted(_places(memberships))

    def rooms(self) -> set[RoomId]:
        """The rooms of the list, and the ones that it may have by now."""
        return self.memberships.keys() | self.doubts.keys()

    def put(self, changed: Mapping[RoomId, MembershipAt | None]) -> None:
        """``None``: the account is not in the room."""
        if len(changed) < _MANY:
            for room_id, membership in changed.items():
                self._move(room_id, membership)
            return
        present = {room_id: membership for room_id, membership in changed.items() if membership is not None}
        for room_id in changed:
            self.memberships.pop(room_id, None)
        self.memberships |= present
        self._order = [place for place in self._order if place[1] not in changed]
        self._order += _places(present)
        self._order.sort()

    def _move(self, room_id: RoomId, membership: MembershipAt | None) -> None:
        before = self.memberships.pop(room_id, None)
        if before is not None and not before.parent:
            del self._order[bisect_left(self._order, (before.updated_at, room_id))]
        if membership is not None:
            self.memberships[room_id] = membership
        if membership is not None and not membership.parent:
            insort(self._order, (membership.updated_at, room_id))

    def pick(self, cursor: RoomCursor | None, limit: int) -> tuple[list[RoomId], RoomCursor | None]:
        """The newest rooms after the cursor, and the cursor after them."""
        order = self._order
        end = len(order) if cursor is None else bisect_left(order, (cursor.updated_at, cursor.room_id))
        start = max(0, end - limit)
        return [room_id for _, room_id in order[start:end]], RoomCursor(*order[start]) if start and limit else None


def newest_first(rooms: Sequence[MemberRoom], limit: int) -> NewestRooms:
    """The newest of all of an account's rooms."""
    ordered = sorted(
        (each for each in rooms if each.room.parent is None),
        key=lambda each: (each.room.updated_at, each.room.room_id),
        reverse=True,
    )
    return NewestRooms(ordered[:limit], _memberships(rooms))


def _memberships(rooms: Sequence[MemberRoom]) -> dict[RoomId, MembershipAt]:
    return {each.room.room_id: each.membership for each in rooms}


def _places(memberships: Mapping[RoomId, MembershipAt]) -> list[tuple[str, RoomId]]:
    """The places of rooms, without threads."""
    return [(at.updated_at, room_id) for room_id, at in memberships.items() if not at.parent]


def _page(rows: Sequence[RoomSummaryRow], limit: int) -> RoomListPage:
    """``rows``: one more than the limit, if there is one."""
    page = list(rows[:limit])
    last = page[-1].room if len(rows) > limit else None
    return RoomListPage(page, None if last is None else RoomCursor(last.updated_at, last.room_id))


def _who_joined(raw: LocatedRecord) -> list[AccountId]:
    with suppress(Undecodable):  # the feed has logged it
        match decoded(raw).event:
            case RoomCreated(members=members):
                return [member.account_id for member in members]
            case MemberJoined(account_id=account_id) | ThreadFollowed(account_id=account_id):
                return [account_id]
    return []
