"""The logic of a RoomShard: the only writer of some partitions. It knows no actor system, no event loop, no thread.

A batch is decided on the state in memory and its events go to the journal in one call; the next batch is decided while
that append is under way. A reply leaves only when everything before it in its partition is durable, refusals included,
since a refusal may rest on an event that is not durable yet.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Collection
from functools import partial
from typing import Any, TypeAlias

import msgspec

from falcon.domain.ids import AccountId, Millis
from falcon.domain.limits import MEMBERS_MAX
from falcon.journal.envelope import Position
from falcon.journal.ports import (
    Append,
    AppendOutcome,
    Checkpoint,
    EventSource,
    Journal,
    SnapshotStore,
    Submission,
)
from falcon.telemetry import metrics, tracing
from falcon.write.answers import KeyCounts
from falcon.write.busy import BusyRooms
from falcon.write.clock import Clock
from falcon.write.ownership import Ownership
from falcon.write.partition import Executed, Partition, Replay
from falcon.write.protocol import BatchReply, CommandBatch, CommandEnvelope, Reason, Reply, Unavailable
from falcon.write.recovery import Background, Recovered, Recovery, at_once
from falcon.write.retries import Retries

log = logging.getLogger("falcon.shard")

_durable = metrics.message_seconds.labels("durable")

Sender: TypeAlias = Any  # whoever hosts the shard knows how to reach it


class ShardLimits(msgspec.Struct, frozen=True):
    """``answer_window_ms``: how long a retry finds its answer. ``checkpoint_events``: the longest tail of a recovery.

    ``stall_seconds``: with an append under way for longer, a partition takes no more commands in.
    ``passivate_seconds``: an aggregate leaves memory when unused for one to two of these. ``hot_aggregates``: per
    partition, more of them in use than this and the turn comes early. ``refusal_age_seconds``: an answer that no event
    stands behind, a refusal say, rests on a state that was the log's at most so long ago; None where the owner cannot
    have been deposed without its knowledge. ``recovery_retry_seconds``: the first pause of a partition that cannot be
    taken over, each is twice the last. ``room_messages``: what a room takes in a second, and at once; 0 for any number.
    ``room_members``: the most that a room may have. ``answers_bytes``: memory for the keys of commands; beyond it, and
    beyond ``account_keys`` of one account (0 for any number), new ones are refused.
    """

    answer_window_ms: Millis = 600_000
    checkpoint_events: int = 1_000
    checkpoint_seconds: float = 10.0
    passivate_seconds: float = 60.0
    hot_aggregates: int = 2_000
    recovery_retry_seconds: float = 0.25
    recovery_retry_seconds_max: float = 5.0
    undecodable_retry_seconds: float = 30.0
    stall_seconds: float = 5.0
    refusal_age_seconds: float | None = None
    reclaim_seconds: float = 1.0
    room_messages: int = 0
    room_members: int = MEMBERS_MAX
    answers_bytes: int = 512 << 20
    account_keys: int = 0


class _Waiter(msgspec.Struct, frozen=True, gc=False):
    """A reply that is held back until the append it stands with is durable. ``recorded``: events of its own say it."""

    sender: Sender
    batch: int
    index: int
    executed: Executed
    recorded: bool


class _InFlight(msgspec.Struct, eq=False):
    append: Append
    waiters: list[_Waiter]
    since: float


class _Owned(msgspec.Struct, eq=False):
    """A partition that should be owned: it serves, or it is down and being recovered, or it was lost to another owner.

    ``lost_at``: how often partitions had been assigned when it was lost.
    ``leaving``: it is assigned elsewhere now, and forgotten here once nothing of it is in flight.
    ``captured_behind``: the state was captured when this append was the last; once it is durable, that is a checkpoint.
    ``before``: while it is down, the partition as it was, for the keys that it knows.
    ``retry_at``: not taken over before. ``tries``: how often that has failed since it last served.
    ``proven_at``: when an append was sent that shows that the log was ours. ``unproven``: replies that wait for newer
    proof.
    """

    number: int
    partition: Partition | None = None
    lost: bool = False
    lost_at: int = 0
    leaving: bool = False
    in_flight: deque[_InFlight] = msgspec.field(default_factory=deque)
    captured_behind: Append | None = None
    captured_at: float = 0.0
    proven_at: float = 0.0
    unproven: list[_Waiter] = msgspec.field(default_factory=list)
    retry_at: float = 0.0
    tries: int = 0
    before: Partition | None = None

    def knows(self, account_id: AccountId, key: str) -> bool:
        """Whether the command with this key was decided here, and may have been done."""
        partition = self.partition or self.before
        return partition is not None and partition.knows(account_id, key)


class Shard:
    """Feed it batches and ticks, drain it when the journal wakes, from one thread; fetch the replies after each."""

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
        recovery_source: EventSource | None = None,
        background: Background = at_once,
        reading: Background = at_once,
        name: str = "0",
    ) -> None:
        """``name``: by which it is told from the others of its pod.

        ``recovery_source``: where recoveries read, if they run on a thread of their own (``background``). ``source`` is
        where the answers of retries are read, perhaps on another one (``reading``).
        """
        self._ownership = ownership
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._background = background
        self._recovery = Recovery(
            journal,
            recovery_source or source,
            lambda number: Partition(
                number,
                source.partitions,
                store,
                answer_window=limits.answer_window_ms,
                hot_aggregates=limits.hot_aggregates,
                room_messages=limits.room_messages,
                room_members=limits.room_members,
                monotonic=clock.monotonic,
            ),
            owner,
            clock.monotonic,
        )
        metrics.keys_bytes_max.labels(name).set(limits.answers_bytes)
        self._retries: Retries[_Waiter] = Retries(source, reading)
        self._keys = KeyCounts(limits.answers_bytes, limits.account_keys)
        self._figures = _Figures(name)
        self._busy = BusyRooms(clock.monotonic)
        metrics.append_failures.begin((AppendOutcome.FENCED.value,), (AppendOutcome.UNKNOWN.value,))
        metrics.ownership_changes.begin(("taken over",), ("lost",), ("left",))
        self._settled = False  # every partition that is owned is served, and stays
        self._recovering = False
        self._recovered: deque[Recovered] = deque()
        self._assigned: Collection[int] = ()
        self._assignments = 0
        self._owned: dict[int, _Owned] = {}
        self._outbox: dict[tuple[Sender, int], list[tuple[int, Reply]]] = {}
        self._closing = False
        self._passivate_at = clock.monotonic() + limits.passivate_seconds

    # --- what the host calls ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the partitions over and recover them. What can't be now is tried again at each tick."""
        self._follow_assignment()
        self._take_over_what_is_down()

    @property
    def lost(self) -> bool:
        """Another owner has taken a partition over for good. It has the better claim: the host should let this go."""
        return not self._ownership.reclaims and any(owned.lost for owned in self._owned.values())

    @property
    def serving(self) -> bool:
        """Every partition that should be owned is."""
        return self._ownership.assignments > 0 and all(
            number in self._owned and self._owned[number].partition is not None for number in self._ownership.assigned()
        )

    @property
    def aggregates_in_memory(self) -> int:
        return sum(partition.aggregates_in_memory for partition in self._serving)

    @property
    def _serving(self) -> list[Partition]:
        return [owned.partition for owned in self._owned.values() if owned.partition is not None]

    def describe(self) -> list[dict[str, object]]:
        """A row for each partition that is, or should be, owned here. It may be asked from another thread."""
        now = self._clock.monotonic()
        busiest = self._busy.busiest()
        rows = []
        for owned in list(self._owned.values()):
            rate, rooms = busiest.get(owned.number, (0.0, ""))
            rows.append({**_row(owned, now), "commands_per_second": round(rate, 1), "busiest": rooms})
        return rows

    @property
    def owns_nothing(self) -> bool:
        """No partition is served here, or may be."""
        return not self._recovering and all(owned.partition is None for owned in self._owned.values())

    def execute(self, batch: CommandBatch, sender: Sender) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        touched: dict[int, list[_Waiter]] = {}
        for index, envelope in enumerate(batch.commands):
            owned = self._owned.get(envelope.partition)
            reason: Reason
            if owned is None or owned.lost or owned.leaving:
                reason = "not_mine"
            elif owned.partition is None:
                reason = "unavailable"
            elif envelope.deadline < monotonic:
                reason = "expired"
            elif owned.in_flight and monotonic - owned.in_flight[0].since > self._limits.stall_seconds:
                reason = "overloaded"
            else:
                before = owned.partition.decided
                executed = owned.partition.execute(envelope, now)
                self._busy.count(envelope)
                waiter = _Waiter(sender, batch.number, index, executed, owned.partition.decided > before)
                touched.setdefault(envelope.partition, []).append(waiter)
                continue
            self._reply(sender, batch.number, index, _refusal(owned, envelope, reason))
        appends: list[Submission] = []
        for number, waiters in touched.items():
            self._hold(self._owned[number], waiters, appends)
        self._submit(appends)
        self._answer_retries()

    def drain(self) -> None:
        """The journal has something to collect, or a recovery has come to its end."""
        submissions: list[Submission] = []
        for submission in self._journal.collect():
            owned = self._owned.get(submission.partition)
            if owned is None or owned.partition is None or submission.epoch != owned.partition.epoch:
                continue  # from before a takeover that has settled everything in flight then
            if isinstance(submission, Checkpoint):
                self._checkpointed(owned, submission)
            elif submission.outcome is not AppendOutcome.DURABLE:
                self._fail(owned, submission.outcome)
            else:
                self._confirm(owned, submission, submissions)
        self._submit(submissions)
        self._answer_retries()
        self._look_after_partitions()

    def tick(self) -> None:
        """Call it some times a second: assignments, checkpoints, passivation, and another try at what is down."""
        monotonic = self._clock.monotonic()
        checkpoints: list[Submission] = []
        for owned in self._owned.values():
            if owned.partition is not None and monotonic - owned.captured_at >= self._limits.checkpoint_seconds:
                self._checkpoint(owned, owned.partition, checkpoints)
        self._submit(checkpoints)
        if monotonic >= self._passivate_at:
            self._passivate_at = monotonic + self._limits.passivate_seconds
            metrics.passivations.inc(sum(partition.passivate() for partition in self._serving))
        for owned in self._owned.values():
            if (known := owned.partition or owned.before) is not None:
                known.forget_keys()
        self._measure(monotonic)
        self._busy.turn()
        self._look_after_partitions()

    def _measure(self, monotonic: float) -> None:
        in_flight = [each for owned in self._owned.values() for each in owned.in_flight]
        self._figures.aggregates.set(self.aggregates_in_memory)
        self._figures.owned.set(len(self._serving))
        self._figures.assigned.set(len(self._ownership.assigned()))
        self._figures.in_flight.set(len(in_flight))
        self._figures.keys.set(self._keys.total)
        self._figures.keys_bytes.set(self._keys.bytes)
        self._figures.oldest.set(max((monotonic - each.since for each in in_flight), default=0.0))

    def take_replies(self) -> list[tuple[Sender, BatchReply]]:
        """The replies that may leave now."""
        replies = [(sender, BatchReply(number, replies)) for (sender, number), replies in self._outbox.items()]
        self._outbox.clear()
        return replies

    def leave(self) -> None:
        """Begin to hand the partitions over; they are served until somebody takes them."""
        self._closing = True
        self._ownership.leave()

    def close(self) -> None:
        """Let the journal write everything, checkpoints last, so that the next start has no tail to read."""
        self._closing = True
        self._journal.flush()
        self.drain()
        checkpoints: list[Submission] = []
        for owned in self._owned.values():
            if owned.partition is not None:
                self._checkpoint(owned, owned.partition, checkpoints)
        self._submit(checkpoints)
        self._journal.flush()
        self._ownership.close()
        self._journal.close()
        self.drain()
        for waiter, reply in self._retries.give_up():
            self._reply(waiter.sender, waiter.batch, waiter.index, reply)

    # --- replies held back until they hold ----------------------------------------------------------------------------

    def _hold(self, owned: _Owned, waiters: list[_Waiter], submissions: list[Submission]) -> None:
        """Let the replies wait for the append behind which they stand; without one, nothing keeps them."""
        partition = owned.partition
        assert partition is not None
        append = partition.take()
        if append is not None:
            submissions.append(append)
            owned.in_flight.append(_InFlight(append, waiters, self._clock.monotonic()))
        elif owned.in_flight:
            owned.in_flight[-1].waiters.extend(waiters)
        else:
            self._release(owned, waiters, submissions)
        if partition.uncheckpointed >= self._limits.checkpoint_events or partition.crowded:
            self._checkpoint(owned, partition, submissions)
            if partition.crowded:
                metrics.passivations.inc(partition.passivate())

    def _release(self, owned: _Owned, waiters: list[_Waiter], submissions: list[Submission]) -> None:
        """The replies may go, but for those that rest on a state which another owner may have left behind since."""
        assert owned.partition is not None
        fresh = self._proven(owned)
        waiting, owned.unproven = owned.unproven, []
        for waiter in (*waiting, *waiters):
            if isinstance(waiter.executed, Replay):
                self._retry(owned.number, owned.partition.answered_at(waiter.executed), waiter.executed, waiter)
            elif fresh or waiter.recorded:
                if not isinstance(waiter.executed, Unavailable):
                    # The newest position is all that a reader has to wait for.
                    waiter.executed.offset = owned.partition.confirmed
                self._reply(waiter.sender, waiter.batch, waiter.index, waiter.executed)
            else:
                owned.unproven.append(waiter)
        if owned.unproven and not owned.in_flight:
            owned.partition.prove()
            unproven, owned.unproven = owned.unproven, []
            self._hold(owned, unproven, submissions)

    def _proven(self, owned: _Owned) -> bool:
        age = self._limits.refusal_age_seconds
        return age is None or self._clock.monotonic() - owned.proven_at <= age

    def _retry(self, partition: int, position: Position | None, replay: Replay, waiter: _Waiter) -> None:
        """Answered as the log has it; that the command was done, or refused, is known in any case."""
        reply: Reply | None = Unavailable("outcome_unknown")
        if position is not None:
            reply = self._retries.ask(partition, position, replay.command, waiter)
        if reply is not None:
            self._reply(waiter.sender, waiter.batch, waiter.index, reply)

    def _answer_retries(self) -> None:
        if self._retries.busy:
            for waiter, reply in self._retries.turn():
                self._reply(waiter.sender, waiter.batch, waiter.index, reply)

    def _reply(self, sender: Sender, batch: int, index: int, reply: Reply) -> None:
        self._outbox.setdefault((sender, batch), []).append((index, reply))

    # --- the journal's answers ----------------------------------------------------------------------------------------

    def _submit(self, submissions: list[Submission]) -> None:
        if submissions:
            self._journal.submit(submissions)

    def _confirm(self, owned: _Owned, append: Append, submissions: list[Submission]) -> None:
        assert owned.partition is not None
        in_flight = owned.in_flight.popleft()
        assert in_flight.append is append, "the journal answered out of order"
        owned.partition.confirm(append)
        owned.proven_at = in_flight.since
        seconds = self._clock.monotonic() - in_flight.since
        _durable.observe_many(seconds, len(append.records))
        tracing.done("append", (envelope.trace for envelope in append.envelopes), seconds)
        self._release(owned, in_flight.waiters, submissions)
        if owned.captured_behind is append:
            owned.captured_behind = None
            submissions.append(owned.partition.checkpoint())

    def _checkpointed(self, owned: _Owned, checkpoint: Checkpoint) -> None:
        assert owned.partition is not None
        if checkpoint.outcome is AppendOutcome.DURABLE:
            owned.partition.checkpointed()
            metrics.checkpoints.inc()
            metrics.snapshots.inc(len(checkpoint.snapshots))
        else:
            self._fail(owned, checkpoint.outcome)

    def _fail(self, owned: _Owned, outcome: AppendOutcome | None) -> None:
        """The state in memory went ahead of the log: nothing of this epoch may be answered, or decided on, any more."""
        log.warning("partition %s: append %s", owned.number, outcome)
        metrics.append_failures.labels(outcome.value if outcome else "none").inc()
        assert owned.partition is not None
        owned.partition.end(void=outcome is AppendOutcome.FENCED)
        owned.before, owned.partition = owned.partition, None
        owned.captured_behind = None
        self._settled = False
        answer = Unavailable("outcome_unknown")
        if outcome is AppendOutcome.FENCED:
            owned.lost, owned.lost_at = True, self._ownership.assignments
            metrics.ownership_changes.labels("lost").inc()
            # Two that believe to own it would depose each other for ever: each asks first, after pauses that differ.
            owned.retry_at = self._clock.monotonic() + self._limits.reclaim_seconds * random.uniform(0.5, 1.5)
            answer = Unavailable("not_mine", 0.1)
        waiters, owned.unproven = owned.unproven, []
        while owned.in_flight:
            waiters += owned.in_flight.popleft().waiters
        for waiter in waiters:
            known = isinstance(waiter.executed, Replay)
            self._reply(waiter.sender, waiter.batch, waiter.index, Unavailable("outcome_unknown") if known else answer)

    # --- ownership ----------------------------------------------------------------------------------------------------

    def _look_after_partitions(self) -> None:
        """It comes with every message to the shard, so it looks at each partition only while one of them needs it."""
        self._follow_assignment()
        if self._settled:
            return
        self._adopt_recovered()
        self._let_go()
        self._take_over_what_is_down()
        self._settled = not self._recovering and all(
            owned.partition is not None and not owned.leaving for owned in self._owned.values()
        )

    def _follow_assignment(self) -> None:
        """Partitions that stay are not touched."""
        assigned = self._ownership.assigned()
        if assigned is not self._assigned:
            self._assigned, self._settled = assigned, False
            for number, owned in self._owned.items():
                owned.leaving = number not in assigned
            for number in assigned:
                if number not in self._owned:
                    self._owned[number] = _Owned(number)
        if self._assignments != self._ownership.assignments:
            self._assignments = self._ownership.assignments
            self._prove_what_stays()

    def _let_go(self) -> None:
        gone = [n for n, owned in self._owned.items() if owned.leaving and not owned.in_flight and not owned.unproven]
        for number in gone:
            owned = self._owned.pop(number)
            for partition in (owned.partition, owned.before):
                if partition is not None:
                    partition.count_keys_out()
            metrics.ownership_changes.labels("left").inc()

    def _prove_what_stays(self) -> None:
        """Between two assignments, of which one may have passed this shard by, another may have been the owner.

        It would never be noticed where nobody sends commands any more, since they go to that other one: so something is
        written, which the log refuses then.
        """
        submissions: list[Submission] = []
        for owned in self._owned.values():
            if owned.partition is not None and not owned.leaving:
                owned.partition.prove()
                self._hold(owned, [], submissions)
        self._submit(submissions)

    def _take_over_what_is_down(self) -> None:
        now = self._clock.monotonic()
        if self._closing or self._recovering:
            return
        down = [owned.number for owned in self._owned.values() if self._is_down(owned, now)]
        self._doubt_what_was_lost(now)
        if down:
            self._recovering = True
            self._background(partial(self._recover, down))
            self._adopt_recovered()

    def _is_down(self, owned: _Owned, now: float) -> bool:
        claimed = not owned.leaving and (not owned.lost or self._is_assigned_anew(owned))
        return owned.partition is None and claimed and now >= owned.retry_at

    def _is_assigned_anew(self, owned: _Owned) -> bool:
        return self._ownership.reclaims and self._ownership.assignments > owned.lost_at

    def _doubt_what_was_lost(self, now: float) -> None:
        """Mostly the group moves it, and says so in a moment; where it does not, it is asked."""
        for owned in self._owned.values():
            if owned.lost and not owned.leaving and now >= owned.retry_at and not self._is_assigned_anew(owned):
                owned.retry_at = now + self._limits.reclaim_seconds
                self._ownership.doubt()

    def _recover(self, numbers: list[int]) -> None:
        """Perhaps on another thread: what it hands over is taken up by the owner's (``_adopt_recovered``)."""
        for recovered in self._recovery.run(numbers):
            self._recovered.append(recovered)

    def _adopt_recovered(self) -> None:
        while self._recovered:
            recovered = self._recovered.popleft()
            self._recovering = recovered.left > 0
            now = self._clock.monotonic()
            for partition in recovered.ready:
                owned = self._owned.get(partition.number)
                if owned is not None:  # else it is assigned elsewhere by now
                    if owned.before is not None:
                        owned.before.count_keys_out()
                    partition.count_keys_in(self._keys)
                    owned.partition, owned.before, owned.lost, owned.tries = partition, None, False, 0
                    metrics.ownership_changes.labels("taken over").inc()
                    owned.captured_at, owned.proven_at = now, -math.inf
            for number in recovered.down:
                if number in self._owned:
                    self._try_later(self._owned[number], now)
            for number in recovered.undecodable:
                if number in self._owned:
                    self._owned[number].retry_at = now + self._limits.undecodable_retry_seconds
            self._ownership.opened({p.number: p.epoch for p in recovered.ready if p.number in self._owned})

    def _try_later(self, owned: _Owned, now: float) -> None:
        """Each try may depose an owner that serves."""
        pause = self._limits.recovery_retry_seconds * 2**owned.tries
        owned.retry_at = now + min(pause, self._limits.recovery_retry_seconds_max)
        owned.tries = min(owned.tries + 1, 30)

    def _checkpoint(self, owned: _Owned, partition: Partition, checkpoints: list[Submission]) -> None:
        """Capture the state; with nothing in flight it is a checkpoint already."""
        owned.captured_at = self._clock.monotonic()
        if not partition.capture():
            return
        if owned.in_flight:
            owned.captured_behind = owned.in_flight[-1].append
        else:
            checkpoints.append(partition.checkpoint())


def _refusal(owned: _Owned | None, envelope: CommandEnvelope, reason: Reason) -> Unavailable:
    """It says that nothing was done: of a command that was asked before, that may not be so."""
    if owned is not None and envelope.key is not None and owned.knows(envelope.account_id, envelope.key):
        return Unavailable("outcome_unknown")
    return Unavailable(reason, 0.1) if reason == "not_mine" else Unavailable(reason)


class _Figures:
    """What is measured at each tick."""

    def __init__(self, shard: str) -> None:
        self.aggregates = metrics.aggregates.labels(shard)
        self.owned = metrics.partitions_owned.labels(shard)
        self.assigned = metrics.partitions_assigned.labels(shard)
        self.in_flight = metrics.appends_in_flight.labels(shard)
        self.oldest = metrics.append_oldest.labels(shard)
        self.keys = metrics.keys_remembered.labels(shard)
        self.keys_bytes = metrics.keys_bytes.labels(shard)


def _row(owned: _Owned, now: float) -> dict[str, object]:
    """``oldest_append_seconds``: how long the oldest append has been under way."""
    partition = owned.partition
    state = "lost" if owned.lost else "down" if partition is None else "leaving" if owned.leaving else "serving"
    in_flight = list(owned.in_flight)
    return {
        "partition": owned.number,
        "state": state,
        "epoch": None if partition is None else partition.epoch,
        "confirmed": None if partition is None else partition.confirmed,
        "aggregates": 0 if partition is None else partition.aggregates_in_memory,
        "uncheckpointed": 0 if partition is None else partition.uncheckpointed,
        "appends_in_flight": len(in_flight),
        "oldest_append_seconds": round(now - in_flight[0].since, 6) if in_flight else 0.0,
    }
