"""Applies a projection, or a sink, to the assigned partitions of the log for as long as the process runs.

At least once, and idempotent: the position is stored with the tables, and the next owner of a partition continues
there, provided that the log still has that place. Nothing is read before what was read is applied, so slow tables slow
the reading down.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from falcon.domain.ids import Partition
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position, Recorded
from falcon.journal.ports import CheckingSource, JournalUnavailable, LogWentBack, NotShown
from falcon.projections.filling import Filling
from falcon.projections.lag import Lag
from falcon.projections.skipping import SkippingProjection, position_of
from falcon.read.catalogue import Project
from falcon.read.store import ConsumedTables, ReadStoreUnavailable, StaleProjector, Stop
from falcon.read.write import Write
from falcon.telemetry import metrics

log = logging.getLogger("falcon.projections")

_PAUSE_SECONDS: Final = 0.5  # after a failure of the store: short beside the outage, and two calls a second
_LOOK_AGAIN_SECONDS: Final = 5.0  # retry stopped partitions: a skip may have been recorded since
# The first pause before another look at partitions that could not be read. It doubles, since the other partitions wait
# for each look.
_LATE_SECONDS: Final = 2.0
_LATE_SECONDS_MAX: Final = 30.0
_TRY_AGAIN_SECONDS: Final = 30.0  # retry the event at which a partition has stopped: the fault may have passed
# A batch costs about the same whatever its size, so busy servers are given fewer and larger batches. The time that a
# batch takes shows how busy they are. If it takes this long, the consumer writes all the time; if twice as long, half
# of the time, and so on. The pause is bounded, since readers wait for the tables.
_WRITE_SECONDS_IDLE: Final = 0.02
_WRITE_SMOOTHING: Final = 0.2  # the weight of the newest batch, so that one slow batch does not delay the next ones
_PACE_SECONDS_MAX: Final = 0.4  # reads of new messages wait for this at most
_QUIET_PACE_SECONDS: Final = 0.1  # between two batches of a projection that is confirmed and has nothing to write
# a position stands still for at most so long while its projection has nothing to write
_UNRECORDED_SECONDS: Final = 1.0


class ProjectionConsumer:
    """Serves one thread. ``assigned``: the partitions of this consumer now.

    ``events``: the most in a batch. ``pace_seconds``: the least time between two batches, so that many events share
    one. It is more when the tables are busy, and 0 when many events are known to follow.

    ``confirms``: other projections. With its own position this consumer records from where on the log has held
    nothing that they write. ``is_confirmed``: another consumer does so for this one. So this one need not move its
    position for events that it writes nothing for, and does so once a second.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: CheckingSource,
        tables: ConsumedTables,
        assigned: Callable[[], Collection[Partition]],
        *,
        events: int = 2_000,
        pace_seconds: float = 0.0,
        confirms: Mapping[str, Project] = MappingProxyType({}),
        is_confirmed: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._project = project
        self._projection = SkippingProjection(name, project)
        self._source = source
        self._tables = tables
        self._assigned = assigned
        self._events = events
        self._much = max(1, events // 4)
        self._pace_seconds = pace_seconds
        self._monotonic = monotonic
        self._write_seconds = 0.0  # a moving average of the time that a batch takes
        self._remaining = 0  # events that are known to follow
        self._cursor: dict[Partition, Position] = {}
        self._recorded: dict[Partition, Position] = {}  # with the tables; may be behind the cursor
        self._recorded_at: dict[Partition, float] = {}
        self._confirms = confirms
        self._is_confirmed = is_confirmed
        self._is_quiet = False  # it is confirmed, and had nothing to write last time
        self._quiet_since: dict[Partition, dict[str, int]] = {}
        self._stopped: dict[Partition, float] = {}  # the time of each stop
        self._late: dict[Partition, float] = {}  # not readable yet: the time of the next look
        self._late_seconds = _LATE_SECONDS
        self._look_again_at = 0.0
        self._went_back = False
        self._applied = metrics.projected_events.labels(name)
        self._lag = Lag(name)
        self._filling = Filling(name, source, tables, monotonic)

    def run(self, ending: threading.Event) -> None:
        """Raises nothing: errors are logged, and the step is tried again."""
        while not ending.is_set():
            began = self._monotonic()
            try:
                count = self.step()
            except (ReadStoreUnavailable, JournalUnavailable) as error:
                log.warning("projection %s waits: %s", self._name, error)
                ending.wait(_PAUSE_SECONDS)
                continue
            if count < self._events and self._remaining < self._much:
                ending.wait(max(0.0, began + self._pace() - self._monotonic()))

    def _pace(self) -> float:
        least = max(self._pace_seconds, _QUIET_PACE_SECONDS) if self._is_quiet else self._pace_seconds
        return max(least, min(self._write_seconds**2 / _WRITE_SECONDS_IDLE, _PACE_SECONDS_MAX))

    def step(self) -> int:
        """Apply one batch. Returns how many events were applied. Raises ReadStoreUnavailable, JournalUnavailable."""
        try:
            return self._step()
        except (StaleProjector, LogWentBack) as error:
            log.info("projection %s: %s", self._name, error)
            self._cursor.clear()  # read the positions from the tables again, and check them
            return 0

    def _step(self) -> int:
        self._remaining = 0
        self._follow_assignment()
        self._look_at_stopped()
        going = self._going()
        if not going:
            time.sleep(_PAUSE_SECONDS / 10)
            return 0
        try:
            events, after = self._projection.read(self._source, going, self._events)
        except Undecodable as error:
            self._stop(error.partition, error.at, str(error))
            return 0
        self._lag.read(events)
        began = self._monotonic()
        count = self._apply(events, {p: at for p, at in after.items() if at != self._recorded[p]})
        wrote_seconds = self._monotonic() - began
        if events:
            self._write_seconds += _WRITE_SMOOTHING * (wrote_seconds - self._write_seconds)
        self._lag.applied(events, (p for p in after if p not in self._stopped), wrote_seconds)
        self._remaining = self._source.remaining(self._going())
        self._lag.set_remaining(self._source.remaining(self._cursor) if self._stopped else self._remaining)
        if self._remaining < self._events:
            self._filling.look()
        return count

    def _going(self) -> dict[Partition, Position]:
        return {p: position for p, position in self._cursor.items() if p not in self._stopped}

    def _follow_assignment(self) -> None:
        """A newly assigned partition continues where its last owner left it."""
        assigned = self._assigned()
        if assigned == self._cursor.keys() or self._went_back:
            return
        now = self._monotonic()
        self._late = {p: again_at for p, again_at in self._late.items() if p in assigned and again_at > now}
        come = [partition for partition in assigned if partition not in self._cursor and partition not in self._late]
        self._cursor = {p: position for p, position in self._cursor.items() if p in assigned}
        self._stopped = {p: since for p, since in self._stopped.items() if p in assigned}
        if come:
            self._resume(come)

    def _resume(self, come: Collection[Partition]) -> None:
        """If the log has lost what the tables show, this and every later projector stops in all partitions, even if the
        log has grown over the place: what follows there belongs to another history."""
        why = self._tables.why_went_back()
        applied = self._tables.cursor(self._name)
        cursor = {partition: applied[partition] for partition in come}
        if why is None:
            try:
                cursor = self._checked(cursor)
            except LogWentBack as error:
                log.error("projection %s: the log has lost what it shows: %s", self._name, error)
                self._tables.went_back(str(error))
                why = self._tables.why_went_back()  # a sink starts over
                cursor = {partition: self._tables.cursor(self._name)[partition] for partition in come}
        if why is None:
            self._filling.forget()
            self._projection = SkippingProjection(self._name, self._project, self._tables.skips(self._name))
            self._cursor.update(cursor)
            self._recorded.update(cursor)
            for partition, position in cursor.items():
                self._recorded_at.pop(partition, None)
                self._quiet_since[partition] = dict.fromkeys(self._confirms, position.offset)
            return
        log.error("projection %s has stopped: the log has lost what the tables show: %s", self._name, why)
        metrics.projection_stopped.labels(self._name).set(1)
        self._went_back = True  # until the process is restarted: what it has read of the log may be lost history
        self._cursor.clear()
        self._stopped.clear()

    def _checked(self, cursor: dict[Partition, Position]) -> dict[Partition, Position]:
        """The partitions without the ones that cannot be read for now, for instance without a leader: the others do not
        wait for them.

        Raises LogWentBack, JournalUnavailable.
        """
        try:
            self._source.check(cursor)
        except NotShown as error:
            log.warning("projection %s continues without partitions: %s", self._name, error)
            self._late |= dict.fromkeys(error.partitions, self._monotonic() + self._late_seconds)
            self._late_seconds = min(2 * self._late_seconds, _LATE_SECONDS_MAX)
            rest = {p: position for p, position in cursor.items() if p not in error.partitions}
            self._source.check(rest)
            return rest
        self._late_seconds = _LATE_SECONDS
        return cursor

    def _apply(self, events: Sequence[Recorded], after: dict[Partition, Position]) -> int:
        writes: dict[Partition, list[Write]] = {partition: [] for partition in after}
        poisoned: dict[Partition, tuple[Position, str]] = {}
        count = 0
        for recorded in events:
            partition = recorded.envelope.partition
            if partition in poisoned:
                continue
            try:
                writes[partition].extend(self._projection.writes(recorded))
                count += 1
            except Exception as error:  # any error is this event's, and the other partitions must continue
                at = position_of(recorded)
                poisoned[partition] = at, f"projection {self._name} cannot apply it: {error!r}"
                after[partition] = at
        self._confirm(events, after)
        self._is_quiet = self._is_confirmed and not any(writes.values())
        self._write_or_find_the_fault(events, after, writes)
        for partition, (at, why) in poisoned.items():
            if partition not in self._stopped:  # at an event before it, which the tables refuse
                self._stop(partition, at, why)
        self._applied.inc(count)
        return count

    def _write_or_find_the_fault(
        self, events: Sequence[Recorded], after: dict[Partition, Position], writes: dict[Partition, list[Write]]
    ) -> None:
        """An event that the tables refuse stops its own partition, not the others."""
        try:
            self._write(self._due(after, writes, len(events)), [write for each in writes.values() for write in each])
            self._cursor.update(after)
        except (ReadStoreUnavailable, StaleProjector):
            raise
        except Exception:
            moved: StaleProjector | None = None
            for partition, end in after.items():
                of_partition = [e for e in events if e.envelope.partition == partition and e.offset < end.offset]
                try:
                    self._write_up_to_the_fault(partition, of_partition, end)
                except StaleProjector as stale:  # another projector has moved the position of the refused events
                    moved = stale
            if moved is not None:
                raise moved from None

    def _write_up_to_the_fault(self, partition: Partition, events: Sequence[Recorded], end: Position) -> None:
        """Write smaller and smaller batches, so that the partition stops right before the event that the tables
        refuse."""
        done, size = 0, max(1, len(events))
        while self._cursor[partition] != end:
            after = done + size
            at = position_of(events[after]) if after < len(events) else end
            try:
                self._write({partition: at}, self._projection.all_writes(events[done:after]))
                done = after
            except (ReadStoreUnavailable, StaleProjector):
                raise
            except Exception as error:
                if size == 1:
                    refused = position_of(events[done]) if events else self._cursor[partition]
                    self._stop(partition, refused, f"the tables refuse it: {error!r}")
                    return
                size //= 2

    def _write(self, after: dict[Partition, Position], writes: Sequence[Write]) -> None:
        if after:
            recorded = {partition: self._recorded[partition] for partition in after}
            self._tables.apply(self._name, recorded, after, writes, self._quiet_since)
            self._cursor.update(after)
            self._recorded.update(after)
            self._recorded_at.update(dict.fromkeys(after, self._monotonic()))

    # --- positions of projections that have nothing to write ----------------------------------------------------------

    def _due(
        self, after: dict[Partition, Position], writes: Mapping[Partition, Sequence[Write]], events: int
    ) -> dict[Partition, Position]:
        """The positions to record now."""
        if not self._is_confirmed or events >= self._much:
            return after
        before = self._monotonic() - _UNRECORDED_SECONDS
        return {p: at for p, at in after.items() if writes[p] or self._recorded_at.get(p, before) <= before}

    def _confirm(self, events: Sequence[Recorded], after: Mapping[Partition, Position]) -> None:
        """Note from where on the others have nothing to write. Note nothing in a partition that moved without an event,
        since it may have passed over a record that does not decode; nor in a backlog: it would take time."""
        small = len(events) < self._much
        told = {recorded.envelope.partition for recorded in events if small}
        for partition in after.keys() - told:
            self._quiet_since[partition] = dict.fromkeys(self._confirms, after[partition].offset)
        if not small:
            return
        for name, project in self._confirms.items():
            found: set[Partition] = set()
            for recorded in reversed(events):
                partition = recorded.envelope.partition
                if partition not in found and _writes_anything(project, recorded):
                    found.add(partition)
                    self._quiet_since[partition][name] = recorded.offset + 1

    # --- partitions that have stopped ---------------------------------------------------------------------------------

    def _stop(self, partition: Partition, at: Position, error: str) -> None:
        """Stop before the event, without skipping it. The other partitions continue."""
        if self._recorded[partition] != at:
            self._write({partition: at}, ())
        if partition not in self._stopped:
            log.error(
                "projection %s has stopped in partition %s before offset %s: %s",
                self._name,
                partition,
                at.offset,
                error,
            )
        self._stopped[partition] = self._monotonic()
        metrics.projection_stopped.labels(self._name).set(1)
        self._tables.stop(self._name, partition, Stop(at, error))

    def _look_at_stopped(self) -> None:
        now = self._monotonic()
        if not self._stopped or now < self._look_again_at:
            return
        self._look_again_at = now + _LOOK_AGAIN_SECONDS
        self._projection = SkippingProjection(self._name, self._project, self._tables.skips(self._name))
        for partition, since in list(self._stopped.items()):
            at = self._cursor.get(partition)
            if at is None:  # it cannot be read now, so its position is looked up later
                continue
            skip = self._projection.skip(partition, at)
            if skip is not None:
                log.warning(
                    "projection %s passes over offset %s of partition %s: %s",
                    self._name,
                    at.offset,
                    partition,
                    skip.reason,
                )
            if skip is not None or now - since > _TRY_AGAIN_SECONDS:
                self._go_on(partition)

    def _go_on(self, partition: Partition) -> None:
        del self._stopped[partition]
        self._tables.go_on(self._name, partition)
        metrics.projection_stopped.labels(self._name).set(bool(self._stopped))


def _writes_anything(project: Project, recorded: Recorded) -> bool:
    """True also if the projection raises."""
    try:
        return bool(project(recorded))
    except Exception:
        return True
