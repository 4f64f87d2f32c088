"""Carrying out a batch: which of its commands are decided, and why the others are not."""

import logging
from collections.abc import Callable, Mapping
from typing import Final, assert_never

from falcon.journal.ports import JournalUnavailable, Submission
from falcon.write import refusals
from falcon.write.clock import Clock
from falcon.write.disk import TAKEN_TO_THE_END, Disk
from falcon.write.owned import Down, Leaving, Lost, Owned, Recovering, Serving, Waiter, known_of
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.protocol import CommandBatch, CommandEnvelope, Unavailable
from falcon.write.refusals import Cause
from falcon.write.replies import Replies
from falcon.write.snapshots import PartMissing
from falcon.write.stored_aggregates import Unreadable

log = logging.getLogger("falcon.shard")

# An append of so many bytes takes no further command. A short command may make an event of 5 MB,
# such as the end of a room of 100,000 members, and a journal takes 8 MB at once.
_APPEND_BYTES: Final = 1 << 20


class Execution:
    """Decides commands of the partitions in ``states`` that serve, and lets their replies wait for the log.

    ``on_unreadable``: called if a stored part is missing, or cannot be read once a decision has begun to change the
    state. It takes the partition down.
    """

    def __init__(
        self,
        states: Mapping[int, Owned],
        replies: Replies,
        clock: Clock,
        stall_seconds: float,
        disk: Disk,
        on_unreadable: Callable[[Serving, Unreadable], None],
    ) -> None:
        self._states = states
        self._replies = replies
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._disk = disk
        self._on_unreadable = on_unreadable

    def carry_out(self, batch: CommandBatch, submissions: list[Submission]) -> list[Serving]:
        """Gives the partitions in which something was decided; adds their appends to ``submissions``.

        All of a partition's events go into one append, unless they are large.
        """
        now, monotonic = self._clock.now(), self._clock.monotonic()
        waiting: dict[int, tuple[Serving, list[Waiter]]] = {}
        for index, envelope in enumerate(batch.commands):
            owned = self._states.get(envelope.partition)
            cause = self._cause(owned, envelope, monotonic)
            if cause is not None:
                refusal = _refusal(owned, envelope, cause)
                self._replies.add(Waiter(batch.number, index, refusal, recorded=False), refusal)
                continue
            assert isinstance(owned, Serving)
            aggregates = owned.aggregates
            n, untaken_bytes = aggregates.n, aggregates.untaken_bytes
            try:
                executed = aggregates.execute(envelope, now)
            except (PartMissing, JournalUnavailable) as fault:
                if isinstance(fault, JournalUnavailable) and aggregates.untaken_bytes == untaken_bytes:
                    # Nothing was decided. The others of the partition need not wait for this one state.
                    log.error("partition %s refused a command: %s", owned.number, fault)
                    refusal = refusals.state_unreadable()
                    self._replies.add(Waiter(batch.number, index, refusal, recorded=False), refusal)
                    continue
                _, decided = waiting.pop(envelope.partition, (owned, []))
                owned.unproven += decided  # none of it has been taken: what refuses the others refuses them
                self._on_unreadable(owned, fault)
                refusal = refusals.not_recovered()
                self._replies.add(Waiter(batch.number, index, refusal, recorded=False), refusal)
                continue
            waiter = Waiter(batch.number, index, executed, aggregates.n > n)
            if (touched := waiting.get(envelope.partition)) is None:
                waiting[envelope.partition] = (owned, [waiter])
            else:
                touched[1].append(waiter)
            if aggregates.untaken_bytes >= _APPEND_BYTES:
                self._replies.hold(owned, waiting[envelope.partition][1], submissions)
                waiting[envelope.partition] = (owned, [])
        for serving, waiters in waiting.values():
            self._replies.hold(serving, waiters, submissions)
        return [serving for serving, _ in waiting.values()]

    def _cause(self, owned: Owned | None, envelope: CommandEnvelope, monotonic: float) -> Cause | None:
        """Why the command cannot be decided here and now; None if it can."""
        match owned:
            case Serving(aggregates=aggregates, in_flight=in_flight):
                if envelope.deadline < monotonic:
                    return refusals.expired_at_owner
                if in_flight and monotonic - in_flight[0].since > self._stall_seconds:
                    return refusals.append_stalled
                if self._disk.is_nearly_full and not _is_taken_to_the_end(aggregates, envelope):
                    return refusals.disk_nearly_full
                return None
            case Down() | Recovering():
                return refusals.disk_nearly_full if self._disk.is_nearly_full else refusals.not_recovered
            case Leaving() | Lost() | None:
                return refusals.not_owned
            case _:
                assert_never(owned)


def _is_taken_to_the_end(aggregates: PartitionAggregates, envelope: CommandEnvelope) -> bool:
    """True if it adds next to nothing, or is a retry, whose answer the log has."""
    if isinstance(envelope.command, TAKEN_TO_THE_END):
        return True
    return envelope.key is not None and aggregates.knows(envelope.account_id, envelope.key)


def _refusal(owned: Owned | None, envelope: CommandEnvelope, cause: Cause) -> Unavailable:
    """A refusal says that nothing was done. Of a command with a key that is known here that may be wrong."""
    known = None if owned is None else known_of(owned)
    if known is not None and envelope.key is not None and known.knows(envelope.account_id, envelope.key):
        return refusals.key_may_be_done()
    return cause()
