"""How a stream begins: with the state of now, or with what has happened since a token, and then goes on live."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from falcon.domain.commands import Role
from falcon.domain.events import (
    Event,
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
from falcon.streams.feed import CONCERNS_ACCOUNTS, OF_THE_PAST, Feed, decoded
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw
from falcon.telemetry import metrics

_CHUNK: Final = 1_000
_REACH_SECONDS: Final = 5.0
_TURN_BYTES: Final = 32 << 10
_POSTED: Final = codec.names_of(MessagePosted)


class NotReached(Exception):
    """The log could not be read as far as it goes within a few seconds."""


class Beginning:
    """A subscription that has yet to be added to the feed. The feed must be held meanwhile.

    ``offsets``: what it has been shown, lane by lane. ``tables``: where the memberships in the tables stood in each of
    these lanes before ``roles``, the account's, were read there. That may be before the offsets or behind them: the log
    tells the difference, so that no stream waits for tables.

    First :meth:`prepare` and :meth:`look_back`, which may fail; then say what the stream begins with, and :meth:`run`.
    ``rooms``: those that the account was in at ``offsets``, with its role; right once it has looked back.
    ``seen_since``: those that it came to or left behind that.
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
        self._token = resume_tokens.Token(feed.log_name, offsets)
        self._tables = tables
        self._again = dict(tables)
        self._past = _Past(0, {})
        self._looked: dict[int, int] = {}
        self.rooms = dict(roles)
        self.seen_since: frozenset[RoomId] = frozenset()

    @property
    def id(self) -> str:
        return self._token.text()

    @property
    def length(self) -> int:
        """How many records stand behind the offsets, as far as the lanes have been read."""
        return sum(self._feed.reached(lane) - offset for lane, offset in self._offsets.items())

    async def prepare(self) -> None:
        """See to it that the lanes are read as far as they go now.

        Raises NotReached, JournalUnavailable; WrongPlace for offsets that are beyond the log.
        """
        self._feed.follow(self._tables)
        ends = await self._feed.ends(self._offsets.keys())
        for lane, offset in self._offsets.items():
            if offset > ends[lane]:  # which may be stale
                await self._feed.again(lane, offset)
        await self._reach({lane: max(ends[lane], offset) for lane, offset in self._offsets.items()})

    async def _reach(self, ends: Mapping[int, int]) -> None:
        """However long that takes, as long as it comes nearer: tables may be far behind, and the log begins there."""
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
        return sum(max(0, end - self._feed.reached(lane)) for lane, end in ends.items())

    async def look_back(self, account_id: AccountId) -> None:
        """Find out in which rooms the account was then, and what has been deleted since. Raises JournalUnavailable,
        WrongPlace."""
        self._past = _Past(account_id, dict(self._offsets))
        self._looked = {lane: min(offset, self._tables[lane].offset) for lane, offset in self._offsets.items()}
        await self._look_on()
        for room_id, role in self._past.roles.items():
            self.rooms.pop(room_id, None)
            if role is not None:
                self.rooms[room_id] = role
        self.seen_since = frozenset(self._past.seen_since)
        self._again = dict(self._tables)

    async def _look_on(self) -> None:
        """As far as the lanes have been read by now: what is deleted while others are shown is not shown either."""
        for lane in self._looked:
            while (offset := self._looked[lane]) < self._feed.reached(lane):
                events = self._feed.past_since(lane, offset)
                after = self._feed.reached(lane)
                if events is None:
                    raws, after = await self._next(lane, offset)
                    events = list(_of_the_past(raws))
                self._past.look_at(lane, events)
                self._looked[lane] = after

    def is_good(self, token_hash: str, *, known: bool) -> bool:
        """Whether a token may be used, which the tables knew or did not: they may be behind in either."""
        return token_hash not in self._past.revoked and (known or token_hash in self._past.issued)

    async def newest_before(self) -> dict[RoomId, Seq]:
        """The newest message at the offsets, of the rooms in which something has been posted behind them.

        The tables may be ahead there, each as far as it likes; up to this message all of them show everything.
        Raises JournalUnavailable.
        """
        newest: dict[RoomId, Seq] = {}
        for lane, offset in self._offsets.items():
            while offset < self._feed.reached(lane):
                raws, offset = await self._next(lane, offset)
                for raw in raws:
                    room_id = raw.record.key
                    if room_id in self.rooms and room_id not in newest and raw.record.type in _POSTED:
                        with suppress(Undecodable):  # the feed has said so
                            event = decoded(raw).event
                            if isinstance(event, MessagePosted):
                                newest[room_id] = event.message.seq - 1
        self._again = dict(self._tables)
        return newest

    def show_state(self, subscription: Subscription, name: str, data: bytes) -> None:
        """The state at ``offsets``, which what is shown next goes on from."""
        subscription.push(Frame(self.id, name, data))

    async def run(self, subscription: Subscription, *, replay: bool) -> None:
        """Show what is behind ``offsets``, and let the feed go on from there. Raises JournalUnavailable, WrongPlace."""
        while subscription.open:
            lane = next((lane for lane, offset in self._offsets.items() if offset < self._feed.reached(lane)), None)
            if lane is None:
                break
            await self._look_on()
            raws, after = await self._next(lane, self._offsets[lane])
            await self._show_all(subscription, lane, raws)
            self._offsets[lane] = max(self._offsets[lane], after)
        if subscription.open:  # nothing has been waited for since the lanes were compared
            if replay:
                subscription.push(Frame(self.id, "caught_up", b"{}"))
            self._feed.add(subscription)

    async def _show_all(self, subscription: Subscription, lane: int, raws: Sequence[Raw]) -> None:
        """As fast as it is read, and with turns for others in between."""
        size = 0
        for raw in raws:
            self._offsets[lane] = raw.at.offset + 1
            self._token.move(lane, raw.at.offset + 1)
            self._show(subscription, raw)
            size += len(raw.record.data)
            if subscription.busy:
                await subscription.drained()
            if size > _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
            if not subscription.open:
                return

    async def _next(self, lane: int, offset: int) -> tuple[Sequence[Raw], int]:
        remembered = self._feed.remembered_since(lane, offset, _CHUNK)
        if remembered is None:
            return await self._read_again(lane, offset)
        # Behind the last valid record there may be some that are void.
        after = remembered[-1].at.offset + 1 if len(remembered) == _CHUNK else self._feed.reached(lane)
        return remembered, after

    async def _read_again(self, lane: int, offset: int) -> tuple[Sequence[Raw], int]:
        """Each part goes on from where the one before stood: only that is certain to be right."""
        position = self._again.get(lane)
        if position is None or position.offset != offset:
            position = await self._feed.again(lane, offset)
        raws, self._again[lane] = await self._feed.read_again(lane, position, _CHUNK)
        return raws, self._again[lane].offset

    def _show(self, subscription: Subscription, raw: Raw) -> None:
        concerned = raw.record.key in subscription.rooms or raw.record.key == subscription.account_id
        if not concerned and raw.record.type not in CONCERNS_ACCOUNTS:
            return
        try:
            event = decoded(raw).event
        except Undecodable:
            return  # the feed has said so
        Delivery(self._token.text, event, self._lookups, _NOBODY, self._past.deleted).to(subscription)
        metrics.stream_deliveries.inc()


class _Past:
    """What happened around some offsets, by lane. ``roles``: the account's in a room at these offsets, None where it
    was no member; of rooms where anything is said about it. ``seen_since``: rooms where it is said behind the offsets.
    ``deleted``: messages. ``issued``, ``revoked``: hashes of the account's tokens."""

    def __init__(self, account_id: AccountId, offsets: Mapping[int, int]) -> None:
        self._account_id = account_id
        self._offsets = offsets
        self.roles: dict[RoomId, Role | None] = {}
        self.seen_since: set[RoomId] = set()
        self.deleted: set[tuple[RoomId, Seq]] = set()
        self.issued: set[str] = set()
        self.revoked: set[str] = set()

    def look_at(self, lane: int, events: Iterable[tuple[int, Event]]) -> None:
        """What follows what was looked at in this lane before, each with its offset."""
        for offset, event in events:
            match event:
                case MessageDeleted(message=message):
                    self.deleted.add((message.room_id, message.seq))
                case TokenIssued(account_id=self._account_id, token_hash=token_hash):
                    self.issued.add(token_hash)
                case TokenRevoked(account_id=self._account_id, token_hash=token_hash):
                    self.revoked.add(token_hash)
                case _:
                    self._change(event, is_past=offset < self._offsets[lane])

    def _change(self, event: Event, *, is_past: bool) -> None:
        """The last change before the offsets tells the role there; without one, the first behind them."""
        change = self._roles_around(event)
        if change is not None:
            room_id, before, after = change
            if is_past:
                self.roles[room_id] = after
            else:
                self.roles.setdefault(room_id, before)
                self.seen_since.add(room_id)

    def _roles_around(self, event: Event) -> tuple[RoomId, Role | None, Role | None] | None:
        """The room, and the account's role there before and after the event; None where it changes nothing for it."""
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


def _of_the_past(raws: Iterable[Raw]) -> Iterator[tuple[int, Event]]:
    for raw in raws:
        if raw.record.type in OF_THE_PAST:
            with suppress(Undecodable):  # the feed has said so
                yield raw.at.offset, decoded(raw).event


class _Nobody:
    """No index has this subscription yet."""

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        """It is added with its rooms in the end."""

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        """Likewise."""


_NOBODY: Final = _Nobody()
