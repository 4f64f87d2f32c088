"""Reading the log, for callers without an event loop."""

import time
from collections.abc import Mapping
from typing import Final

from falcon.adapters.kafka import fence, records
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.reader import Reader, judge_all
from falcon.domain.ids import Partition
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import LogWentBack, NotShown

# A broker answers at once if there is something; else a projector looks this often if it should end.
_WAIT_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 0.02  # what a broker has at hand comes in a few milliseconds
_CHECK_SECONDS: Final = 5.0  # a check that gets nothing for so long has lost its broker, and the caller tries again
_LOOKED_BACK_AT: Final = 500  # records: a void copy of a whole append is among so many


class KafkaSource:
    """CheckingSource over one consumer, for one thread. ``close`` it when done.

    ``wait_seconds``: how long a read waits if there is nothing new; the brokers answer as soon as there is. ``rests``:
    the reader pauses between two reads, except after reads that gave as many as were asked for.
    """

    def __init__(
        self, cluster: KafkaCluster, loop: LoopThread, wait_seconds: float = _WAIT_SECONDS, *, rests: bool = False
    ) -> None:
        self._cluster = cluster
        self._wait_seconds = wait_seconds
        self._rests = rests
        self._loop = loop
        self._reader = Reader(cluster, cluster.journal)

    @property
    def partitions(self) -> int:
        return self._cluster.partitions

    def read(self, cursor: Cursor, limit: int, *, wait: bool = True) -> tuple[list[Recorded], Cursor]:
        """Waits a moment if there is nothing. Without ``wait`` it waits only for the brokers' answers."""
        offsets = {partition: position.offset for partition, position in cursor.items()}
        seconds = self._wait_seconds if wait else _ANSWER_SECONDS
        fetched = self._loop.call(self._reader.records(offsets, limit, seconds, rests=self._rests))
        events: list[Recorded] = []
        after = dict(cursor)
        for partition, found in fetched.items():
            valid, position = judge_all(self._cluster.journal, partition, cursor[partition], found)
            try:
                for at, key, body in valid:
                    events.append(codec.decode(records.record(key, body), partition, at.offset, at.epoch, at.n))
            except Undecodable as error:
                if error.at == valid[0].position:
                    raise
                position = error.at  # the events before it can be read
            after[partition] = position
        return events, after

    def check(self, cursor: Cursor) -> None:
        """An epoch's number is the offset after its marker, and its events are numbered. So the record before a
        position mostly decides, together with the marker."""
        positions = {partition: position for partition, position in cursor.items() if position.offset}
        undecided = {partition: position.offset for partition, position in positions.items()}
        looked_at = 1
        while undecided:
            starts = {p: max(stop - looked_at, min(_marker(positions[p]), stop - 1)) for p, stop in undecided.items()}
            for partition, before in self._between(starts, undecided).items():
                position, start = positions[partition], starts[partition]
                belongs = fence.belongs(position, before)
                if belongs is None and start > _marker(position):
                    undecided[partition] = start  # records further back decide
                elif belongs or not position.epoch:
                    del undecided[partition]
                else:
                    raise self._went_back(partition, position)
            looked_at = _LOOKED_BACK_AT
        self._check_markers({p: position for p, position in positions.items() if position.epoch})

    def _check_markers(self, positions: Cursor) -> None:
        starts = {partition: _marker(position) for partition, position in positions.items()}
        for partition, first in self._between(starts, {p: offset + 1 for p, offset in starts.items()}).items():
            if not fence.is_marker(first[0][1]):
                raise self._went_back(partition, positions[partition])

    def _between(
        self, starts: Mapping[Partition, int], stops: Mapping[Partition, int]
    ) -> dict[Partition, list[tuple[int, bytes]]]:
        """The records from each start up to each stop (excluded). Raises NotShown, JournalUnavailable, LogWentBack."""
        found: dict[Partition, list[tuple[int, bytes]]] = {partition: [] for partition in starts}
        missing = dict(starts)
        until = time.monotonic() + _CHECK_SECONDS
        while missing:
            if time.monotonic() > until:
                places = ", ".join(f"offset {offset} of partition {p}" for p, offset in missing.items())
                why = f"{self._cluster.journal} does not show {places}; it may be so for a moment"
                raise NotShown(why, missing)
            fetched = self._loop.call(self._reader.records(missing, _LOOKED_BACK_AT, self._wait_seconds))
            if fetched:
                until = time.monotonic() + _CHECK_SECONDS
            for partition, more in fetched.items():
                wanted = [record for record in more if record.offset < stops[partition]]
                found[partition] += [(record.offset, record.value or b"") for record in wanted]
                missing[partition] = more[-1].offset + 1
            missing = {partition: offset for partition, offset in missing.items() if offset < stops[partition]}
        return found

    def _went_back(self, partition: Partition, position: Position) -> LogWentBack:
        return LogWentBack(
            f"{self._cluster.journal}, partition {partition}: offset {position.offset} of epoch {position.epoch} is no "
            "place in this log: it was restored from an older copy, or made again; see docs/operations.md, Back up and "
            "restore"
        )

    def end(self) -> Cursor:
        ends = self._loop.call(self._reader.ends(range(self._cluster.partitions)))
        return {partition: Position(offset) for partition, offset in ends.items()}

    def remaining(self, cursor: Cursor) -> int:
        return sum(max(0, self._reader.end_seen(p) - position.offset) for p, position in cursor.items())

    def wait(self, seconds: float) -> None:
        """Does nothing: a read waits."""

    def close(self) -> None:
        self._loop.call(self._reader.close())


def _marker(position: Position) -> int:
    """The offset of the epoch's marker, or the log's start."""
    return max(0, position.epoch - 1)
