"""A stream starts with the present state, or with what has happened since a token. Then it goes on live."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from falcon.domain.catalogue import Event
from falcon.domain.commands import Role
from falcon.domain.events import (
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessagePosted,
    RoomCreated,
    RoomDeleted,
    TokenIssued,
    TokenRevoked,
)
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position
from falcon.streams import resume_tokens
from falcon.streams.delivery import Delivery, Lookups
from falcon.streams.feed import ACCOUNT_EVENTS, HISTORY_EVENTS, Feed, decoded
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw
from falcon.telemetry import metrics

_CHUNK: Final = 1_000
_REACH_SECONDS: Final = 5.0
_TURN_BYTES: Final = 32 << 10
_POSTED: Final = codec.names_of(MessagePosted)


class NotReached(Exception):
    """The log could not be read up to its end within a few seconds."""


class StreamReplay:
    """Brings a subscription from some offsets up to where the feed reads, and adds it there. The feed must be held
    meanwhile.

    ``offsets``: what the client has seen, by segment. ``roles``: the account's memberships in the tables. ``tables``:
    where the tables stood in each of these segments before ``roles`` were read. That may be before or behind the
    offsets: the log tells the difference, so that no stream waits for tables.

    Call :meth:`prepare` and :meth:`resolve_membership` first. Both may fail. Then send what the stream begins with, and
    call :meth:`run`.

    ``rooms``: the account's rooms and roles at ``offsets``, once they are resolved. ``seen_since``: rooms that the
    account joined or left behind them.
    """

    def __init__(
        self,
        feed: Feed,
        lookups: Lookups,
        offsets: Mapping[int, int],
        tables: Mapping[int, Position],
        roles: Mapping[RoomId, Role],
    ) -> None:
        self._feed = feed
        self._lookups = lookups
        self._offsets = dict(offsets)
        self._token = resume_tokens.ResumeToken(feed.log_name, offsets)
        self._tables = tables
        self._positions = dict(tables)
        self._history = _History(0, {})
        self._history_read: dict[int, int] = {}
        self.rooms = dict(roles)
        self.seen_since: frozenset[RoomId] = frozenset()

    @property
    def id(self) -> str:
        return self._token.text()

    @property
    def length(self) -> int:
        """The number of records between the offsets and where the segments have been read to."""
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

    async def resolve_membership(self, account_id: AccountId) -> None:
        """Find out in which rooms the account was at the offsets, and which messages have been deleted since. Raises
        JournalUnavailable, WrongPlace."""
        self._history = _History(account_id, dict(self._offsets))
        self._history_read = {
            segment: min(offset, self._tables[segment].offset) for segment, offset in self._offsets.items()
        }
        await self._catch_up_history()
        for room_id, role in self._history.roles.items():
            self.rooms.pop(room_id, None)
            if role is not None:
                self.rooms[room_id] = role
        self.seen_since = frozenset(self._history.seen_since)
        self._positions = dict(self._tables)

    async def _catch_up_history(self) -> None:
        """Read the history as far as the segments have been read: the replay must not show what is deleted while it
        runs."""
        for segment in self._history_read:
            while (offset := self._history_read[segment]) < self._feed.reached(segment):
                events = self._feed.history_since(segment, offset)
                after = self._feed.reached(segment)
                if events is None:
                    raws, after = await self._next(segment, offset)
                    events = list(_history_events(raws))
                self._history.add(segment, events)
                self._history_read[segment] = after

    def is_good(self, token_hash: str, *, known: bool) -> bool:
        """A token may be used if it was issued and not revoked. ``known``: the tables have it. They may be behind in
        both."""
        return token_hash not in self._history.revoked and (known or token_hash in self._history.issued)

    async def newest_before(self) -> dict[RoomId, Seq]:
        """The newest message at the offsets, for each room in which messages have been posted behind them.

        Each table may be ahead of the offsets by any distance. Up to this message all of them agree. Raises
        JournalUnavailable.
        """
        newest: dict[RoomId, Seq] = {}
        for segment, offset in self._offsets.items():
            while offset < self._feed.reached(segment):
                raws, offset = await self._next(segment, offset)
                for raw in raws:
                    room_id = raw.record.key
                    if room_id in self.rooms and room_id not in newest and raw.record.type in _POSTED:
                        with suppress(Undecodable):  # the feed has logged it
                            event = decoded(raw).event
                            if isinstance(event, MessagePosted):
                                newest[room_id] = event.message.seq - 1
        self._positions = dict(self._tables)
        return newest

    def show_state(self, subscription: Subscription, name: str, data: bytes) -> None:
        """Push the state at ``offsets``. What the stream shows next continues from it."""
        subscription.push(Frame(self.id, name, data))

    async def run(self, subscription: Subscription, *, replay: bool) -> None:
        """Push what is behind ``offsets``, then add the subscription to the feed. Raises JournalUnavailable,
        WrongPlace."""
        while subscription.open:
            segment = next(
                (segment for segment, offset in self._offsets.items() if offset < self._feed.reached(segment)), None
            )
            if segment is None:
                break
            await self._catch_up_history()
            raws, after = await self._next(segment, self._offsets[segment])
            await self._show_all(subscription, segment, raws)
            self._offsets[segment] = max(self._offsets[segment], after)
        if subscription.open:  # there was no await since the segments were compared, so nothing is missed
            if replay:
                subscription.push(Frame(self.id, "caught_up", b"{}"))
            self._feed.add(subscription)

    async def _show_all(self, subscription: Subscription, segment: int, raws: Sequence[Raw]) -> None:
        """Push as fast as the client reads, with turns for others in between."""
        size = 0
        for raw in raws:
            self._offsets[segment] = raw.at.offset + 1
            self._token.move(segment, raw.at.offset + 1)
            self._show(subscription, raw)
            size += len(raw.record.data)
            if subscription.busy:
                await subscription.drained()
            if size > _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
            if not subscription.open:
                return

    async def _next(self, segment: int, offset: int) -> tuple[Sequence[Raw], int]:
        remembered = self._feed.remembered_since(segment, offset, _CHUNK)
        if remembered is None:
            return await self._read_range(segment, offset)
        # There may be void records behind the last valid one.
        after = remembered[-1].at.offset + 1 if len(remembered) == _CHUNK else self._feed.reached(segment)
        return remembered, after

    async def _read_range(self, segment: int, offset: int) -> tuple[Sequence[Raw], int]:
        """Each part continues from the position where the last one ended. No other position is certain to be right."""
        position = self._positions.get(segment)
        if position is None or position.offset != offset:
            position = await self._feed.seek(segment, offset)
        raws, self._positions[segment] = await self._feed.read_range(segment, position, _CHUNK)
        return raws, self._positions[segment].offset

    def _show(self, subscription: Subscription, raw: Raw) -> None:
        concerned = raw.record.key in subscription.rooms or raw.record.key == subscription.account_id
        if not concerned and raw.record.type not in ACCOUNT_EVENTS:
            return
        try:
            event = decoded(raw).event
        except Undecodable:
            return  # the feed has logged it
        Delivery(self._token.text, event, self._lookups, _NO_INDEX, self._history.deleted).to(subscription)
        metrics.stream_deliveries.inc()


class _History:
    """What happened around some offsets.

    ``roles``: the account's role in a room at these offsets, None if it was no member. It has the rooms of which an
    event mentions the account. ``seen_since``: those of them where such an event lies behind the offsets. ``deleted``:
    messages. ``issued``, ``revoked``: hashes of the account's tokens.
    """

    def __init__(self, account_id: AccountId, offsets: Mapping[int, int]) -> None:
        self._account_id = account_id
        self._offsets = offsets
        self.roles: dict[RoomId, Role | None] = {}
        self.seen_since: set[RoomId] = set()
        self.deleted: set[tuple[RoomId, Seq]] = set()
        self.issued: set[str] = set()
        self.revoked: set[str] = set()

    def add(self, segment: int, events: Iterable[tuple[int, Event]]) -> None:
        """Add the next events of a segment, each with its offset."""
        for offset, event in events:
            match event:
                case MessageDeleted(message=message):
                    self.deleted.add((message.room_id, message.seq))
                case TokenIssued(account_id=self._account_id, token_hash=token_hash):
                    self.issued.add(token_hash)
                case TokenRevoked(account_id=self._account_id, token_hash=token_hash):
                    self.revoked.add(token_hash)
                case _:
                    self._change(event, before_offsets=offset < self._offsets[segment])

    def _change(self, event: Event, *, before_offsets: bool) -> None:
        """The last change before the offsets tells the role there. Without one, the first change behind them does."""
        change = self._roles_around(event)
        if change is not None:
            room_id, before, after = change
            if before_offsets:
                self.roles[room_id] = after
            else:
                self.roles.setdefault(room_id, before)
                self.seen_since.add(room_id)

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


def _history_events(raws: Iterable[Raw]) -> Iterator[tuple[int, Event]]:
    for raw in raws:
        if raw.record.type in HISTORY_EVENTS:
            with suppress(Undecodable):  # the feed has logged it
                yield raw.at.offset, decoded(raw).event


class _NoIndex:
    """The index of subscriptions that have not been added yet."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        """The feed indexes all rooms of a subscription when it is added."""

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """The feed indexes all rooms of a subscription when it is added."""


_NO_INDEX: Final = _NoIndex()
