"""The logic of a RoomShard: the only writer of some partitions. It knows no actor system, no event loop, no thread.

A batch is decided on the state in memory and its events go to the journal in one call; the next batch is decided while
that append is under way. A reply leaves only when everything before it in its partition is durable, refusals included,
since a refusal may rest on an event that is not durable yet.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from falcon.domain.ids import Millis
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import (
    Append,
    Checkpoint,
    EventSource,
    Journal,
    JournalUnavailable,
    Outcome,
    SnapshotStore,
    Submission,
)
from falcon.telemetry import metrics
from falcon.write.clock import Clock
from falcon.write.partition import Executed, Partition, Replay
from falcon.write.protocol import BatchReply, CommandBatch, Reply, Unavailable

log = logging.getLogger("falcon.shard")

_READ_EVENTS = 5_000

Sender: TypeAlias = Any  # whoever hosts the shard knows how to reach it


class ShardLimits(msgspec.Struct, frozen=True):
    """``answer_window_ms``: how long a retry finds its answer. ``checkpoint_events``: the longest tail of a recovery.

    ``stall_seconds``: with an append under way for longer, a partition takes no more commands in.
    ``passivate_seconds``: an aggregate leaves memory when unused for one to two of these. ``hot_aggregates``: per
    partition, more of them in use than this and the turn comes early.
    """

    answer_window_ms: Millis = 600_000
    checkpoint_events: int = 1_000
    checkpoint_seconds: float = 10.0
    passivate_seconds: float = 60.0
    hot_aggregates: int = 2_000
    recovery_retry_seconds: float = 0.25
    undecodable_retry_seconds: float = 30.0
    stall_seconds: float = 5.0


class _Waiter(msgspec.Struct, frozen=True, gc=False):
    """A reply that is held back until the append it stands with is durable."""

    sender: Sender
    batch: int
    index: int
    executed: Executed


class _InFlight(msgspec.Struct, eq=False):
    append: Append
    waiters: list[_Waiter]
    since: float


class _Owned(msgspec.Struct, eq=False):
    """A partition and where it stands: serving, down (to be taken over again) or lost to another owner.

    ``captured_behind``: the state was captured when this append was the last; once it is durable, that is a checkpoint.
    """

    partition: Partition
    serving: bool = False
    lost: bool = False
    in_flight: deque[_InFlight] = msgspec.field(default_factory=deque)
    captured_behind: Append | None = None
    captured_at: float = 0.0
    retry_at: float = 0.0


class Shard:
    """Feed it batches and ticks, drain it when the journal wakes, from one thread; fetch the replies after each."""

    def __init__(
        self,
        partitions: Sequence[int],
        journal: Journal,
        source: EventSource,
        store: SnapshotStore,
        clock: Clock,
        limits: ShardLimits,
        owner: str,
    ) -> None:
        self._journal = journal
        self._source = source
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._owned = {
            number: _Owned(
                Partition(
                    number,
                    source,
                    store,
                    answer_window=limits.answer_window_ms,
                    hot_aggregates=limits.hot_aggregates,
                )
            )
            for number in partitions
        }
        self._outbox: dict[tuple[Sender, int], list[tuple[int, Reply]]] = {}
        self._closing = False
        self._retry_at = 0.0
        self._passivate_at = clock.monotonic() + limits.passivate_seconds

    # --- what the host calls ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the partitions over and recover them. What can't be now is tried again at each tick."""
        self._take_over([number for number, owned in self._owned.items() if not owned.lost])

    @property
    def lost(self) -> bool:
        """Another owner has taken a partition over. It has the better claim, so the host should let this shard go."""
        return any(owned.lost for owned in self._owned.values())

    @property
    def serving(self) -> bool:
        return all(owned.serving for owned in self._owned.values())

    def execute(self, batch: CommandBatch, sender: Sender) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        touched: dict[int, list[_Waiter]] = {}
        for index, envelope in enumerate(batch.commands):
            owned = self._owned.get(envelope.partition)
            if owned is None or owned.lost:
                self._reply(sender, batch.number, index, Unavailable("not_mine", 0.1))
            elif not owned.serving:
                self._reply(sender, batch.number, index, Unavailable("unavailable"))
            elif envelope.deadline < monotonic:
                self._reply(sender, batch.number, index, Unavailable("expired"))
            elif owned.in_flight and monotonic - owned.in_flight[0].since > self._limits.stall_seconds:
                self._reply(sender, batch.number, index, Unavailable("overloaded"))
            else:
                executed = owned.partition.execute(envelope, now)
                touched.setdefault(envelope.partition, []).append(_Waiter(sender, batch.number, index, executed))
        appends: list[Submission] = []
        for number, waiters in touched.items():
            self._hold(self._owned[number], waiters, appends)
        self._submit(appends)

    def drain(self) -> None:
        """The journal has something to collect."""
        checkpoints: list[Submission] = []
        for submission in self._journal.collect():
            owned = self._owned[submission.partition]
            if submission.epoch != owned.partition.epoch:
                continue  # from before a takeover that has settled everything in flight then
            if submission.outcome is not Outcome.DURABLE:
                self._fail(owned, submission)
            elif isinstance(submission, Checkpoint):
                owned.partition.checkpointed()
                metrics.checkpoints.inc()
            else:
                self._confirm(owned, submission, checkpoints)
        self._submit(checkpoints)
        self._take_over_what_is_down()

    def tick(self) -> None:
        """Call it some times a second: checkpoints, passivation, and another try at what is down."""
        monotonic = self._clock.monotonic()
        checkpoints: list[Submission] = []
        for owned in self._owned.values():
            if owned.serving and monotonic - owned.captured_at >= self._limits.checkpoint_seconds:
                self._checkpoint(owned, checkpoints)
        self._submit(checkpoints)
        if monotonic >= self._passivate_at:
            self._passivate_at = monotonic + self._limits.passivate_seconds
            for owned in self._owned.values():
                metrics.passivations.inc(owned.partition.passivate())
        metrics.aggregates.set(sum(owned.partition.aggregates_in_memory for owned in self._owned.values()))
        self._take_over_what_is_down()

    def take_replies(self) -> list[tuple[Sender, BatchReply]]:
        """The replies that may leave now."""
        replies = [(sender, BatchReply(number, replies)) for (sender, number), replies in self._outbox.items()]
        self._outbox.clear()
        return replies

    def close(self) -> None:
        """Let the journal write everything, checkpoints last, so that the next start has no tail to read."""
        self._journal.flush()
        self.drain()
        self._closing = True
        checkpoints: list[Submission] = []
        for owned in self._owned.values():
            if owned.serving:
                self._checkpoint(owned, checkpoints)
        self._submit(checkpoints)
        self._journal.close()
        self.drain()

    # --- replies held back until they hold ----------------------------------------------------------------------------

    def _hold(self, owned: _Owned, waiters: list[_Waiter], submissions: list[Submission]) -> None:
        """Let the replies wait for the append behind which they stand; without one, nothing keeps them."""
        partition = owned.partition
        append = partition.take()
        if append is not None:
            submissions.append(append)
            owned.in_flight.append(_InFlight(append, waiters, self._clock.monotonic()))
        elif owned.in_flight:
            owned.in_flight[-1].waiters.extend(waiters)
        else:
            for waiter in waiters:
                self._release(owned, waiter)
        if partition.uncheckpointed >= self._limits.checkpoint_events or partition.crowded:
            self._checkpoint(owned, submissions)
            if partition.crowded:
                metrics.passivations.inc(partition.passivate())

    def _release(self, owned: _Owned, waiter: _Waiter) -> None:
        """The reply may go. It names the newest position, which is all that a reader has to wait for."""
        executed = waiter.executed
        if isinstance(executed, Replay):
            try:
                executed = owned.partition.replayed(executed)
            except JournalUnavailable:
                executed = Unavailable("unavailable")
        elif not isinstance(executed, Unavailable):
            executed.offset = owned.partition.confirmed
        self._reply(waiter.sender, waiter.batch, waiter.index, executed)

    def _reply(self, sender: Sender, batch: int, index: int, reply: Reply) -> None:
        self._outbox.setdefault((sender, batch), []).append((index, reply))

    # --- the journal's answers ----------------------------------------------------------------------------------------

    def _submit(self, submissions: list[Submission]) -> None:
        if submissions:
            self._journal.submit(submissions)

    def _confirm(self, owned: _Owned, append: Append, checkpoints: list[Submission]) -> None:
        in_flight = owned.in_flight.popleft()
        assert in_flight.append is append, "the journal answered out of order"
        owned.partition.confirm(append)
        for waiter in in_flight.waiters:
            self._release(owned, waiter)
        if owned.captured_behind is append:
            owned.captured_behind = None
            checkpoints.append(owned.partition.checkpoint())

    def _fail(self, owned: _Owned, submission: Submission) -> None:
        """The state in memory went ahead of the log: nothing of this epoch may be answered, or decided on, any more."""
        log.warning("partition %s: append %s", owned.partition.number, submission.outcome)
        metrics.append_failures.labels(submission.outcome.value if submission.outcome else "none").inc()
        owned.serving = False
        owned.captured_behind = None
        owned.lost = owned.lost or submission.outcome is Outcome.FENCED
        answer = Unavailable("not_mine", 0.1) if owned.lost else Unavailable("outcome_unknown")
        while owned.in_flight:
            for waiter in owned.in_flight.popleft().waiters:
                self._reply(waiter.sender, waiter.batch, waiter.index, answer)

    # --- ownership ----------------------------------------------------------------------------------------------------

    def _take_over_what_is_down(self) -> None:
        now = self._clock.monotonic()
        if self._closing or now < self._retry_at:
            return
        down = [n for n, owned in self._owned.items() if not owned.serving and not owned.lost and now >= owned.retry_at]
        if down:
            self._take_over(down)

    def _take_over(self, numbers: list[int]) -> None:
        started = self._clock.monotonic()
        try:
            ends = self._journal.takeover(numbers, self._owner)
            try:
                self._recover(ends)
            except Undecodable:
                self._recover_each(ends)  # all but the one that has the record
        except JournalUnavailable as error:
            # One line for each try; what is down answers 503 until a try succeeds.
            log.error("partitions %s..%s are down: %s", numbers[0], numbers[-1], error)
            self._retry_at = self._clock.monotonic() + self._limits.recovery_retry_seconds
        metrics.recovery_seconds.observe(self._clock.monotonic() - started)

    def _recover_each(self, ends: dict[int, Position]) -> None:
        for number, end in ends.items():
            try:
                self._recover({number: end})
            except Undecodable as error:
                log.error("partition %s is down: %s", number, error)
                self._owned[number].retry_at = self._clock.monotonic() + self._limits.undecodable_retry_seconds

    def _recover(self, ends: dict[int, Position]) -> None:
        """Checkpoints, then one pass through the log from the oldest of them."""
        starts = {number: self._owned[number].partition.restore() for number in ends}
        cursor: Cursor = {number: start for number, start in starts.items() if start.offset < ends[number].offset}
        tail = 0
        while cursor:
            events, cursor = self._source.read(cursor, _READ_EVENTS)
            for recorded in events:
                self._owned[recorded.envelope.partition].partition.replay(recorded)
            tail += len(events)
            cursor = {number: position for number, position in cursor.items() if position.offset < ends[number].offset}
        for number, end in ends.items():
            owned = self._owned[number]
            owned.partition.begin(end)
            owned.serving = True
            owned.captured_at = self._clock.monotonic()
        metrics.recoveries.inc(len(ends))
        metrics.recovery_events.inc(tail)

    def _checkpoint(self, owned: _Owned, checkpoints: list[Submission]) -> None:
        """Capture the state; with nothing in flight it is a checkpoint already."""
        owned.captured_at = self._clock.monotonic()
        if not owned.partition.capture():
            return
        if owned.in_flight:
            owned.captured_behind = owned.in_flight[-1].append
        else:
            checkpoints.append(owned.partition.checkpoint())
