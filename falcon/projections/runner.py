"""Runners that bring the read tables to where the log stands, and keep them there."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from falcon.journal.envelope import Recorded
from falcon.journal.ports import Append, EventSource, JournalUnavailable
from falcon.projections.filling import Filling
from falcon.projections.lag import READABLE, TIMELINE, Lag
from falcon.projections.skipping import SkippingProjection
from falcon.read.catalogue import READ_MODELS, Project
from falcon.read.store import ProjectionTables, ReadStoreUnavailable, StaleProjector
from falcon.read.write import Write
from falcon.telemetry import metrics

log = logging.getLogger("falcon.projections")

_BATCH_EVENTS = 1_000  # in one transaction of SQLite, which commits of messages wait for: some milliseconds


class InlineTables(ProjectionTables, Protocol):
    """Tables that a projection can be applied to within the commit of its events.

    One offset says where a reader of their log stands: its partitions share one numbering.
    """

    def following(self, projections: Sequence[str], first: int) -> Collection[str]:
        """Call it once within a commit that appends at ``first``, before ``write``. Gives the projections that have
        been applied up to there. The commit has to apply them, or to ``leave`` them there."""

    def leave(self, projection: str, first: int) -> None:
        """The commit that appends at ``first`` does not apply this projection."""

    def write(self, writes: Mapping[str, Sequence[Write]]) -> None:
        """``writes``: by projection. The caller rolls back if it raises."""


class InlineProjector:
    """Applies appends within the commit that makes them durable: they are readable as soon as they are acknowledged.

    A projection whose position is not where the append begins (rebuilding, stopped, new) is left to ProjectionCatchUp.
    A failure here never fails the append. A commit has no savepoint, which would cost a single message too much: only
    if a projection fails, all is written again, and each has its own ``savepoint``, which undoes its writes.
    """

    def __init__(
        self, projections: Mapping[str, Project], tables: InlineTables, savepoint: Callable[[], "Savepoint"]
    ) -> None:
        self._names = list(projections)
        self._taking: dict[type[Any], list[tuple[str, Project]]] = {}
        for name, project in projections.items():
            for event in READ_MODELS[name].takes:
                self._taking.setdefault(event, []).append((name, project))
        self._tables = tables
        self._savepoint = savepoint
        self._applied: Collection[str] = ()
        self._events = 0  # that commits have applied to all
        self._projected = {name: metrics.projected_events.labels(name) for name in projections}
        for counter in self._projected.values():
            counter.follow(lambda: self._events)

    def apply(self, appends: Sequence[Append], first: int) -> bool:
        try:
            self._applied = self._tables.following(self._names, first)
            self._write(self._applied, appends)
        except Exception:  # a fault of one projection must not lose the message; apply_each finds it again
            return False
        return True

    def apply_each(self, appends: Sequence[Append], first: int) -> None:
        following = self._tables.following(self._names, first)
        self._applied = [name for name in following if self._is_applied_alone(name, appends, first)]

    def _is_applied_alone(self, name: str, appends: Sequence[Append], first: int) -> bool:
        savepoint = self._savepoint()
        try:
            self._write([name], appends)
            savepoint.release()
        except Exception as error:
            savepoint.rollback()
            self._tables.leave(name, first)
            _stop(self._tables, name, error)
            return False
        return True

    def _write(self, names: Collection[str], appends: Sequence[Append]) -> None:
        """Apply these projections. The caller rolls back if it raises."""
        writes: dict[str, list[Write]] = {}
        for append in appends:
            for offset, envelope in enumerate(append.envelopes, append.first):
                recorded = Recorded(offset, envelope)
                for name, project in self._taking.get(type(envelope.event), ()):
                    if name in names:
                        writes.setdefault(name, []).extend(project(recorded))
        self._tables.write(writes)

    def committed(self, appends: Sequence[Append]) -> None:
        """The last appends are durable."""
        events = sum([len(append.records) for append in appends])
        if len(self._applied) == len(self._names):
            self._events += events
        else:
            for name in self._applied:
                self._projected[name].inc(events)
        if TIMELINE in self._applied:
            now = time.time() * 1000
            for append in appends:
                for envelope in append.envelopes:
                    READABLE.observe(max(0.0, (now - envelope.at) / 1000))


class Savepoint(Protocol):
    """Undoes writes within a transaction."""

    def release(self) -> None: ...

    def rollback(self) -> None: ...


class ProjectionCatchUp:
    """Applies what the tables do not have yet. Call ``step``, one bounded round, again and again."""

    def __init__(self, projections: Mapping[str, Project], source: EventSource, tables: ProjectionTables) -> None:
        self._projections = projections
        self._source = source
        self._tables = tables
        self._lags = {name: Lag(name) for name in projections}
        self._fillings = {name: Filling(name, source, tables) for name in projections}

    def step(self) -> int:
        """Returns how many events were applied. Raises nothing: errors are logged, and the next step tries again."""
        return sum(self._step(name, project) for name, project in self._projections.items())

    def _step(self, name: str, project: Project) -> int:
        try:
            stopped = self._tables.why_stopped(name) is not None  # look each time: a rebuild may have got past the stop
            metrics.projection_stopped.labels(name).set(stopped)
            count = self._apply(name, project)
            if stopped and count:
                self._tables.stopped(name, None)
                metrics.projection_stopped.labels(name).set(0)
                log.info("projection %s continues", name)
            return count
        except StaleProjector:
            pass  # the inline projector or another runner was first
        except (ReadStoreUnavailable, JournalUnavailable) as error:
            log.warning("projection %s waits: %s", name, error)
        except Exception as error:  # the event cannot be applied, or the tables refuse the write
            _stop(self._tables, name, error)
        return 0

    def _apply(self, name: str, project: Project) -> int:
        """Apply a batch. Returns how many events were applied. Raises StaleProjector, ReadStoreUnavailable,
        JournalUnavailable, and any error of an event that cannot be applied."""
        cursor = self._tables.cursor(name)
        events, after = self._source.read(cursor, _BATCH_EVENTS)
        lag = self._lags[name]
        lag.set_remaining(self._source.remaining(cursor))
        if len(events) < _BATCH_EVENTS:
            self._fillings[name].look()
        if not events:
            lag.caught_up()
            if after != cursor:  # the log has no offsets in between
                self._tables.apply(name, cursor, after, ())
            return 0
        lag.read(events)
        began = time.monotonic()
        self._tables.apply(name, cursor, after, SkippingProjection(name, project).all_writes(events))
        seconds = time.monotonic() - began
        lag.applied(events, {recorded.envelope.partition for recorded in events}, seconds)
        lag.set_remaining(self._source.remaining(after))
        metrics.projected_events.labels(name).inc(len(events))
        return len(events)


def _stop(tables: ProjectionTables, name: str, error: Exception) -> None:
    log.error("projection %s has stopped: %s", name, error)
    metrics.projection_stopped.labels(name).set(1)
    try:
        tables.stopped(name, str(error))
    except ReadStoreUnavailable as unavailable:
        log.error("projection %s has stopped, and the tables could not record it: %s", name, unavailable)
