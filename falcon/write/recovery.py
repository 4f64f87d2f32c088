"""Taking partitions over and bringing them to where their log ends."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import EventSource, Journal, JournalUnavailable
from falcon.telemetry import metrics
from falcon.write.partition import Partition

log = logging.getLogger("falcon.shard")

_READ_EVENTS = 5_000
_PROGRESS_SECONDS = 15.0

# Runs a recovery: at once, or on a thread, so that partitions that serve are not held up by those that come.
Background: TypeAlias = Callable[[Callable[[], None]], None]


class Recovered(msgspec.Struct, frozen=True):
    """What became of a recovery: partitions ready to serve, and those that are down still.

    ``undecodable``: down until somebody runs a version that knows their events.
    """

    ready: list[Partition]
    down: list[int]
    undecodable: list[int]
    began: float


class Recovery:
    """For one recovery at a time."""

    def __init__(
        self,
        journal: Journal,
        source: EventSource,
        make_partition: Callable[[int], Partition],
        owner: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._source = source
        self._make_partition = make_partition
        self._owner = owner
        self._monotonic = monotonic

    def run(self, numbers: Sequence[int]) -> Recovered:
        """Raises nothing: what cannot be taken over now is said, and is down."""
        began = self._monotonic()
        ready: list[Partition] = []
        undecodable: list[int] = []
        try:
            ends = self._journal.takeover(numbers, self._owner)  # not all of them, perhaps
            try:
                ready = self._recover(ends)
            except Undecodable:
                for number, end in ends.items():  # all but the one that has the record
                    try:
                        ready += self._recover({number: end})
                    except Undecodable as error:
                        log.error("partition %s is down: %s", number, error)
                        undecodable.append(number)
        except JournalUnavailable as error:
            # One line for each try; what is down answers 503 until a try succeeds.
            log.error("partitions %s..%s are down: %s", numbers[0], numbers[-1], error)
        metrics.recovery_seconds.observe(self._monotonic() - began)
        recovered = {partition.number for partition in ready}
        down = [number for number in numbers if number not in recovered and number not in undecodable]
        return Recovered(ready, down, undecodable, began)

    def _recover(self, ends: dict[int, Position]) -> list[Partition]:
        """Checkpoints, then one pass through the log from the oldest of them."""
        partitions = {number: self._make_partition(number) for number in ends}
        starts = {number: partition.restore() for number, partition in partitions.items()}
        cursor: Cursor = {number: start for number, start in starts.items() if start.offset < ends[number].offset}
        tail = 0
        moved_at = time.monotonic()
        while cursor:
            events, after = self._source.read(cursor, _READ_EVENTS)
            for recorded in events:
                # What stands behind our own marker is a newer owner's: a state that held it would pass for ours.
                if recorded.offset < ends[recorded.envelope.partition].offset:
                    partitions[recorded.envelope.partition].replay(recorded)
                    tail += 1
            if after != cursor:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _PROGRESS_SECONDS:
                raise JournalUnavailable(f"the log could not be read up to its end within {_PROGRESS_SECONDS:g} s")
            cursor = {number: position for number, position in after.items() if position.offset < ends[number].offset}
        for number, end in ends.items():
            partitions[number].begin(end)
        metrics.recoveries.inc(len(ends))
        metrics.recovery_events.inc(tail)
        return list(partitions.values())


def at_once(recovery: Callable[[], None]) -> None:
    """A Background for those whose journal belongs to one thread, and is quick."""
    recovery()
