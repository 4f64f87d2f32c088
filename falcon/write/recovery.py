"""Taking partitions over and bringing them to where their log ends."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from falcon.domain.ids import Millis
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import EventSource, Journal, JournalUnavailable
from falcon.telemetry import metrics
from falcon.write.clock import AHEAD_MILLIS_MAX, Clock
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.snapshots import PartMissing

log = logging.getLogger("falcon.shard")

_READ_EVENTS = 5_000  # some 5 MB, so that memory stays small however long the log is
_PROGRESS_SECONDS = 15.0  # a broker that shows nothing for so long is away; a long log may take minutes in all

# Runs a recovery: at once, or on a thread, so that it does not hold up partitions that serve.
Background: TypeAlias = Callable[[Callable[[], None]], object]


class Recovered(msgspec.Struct, frozen=True):
    """Some partitions are ``ready`` to serve, or still ``down``; ``left`` of the others are not done yet.

    ``undecodable``: down until a version runs that knows their events.
    """

    left: int
    ready: Sequence[PartitionAggregates] = ()
    down: Sequence[int] = ()
    undecodable: Sequence[int] = ()


class Recovery:
    """Serves one recovery at a time."""

    def __init__(
        self,
        journal: Journal,
        source: EventSource,
        make_partition: Callable[[int], PartitionAggregates],
        owner: str,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._source = source
        self._make_partition = make_partition
        self._owner = owner
        self._clock = clock
        self._distrusted: set[int] = set()

    def distrust(self, number: int, missing: PartMissing) -> None:
        """A snapshot of the partition is missing or damaged: its next recovery uses none of them. Any thread may call
        it."""
        log.error("partition %s uses no snapshots, and reads its log from the start: %s", number, missing)
        metrics.parts_missing.inc()
        self._distrusted.add(number)

    def run(self, numbers: Sequence[int]) -> Iterator[Recovered]:
        """Reports each partition as soon as it is ready, or found to be down, and nothing new between two reads of the
        log. Raises nothing: a partition that cannot be taken over now is down."""
        began = self._clock.monotonic()
        left = len(numbers)
        newest: Millis = 0
        for recovered in self._recover(numbers):
            left -= len(recovered.ready) + len(recovered.down) + len(recovered.undecodable)
            newest = max([newest, *(partition.at for partition in recovered.ready)])
            yield msgspec.structs.replace(recovered, left=left)
        metrics.recovery_seconds.observe(self._clock.monotonic() - began)
        self._compare(newest)

    def _compare(self, newest: Millis) -> None:
        """Say so if the log is ahead of the clock. ``newest``: the time of the newest event."""
        ahead = newest - self._clock.now()
        if ahead > AHEAD_MILLIS_MAX:
            log.error(
                "the newest event is %d s ahead of this machine's clock, which is wrong now or was wrong then; "
                "new events follow the clock",
                ahead // 1_000,
            )

    def _recover(self, numbers: Sequence[int]) -> Iterator[Recovered]:
        try:
            ends = self._journal.takeover(numbers, self._owner)
        except JournalUnavailable as error:
            # One line for each try; what is down answers 503 until a try succeeds.
            log.error("partitions %s..%s are down: %s", numbers[0], numbers[-1], error)
            ends = {}
        if down := [number for number in numbers if number not in ends]:
            yield _some(down=down)
        yield from self._read_up_to(ends)

    def _read_up_to(self, ends: dict[int, Position]) -> Iterator[Recovered]:
        """Checkpoints, then one pass through the log from the oldest of them."""
        partitions = {number: self._make_partition(number) for number in ends}
        cursor, unreadable = self._restore(partitions)
        if unreadable:
            yield _some(down=unreadable)
        moved_at = time.monotonic()
        while True:
            ready = [number for number, position in cursor.items() if position.offset >= ends[number].offset]
            cursor = {number: position for number, position in cursor.items() if number not in ready}
            if ready:
                yield _some(ready=[self._begun(partitions[number], ends[number]) for number in ready])
            if not cursor:
                return
            try:
                events, after = self._source.read(cursor, _READ_EVENTS)
                if after != cursor:
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > _PROGRESS_SECONDS:
                    raise JournalUnavailable(f"the log could not be read up to its end within {_PROGRESS_SECONDS:g} s")
            except Undecodable as error:
                log.error("partition %s is down: %s", error.partition, error)
                yield _some(undecodable=[error.partition])
                cursor = {number: position for number, position in cursor.items() if number != error.partition}
                continue
            except JournalUnavailable as error:
                down = list(cursor) if error.partition is None else [error.partition]
                log.error("partitions %s are down: %s", down, error)
                yield _some(down=down)
                cursor = {number: position for number, position in cursor.items() if number not in down}
                continue
            again, unreadable = self._replay(events, partitions, ends)
            yield _some(down=unreadable)
            cursor = {number: position for number, position in {**after, **again}.items() if number not in unreadable}

    def _replay(
        self, events: Sequence[Recorded], partitions: dict[int, PartitionAggregates], ends: dict[int, Position]
    ) -> tuple[dict[int, Position], list[int]]:
        """Gives the partitions that have to be read again, and from where; and those whose snapshots cannot be read."""
        again: dict[int, Position] = {}
        unreadable: list[int] = []
        for recorded in events:
            number = recorded.envelope.partition
            # An event after our own marker is a newer owner's. A state that held it would pass for ours.
            if number in again or number in unreadable or recorded.offset >= ends[number].offset:
                continue
            try:
                partitions[number].replay(recorded)
            except PartMissing as missing:
                self.distrust(number, missing)
                again[number] = partitions[number].restore_nothing()
            except JournalUnavailable as error:
                log.error("partition %s is down: %s", number, error)
                unreadable.append(number)
            else:
                metrics.recovery_events.inc()
        return again, unreadable

    def _restore(self, partitions: dict[int, PartitionAggregates]) -> tuple[Cursor, list[int]]:
        """Gives from where the log of each partition is to be read; and the partitions whose snapshots cannot be
        read."""
        cursor: dict[int, Position] = {}
        unreadable: list[int] = []
        for number, partition in partitions.items():
            try:
                cursor[number] = partition.restore_nothing() if number in self._distrusted else partition.restore()
            except PartMissing as missing:
                self.distrust(number, missing)
                cursor[number] = partition.restore_nothing()
            except JournalUnavailable as error:
                unreadable.append(number)
                fault = error
        if unreadable:
            log.error("partitions %s are down: %s", unreadable, fault)
        return cursor, unreadable

    def _begun(self, partition: PartitionAggregates, end: Position) -> PartitionAggregates:
        partition.begin(end, self._clock.now())
        self._distrusted.discard(partition.number)
        return partition


_some = partial(Recovered, 0)


def at_once(recovery: Callable[[], None]) -> None:
    """A Background for a journal that is quick and belongs to one thread."""
    recovery()
