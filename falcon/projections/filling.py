"""Finds out when a read model that was installed beside an older log has been filled and may be shown."""

import logging
import time
from collections.abc import Callable
from typing import Final

from falcon.journal.envelope import Cursor
from falcon.journal.ports import EventSource
from falcon.read.store import Fill, FilledTables

log = logging.getLogger("falcon.projections")

_LOOK_SECONDS: Final = 1.0  # a query at the end of a filling is this late
_END_SECONDS: Final = 60.0  # an end of the log that took longer to reach says too little about the present end
_KNOWN_SECONDS: Final = 3.0  # by then every reader knows that the model is counted; readers look at least once a second


class Filling:
    """Serves one projection and one thread. Several processes may do this for the same projection."""

    def __init__(
        self,
        name: str,
        source: EventSource,
        tables: FilledTables,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._source = source
        self._tables = tables
        self._monotonic = monotonic
        self._fill: Fill | None = None
        self._look_at = 0.0
        self._end: tuple[Cursor, float] | None = None
        self._counted_since: float | None = None

    def forget(self) -> None:
        """Look again: another process may have thrown away what was shown."""
        self._fill = self._end = self._counted_since = None

    def look(self) -> None:
        """Move the model on if it has been filled. Call this when little of the log is left to apply.

        Raises ReadStoreUnavailable, JournalUnavailable.
        """
        now = self._monotonic()
        if self._fill is Fill.SHOWN or now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        before, self._fill = self._fill, self._tables.fill(self._name)
        if self._fill is Fill.FILLING:
            if before is None:
                log.info("projection %s is being filled from the log", self._name)
            if self._has_reached_the_end(now):
                self._tables.move_fill(self._name, Fill.COUNTED)
        elif self._fill is Fill.COUNTED:
            if self._counted_since is None:
                self._counted_since = now
            if now - self._counted_since >= _KNOWN_SECONDS:
                self._tables.move_fill(self._name, Fill.SHOWN)
                log.info("projection %s has been filled and is shown", self._name)

    def _has_reached_the_end(self, now: float) -> bool:
        """True if all partitions have been applied up to the end, also the ones that other processes apply."""
        if self._end is None or now - self._end[1] > _END_SECONDS:
            self._end = self._source.end(), now
        end, _ = self._end
        applied = self._tables.cursor(self._name)
        return all(applied[p].offset >= end[p].offset for p in range(self._source.partitions))
