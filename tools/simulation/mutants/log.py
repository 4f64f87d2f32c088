"""Mistakes about the log, its epochs and its snapshots."""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from falcon.adapters.kafka import fence, journal, snapshots, tail, topics
from falcon.adapters.kafka.cluster import CLIENT_ERRORS
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.envelope import Position
from falcon.journal.ports import AppendOutcome, Checkpoint, JournalUnavailable
from falcon.journal.snapshot_record import SnapshotStamp
from tools.simulation.mutants.mutant import mutant
from tools.simulation.schedules import CALM, ELECTIONS, HOURS, MOVES, NIGHTS, OWNERS, TWICE


def _every_epoch_counts(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """Records that a deposed owner still writes count as valid."""
    head = fence._HEAD
    if len(value) >= head.size:
        epoch, n = head.unpack_from(value)
        if epoch == 0:
            return fence.opened_by(at.offset), None
        return Position(at.offset + 1, at.epoch, n + 1), value[head.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


async def _whatever_came_between(
    self: journal.KafkaJournal, writing: journal._Writing, base: int, group: list[Any], count: int
) -> int:
    """An append is durable where the broker says that it stands."""
    return base


def _unknown_is_taken_for_done(
    self: journal.KafkaJournal, writing: journal._Writing, group: list[Any], error: Exception
) -> None:
    first = writing.position.offset
    for append in (*group, *writing.waiting):
        append.first, append.outcome = first, AppendOutcome.DURABLE
        first += len(append.records)
        self._collected.append(append)
    writing.waiting.clear()
    writing.away = False
    self._wake()


def _valid_each_time(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """A record of the open epoch is valid, the first time and the second."""
    head = fence._HEAD
    if len(value) >= head.size:
        epoch, _ = head.unpack_from(value)
        if epoch == 0:
            return fence.opened_by(at.offset), None
        if epoch == at.epoch:
            return Position(at.offset + 1, epoch, at.n + 1), value[head.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


_take_over = journal.KafkaJournal._take_over


async def _reads_before_the_marker(
    self: journal.KafkaJournal, partitions: Sequence[int], owner: str
) -> dict[int, Position]:
    """The log is read to its end, and the marker is written then: events between the two are missed."""
    reader = Reader(self._cluster, self._cluster.journal)
    try:
        ends = await reader.ends(partitions)
    except CLIENT_ERRORS as error:
        raise JournalUnavailable(str(error)) from error
    finally:
        await reader.close()
    opened = await _take_over(self, partitions, owner)
    return {partition: Position(ends[partition], at.epoch, at.n) for partition, at in opened.items()}


_judged = journal.KafkaJournal._judge


async def _asks_the_last_epoch(
    self: journal.KafkaJournal, writing: journal._Writing, base: int, group: list[Any], count: int
) -> int:
    """An owner counts as fenced if another epoch is open now, though a first copy may stand before its marker."""
    if base > writing.position.offset:
        reader = Reader(self._cluster, self._cluster.journal)
        try:
            found = await reader.until(writing.partition, writing.position, base, self._cluster.append_seconds)
        finally:
            await reader.close()
        if any(position.epoch != writing.epoch for position in found):
            raise journal._Fenced("another epoch is open")
    return await _judged(self, writing, base, group, count)


def _late_ones_win(self: SnapshotStamp, other: SnapshotStamp | None) -> bool:
    """The snapshot that was written last counts, also that of an owner that was deposed before."""
    return True


def _by_the_wall(clock: Any, broker_millis: int) -> None:
    """Another clock is compared than the one that stamps events."""
    off = time.time() - broker_millis / 1000
    if abs(off) > journal._CLOCK_SECONDS_MAX:
        raise JournalUnavailable(f"this machine's clock is {off:+.0f} s off the brokers'")


_read = KafkaTail.read


async def _leaves_out(self: KafkaTail, cursor: Any, limit: int) -> Any:
    """Streams are not told of the last of several events that come together."""
    raws, after = await _read(self, cursor, limit)
    return raws[:-1] if len(raws) > 1 else raws, after


async def _as_stated(topic: str, end: Any, offset: int) -> bool:
    """A new leader's end is believed, though it may be stale."""
    return bool(await end() >= offset)


async def _saves_late(self: KafkaSnapshots, checkpoint: Checkpoint) -> bool:
    """A late checkpoint is put into the local copy, though the partition has been elsewhere meanwhile."""
    partition, opened = checkpoint.partition, self._open.get(checkpoint.partition)
    rows = snapshots._rows(checkpoint, 0 if opened is None else opened.generation)
    for batch in snapshots._batches(rows):
        await self._producer.write(self._cluster.snapshots, partition, batch)
    with self._lock:
        self._copy.put(partition, rows)
    return True


_save = KafkaSnapshots.save


async def _same_generation(self: KafkaSnapshots, checkpoint: Checkpoint) -> bool:
    """A snapshot's write of unknown outcome is made again with the same keys."""
    opened = self._open.get(checkpoint.partition)
    generation = 0 if opened is None else opened.generation
    try:
        return await _save(self, checkpoint)
    except BaseException:
        if opened is not None:
            opened.generation = generation
        raise


_finished = journal._InProgress.finished


async def _all_or_none(self: Any, partitions: Any, owner: str) -> Any:
    """One partition that cannot be restored keeps all down that are taken over with it."""
    done, failed = await _finished(self, partitions, owner)
    return ({}, failed) if failed else (done, failed)


async def _highest_epoch_near(self: KafkaTail, segment: int, offset: int) -> Position:
    """A reader that continues from an offset believes the highest epoch among the few records before it."""
    before = await self._values(segment, max(0, offset - 5), offset) if offset else []
    position = fence.position_after(before)
    witness = fence.witness_among(before)
    if position is not None:
        return position
    return Position(offset) if witness is None else fence.position_from(witness, before)


_topics = topics.topics


def _compacted_some_day(cluster: Any) -> list[Any]:
    """Kafka compacts the snapshots when a segment is full, or a week old."""
    return [
        msgspec.structs.replace(each, bounds={}) if each.name == cluster.snapshots else each
        for each in _topics(cluster)
    ]


MUTANTS: Final = (
    mutant("an old epoch's late checkpoint goes into the local copy", KafkaSnapshots, "save", _saves_late, OWNERS),
    mutant(
        "a snapshot of unknown outcome is written again under its key", KafkaSnapshots, "save", _same_generation, NIGHTS
    ),
    mutant(
        "one partition that cannot be restored keeps the others down",
        journal._InProgress,
        "finished",
        _all_or_none,
        OWNERS,
    ),
    mutant("who goes on believes the highest epoch near", KafkaTail, "position", _highest_epoch_near, OWNERS),
    mutant("what a deposed owner writes counts", fence, "judge", _every_epoch_counts, MOVES),
    mutant("an owner does not look what came between", journal.KafkaJournal, "_judge", _whatever_came_between, OWNERS),
    mutant("an event counts each time it is written", fence, "judge", _valid_each_time, TWICE),
    mutant(
        "an owner reads up to an end from before its marker",
        journal.KafkaJournal,
        "_take_over",
        _reads_before_the_marker,
        OWNERS,
    ),
    mutant("an owner asks which epoch is open in the end", journal.KafkaJournal, "_judge", _asks_the_last_epoch, TWICE),
    mutant("the snapshot that was written last counts", SnapshotStamp, "newer_than", _late_ones_win, NIGHTS),
    mutant(
        "an unknown append is taken for done", journal.KafkaJournal, "_end_epoch", _unknown_is_taken_for_done, MOVES
    ),
    mutant("snapshots are compacted when Kafka likes", topics, "topics", _compacted_some_day, NIGHTS),
    mutant("another clock is compared than the one that stamps", journal, "check_clock", _by_the_wall, HOURS),
    mutant("a place behind a stale end is none", tail, "reaches", _as_stated, ELECTIONS),
    mutant("a stream leaves an event out", KafkaTail, "read", _leaves_out, CALM),
)
