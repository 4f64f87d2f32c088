"""Builds read tables again beside the live ones. The processes of a cluster may share the work."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Final, TypeAlias

from falcon import __version__
from falcon.domain.ids import Partition
from falcon.journal.envelope import Cursor
from falcon.journal.ports import CheckingSource, EventSource, JournalUnavailable, LogWentBack
from falcon.projections.skipping import SkippingProjection
from falcon.read.catalogue import Project
from falcon.read.store import (
    ProjectionTables,
    ReadStoreUnavailable,
    Recipe,
    SharedRebuildTables,
    Skip,
    StaleProjector,
    UnfinishedRebuild,
)

log = logging.getLogger("falcon.projections")

_BATCH_EVENTS: Final = 4_000  # some 4 MB, and one transaction or some calls to HBase
_LITTLE_EVENTS: Final = 4_000  # one more batch, which writers wait for during the switch
_MUCH_EVENTS: Final = 16_000  # four batches: so many are still a second of a switch
# While the live tables are closed nothing new can be read, so a rebuild that has more to apply opens them again. It
# looks at the clock between two batches.
_CLOSED_EVENTS: Final = 32_000
_CLOSED_SECONDS: Final = 3.0
_OTHERS_SECONDS: Final = 0.1  # the pause before another look at partitions that other processes apply
_LOOK_SECONDS: Final = 2.0  # between two looks for a rebuild to share
_PAUSE_SECONDS: Final = 0.5  # a share that starts so much later costs a rebuild of minutes nothing
_BEAT_SECONDS: Final = 5.0  # a log line, and a sign of life for the other projectors
_SILENCE_SECONDS: Final = 60.0  # then the process that has begun a rebuild is gone

# The partitions of this process among the ones that share a rebuild, at the time of the call.
Assigned: TypeAlias = Callable[[], Collection[Partition]]


class Rebuild:
    """Builds a projection's tables again beside the live ones, then switches over. Reads continue all the while.

    What has been applied is kept with the tables: a rebuild that was killed continues where it was, unless it was made
    by another version or would have had to pass over other events. ``skips``: events to pass over. ``progress`` gets
    the cursor whenever it may have moved. ``assigned``: None if no other process can share the work. ``beat`` tells
    the others that this process is at work.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: CheckingSource,
        tables: ProjectionTables,
        progress: Callable[[Cursor], None] = lambda reached: None,
        skips: Iterable[Skip] = (),
        assigned: Assigned | None = None,
        beat: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._recipe = Recipe(skips=tuple(skips))
        self._projection = SkippingProjection(name, project, self._recipe.skips)
        self._source = source
        self._tables = tables
        self._progress = progress
        self._assigned = assigned
        self._beat = beat
        self._beat_at = monotonic()
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
        """Apply a batch of this process's partitions. Returns False if all partitions have reached the end."""
        cursor = self._tables.cursor(self._shadow)
        self._progress(cursor)
        if self._monotonic() >= self._beat_at:
            self._beat()
            self._beat_at = self._monotonic() + _BEAT_SECONDS
        unread = [p for p in range(self._source.partitions) if cursor[p].offset < end[p].offset]
        if not unread:
            return False
        own = cursor if self._assigned is None else _restrict(cursor, self._assigned(), unread)
        if own:
            self._done += _apply(self._projection, self._source, self._tables, self._shadow, own)
        else:
            time.sleep(_OTHERS_SECONDS)
        return True


class RebuildShare:
    """The part that a projector takes in rebuilds that other processes have begun. For one thread.

    The projector applies events in the partitions that it gets among the ones that share a rebuild. The process that
    has begun the rebuild is one of them, and switches over. While it is gone the others wait. ``join``: become one of
    them.
    """

    def __init__(
        self,
        projections: Mapping[str, Project],
        source: EventSource,
        tables: SharedRebuildTables,
        join: Callable[[str], AbstractContextManager[Assigned]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._projections = projections
        self._source = source
        self._tables = tables
        self._join = join
        self._monotonic = monotonic
        self._beats: dict[str, tuple[int, float]] = {}  # how many there were, and when the last one was seen
        self._shares: dict[str, tuple[Assigned, ExitStack]] = {}
        self._failed: set[str] = set()  # rebuilds in which something could not be applied here

    def run(self, ending: threading.Event) -> None:
        """Raises nothing: errors are logged, and the step is tried again."""
        while not ending.is_set():
            try:
                applied = self.step()
            except (ReadStoreUnavailable, JournalUnavailable) as error:
                log.warning("this projector's share in rebuilds waits: %s", error)
                ending.wait(_PAUSE_SECONDS)
                continue
            if not applied:
                ending.wait(_OTHERS_SECONDS if self._shares else _LOOK_SECONDS)
        for name in list(self._shares):
            self._leave(name)

    def step(self) -> int:
        """Apply a batch of each rebuild under way. Returns how many events were applied. Raises ReadStoreUnavailable,
        JournalUnavailable."""
        return sum(self._step(name) for name in self._projections)

    def _step(self, name: str) -> int:
        unfinished = self._tables.unfinished_rebuild(name)
        if unfinished is None or not self._can_share(name, unfinished):
            self._leave(name)
            return 0
        shadow = unfinished.shadow
        own = _restrict(self._tables.cursor(shadow), self._assigned(name)(), range(self._source.partitions))
        if not own:
            return 0
        projection = SkippingProjection(name, self._projections[name], unfinished.recipe.skips)
        try:
            return _apply(projection, self._source, self._tables, shadow, own)
        except (ReadStoreUnavailable, JournalUnavailable):
            raise
        except Exception as error:  # the process that has begun the rebuild meets it too, and says so
            log.error("the rebuild of %s is not shared any more: %s", name, error)
            self._failed.add(shadow)
            self._leave(name)
            return 0

    def _can_share(self, name: str, unfinished: UnfinishedRebuild) -> bool:
        same_version = unfinished.recipe.version == __version__
        return same_version and unfinished.shadow not in self._failed and self._is_at_work(name)

    def _is_at_work(self, name: str) -> bool:
        """True if the process that has begun the rebuild has given a sign of life of late."""
        beats, now = self._tables.beats(name), self._monotonic()
        before, seen_at = self._beats.get(name, (-1, now))
        if beats != before:
            seen_at = now
            self._beats[name] = beats, seen_at
        return now - seen_at < _SILENCE_SECONDS

    def _assigned(self, name: str) -> Assigned:
        if name not in self._shares:
            log.info("the rebuild of %s is shared", name)
            stack = ExitStack()
            self._shares[name] = stack.enter_context(self._join(name)), stack
        return self._shares[name][0]

    def _leave(self, name: str) -> None:
        if name in self._shares:
            _, stack = self._shares.pop(name)
            stack.close()


def _apply(
    projection: SkippingProjection, source: EventSource, tables: ProjectionTables, shadow: str, cursor: Cursor
) -> int:
    """Apply a batch from the cursor on. Returns how many events that were."""
    events, after = projection.read(source, cursor, _BATCH_EVENTS)
    try:
        tables.apply(shadow, cursor, after, projection.all_writes(events))
    except StaleProjector:  # another process has applied them; look where the tables stand now
        return 0
    return len(events)


def _restrict(cursor: Cursor, *partitions: Collection[Partition]) -> Cursor:
    """The cursor of the partitions that are in each of these."""
    return {partition: at for partition, at in cursor.items() if all(partition in each for each in partitions)}
