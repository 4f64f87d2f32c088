"""Reads the log once for all subscriptions of a process. It decodes an event only if one of them may want it."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from falcon.base.shared import Shared
from falcon.domain.events import PassedOver
from falcon.domain.ids import ID_MAX, NOBODY, AccountId, Partition, RoomId, Seq, partition_of
from falcon.features.accounts.rules import AccountChanged, TokenIssued, TokenRevoked
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, RoomChanged, RoomCreated, RoomDeleted
from falcon.features.threads.rules import ThreadFollowed, ThreadUnfollowed
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams import resume_tokens
from falcon.streams.cuts import Cut, Cuts
from falcon.streams.delivery import Delivery, Lookups
from falcon.streams.events import TO_THE_ACCOUNT
from falcon.streams.memory import HistoryMemory, RecordMemory
from falcon.streams.subscription import Subscription
from falcon.streams.tail import LocatedRecord, Tail
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

_READ: Final = 1_000  # records, some 1 MB, decoded in some milliseconds
_RETRY_SECONDS: Final = 0.2  # the delay that clients see after a broker's failure is about as long
_TURN_BYTES: Final = 8 << 10  # so that a burst does not delay requests by more than a few milliseconds
_TURNS_MAX: Final = 20  # a client that has not read by then is slow, and gets its frames later
_HISTORY_BYTES_MAX: Final = 32 << 20  # hours of joins and deletions; older ones are read from the log
_HISTORY_SHARE: Final = 8  # a feed with little memory for records has an eighth of it for the history
_RECORD_BYTES: Final = 400  # of a message of 100 characters, with what the memory takes beside it
_REMEMBERED_BYTES_MIN: Final = 1 << 20  # a client gets so much again at most
_BACK_SECONDS: Final = 10.0  # the client's resume waits for it; it comes again with a hello if that fails
_LOOKED_AT_MAX: Final = 50  # records of a room, a microsecond each
TOKEN_GROWN: Final = 44  # characters; a cut that is written now is there before a token has LENGTH_MAX
_BACK_RECORDS: Final = 100  # of a segment that are read back beyond those asked for: the next client may need them
# Events that a replay needs from the time before it: memberships, open rooms, deleted messages, tokens. The feed
# decodes and keeps them even if no subscription here is in their room.
HISTORY_EVENTS: Final = codec.names_of(
    RoomCreated,
    RoomChanged,
    RoomDeleted,
    MemberJoined,
    MemberChanged,
    MemberLeft,
    ThreadFollowed,
    ThreadUnfollowed,
    MessageDeleted,
    TokenIssued,
    TokenRevoked,
)
# Events that may bring a subscription into a room, or end it, or change what it follows in rooms that it has left.
ACCOUNT_EVENTS: Final = codec.names_of(RoomCreated, MemberJoined, ThreadFollowed, ThreadUnfollowed, TokenRevoked)
# Events that change what processes keep of an account.
_PROFILE_EVENTS: Final = codec.names_of(AccountChanged)
# Events that only the account itself receives. In a room that many read there are more of them than messages.
READER_EVENTS: Final = codec.names_of(ReadMoved)
_POSTED: Final = codec.names_of(MessagePosted)

_wanted = metrics.stream_events.labels("yes")
_unwanted = metrics.stream_events.labels("no")
_pushed = metrics.message_seconds.labels("pushed")


class Unchanged(NamedTuple):
    """The offsets from which on the log, as far as it was read, has nothing of a room that changes the rights or the
    read mark of an account, the newest message, and what else the room's history says. They are ID_MAX if this is not
    known."""

    member: int = ID_MAX
    newest: int = ID_MAX
    history: int = ID_MAX


class Feed:
    """One instance per event loop. ``remembered``: how many records of all segments together the feed keeps for clients
    that come back soon, fewer if they are large. ``cuts``: the ones that make tokens short; None if tokens are
    short since there are few segments."""

    def __init__(
        self,
        tail: Tail,
        lookups: Lookups,
        log_name: str,
        partitions: int,
        *,
        remembered: int = 60_000,
        cuts: Cuts | None = None,
    ) -> None:
        self._tail = tail
        self._lookups = lookups
        self._cuts = cuts
        self.log_name = log_name
        self.partitions = partitions
        self.remembered = remembered
        remembered_bytes = max(_REMEMBERED_BYTES_MIN, remembered * _RECORD_BYTES)
        self._records = RecordMemory(remembered, remembered_bytes)
        self._history = HistoryMemory(min(_HISTORY_BYTES_MAX, remembered_bytes // _HISTORY_SHARE))
        self._reading_back = asyncio.Lock()
        self._segments: dict[int, _Segment] = {}
        self._token = self.token_at({})
        self._token_newest = -1  # the newest cut when the token's reference was last chosen
        # by segment that has moved since token() was last called: the offset up to which it was read
        self._read: dict[int, int] = {}
        self._rooms: dict[RoomId, set[Subscription]] = {}
        self._accounts: dict[AccountId, set[Subscription]] = {}
        self._beginnings = 0
        self.watch: Callable[[LocatedRecord], None] | None = None  # called with each record that is read, undecoded
        self.moved: Callable[[Subscription, RoomId], None] | None = None  # called when one has entered or left a room
        # called with segment, offset and event of each token that is revoked
        self.token_revoked: Callable[[int, int, TokenRevoked], None] = lambda segment, offset, event: None
        self.account_changed: Callable[[int, int, AccountChanged], None] = lambda segment, offset, event: None
        # called with each read mark that moves in one of the rooms that are wanted
        self.mark_moved: Callable[[ReadMoved], None] = lambda event: None
        self.marks_wanted: Container[RoomId] = ()
        self.every_segment = frozenset(tail.segment(partition) for partition in range(partitions))
        self._ends = Shared(lambda: tail.ends(dict.fromkeys(self.every_segment)))
        self._moved = asyncio.Event()
        self._followed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._read_at = time.monotonic()
        metrics.streams_stalled.set_function(self._stalled)
        metrics.streams_remembered.set_function(lambda: remembered_bytes - self._records.room_bytes())
        metrics.stream_cuts.begin(("written",), ("failed",))
        metrics.stream_cuts_read.begin(("found",), ("missing",))

    def start(self) -> None:
        if self._cuts is not None:
            self._cuts.lost = self._refer_to_none
            self._cuts.start()
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._cuts is not None:
            await self._cuts.stop()
        await self._tail.close()

    # --- segments -----------------------------------------------------------------------------------------------------

    def segment_of(self, partition: Partition) -> int:
        return self._tail.segment(partition)

    def segment_with(self, key: RoomId | AccountId) -> int:
        """The segment that has the events of a room or account."""
        return self._tail.segment(partition_of(key, self.partitions))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the segments that are read within the block, even if the last subscription leaves: another one is about
        to be added."""
        self._beginnings += 1
        try:
            yield
        finally:
            self._beginnings -= 1
            self._stop_if_alone()

    def follow(self, starts: Mapping[int, Position]) -> None:
        """Read these segments from now on. Start at these positions the ones that are not read yet."""
        for segment, position in starts.items():
            if segment not in self._segments:
                self._segments[segment] = _Segment(position)
                self._records.follow(segment, position.offset)
                self._history.follow(segment, position.offset)
        if not self._followed.is_set():
            self._read_at = time.monotonic()
        self._followed.set()
        self._tail.nudge()

    async def reach(self, ends: Mapping[int, int]) -> None:
        """Wait until each of these segments has been read up to its end."""
        while not all(self.reached(segment) >= end for segment, end in ends.items()):
            self._moved.clear()
            await self._moved.wait()

    async def ends(self, segments: Collection[int]) -> dict[int, int]:
        """The end of each of these segments at the time of the call or later. Raises JournalUnavailable."""
        if self.every_segment == frozenset(segments):  # the common case
            return await self._ends.get()
        return await self._tail.ends(dict.fromkeys(segments))

    def reached(self, segment: int) -> int:
        return self._segments[segment].position.offset

    def reached_everywhere(self) -> dict[int, int]:
        """The offset up to which each segment was read."""
        return {segment: known.position.offset for segment, known in self._segments.items()}

    async def seek(self, segment: int, offset: int) -> Position:
        """The position at which to read records that the feed does not keep any more. Raises WrongPlace,
        JournalUnavailable."""
        return await self._tail.position(segment, offset)

    async def read_range(
        self, segment: int, position: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        """Read from ``position`` up to offset ``stop`` (excluded). Raises JournalUnavailable."""
        return await self._tail.read_range(segment, position, stop, limit)

    # --- what is remembered -------------------------------------------------------------------------------------------

    def begins(self, segment: int) -> int:
        """The feed remembers all records of the segment from this offset on, as far as it has been read."""
        return self._records.begins(segment)

    def since(self, segment: int, starts: Mapping[RoomId | AccountId, int]) -> Iterator[LocatedRecord]:
        """The records of these rooms and accounts of a segment, each from an offset on, in the order of the log."""
        for offset, record in self._records.since(starts):
            yield LocatedRecord(segment, partition_of(record.key, self.partitions), Position(offset), record)

    def last_of(self, key: RoomId | AccountId) -> int:
        """The offset of the last record of a room or account; -1 if none is remembered."""
        return self._records.last(key)

    def unchanged_since(self, room_id: RoomId, account_id: AccountId, floor: int) -> Unchanged:
        """``floor``: the caller tells no lower offsets apart."""
        member = newest = 0
        since = self.begins(self.segment_with(room_id))
        for n, (offset, record) in enumerate(self._records.newest(room_id)):
            is_posted = record.type in _POSTED
            if n == _LOOKED_AT_MAX or offset < floor or not (is_posted or record.type in READER_EVENTS):
                since = offset + 1
                break
            if is_posted:
                newest = max(newest, offset + 1)
            if not member and codec.account_of(record) in (account_id, NOBODY):
                member = offset + 1
        return Unchanged(max(member, since), max(newest, since), since)

    def history_begins(self, segment: int) -> int:
        """The feed remembers all HISTORY_EVENTS of the segment from this offset on, as far as it has been read."""
        return self._history.begins(segment)

    def history_about(self, segment: int, identity: AccountId | RoomId, offset: int) -> Iterator[tuple[int, Event]]:
        """The events of a segment about an account's memberships and tokens, or about a room's being open, from an
        offset on, each with its own."""
        return self._history.about(segment, identity, offset)

    def is_deleted(self, room_id: RoomId, seq: Seq) -> bool:
        """True if the feed remembers that the message was deleted."""
        return self._history.is_deleted(room_id, seq)

    async def remember(self, offsets: Mapping[int, int]) -> bool:
        """Read records from these offsets on back into memory, once for all clients that need them.

        False if memory has no room for them, or the log does not give them in time. Raises WrongPlace,
        JournalUnavailable.
        """
        try:
            async with asyncio.timeout(_BACK_SECONDS), self._reading_back:
                missing = {segment: offset for segment, offset in offsets.items() if offset < self.begins(segment)}
                room = self._records.room() - sum(self.begins(segment) - offset for segment, offset in missing.items())
                for segment, offset in missing.items():
                    more = min(_BACK_RECORDS, room // len(missing))
                    if room < 0 or not await self._read_back(segment, max(0, offset - more)):
                        return False
                return True
        except TimeoutError:
            return False

    async def _read_back(self, segment: int, offset: int) -> bool:
        known, begins = self._segments[segment], self.begins(segment)
        older, history = list[LocatedRecord](), list[tuple[LocatedRecord, Event]]()
        position = await self.seek(segment, offset)
        size = 0
        while position.offset < begins:
            located, position = await self.read_range(segment, position, begins, _READ)
            older += located
            size += sum(len(raw.record.data) for raw in located)
            if size > self._records.room_bytes():
                return False  # they are larger than the others
            for raw in located:
                if raw.record.type in HISTORY_EVENTS:
                    with suppress(Undecodable):  # streams pass over it
                        history.append((raw, decoded(raw).event))
            await asyncio.sleep(0)
        if self._segments.get(segment) is not known or self.begins(segment) != begins:
            return False  # the segment was dropped, or some of its records, while these were read
        if not self._records.put_before(segment, offset, older):
            return False
        if self.history_begins(segment) <= begins:
            self._history.put_before(segment, offset, history)
        return True

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """Deliver to this subscription everything that the segments have from the feed's positions on."""
        self._accounts.setdefault(subscription.account_id, set()).add(subscription)
        rooms = self._rooms
        for room_id in subscription.rooms:  # may be thousands, so this does what enter() does without a call for each
            if room_id in rooms:
                rooms[room_id].add(subscription)
            else:
                rooms[room_id] = {subscription}

    def remove(self, subscription: Subscription) -> None:
        rooms = self._rooms
        for room_id in subscription.rooms:
            if room_id in rooms:  # otherwise the subscription was never added
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

    def enter(self, subscription: Subscription, room_id: RoomId) -> None:
        self._rooms.setdefault(room_id, set()).add(subscription)
        if self.moved is not None:
            self.moved(subscription, room_id)

    def leave(self, subscription: Subscription, room_id: RoomId) -> None:
        here = self._rooms.get(room_id, set())
        here.discard(subscription)
        if not here:
            self._rooms.pop(room_id, None)
        if self.moved is not None:
            self.moved(subscription, room_id)

    # --- resume tokens ------------------------------------------------------------------------------------------------

    def token(self) -> str:
        """The resume token of everything that has been read."""
        for segment, offset in self._read.items():
            self._token.move(segment, offset)
        self._read.clear()
        text = self._token.text()
        if self._cuts is None or len(text) <= TOKEN_GROWN:
            return text
        text = self._shortened(text, self._cuts)
        if len(text) > TOKEN_GROWN:
            used = self._token.reference
            self._cuts.propose(self._wanted_cut, None if used is None else used.cut.number)
        if len(text) > resume_tokens.LENGTH_MAX:
            metrics.stream_tokens_long.inc()
        return text

    def _shortened(self, text: str, cuts: Cuts) -> str:
        """The token with the differences to another cut if there has come one."""
        if self._token_newest != cuts.newest:
            self._token_newest = cuts.newest
            cut = cuts.nearest(self.reached_everywhere())
            self._token.refer(None if cut is None else resume_tokens.Reference(cut))
            return self._token.text()
        return text

    def _refer_to_none(self) -> None:
        self._token_newest = -1
        self._token.refer(None)

    def _wanted_cut(self) -> dict[int, int] | None:
        """The offsets for a cut that makes tokens short; None if they are."""
        if self._cuts is None or self._segments.keys() != self.every_segment:
            return None
        is_long = len(self._shortened(self._token.text(), self._cuts)) > TOKEN_GROWN
        return self.reached_everywhere() if is_long else None

    async def place_of(self, token: str) -> resume_tokens.ResumePlace:
        """The place that a client's token says. Raises WrongToken, WrongPlace, JournalUnavailable."""
        found: dict[int, Cut] = {}
        for number in resume_tokens.cuts_named(token):
            cut = None if self._cuts is None else await self._cuts.look_up(number)
            if cut is not None:
                found[number] = cut
        claim = resume_tokens.parse(token, found)
        await self._tail.starts.know(claim.news)
        return claim.checked(self.log_name, self._tail.starts.number)

    def token_at(
        self, offsets: Mapping[int, int], reference: resume_tokens.Reference | None = None
    ) -> resume_tokens.ResumeToken:
        """The starts of these offsets must be known, except of those of the reference."""
        return resume_tokens.ResumeToken(self.log_name, offsets, reference, self._tail.starts.number)

    async def know_starts(self, offsets: Mapping[int, int]) -> None:
        """Like :meth:`Starts.know`. Raises WrongPlace, JournalUnavailable."""
        await self._tail.starts.know(offsets)

    def beginning(self, offsets: Mapping[int, int]) -> resume_tokens.ResumePlace:
        """The place at these offsets, or at a cut shortly before them if its token is shorter."""
        if self._cuts is None:
            return resume_tokens.ResumePlace(offsets)
        near = self._cuts.nearest(offsets)
        reference = None if near is None else resume_tokens.Reference(near)
        if len(resume_tokens.encode(self.log_name, offsets, reference)) > resume_tokens.LENGTH_MAX:
            begins = {segment: self.begins(segment) for segment in offsets if segment in self._segments}
            before = self._cuts.newest_before(offsets, begins) if begins.keys() == offsets.keys() else None
            if before is not None:
                at_cut = {segment: before.offsets[segment] for segment in offsets}
                return resume_tokens.ResumePlace(at_cut, resume_tokens.Reference(before))
        return resume_tokens.ResumePlace(offsets, reference)

    def newest_cut(self) -> Cut | None:
        return None if self._cuts is None else self._cuts.newest_cut()

    def _stop_if_alone(self) -> None:
        """Stop reading when there is neither a subscription nor one to come."""
        if self._accounts or self._beginnings:
            return
        self._segments.clear()
        self._records.clear()
        self._history.clear()
        self._read.clear()
        self._token = self.token_at({})
        self._token_newest = -1
        self._followed.clear()

    def _stalled(self) -> float:
        return time.monotonic() - self._read_at if self._segments else 0.0

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
            except Exception:  # if this task ended, no stream would get anything any more, and no client would know
                log.exception("streams met a fault of ours; they continue after it")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self) -> None:
        segments = dict(self._segments)
        if not segments:
            return
        passed_on = unwanted = 0
        located, after = await self._tail.read({segment: known.position for segment, known in segments.items()}, _READ)
        for segment, known in segments.items():
            if not known.read and self._segments.get(segment) is known:  # now the tail knows its start
                known.read = True
                self._read.setdefault(segment, known.position.offset)
        for raw in located:
            known = segments[raw.segment]
            if self._segments.get(raw.segment) is not known:
                continue  # the segment was dropped, or dropped and followed again, while this batch was read
            # Keep it before delivering it: after a fault in the delivery it must not be delivered again.
            self._records.keep(raw)
            known.last = raw.at
            self._read[raw.segment] = raw.at.offset + 1
            if self.watch is not None:
                self.watch(raw)
            # Decide by key and type alone: on a busy Falcon most records are of rooms that have no subscription here.
            key = raw.record.key
            is_history = raw.record.type in HISTORY_EVENTS
            is_profile = raw.record.type in _PROFILE_EVENTS
            if not (
                is_history or is_profile or key in self._rooms or key in self._accounts
            ) or self._is_of_absent_reader(raw):
                unwanted += 1
                continue
            try:
                envelope = decoded(raw)
            except Undecodable as error:
                log.error("streams pass over an event: %s", error)
                continue
            if is_history:
                self._history.keep(raw, envelope.event)
                if isinstance(envelope.event, TokenRevoked):
                    self.token_revoked(raw.segment, raw.at.offset, envelope.event)
            if is_profile and isinstance(envelope.event, AccountChanged):
                self.account_changed(raw.segment, raw.at.offset, envelope.event)
            if isinstance(envelope.event, ReadMoved) and key in self.marks_wanted:
                self.mark_moved(envelope.event)
            passed_on += self._pass_on(raw, envelope)
            audience = self._rooms.get(key, ())
            if passed_on > _TURN_BYTES or _is_crowded(audience):
                passed_on = 0
                await _take_turns(audience)
        if unwanted:
            _unwanted.inc(unwanted)
        for segment, position in after.items():
            segments[segment].position = position
        self._moved.set()

    def _is_of_absent_reader(self, raw: LocatedRecord) -> bool:
        """True if only an account without a stream here receives the event."""
        if raw.record.type not in READER_EVENTS or raw.record.key in self.marks_wanted:
            return False
        reader = codec.account_of(raw.record)
        return reader != NOBODY and reader not in self._accounts

    def _pass_on(self, raw: LocatedRecord, envelope: Envelope) -> int:
        """Deliver the event to its audience. Returns how many bytes each of them was sent."""
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
                delivery.to_members(audience, event.message)
            else:
                for subscription in audience:
                    delivery.to(subscription)
        except Exception:  # some subscriptions have got the event and some have not; each resumes from its own token
            log.exception("streams could not pass on offset %s of segment %s", raw.at.offset, raw.segment)
            for subscription in audience:
                subscription.end("draining")
        metrics.stream_deliveries.inc(len(audience))
        _pushed.observe_many(max(0.0, time.time() - envelope.at / 1000), len(audience))
        return len(raw.record.data)

    def _audience(self, event: Event, here: set[Subscription] | None) -> list[Subscription]:
        """The subscriptions in the room, and those of the accounts that the event is about."""
        match event:
            case MessagePosted() | MessageEdited() | MessageDeleted():
                return list(here or ())
            case PassedOver():
                return []
            case RoomCreated(members=members):
                about = [member.account_id for member in members]
            case MemberJoined(account_id=account_id) | MemberLeft(account_id=account_id):
                about = [account_id]
            case (
                ReadMoved(account_id=account_id)
                | ThreadFollowed(account_id=account_id)
                | ThreadUnfollowed(account_id=account_id)
                | TokenRevoked(account_id=account_id)
                | AccountChanged(account_id=account_id)
            ):
                return list(self._accounts.get(account_id, ()))
            case _ if type(event) in TO_THE_ACCOUNT:
                return list(self._accounts.get(event.account_id, ()))  # type: ignore[union-attr]
            case _:
                return list(here or ())
        others = (each for account_id in about for each in self._accounts.get(account_id, ()))
        return list({*(here or ()), *others})


class _Segment:
    """How far a segment has been read.

    ``read``: True once the tail has read on from where the feed began.

    ``last``: the place of the newest record, if the position is after it: the position is made when it is asked for,
    which is seldom.
    """

    def __init__(self, position: Position) -> None:
        self._position = position
        self.last: Position | None = None
        self.read = False

    @property
    def position(self) -> Position:
        """The position after the last record that was read."""
        if self.last is not None:
            offset, epoch, n = self.last
            self.position = Position(offset + 1, epoch, n + 1)
        return self._position

    @position.setter
    def position(self, position: Position) -> None:
        self._position, self.last = position, None


async def _take_turns(audience: Collection[Subscription]) -> None:
    """Let connections send what they were given before more comes: a subscription that had no time is not slow.

    Waits for a few turns of the event loop only, so that one slow client does not hold up the others.
    """
    for _ in range(_TURNS_MAX):
        await asyncio.sleep(0)
        if not _is_crowded(audience):
            return


def _is_crowded(audience: Collection[Subscription]) -> bool:
    return any(subscription.queued * 2 > subscription.bound for subscription in audience)


def decoded(raw: LocatedRecord) -> Envelope:
    """Raises Undecodable."""
    if raw.envelope is not None:
        return raw.envelope
    return codec.decode(raw.record, raw.partition, raw.at.offset, raw.at.epoch, raw.at.n).envelope
