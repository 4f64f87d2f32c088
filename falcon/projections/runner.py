"""Runners: they bring the read tables to where the log stands, and keep them there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import Append, EventSource, JournalUnavailable
from falcon.projections.projection import Project
from falcon.read.store import Move, ProjectionTables, ReadStoreUnavailable, StaleProjector, Write
from falcon.telemetry import metrics

log = logging.getLogger("falcon.projections")

_BATCH_EVENTS = 1_000
_REBUILD_EVENTS = 4_000


class ProjectionFailed(Exception):
    """A projection met an event that it cannot apply. It stops there; it does not skip."""


class InlineProjector:
    """Applies appends within the commit that makes them durable: readable as soon as acknowledged.

    A projection that does not stand where the append begins (rebuilding, stopped, new) is left to the CatchUp runner.
    A failure here never takes the append with it: ``savepoint`` undoes the one projection's writes.
    """

    def __init__(
        self, projections: Mapping[str, Project], tables: ProjectionTables, savepoint: Callable[[], "Savepoint"]
    ) -> None:
        self._projections = projections
        self._tables = tables
        self._savepoint = savepoint

    def apply(self, appends: Sequence[Append]) -> None:
        for name, project in self._projections.items():
            savepoint = self._savepoint()
            try:
                self._apply(name, project, appends)
                savepoint.release()
            except Exception as error:  # the projection's own fault, whatever it is, must not lose the message
                savepoint.rollback()
                _stop(self._tables, name, error)

    def _apply(self, name: str, project: Project, appends: Sequence[Append]) -> None:
        positions = self._tables.positions(name)
        standing: dict[int, Position] = {}
        moves: dict[int, Move] = {}
        writes: list[Write] = []
        for append in appends:
            partition, envelopes = append.partition, append.envelopes
            position = standing.get(partition) or positions(partition)
            if position.offset != envelopes[0].offset:
                continue
            for envelope in envelopes:
                writes.extend(project(envelope))
            after = standing[partition] = envelopes[-1].after
            expected = moves[partition].expected if partition in moves else position
            moves[partition] = Move(partition, expected, after)
        if moves:
            self._tables.apply(name, list(moves.values()), writes)


class Savepoint(Protocol):
    """What can be undone within a transaction."""

    def release(self) -> None: ...

    def rollback(self) -> None: ...


class CatchUp:
    """Applies what the tables have not got yet. ``step`` is one bounded round; call it again and again."""

    def __init__(self, projections: Mapping[str, Project], source: EventSource, tables: ProjectionTables) -> None:
        self._projections = projections
        self._source = source
        self._tables = tables

    def step(self) -> int:
        """Returns how many events were applied. Raises nothing: what fails is said, and tried again next time."""
        try:
            ends = self._source.ends()
        except JournalUnavailable as error:
            log.warning("projections wait: %s", error)
            return 0
        return sum(self._step(name, project, ends) for name, project in self._projections.items())

    def _step(self, name: str, project: Project, ends: list[int]) -> int:
        applied = 0
        try:
            positions = self._tables.positions(name)
            behind = [p for p, end in enumerate(ends) if positions(p).offset < end]
            metrics.projection_lag.labels(name).set(sum(ends[p] - positions(p).offset for p in behind))
            for partition in behind:
                applied += self._advance(name, project, partition, positions(partition))
            if applied and self._tables.why_stopped(name) is not None:
                self._tables.stopped(name, None)
                metrics.projection_stopped.labels(name).set(0)
                log.info("projection %s goes on", name)
        except StaleProjector:
            pass  # the inline projector, or another runner, got there first
        except (ReadStoreUnavailable, JournalUnavailable) as error:
            log.warning("projection %s waits: %s", name, error)
        except (ProjectionFailed, Undecodable) as error:
            _stop(self._tables, name, error)
        return applied

    def _advance(self, name: str, project: Project, partition: int, position: Position) -> int:
        events = self._source.read(partition, position, _BATCH_EVENTS)
        if events:
            move = Move(partition, position, events[-1].after)
            self._tables.apply(name, [move], _project_all(name, project, events))
            metrics.projected_events.labels(name).inc(len(events))
        return len(events)


class Rebuild:
    """Builds a projection anew beside the live one, then switches over. Reads go on all the while.

    ``progress`` gets the events done and the events in the log as far as known.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: EventSource,
        tables: ProjectionTables,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._name = name
        self._project = project
        self._source = source
        self._tables = tables
        self._progress = progress
        self._done = self._total = 0
        self._shadow = ""

    def run(self) -> int:
        """Returns the number of events applied.

        Raises ProjectionFailed, Undecodable, JournalUnavailable or ReadStoreUnavailable; the live tables are then as
        they were.
        """
        self._shadow = self._tables.begin_rebuild(self._name)
        self._total = sum(self._source.ends())
        # Twice, so that what came in during the long first round is not read while everybody waits for the switch.
        self._catch_up()
        self._catch_up()
        self._tables.finish_rebuild(self._name, self._catch_up)
        return self._done

    def _catch_up(self) -> None:
        positions = self._tables.positions(self._shadow)
        for partition in range(self._source.partitions):
            position = positions(partition)
            while events := self._source.read(partition, position, _REBUILD_EVENTS):
                move = Move(partition, position, events[-1].after)
                self._tables.apply(self._shadow, [move], _project_all(self._name, self._project, events))
                position = move.position
                self._done += len(events)
                self._progress(self._done, max(self._total, self._done))


def _project_all(name: str, project: Project, events: Sequence[Envelope]) -> list[Write]:
    writes: list[Write] = []
    for envelope in events:
        try:
            writes.extend(project(envelope))
        except Exception as error:
            raise ProjectionFailed(
                f"projection {name} cannot apply partition {envelope.partition}, offset {envelope.offset}: {error!r}"
            ) from error
    return writes


def _stop(tables: ProjectionTables, name: str, error: Exception) -> None:
    log.error("projection %s has stopped: %s", name, error)
    metrics.projection_stopped.labels(name).set(1)
    try:
        tables.stopped(name, str(error))
    except ReadStoreUnavailable as unavailable:
        log.error("projection %s: that it stopped could not be recorded: %s", name, unavailable)
