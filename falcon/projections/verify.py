"""Comparing the read tables with the log, since a table may lose what the log has."""

import time
from collections.abc import Callable
from typing import Final

from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import EventSource
from falcon.projections.projection import Project
from falcon.projections.runner import project_all
from falcon.read.store import Comparison, StreamTables

_WINDOW_EVENTS: Final = 2_000


class Verify:
    """One projection, partition by partition, a window of events at a time; the live tables are served meanwhile.

    A cell is judged in the window of its last write, so that memory does not grow with the log. ``events_a_second``
    bounds what it takes from those who work. ``progress`` gets the number of offsets done.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: EventSource,
        tables: StreamTables,
        *,
        mend: bool,
        events_a_second: float,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._name = name
        self._project = project
        self._source = source
        self._tables = tables
        self._mend = mend
        self._events_a_second = events_a_second
        self._progress = progress
        self._done = 0

    def run(self) -> Comparison:
        """Up to where the projection has been applied. Raises ProjectionFailed, Undecodable, JournalUnavailable,
        ReadStoreUnavailable."""
        total = Comparison()
        for partition, applied in sorted(self._tables.cursor(self._name).items()):
            total = total.plus(self._partition(partition, applied.offset))
        return total

    def _partition(self, partition: Partition, end: int) -> Comparison:
        total = Comparison()
        position = Position()
        while position.offset < end:
            began = time.monotonic()
            events, cursor = self._source.read({partition: position}, min(_WINDOW_EVENTS, end - position.offset))
            after = cursor[partition]
            if after == position:
                continue
            writes = project_all(self._name, self._project, events)
            total = total.plus(self._tables.compare(self._name, partition, after.offset, writes, self._mend))
            self._done += after.offset - position.offset
            position = after
            self._progress(self._done)
            time.sleep(max(0.0, began + len(events) / self._events_a_second - time.monotonic()))
        return total
