"""A process's reading of the log for all who listen to it: each event is read once, and passed over undecoded where
nobody here wants it."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Final

from falcon.domain.events import (
    Event,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PassedOver,
    ReadMoved,
    RoomCreated,
    RoomDeleted,
    TokenIssued,
    TokenRevoked,
)
from falcon.domain.ids import AccountId, Partition, RoomId
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import JournalUnavailable
from falcon.shared import Shared
from falcon.streams import resume_tokens
from falcon.streams.delivery import Delivery, Lookups
from falcon.streams.subscription import Subscription
from falcon.streams.tail import Raw, Tail
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

_READ: Final = 1_000
_RETRY_SECONDS: Final = 0.2
_TURN_BYTES: Final = 8 << 10
_TURNS_MAX: Final = 20
_KEPT_BYTES_MAX: Final = 128 << 20  # of all lanes together
_RAW_BYTES: Final = 300  # about, beside its data
_PAST_BYTES_MAX: Final = 32 << 20  # likewise
_PAST_BYTES: Final = 1_000
# What a stream that begins must know of the time before: who was in a room then, whose text is not to be shown again,
# and which tokens are good. It is decoded even where nobody here listens to its room.
OF_THE_PAST: Final = codec.names_of(
    RoomCreated, RoomDeleted, MemberJoined, MemberChanged, MemberLeft, MessageDeleted, TokenIssued, TokenRevoked
)
# What may bring a subscription to a room it is not in, or end it.
CONCERNS_ACCOUNTS: Final = codec.names_of(RoomCreated, MemberJoined, TokenRevoked)

_wanted = metrics.stream_events.labels("yes")
_unwanted = metrics.stream_events.labels("no")
_pushed = metrics.message_seconds.labels("pushed")


class Feed:
    """For one event loop. ``remembered``: so many records of a lane are kept, for those who come back soon."""

    def __init__(
        self, tail: Tail, lookups: Lookups, log_name: str, partitions: int, *, remembered: int = 20_000
    ) -> None:
        self._tail = tail
        self._lookups = lookups
        self.log_name = log_name
        self.partitions = partitions
        self.remembered = remembered
        self._lanes: dict[int, _Lane] = {}
        self._token = resume_tokens.Token(log_name, {})
        self._read: dict[int, int] = {}  # by lane, how far it has been read since the token was last asked for
        self._rooms: dict[RoomId, set[Subscription]] = {}
        self._accounts: dict[AccountId, set[Subscription]] = {}
        self._beginnings = 0
        self.watch: Callable[[Raw], None] | None = None  # shown each record that is read, undecoded
        self._every_lane = frozenset(tail.lane(partition) for partition in range(partitions))
        self._ends = Shared(lambda: tail.ends(dict.fromkeys(self._every_lane)))
        self._moved = asyncio.Condition()
        self._followed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._read_at = time.monotonic()
        metrics.streams_stalled.set_function(self._stalled)

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._tail.close()

    def nudge(self) -> None:
        if self._accounts:
            self._tail.nudge()

    # --- lanes --------------------------------------------------------------------------------------------------------

    def lane_of(self, partition: Partition) -> int:
        return self._tail.lane(partition)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The lanes that are read stay so within the block, whoever leaves meanwhile: somebody is about to come."""
        self._beginnings += 1
        try:
            yield
        finally:
            self._beginnings -= 1
            self._stop_if_alone()

    def follow(self, starts: Mapping[int, Position]) -> None:
        """Read these lanes from now on, those that are not read yet from these positions."""
        for lane, position in starts.items():
            if lane not in self._lanes:
                self._lanes[lane] = _Lane(position)
                self._read[lane] = position.offset
        if not self._followed.is_set():
            self._read_at = time.monotonic()
        self._followed.set()
        self._tail.nudge()

    async def reach(self, ends: Mapping[int, int]) -> None:
        """Until every one of these lanes has been read that far."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: all(self._lanes[lane].position.offset >= end for lane, end in ends.items())
            )

    async def ends(self, lanes: Collection[int]) -> dict[int, int]:
        """Of these lanes, behind what was there when it was called. Raises JournalUnavailable."""
        if self._every_lane == frozenset(lanes):  # as for most streams
            return await self._ends.get()
        return await self._tail.ends(dict.fromkeys(lanes))

    def reached(self, lane: int) -> int:
        return self._lanes[lane].position.offset

    def remembered_since(self, lane: int, offset: int, limit: int) -> list[Raw] | None:
        """What stands from ``offset`` on in a lane that is read, as far as it has been read; None where that is too
        long ago."""
        known = self._lanes[lane]
        return known.since(offset, limit) if offset >= known.begins else None

    def past_since(self, lane: int, offset: int) -> list[tuple[int, Event]] | None:
        """What of OF_THE_PAST stands from ``offset`` on in a lane that is read, each with its offset; None where that
        is too long ago."""
        known = self._lanes[lane]
        return known.past_since(offset) if offset >= known.past_begins else None

    async def again(self, lane: int, offset: int) -> Position:
        """Where to begin to read what is not remembered any more. Raises WrongPlace, JournalUnavailable."""
        return await self._tail.position(lane, offset)

    async def read_again(self, lane: int, position: Position, limit: int) -> tuple[list[Raw], Position]:
        """From there to what is remembered. Raises JournalUnavailable."""
        return await self._tail.read_again(lane, position, self._lanes[lane].begins, limit)

    # --- those who listen ---------------------------------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """It gets everything from where the lanes have been read to."""
        self._accounts.setdefault(subscription.account_id, set()).add(subscription)
        rooms = self._rooms
        for room_id in subscription.rooms:  # which may be thousands: the same as `enter`, without a call for each
            if room_id in rooms:
                rooms[room_id].add(subscription)
            else:
                rooms[room_id] = {subscription}

    def remove(self, subscription: Subscription) -> None:
        rooms = self._rooms
        for room_id in subscription.rooms:
            if room_id in rooms:  # else it never came so far as to be added
                rooms[room_id].discard(subscription)
                if not rooms[room_id]:
                    del rooms[room_id]
        here = self._accounts.get(subscription.account_id, set())
        here.discard(subscription)
        if not here:
            self._accounts.pop(subscription.account_id, None)
        self._stop_if_alone()

    def in_room(self, room_id: RoomId) -> Collection[Subscription]:
        return self._rooms.get(room_id, ())

    def everybody(self) -> list[Subscription]:
        return [subscription for here in self._accounts.values() for subscription in here]

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        self._rooms.setdefault(room_id, set()).add(subscription)

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        here = self._rooms.get(room_id, set())
        here.discard(subscription)
        if not here:
            self._rooms.pop(room_id, None)

    def token(self) -> str:
        """Where everything that has been read ends."""
        for lane, offset in self._read.items():
            self._token.move(lane, offset)
        self._read.clear()
        return self._token.text()

    def _stop_if_alone(self) -> None:
        """Nobody listens, so nothing needs to be read."""
        if self._accounts or self._beginnings:
            return
        self._lanes.clear()
        self._read.clear()
        self._token = resume_tokens.Token(self.log_name, {})
        self._followed.clear()

    def _stalled(self) -> float:
        return time.monotonic() - self._read_at if self._lanes else 0.0

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._followed.wait()
            try:
                await self._step()
                self._read_at = time.monotonic()
            except JournalUnavailable as error:
                log.warning("streams wait: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # whatever it is: if this ended, nobody would be told anything any more, nor why
                log.exception("streams met a fault of ours; they go on behind it")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self) -> None:
        lanes = dict(self._lanes)
        if not lanes:
            return
        passed_on = unwanted = 0
        most_bytes, most_past_bytes = _KEPT_BYTES_MAX // len(lanes), _PAST_BYTES_MAX // len(lanes)
        raws, after = await self._tail.read({lane: known.position for lane, known in lanes.items()}, _READ)
        for raw in raws:
            known = lanes[raw.lane]
            if self._lanes.get(raw.lane) is not known:
                continue  # nobody has wanted it since, or somebody began anew meanwhile
            # First: whatever happens to whom it is passed on to, it is not passed on again.
            known.keep(raw, self.remembered, most_bytes)
            self._read[raw.lane] = raw.at.offset + 1
            if self.watch is not None:
                self.watch(raw)
            # Looked at undecoded, since on a busy Falcon most of what is read is of rooms that nobody here listens to.
            key = raw.record.key
            of_the_past = raw.record.type in OF_THE_PAST
            if not (of_the_past or key in self._rooms or key in self._accounts):
                unwanted += 1
                continue
            try:
                envelope = decoded(raw)
            except Undecodable as error:
                log.error("streams pass over an event: %s", error)
                continue
            if of_the_past:
                known.keep_past(raw, envelope.event, most_past_bytes)
            passed_on += self._pass_on(raw, envelope)
            audience = self._rooms.get(key, ())
            if passed_on > _TURN_BYTES or _is_crowded(audience):
                passed_on = 0
                await _take_turns(audience)
        _unwanted.inc(unwanted)
        for lane, position in after.items():
            lanes[lane].position = position
        async with self._moved:
            self._moved.notify_all()

    def _pass_on(self, raw: Raw, envelope: Envelope) -> int:
        """To whom it concerns; how many bytes of it each of them was sent."""
        event = envelope.event
        here = self._rooms.get(raw.record.key)
        audience = self._audience(event, here)
        if not audience:
            _unwanted.inc()
            return 0
        _wanted.inc()
        delivery = Delivery(self.token, event, self._lookups, self)
        try:
            if isinstance(event, MessagePosted | MessageEdited | MessageDeleted):
                delivery.to_everybody(audience, event.message)
            else:
                for subscription in audience:
                    delivery.to(subscription)
        except Exception:  # a fault of ours: some have got it and some have not, and each goes on from where it is
            log.exception("streams could not pass on offset %s of lane %s", raw.at.offset, raw.lane)
            for subscription in audience:
                subscription.end("draining")
        metrics.stream_deliveries.inc(len(audience))
        _pushed.observe_many(max(0.0, time.time() - envelope.at / 1000), len(audience))
        return len(raw.record.data)

    def _audience(self, event: Event, here: set[Subscription] | None) -> list[Subscription]:
        """Those in the room, and those whose account it is about."""
        match event:
            case MessagePosted() | MessageEdited() | MessageDeleted():
                return list(here or ())
            case PassedOver():
                return []
            case RoomCreated(members=members):
                about = [member.account_id for member in members]
            case MemberJoined(account_id=account_id) | MemberLeft(account_id=account_id):
                about = [account_id]
            case ReadMoved(account_id=account_id) | TokenRevoked(account_id=account_id):
                return list(self._accounts.get(account_id, ()))
            case _:
                return list(here or ())
        others = (each for account_id in about for each in self._accounts.get(account_id, ()))
        return list({*(here or ()), *others})


class _Lane:
    """How far a lane has been read, and the last of it. ``begins``: the offset from which on it is remembered.

    ``past_begins``: likewise of the few events that are OF_THE_PAST, which reach back for longer.
    """

    def __init__(self, position: Position) -> None:
        self._position: Position | None = position  # None: behind what is kept
        self.begins = position.offset
        self._kept: deque[Raw] = deque()
        self._bytes = 0
        self.past_begins = position.offset
        self._past: deque[tuple[int, int, Event]] = deque()  # offset, bytes, event
        self._past_bytes = 0

    @property
    def position(self) -> Position:
        """Behind what was read last."""
        if self._position is None:
            offset, epoch, n = self._kept[-1].at
            self._position = Position(offset + 1, epoch, n + 1)
        return self._position

    @position.setter
    def position(self, position: Position) -> None:
        self._position = position

    def keep(self, raw: Raw, most: int, most_bytes: int) -> None:
        self._position = None
        self._kept.append(raw)
        self._bytes += len(raw.record.data) + _RAW_BYTES
        while len(self._kept) > 1 and (len(self._kept) > most or self._bytes > most_bytes):
            self._bytes -= len(self._kept.popleft().record.data) + _RAW_BYTES
            self.begins = self._kept[0].at.offset

    def since(self, offset: int, limit: int) -> list[Raw]:
        """Looked for from the end, since most ask for little."""
        behind = 0
        for raw in reversed(self._kept):
            if raw.at.offset < offset:
                break
            behind += 1
        first = len(self._kept) - behind
        return list(islice(self._kept, first, first + limit))

    def keep_past(self, raw: Raw, event: Event, most_bytes: int) -> None:
        size = len(raw.record.data) + _PAST_BYTES
        self._past.append((raw.at.offset, size, event))
        self._past_bytes += size
        while self._past_bytes > most_bytes:
            dropped, size, _ = self._past.popleft()
            self._past_bytes -= size
            self.past_begins = dropped + 1

    def past_since(self, offset: int) -> list[tuple[int, Event]]:
        found: list[tuple[int, Event]] = []
        for at, _, event in reversed(self._past):
            if at < offset:
                break
            found.append((at, event))
        found.reverse()
        return found


async def _take_turns(audience: Collection[Subscription]) -> None:
    """So that connections can take what they were given: who has had no time is not slow.

    A few turns of the loop and no more, since the others must not wait for one that is.
    """
    for _ in range(_TURNS_MAX):
        await asyncio.sleep(0)
        if not _is_crowded(audience):
            return


def _is_crowded(audience: Collection[Subscription]) -> bool:
    return any(subscription.queued * 2 > subscription.bound for subscription in audience)


def decoded(raw: Raw) -> Envelope:
    """Raises Undecodable."""
    return codec.decode(raw.record, raw.partition, raw.at.offset, raw.at.epoch, raw.at.n).envelope
