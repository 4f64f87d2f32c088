"""Builds read tables again beside the live ones."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from falcon.journal.envelope import Cursor
from falcon.journal.ports import CheckingSource, LogWentBack
from falcon.projections.skipping import SkippingProjection
from falcon.read.catalogue import Project
from falcon.read.store import ProjectionTables, Recipe, Skip, StaleProjector

log = logging.getLogger("falcon.projections")

_BATCH_EVENTS: Final = 4_000  # some 4 MB, and one transaction or some calls to HBase
_LITTLE_EVENTS: Final = 4_000  # one more batch, which writers wait for during the switch
_MUCH_EVENTS: Final = 16_000  # four batches: so many are still a second of a switch
# While the live tables are closed nothing new can be read, so a rebuild that has more to apply opens them again. It
# looks at the clock between two batches.
_CLOSED_EVENTS: Final = 32_000
_CLOSED_SECONDS: Final = 3.0


class Rebuild:
    """Builds a projection's tables again beside the live ones, then switches over. Reads continue all the while.

    What has been applied is kept with the tables: a rebuild that was killed continues where it was, unless it was made
    by another version or would have had to pass over other events. ``skips``: events to pass over. ``progress`` gets
    the cursor whenever it may have moved.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: CheckingSource,
        tables: ProjectionTables,
        progress: Callable[[Cursor], None] = lambda reached: None,
        skips: Iterable[Skip] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._recipe = Recipe(skips=tuple(skips))
        self._projection = SkippingProjection(name, project, self._recipe.skips)
        self._source = source
        self._tables = tables
        self._progress = progress
        self._monotonic = monotonic
        self._done = 0
        self._shadow = ""

    def run(self) -> int:
        """Returns the number of events that this run has applied. Ends if fewer events arrive than it can apply.

        Raises ProjectionFailed, Undecodable, JournalUnavailable or ReadStoreUnavailable. The live tables are then as
        they were.
        """
        self._shadow = self._resumed() or self._tables.begin_rebuild(self._name, self._recipe)
        self._catch_up()
        while not self._tables.finish_rebuild(self._name, self._catch_up_closed):
            self._catch_up()
        return self._done

    def _resumed(self) -> str | None:
        """The name of the tables of an earlier run, if this one can continue with them."""
        unfinished = self._tables.unfinished_rebuild(self._name)
        if unfinished is None:
            return None
        cursor = self._tables.cursor(unfinished.shadow)
        if not self._recipe.continues(unfinished.recipe, cursor):
            log.info(
                "the earlier rebuild of %s was of another version, or passed over other events: it starts over",
                self._name,
            )
            return None
        try:
            self._source.check(cursor)
        except LogWentBack as error:
            log.info("the earlier rebuild of %s starts over: %s", self._name, error)
            return None
        self._tables.resume_rebuild(self._name, unfinished.shadow, self._recipe)
        return unfinished.shadow

    def _catch_up(self) -> None:
        """Rounds until one has little to apply; or not much, and no less than the one before: then another one helps no
        more."""
        before, applied = 0, self._round()
        while applied > _MUCH_EVENTS or _LITTLE_EVENTS < applied < before:
            before, applied = applied, self._round()

    def _round(self) -> int:
        """Apply what is in the log now. Returns how many events that were."""
        end = self._source.end()
        done = self._done
        while self._step(end):
            pass
        return self._done - done

    def _catch_up_closed(self) -> bool:
        """Apply what is in the log now. Returns False if it is too much: the rest is left."""
        end = self._source.end()
        done, began = self._done, self._monotonic()
        while self._step(end):
            if self._done - done >= _CLOSED_EVENTS or self._monotonic() - began >= _CLOSED_SECONDS:
                return False
        return True

    def _step(self, end: Cursor) -> bool:
        """Apply a batch. Returns False if all partitions have reached the end."""
        cursor = self._tables.cursor(self._shadow)
        self._progress(cursor)
        if all(cursor[p].offset >= end[p].offset for p in range(self._source.partitions)):
            return False
        events, after = self._projection.read(self._source, cursor, _BATCH_EVENTS)
        try:
            self._tables.apply(self._shadow, cursor, after, self._projection.all_writes(events))
        except StaleProjector:  # the same command runs twice, and the other one has applied them
            return True
        self._done += len(events)
        return True
