"""The logic of a RoomShard: the only writer of some partitions. It knows no actor system, no event loop, no thread.

A batch is decided on the state in memory and its events go to the journal in one call. The next batch is decided while
that append is under way. Modules beside this one have one job each:

- ``execution`` decides commands;
- ``replies`` holds replies back until they hold;
- ``checkpoints`` captures states;
- ``ownership_cycle`` takes partitions over and lets them go, by the states in ``owned``.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from falcon.journal.ports import AppendOutcome, Checkpoint, EventSource, Journal, SnapshotStore, Submission
from falcon.telemetry import metrics
from falcon.write import shard_gauges
from falcon.write.answers import KeyCounts
from falcon.write.busy import BusyRooms
from falcon.write.checkpoints import Checkpoints
from falcon.write.clock import Clock
from falcon.write.disk import Disk
from falcon.write.execution import Execution
from falcon.write.limits import ShardLimits
from falcon.write.owned import Owned, Serving, known_of, serving_of
from falcon.write.ownership import Ownership
from falcon.write.ownership_cycle import OwnershipCycle
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.protocol import CommandBatch
from falcon.write.rates import Rates
from falcon.write.recovery import Background, Recovery, at_once
from falcon.write.replies import Replies, SendReply
from falcon.write.retries import Retries
from falcon.write.snapshots import PartMissing
from falcon.write.stored_aggregates import Unreadable

log = logging.getLogger("falcon.shard")

# Keys: it takes some 3 µs to forget one.
FORGOTTEN_EACH_TICK: Final = 2_000


class Shard:
    """Feed it batches and ticks, and drain it when the journal wakes, from one thread."""

    def __init__(
        self,
        ownership: Ownership,
        journal: Journal,
        source: EventSource,
        store: SnapshotStore,
        clock: Clock,
        limits: ShardLimits,
        owner: str,
        *,
        reply: SendReply,
        recovery_source: EventSource | None = None,
        background: Background = at_once,
        reading: Background = at_once,
        release: Callable[[], None] = lambda: None,
        disk: Disk | None = None,
        name: str = "0",
    ) -> None:
        """``reply`` takes the replies that may leave, on the thread that calls the shard.

        ``name`` tells it from the other shards of its process. Recoveries that run on a thread of their own
        (``background``) read from ``recovery_source``. The answers of retries are read from ``source``, perhaps on
        another thread (``reading``). ``release`` is called at the end of ``close``: it ends what only this shard uses.
        ``disk``: that of the log, if this machine has it; the shard looks at it.
        """
        self._ownership = ownership
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._release = release
        self._disk = disk or Disk()
        self._keys = KeyCounts(limits.answers_bytes, limits.account_keys, limits.factors)
        has_rates = limits.room_messages or limits.account_bytes_a_day
        rates = Rates(limits, clock.monotonic) if has_rates else None
        self._recovery = Recovery(
            journal,
            recovery_source or source,
            lambda number: PartitionAggregates(number, source.partitions, store, limits, clock.monotonic, rates),
            owner,
            clock,
        )
        self._cycle = OwnershipCycle(
            ownership, self._recovery, background, clock.monotonic, limits, self._keys, self._prove
        )
        self._replies = Replies(reply, Retries(source, reading), clock.monotonic, limits.refusal_age_seconds)
        self._execution = Execution(
            self._cycle.states, self._replies, clock, limits.stall_seconds, self._disk, self._on_unreadable
        )
        self._checkpoints = Checkpoints(limits, clock.monotonic, self._on_unreadable)
        self._gauges = shard_gauges.ShardGauges(name, limits.answers_bytes)
        self._busy = BusyRooms(clock.monotonic)
        self._passivate_at = clock.monotonic() + limits.passivate_seconds
        self._ticks = 0
        metrics.append_failures.begin((AppendOutcome.FENCED.value,), (AppendOutcome.UNKNOWN.value,))

    # --- what the host calls ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the partitions over and recover them. What cannot be taken over now is tried again at each tick."""
        self._cycle.start()

    def execute(self, batch: CommandBatch) -> None:
        """Decide the commands and hand their events to the journal."""
        submissions: list[Submission] = []
        for serving in self._execution.carry_out(batch, submissions):
            self._checkpoints.after_decisions(serving, submissions)
        self._busy.sample(batch)
        self._replies.send_ready()
        if submissions:  # last: a thread that the journal wakes must not wait for the interpreter
            self._journal.submit(submissions)

    def drain(self) -> None:
        """The journal has completed something, or a recovery or a retry has come to its end."""
        submissions: list[Submission] = []
        for submission in self._journal.collect():
            owned = self._cycle.states.get(submission.partition)
            serving = owned if isinstance(owned, Serving) else serving_of(owned)
            if serving is None or submission.epoch != serving.aggregates.epoch:
                continue  # of an earlier epoch, in which all that was in flight has been refused
            if submission.outcome is not AppendOutcome.DURABLE:
                self._fail(serving, submission.outcome)
            elif isinstance(submission, Checkpoint):
                self._checkpoints.written(serving, submission)
            else:
                self._replies.confirm(serving, submission, submissions)
                if serving.captured_after is submission:
                    self._checkpoints.confirmed(serving, submissions)
        if submissions:
            self._journal.submit(submissions)
        self._cycle.look_after()
        self._replies.send_ready()

    def tick(self) -> None:
        """Call it some times a second: assignments, checkpoints, passivation, and another try at what is down."""
        now = self._clock.monotonic()
        self._disk.look()
        serving = self._cycle.serving
        submissions: list[Submission] = []
        due = now - self._limits.checkpoint_seconds
        for each in serving:
            if each.captured_at <= due:
                self._checkpoints.capture(each, submissions)
        if submissions:
            self._journal.submit(submissions)
        if now >= self._passivate_at:
            self._passivate_at = now + self._limits.passivate_seconds
            for each in serving:
                each.aggregates.passivate()
        self._forget_keys()
        self._gauges.measure(serving, len(self._ownership.assigned), self._keys, now)
        self._busy.turn()
        self._cycle.look_after()
        self._replies.send_ready()

    def leave(self) -> None:
        """Begin to hand the partitions over. They are served until another shard takes them."""
        self._cycle.close()
        self._ownership.leave()

    def close(self) -> None:
        """Let the journal write everything, checkpoints last, so that the next start has no tail to read."""
        self._cycle.close()
        self._journal.flush()
        self.drain()
        submissions: list[Submission] = []
        for serving in self._cycle.serving:
            self._checkpoints.capture(serving, submissions)
        if submissions:
            self._journal.submit(submissions)
        self._journal.flush()
        self._ownership.close()
        self._journal.close()
        self.drain()
        self._replies.give_up_retries()
        self._replies.send_ready()
        self._release()

    # --- what it shows ------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Another owner has taken a partition over for good, and has the better claim: the host should end this one."""
        return self._cycle.has_lost

    @property
    def serving(self) -> bool:
        """Every partition that should be owned is."""
        return self._cycle.is_all_served

    def owned(self, partition: int) -> Owned | None:
        """The state of a partition; None if it is neither owned nor assigned here."""
        return self._cycle.states.get(partition)

    def describe(self) -> list[dict[str, object]]:
        """A row for each partition that is, or should be, owned here. Another thread may ask."""
        now = self._clock.monotonic()
        busiest = self._busy.busiest()
        rows = []
        for number, owned in list(self._cycle.states.items()):
            rate, rooms = busiest.get(number, (0.0, ""))
            rows.append(
                {
                    **shard_gauges.describe_partition(number, owned, now),
                    "commands_per_second": round(rate, 1),
                    "busiest": rooms,
                }
            )
        return rows

    def _forget_keys(self) -> None:
        """Keys that expire together are forgotten over some ticks, by another partition first at each.

        Likewise those are counted that came or went with their partition.
        """
        self._keys.settle_key_counts(FORGOTTEN_EACH_TICK)
        if not self._keys.total:
            return
        known = deque(each for owned in self._cycle.states.values() if (each := known_of(owned)) is not None)
        self._ticks += 1
        known.rotate(self._ticks)
        left = FORGOTTEN_EACH_TICK
        for each in known:
            left -= each.forget_keys(left)

    # --- the journal --------------------------------------------------------------------------------------------------

    def _on_unreadable(self, serving: Serving, fault: Unreadable) -> None:
        """The store does not give a state. The shard does not know what becomes of commands in flight. It recovers the
        partition, from its log alone if a part is missing."""
        if isinstance(fault, PartMissing):
            self._recovery.distrust(serving.number, fault)
        else:
            log.error("partition %s is down: %s", serving.number, fault)
        self._end_epoch(serving, AppendOutcome.UNKNOWN)

    def _fail(self, serving: Serving, outcome: AppendOutcome | None) -> None:
        log.warning("partition %s: append %s", serving.number, outcome.value if outcome else "none")
        metrics.append_failures.labels(outcome.value if outcome else "none").inc()
        self._end_epoch(serving, outcome)

    def _end_epoch(self, serving: Serving, outcome: AppendOutcome | None) -> None:
        fenced = outcome is AppendOutcome.FENCED
        serving.aggregates.end(void=fenced)
        self._cycle.failed(serving, outcome)
        self._replies.refuse_all(serving, fenced=fenced)

    def _prove(self, stays: Sequence[Serving]) -> None:
        submissions: list[Submission] = []
        for serving in stays:
            serving.aggregates.prove()
            self._replies.hold(serving, [], submissions)
        if submissions:
            self._journal.submit(submissions)
