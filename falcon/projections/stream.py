"""A projection as a stream: the log's partitions that are assigned here, into the read tables, for as long as it runs.

At least once, and idempotent: what has been applied is stored with the tables, and is where a partition goes on,
whoever has it then. A slow table holds the reading up, since nothing is read before what was read is applied.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from falcon.domain.ids import Partition
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Position, Recorded
from falcon.journal.ports import EventSource, JournalUnavailable
from falcon.projections.lag import Lag
from falcon.projections.projection import Project
from falcon.read.store import ReadStoreUnavailable, StaleProjector, StreamTables, Write
from falcon.telemetry import metrics

log = logging.getLogger("falcon.projections")

_PAUSE_SECONDS: Final = 0.5
_LOOK_AGAIN_SECONDS: Final = 5.0  # at partitions that have stopped: a skip may have been recorded since
_TRY_AGAIN_SECONDS: Final = 30.0  # the event at which one has stopped: the fault may have been a passing one
# The part of the time in which a stream writes. What a batch costs hardly depends on its size, so tables that are slow,
# or have much to do, are given fewer and larger ones; but nobody who waits to read what he wrote waits longer for that.
_WRITING_SHARE: Final = 0.15
_PACE_SECONDS_MAX: Final = 0.4


class Stream:
    """For one thread. ``assigned``: the partitions that are this stream's now.

    ``events``: the most in a batch. ``pace_seconds``: the least between two batches, so that many events share one;
    it is more where the tables are busy, and nothing where much is known to follow.
    """

    def __init__(
        self,
        name: str,
        project: Project,
        source: EventSource,
        tables: StreamTables,
        assigned: Callable[[], Collection[Partition]],
        *,
        events: int = 2_000,
        pace_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._project = project
        self._source = source
        self._tables = tables
        self._assigned = assigned
        self._events = events
        self._much = max(1, events // 4)
        self._pace_seconds = pace_seconds
        self._monotonic = monotonic
        self._wrote_seconds = 0.0
        self._behind = 0  # events that are known to follow
        self._cursor: dict[Partition, Position] = {}
        self._stopped: dict[Partition, float] = {}  # since when
        self._look_again_at = 0.0
        self._applied = metrics.projected_events.labels(name)
        self._lag = Lag(name)

    def run(self, ending: threading.Event) -> None:
        """Raises nothing: what fails is said, and tried again."""
        while not ending.is_set():
            began = self._monotonic()
            try:
                count = self.step()
            except (ReadStoreUnavailable, JournalUnavailable) as error:
                log.warning("projection %s waits: %s", self._name, error)
                ending.wait(_PAUSE_SECONDS)
                continue
            if count < self._events and self._behind < self._much:
                ending.wait(max(0.0, began + self._pace() - self._monotonic()))

    def _pace(self) -> float:
        return max(self._pace_seconds, min(self._wrote_seconds / _WRITING_SHARE, _PACE_SECONDS_MAX))

    def step(self) -> int:
        """One batch; returns how many events were applied. Raises ReadStoreUnavailable, JournalUnavailable."""
        try:
            return self._step()
        except StaleProjector as stale:
            log.info("projection %s: %s", self._name, stale)
            self._cursor.clear()  # to be read again from the tables
            return 0

    def _step(self) -> int:
        self._behind = 0
        self._follow_assignment()
        self._look_at_stopped()
        going = self._going()
        if not going:
            time.sleep(_PAUSE_SECONDS / 10)
            return 0
        try:
            events, after = self._source.read(going, self._events)
        except Undecodable as error:
            self._stop(error.partition, error.at, str(error))
            return 0
        self._lag.read(events)
        began = self._monotonic()
        count = self._apply(events, {p: at for p, at in after.items() if at != going[p]})
        self._wrote_seconds = self._monotonic() - began
        self._lag.applied(events, (p for p in after if p not in self._stopped), self._wrote_seconds)
        self._behind = self._source.behind(self._going())
        self._lag.behind(self._source.behind(self._cursor) if self._stopped else self._behind)
        return count

    def _going(self) -> dict[Partition, Position]:
        return {p: position for p, position in self._cursor.items() if p not in self._stopped}

    def _follow_assignment(self) -> None:
        """A partition that has come goes on where it was left, by whomever."""
        assigned = self._assigned()
        if assigned == self._cursor.keys():
            return
        come = [partition for partition in assigned if partition not in self._cursor]
        self._cursor = {p: position for p, position in self._cursor.items() if p in assigned}
        self._stopped = {p: since for p, since in self._stopped.items() if p in assigned}
        if come:
            applied = self._tables.cursor(self._name)
            self._cursor.update({partition: applied[partition] for partition in come})

    def _apply(self, events: Sequence[Recorded], after: dict[Partition, Position]) -> int:
        writes: dict[Partition, list[Write]] = {partition: [] for partition in after}
        poisoned: dict[Partition, tuple[Position, str]] = {}
        count = 0
        for recorded in events:
            partition = recorded.envelope.partition
            if partition in poisoned:
                continue
            try:
                writes[partition].extend(self._project(recorded.envelope))
                count += 1
            except Exception as error:  # whatever it is: it is this event's, and the other partitions must go on
                at = Position(recorded.offset, recorded.envelope.epoch, recorded.envelope.n)
                poisoned[partition] = at, f"projection {self._name} cannot apply it: {error!r}"
                after[partition] = at
        self._write_or_find_the_fault(after, writes)
        for partition, (at, why) in poisoned.items():
            self._stop(partition, at, why)
        self._applied.inc(count)
        return count

    def _write_or_find_the_fault(self, after: dict[Partition, Position], writes: dict[Partition, list[Write]]) -> None:
        """What the tables will never take stops the partition that it came from, not the others."""
        try:
            self._write(after, [write for of_partition in writes.values() for write in of_partition])
        except (ReadStoreUnavailable, StaleProjector):
            raise
        except Exception:
            for partition, at in after.items():
                try:
                    self._write({partition: at}, writes[partition])
                except (ReadStoreUnavailable, StaleProjector):
                    raise
                except Exception as error:
                    self._stop(partition, self._cursor[partition], f"the tables refuse what follows: {error!r}")

    def _write(self, after: dict[Partition, Position], writes: Sequence[Write]) -> None:
        if after:
            self._tables.apply(self._name, {p: self._cursor[p] for p in after}, after, writes)
            self._cursor.update(after)

    # --- partitions that have stopped ---------------------------------------------------------------------------------

    def _stop(self, partition: Partition, at: Position, error: str) -> None:
        """It does not skip. The others go on."""
        if self._cursor[partition] != at:
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
        self._tables.stop(self._name, partition, at.offset, error)

    def _look_at_stopped(self) -> None:
        now = self._monotonic()
        if not self._stopped or now < self._look_again_at:
            return
        self._look_again_at = now + _LOOK_AGAIN_SECONDS
        skips = self._tables.skips(self._name)
        for partition, since in list(self._stopped.items()):
            at = self._cursor[partition]
            reason = skips.get((partition, at.offset))
            if reason is not None:
                log.warning(
                    "projection %s passes over offset %s of partition %s: %s", self._name, at.offset, partition, reason
                )
                self._write({partition: Position(at.offset + 1, at.epoch, at.n + 1)}, ())
            if reason is not None or now - since > _TRY_AGAIN_SECONDS:
                self._go_on(partition)

    def _go_on(self, partition: Partition) -> None:
        del self._stopped[partition]
        self._tables.go_on(self._name, partition)
        metrics.projection_stopped.labels(self._name).set(bool(self._stopped))
