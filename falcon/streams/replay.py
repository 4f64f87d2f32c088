"""A stream starts with the present state, or with what has happened since a token. Then it continues live."""

import asyncio
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from types import MappingProxyType
from typing import Final

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts.rules import TokenIssued, TokenRevoked
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessageDeleted, MessagePosted
from falcon.features.rooms.rules import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    Role,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.features.threads.rules import ThreadFollowed, ThreadUnfollowed
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.streams import resume_tokens
from falcon.streams.cuts import Cut
from falcon.streams.delivery import Delivery, Lookups
from falcon.streams.feed import ACCOUNT_EVENTS, HISTORY_EVENTS, Feed, decoded
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from falcon.streams.tail import LocatedRecord
from falcon.telemetry import metrics

_CHUNK: Final = 1_000  # records, some 1 MB: a stream holds no more of its past in memory
_REACH_SECONDS: Final = 5.0  # without progress for so long, the stream says 503 and the client comes again
_TURN_BYTES: Final = 32 << 10  # some milliseconds of work, then other streams have a turn
_POSTED: Final = codec.names_of(MessagePosted)


class NotReached(Exception):
    """The log could not be read up to its end within a few seconds."""


class StreamReplay:
    """Brings a subscription from some offsets up to where the feed reads, and adds it there. The feed must be held
    meanwhile.

    ``since``: what the client has seen, by segment. ``roles``: the account's memberships in the tables, ``follows``:
    the threads that it follows, each with its room. ``tables``: where the tables stood in each of these segments before
    they were read. That may be before or after ``since``: the log tells the difference, so that no stream waits for
    tables.

    Call :meth:`prepare` and :meth:`resolve_membership` first. Both may fail. Then send what the stream begins with, and
    call :meth:`run`.

    ``rooms``: the account's rooms and roles at ``since``, once they are resolved; None for an open room that it reads
    (:meth:`read_open`). Threads that it followed then are among them if it was in their rooms. ``seen_since``: rooms
    that the account joined or left after them.
    """

    def __init__(
        self,
        feed: Feed,
        lookups: Lookups,
        since: resume_tokens.ResumePlace,
        tables: Mapping[int, Position],
        roles: Mapping[RoomId, Role],
        follows: Mapping[RoomId, RoomId] = MappingProxyType({}),
    ) -> None:
        self._feed = feed
        self._lookups = lookups
        self._offsets = dict(sorted(since.offsets.items()))
        self._reference = since.reference
        self._tables = tables
        self._positions = dict(tables)
        self._history = _History(0, {})
        # By segment: up to here the history was read from the log. The feed remembers what follows.
        self._covered = {segment: min(offset, tables[segment].offset) for segment, offset in self._offsets.items()}
        self.rooms: dict[RoomId, Role | None] = dict(roles)
        self.follows = dict(follows)
        self.seen_since: frozenset[RoomId] = frozenset()

    @property
    def id(self) -> str:
        return self._token.text()

    @property
    def length(self) -> int:
        """The number of records between the offsets and the feed's positions."""
        return sum(self._feed.reached(segment) - offset for segment, offset in self._offsets.items())

    async def prepare(self) -> None:
        """Make the feed read the segments up to their present ends.

        Raises NotReached, JournalUnavailable; WrongPlace for offsets beyond the log.
        """
        self._feed.follow(self._tables)
        ends = await self._feed.ends(self._offsets.keys())
        for segment, offset in self._offsets.items():
            if offset > ends[segment]:  # the end may be stale
                await self._feed.seek(segment, offset)
        await self._reach({segment: max(ends[segment], offset) for segment, offset in self._offsets.items()})
        await self._feed.know_starts(self._offsets)  # by now the tail has read beyond most of them
        self._token = self._feed.token_at(self._offsets, self._reference)

    async def _reach(self, ends: Mapping[int, int]) -> None:
        """Wait for as long as there is progress: tables may be far behind, and then the feed starts there."""
        left = self._left(ends)
        while True:
            try:
                async with asyncio.timeout(_REACH_SECONDS):
                    return await self._feed.reach(ends)
            except TimeoutError as error:
                before, left = left, self._left(ends)
                if left >= before:
                    raise NotReached from error

    def _left(self, ends: Mapping[int, int]) -> int:
        return sum(max(0, end - self._feed.reached(segment)) for segment, end in ends.items())

    async def remember(self) -> bool:
        """Make the feed remember what is after the offsets. False if that is too much. Raises WrongPlace,
        JournalUnavailable."""
        return await self._feed.remember(self._offsets)

    async def resolve_membership(self, account_id: AccountId, asked: Collection[RoomId] = ()) -> None:
        """Find out in which rooms the account was at the offsets, which of the rooms that were ``asked`` for are open,
        and which messages have been deleted since. Raises JournalUnavailable, WrongPlace."""
        self._history = _History(account_id, dict(self._offsets))
        while uncovered := [segment for segment in self._covered if not self._is_covered(segment)]:
            for segment in uncovered:
                await self._load_until(segment)
        for segment, offset in self._covered.items():
            self._history.add(segment, self._feed.history_about(segment, account_id, offset))
        for room_id in asked:
            segment = self._feed.segment_with(room_id)
            self._history.add(segment, self._feed.history_about(segment, room_id, self._covered[segment]))
        for room_id, role in self._history.roles.items():
            self.rooms.pop(room_id, None)
            if role is not None:
                self.rooms[room_id] = role
        for thread_id, parent in self._history.follows.items():
            self.follows.pop(thread_id, None)
            if parent is not None:
                self.follows[thread_id] = parent
        for thread_id, parent in self.follows.items():
            if (role := self.rooms.get(parent)) is not None:
                self.rooms[thread_id] = role
        self.seen_since = frozenset(self._history.seen_since)
        self._positions = dict(self._tables)

    def read_open(self, room_id: RoomId, *, open_in_tables: bool) -> bool:
        """Show the room, if it is open, though the account was no member at the offsets. Returns False if it is not
        open. The tables may be behind, and then the log says it."""
        is_open = self._history.open.get(room_id, open_in_tables)
        if is_open:
            self.rooms.setdefault(room_id, None)
        return is_open

    def ends_in(self, room_id: RoomId) -> bool:
        """True if the account has left the room after the offsets, or the room was closed to it: a stream shows
        nothing of the room after that, also if the account may read it again."""
        history = self._history
        return room_id in history.left or (self.rooms.get(room_id) is None and room_id in history.closed)

    def _is_covered(self, segment: int) -> bool:
        return self._covered[segment] >= self._feed.history_begins(segment)

    async def _load_until(self, segment: int) -> None:
        """Read the history that the feed does not remember from the log: the replay must not show what is deleted while
        it runs."""
        while not self._is_covered(segment):
            offset, stop = self._covered[segment], self._feed.history_begins(segment)
            located, self._covered[segment] = await self._read_range(segment, offset, stop)
            self._history.add(segment, _history_events(located))
            await asyncio.sleep(0)  # there may be much

    def size(self, account_id: AccountId, only: Container[RoomId] | None, most: int) -> int:
        """Bytes of the remembered records that the account may see after the offsets; it counts up to ``most`` and one
        record more. ``only``: the rooms that are shown; None for all."""

        def shown(room_id: RoomId) -> bool:
            return only is None or self._room_of(room_id) in only

        rooms = self._by_segment(filter(shown, self.rooms))
        size = 0
        for segment, offset in self._offsets.items():
            joined = self._history.joined.get(segment, {})
            starts = dict.fromkeys((account_id, *rooms.get(segment, ())), offset)
            starts |= {room_id: max(at, offset) for room_id, at in joined.items() if shown(room_id)}
            for raw in self._feed.since(segment, starts):
                size += len(raw.record.data)
                if size > most:
                    return size
        return size

    def is_good(self, token_hash: str, *, known: bool) -> bool:
        """A token may be used if it was issued and not revoked. ``known``: the tables have it. They may be behind in
        both."""
        return token_hash not in self._history.revoked and (known or token_hash in self._history.issued)

    async def newest_before(self) -> dict[RoomId, Seq]:
        """The newest message at the offsets, for each room in which messages have been posted after them.

        Each table may be ahead of the offsets by any distance. Up to this message all of them agree. Raises
        JournalUnavailable.
        """
        newest: dict[RoomId, Seq] = {}
        starts = dict(self._offsets)
        while forgotten := [segment for segment, offset in starts.items() if offset < self._feed.begins(segment)]:
            for segment in forgotten:
                located, starts[segment] = await self._read_range(segment, starts[segment], self._feed.begins(segment))
                self._note_first(newest, located)
        for room_id in self.rooms.keys() - newest.keys():
            segment = self._feed.segment_with(room_id)
            if segment in starts and self._feed.last_of(room_id) >= starts[segment]:
                self._note_first(newest, self._feed.since(segment, {room_id: starts[segment]}))
        self._positions = dict(self._tables)
        return newest

    def _note_first(self, newest: dict[RoomId, Seq], located: Iterable[LocatedRecord]) -> None:
        for raw in located:
            room_id = raw.record.key
            if room_id in self.rooms and room_id not in newest and raw.record.type in _POSTED:
                with suppress(Undecodable):  # the feed has logged it
                    event = decoded(raw).event
                    if isinstance(event, MessagePosted):
                        newest[room_id] = event.message.seq - 1

    def show_state(self, subscription: Subscription, name: str, data: bytes) -> None:
        """Push the state at ``offsets``. What the stream shows next continues from it."""
        subscription.push(Frame(self.id, name, data))

    async def run(self, subscription: Subscription, *, replay: bool) -> None:
        """Push what is after ``offsets``, then add the subscription to the feed. Raises JournalUnavailable,
        WrongPlace."""
        while subscription.open and self._unread():
            # A room that it joins again shows the threads that it follows there.
            rooms = self._by_segment({**subscription.rooms, **subscription.follows})
            cut = self._next_cut()
            for segment in self._unread():
                if subscription.open:
                    stop = None if cut is None else cut.offsets[segment]
                    await self._show_segment(subscription, segment, rooms.get(segment, ()), stop)
                    self._token.pass_over(segment)
            self._token.end_pass()
        if subscription.open:  # there was no await since the segments were compared, so nothing is missed
            if replay:
                subscription.push(Frame(self.id, "caught_up", b"{}"))
            self._feed.add(subscription)

    def _next_cut(self) -> Cut | None:
        """The cut to which all segments are brought next: frames in between have short tokens, however many records lie
        there. None if the segments are brought to where the feed has read."""
        reference = self._token.reference
        if reference is not None and reference.older is not None:  # a replay was interrupted on the way to this cut
            return reference.cut
        newest = self._feed.newest_cut()
        if newest is None or (reference is not None and newest.number <= reference.cut.number):
            return None
        self._token.begin_pass(newest)
        return newest

    def _unread(self) -> list[int]:
        """The segments to read next."""
        return [segment for segment, offset in self._offsets.items() if offset < self._feed.reached(segment)]

    def _room_of(self, room_id: RoomId) -> RoomId:
        """The room of a thread that the account follows, or comes to follow; else the room itself."""
        return self._history.parents.get(room_id) or self.follows.get(room_id, room_id)

    def _by_segment(self, rooms: Iterable[RoomId]) -> dict[int, list[RoomId]]:
        found: dict[int, list[RoomId]] = {}
        for room_id in rooms:
            found.setdefault(self._feed.segment_with(room_id), []).append(room_id)
        return found

    async def _show_segment(
        self, subscription: Subscription, segment: int, rooms: Iterable[RoomId], stop: int | None
    ) -> None:
        """Send the events after the offset until ``stop`` or the end of what was read. ``rooms``: the account's in this
        segment."""
        await self._load_until(segment)
        while subscription.open and self._offsets[segment] < (begins := self._capped(stop, self._feed.begins(segment))):
            located, after = await self._read_range(segment, self._offsets[segment], begins)
            await self._show_all(subscription, segment, located, after)
            await self._load_until(segment)
        reached = self._capped(stop, self._feed.reached(segment))
        if self._offsets[segment] < reached:
            wanted = self._wanted(subscription, segment, rooms)
            await self._show_all(subscription, segment, takewhile(lambda raw: raw.at.offset < reached, wanted), reached)

    @staticmethod
    def _capped(stop: int | None, offset: int) -> int:
        return offset if stop is None else min(stop, offset)

    def _wanted(self, subscription: Subscription, segment: int, rooms: Iterable[RoomId]) -> Iterator[LocatedRecord]:
        """The remembered records of the account and its rooms, also of the ones that it joins by one of these
        events."""
        offset, account_id = self._offsets[segment], subscription.account_id
        starts = dict.fromkeys((account_id, *rooms), offset)
        self._history.note_joins(segment, self._feed.history_about(segment, account_id, offset))
        for room_id, at in self._history.joined.get(segment, {}).items():
            if subscription.wants(self._room_of(room_id)):
                starts.setdefault(room_id, max(at, offset))
        return self._feed.since(segment, starts)

    async def _show_all(
        self, subscription: Subscription, segment: int, located: Iterable[LocatedRecord], after: int
    ) -> None:
        """Push as fast as the client reads, with turns for others in between. ``after``: the offset after the
        records."""
        size = 0
        for raw in located:
            self._move(segment, raw.at.offset + 1)
            self._show(subscription, raw)
            size += len(raw.record.data)
            if subscription.busy:
                await subscription.drained()
                await self._load_until(segment)
            if size > _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
            if not subscription.open:
                return
        self._move(segment, max(self._offsets[segment], after))  # there may be void records after the last valid one

    def _move(self, segment: int, offset: int) -> None:
        self._offsets[segment] = offset
        self._token.move(segment, offset)

    async def _read_range(self, segment: int, offset: int, stop: int) -> tuple[Sequence[LocatedRecord], int]:
        """Read records that the feed does not remember. Each part continues from the position where the last one ended.
        No other position is certain to be right."""
        position = self._positions.get(segment)
        if position is None or position.offset != offset:
            position = await self._feed.seek(segment, offset)
        located, self._positions[segment] = await self._feed.read_range(segment, position, stop, _CHUNK)
        return located, self._positions[segment].offset

    def _show(self, subscription: Subscription, raw: LocatedRecord) -> None:
        concerned = raw.record.key in subscription.rooms or raw.record.key == subscription.account_id
        if not concerned and raw.record.type not in ACCOUNT_EVENTS:
            return
        try:
            event = decoded(raw).event
        except Undecodable:
            return  # the feed has logged it
        withheld = _Withheld(self._feed, self._history)
        Delivery(self._token.text, event, self._lookups, _NO_INDEX, withheld).to(subscription)
        metrics.stream_deliveries.inc()


class _History:
    """The account's memberships, tokens and deleted messages around some offsets.

    ``roles``: the account's role in a room at these offsets, None if it was no member. It has the rooms of which an
    event mentions the account. ``seen_since``: those of them where such an event lies after the offsets. ``joined``:
    by segment, the rooms that the account joined, with the offset of the first time. ``deleted``: messages, as far as
    the log tells it and not the feed. ``issued``, ``revoked``: hashes of the account's tokens.

    ``open``: what the last event about it says of a room. ``closed``: rooms that were closed after the offsets.
    ``left``: rooms that the account left after them, and has not joined again.

    ``follows``: like ``roles``, the room of each thread that the account followed at these offsets, None if it did not.
    ``parents``: the room of each thread that it has come to follow.
    """

    def __init__(self, account_id: AccountId, offsets: Mapping[int, int]) -> None:
        self._account_id = account_id
        self._offsets = offsets
        self.roles: dict[RoomId, Role | None] = {}
        self.seen_since: set[RoomId] = set()
        self.joined: dict[int, dict[RoomId, int]] = {}
        self.deleted: set[tuple[RoomId, Seq]] = set()
        self.issued: set[str] = set()
        self.revoked: set[str] = set()
        self.open: dict[RoomId, bool] = {}
        self.closed: set[RoomId] = set()
        self.left: set[RoomId] = set()
        self.follows: dict[RoomId, RoomId | None] = {}
        self.parents: dict[RoomId, RoomId] = {}

    def add(self, segment: int, events: Iterable[tuple[int, Event]]) -> None:
        """Add the next events of a segment, each with its offset."""
        events = list(events)
        self.note_joins(segment, events)
        for offset, event in events:
            match event:
                case MessageDeleted(message=message):
                    self.deleted.add((message.room_id, message.seq))
                case TokenIssued(account_id=self._account_id, token_hash=token_hash):
                    self.issued.add(token_hash)
                case TokenRevoked(account_id=self._account_id, token_hash=token_hash):
                    self.revoked.add(token_hash)
                case ThreadFollowed(account_id=self._account_id) | ThreadUnfollowed(account_id=self._account_id):
                    self._note_follow(event, before_offsets=offset < self._offsets[segment])
                case _:
                    self._change(event, before_offsets=offset < self._offsets[segment])
                    self._note_open(event, before_offsets=offset < self._offsets[segment])

    def note_joins(self, segment: int, events: Iterable[tuple[int, Event]]) -> None:
        for offset, event in events:
            change = self._roles_around(event)
            if change is not None and change[2] is not None:
                self.joined.setdefault(segment, {}).setdefault(change[0], offset)
            elif isinstance(event, ThreadFollowed) and event.account_id == self._account_id:
                self.joined.setdefault(segment, {}).setdefault(event.room_id, offset)
                self.parents[event.room_id] = event.parent

    def _note_follow(self, event: ThreadFollowed | ThreadUnfollowed, *, before_offsets: bool) -> None:
        before, after = (None, event.parent) if isinstance(event, ThreadFollowed) else (event.parent, None)
        if before_offsets:
            self.follows[event.room_id] = after
        else:
            self.follows.setdefault(event.room_id, before)

    def _change(self, event: Event, *, before_offsets: bool) -> None:
        """The last change before the offsets tells the role there. Without one, the first change after them does."""
        change = self._roles_around(event)
        if change is not None:
            room_id, before, after = change
            if before_offsets:
                self.roles[room_id] = after
                return
            self.roles.setdefault(room_id, before)
            self.seen_since.add(room_id)
            if after is None:
                self.left.add(room_id)
            else:
                self.left.discard(room_id)

    def _note_open(self, event: Event, *, before_offsets: bool) -> None:
        match event:
            case RoomCreated(room_id=room_id) | RoomChanged(room_id=room_id):
                self.open[room_id] = event.open
                if isinstance(event, RoomChanged) and event.was_open and not event.open and not before_offsets:
                    self.closed.add(room_id)
            case RoomDeleted(room_id=room_id):
                self.open[room_id] = False

    def _roles_around(self, event: Event) -> tuple[RoomId, Role | None, Role | None] | None:
        """The room, and the account's role there before and after the event. None if the event does not change the
        role."""
        me = self._account_id
        match event:
            case RoomCreated(room_id=room_id, members=members):
                role = next((each.role for each in members if each.account_id == me), None)
                return None if role is None else (room_id, None, role)
            case MemberJoined(room_id=room_id, account_id=who, role=role) if who == me:
                return room_id, None, role
            case MemberLeft(room_id=room_id, account_id=who, role=was) if who == me:
                return room_id, was, None
            case MemberChanged(room_id=room_id, account_id=who, role=role, was=was) if who == me:
                return room_id, was, role
            case RoomDeleted(room_id=room_id, members=members):
                role = next((each.role for each in members if each.account_id == me), None)
                return None if role is None else (room_id, role, None)
        return None


def _history_events(located: Iterable[LocatedRecord]) -> Iterator[tuple[int, Event]]:
    for raw in located:
        if raw.record.type in HISTORY_EVENTS:
            with suppress(Undecodable):  # the feed has logged it
                yield raw.at.offset, decoded(raw).event


class _Withheld(Container[tuple[RoomId, Seq]]):
    """The messages that have been deleted by now, as far as a replay may come by them."""

    def __init__(self, feed: Feed, history: _History) -> None:
        self._feed = feed
        self._history = history

    def __contains__(self, message: object) -> bool:
        return message in self._history.deleted or self._feed.is_deleted(*message)  # type: ignore[misc]


class _NoIndex:
    """The index of subscriptions that have not been added yet."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        """The feed indexes all rooms of a subscription when it is added."""

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """The feed indexes all rooms of a subscription when it is added."""


_NO_INDEX: Final = _NoIndex()
