"""Compares the read tables with the log, since tables may lose what the log has."""

import time
from collections.abc import Callable
from typing import Final

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import CheckingSource
from falcon.projections.skipping import SkippingProjection
from falcon.read.catalogue import Project
from falcon.read.store import Comparing, Comparison, ConsumerTables

_WINDOW_EVENTS: Final = 2_000  # their rows are read with one call for each table
_PART_EVENTS: Final = 500  # each of the last parts (Comparing.rest) counts as so many events


class Verify:
    """Compares one projection, partition by partition, a window of events at a time. The live tables are served
    meanwhile.

    Memory grows with the log by about one bit a cell, up to a bound. ``events_a_second`` limits the load on the
    servers. ``progress`` gets the number of offsets done.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: CheckingSource,
        tables: ConsumerTables,
        *,
        repair: bool,
        events_a_second: float,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._name = name
        self._project = project
        self._source = source
        self._tables = tables
        self._repair = repair
        self._events_a_second = events_a_second
        self._progress = progress
        self._done = 0

    def run(self) -> Comparison:
        """Compare up to where the projection has been applied. Raises ProjectionFailed, Undecodable,
        JournalUnavailable, LogWentBack, ReadStoreUnavailable."""
        applied = self._tables.cursor(self._name)
        self._source.check(applied)
        projection = SkippingProjection(self._name, self._project, self._tables.skips(self._name))
        comparing = self._tables.comparing(self._name, applied, repair=self._repair)
        total = Comparison()
        for partition, position in sorted(applied.items()):
            total = total.plus(self._partition(projection, comparing, partition, position.offset))
        for found in comparing.rest():
            total = total.plus(found)
            time.sleep(_PART_EVENTS / self._events_a_second)
        return total

    def _partition(
        self, projection: SkippingProjection, comparing: Comparing, partition: Partition, end: int
    ) -> Comparison:
        total = Comparison()
        position = Position()
        while position.offset < end:
            began = time.monotonic()
            limit = min(_WINDOW_EVENTS, end - position.offset)
            events, cursor = projection.read(self._source, {partition: position}, limit)
            after = cursor[partition]
            if after == position:
                continue
            writes = projection.all_writes(events)
            total = total.plus(comparing.compare(partition, after.offset, writes))
            self._done += after.offset - position.offset
            position = after
            self._progress(self._done)
            time.sleep(max(0.0, began + len(events) / self._events_a_second - time.monotonic()))
        return total
