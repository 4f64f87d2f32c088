"""Snapshots and checkpoints in a compacted topic, and their copy on this machine's disk, from which rooms come back.

A record's key is the owner's epoch and the name of the thing. With the epoch in it, neither the late snapshot of a
deposed owner nor compaction can hide a newer one: of all epochs' records about a thing, the highest (epoch, offset)
counts. A state says at which offset it stands, since between two checkpoints there may be newer states already.

The name of a state begins with the version of its bytes. While processes of two versions run, none hides a state that a
checkpoint of the other version counts on. All versions share the name of the checkpoint: the newest one counts, and it
is void for the others. Once it is written, the states of the others are of no use.

The same holds within an epoch. A write of unknown outcome may succeed at any time, and would stand after newer
records. So the epoch's keys get a new generation from then on, and the late write can hide only its own generation's.

If the log was restored from an older copy, snapshots of the history that it lost do not count. A void checkpoint says
so until all of them are deleted.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import msgspec
from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer, Record
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import EXPIRED_MAX, Checkpoint, Checkpointed, JournalUnavailable, Snapshot
from falcon.journal.snapshot_record import LocalCopy, SnapshotRecord, SnapshotStamp

log = logging.getLogger("falcon.journal")

_CHECKPOINT: Final = "checkpoint"
_OPENING: Final = "opened"
_ANSWERS: Final = "answers:"
_BATCH_BYTES_MAX: Final = 512 << 10  # half of the 1 MB that brokers take in a batch by default
_TOMBSTONES_MAX: Final = 5_000  # at each checkpoint: what is obsolete goes within a few, and none writes much at once
# This many partitions are read at once, each by itself.
_READERS: Final = 4
_VOID: Final = 0  # the version of a checkpoint that counts for no version of Falcon
# The end that the brokers state may be stale for a moment after a change of leader.
_STALE_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 0.25
_AFTER: Final = "\0"  # makes the next name of one
_LAST: Final = "\U0010ffff"  # no name comes after it
_CLOSE_SECONDS: Final = 2.0  # consumers whose broker is away do not hold up the end of the process


_Record: TypeAlias = "tuple[bytes, str, SnapshotRecord | None]"  # key, name of the thing, None if it is deleted


class _CheckpointData(msgspec.Struct, frozen=True, array_like=True):
    position: Position
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(SnapshotRecord)
_checkpoint_data = msgspec.msgpack.Decoder(_CheckpointData)


class _OpenEpoch(msgspec.Struct, eq=False):
    """A partition whose copy belongs to ``epoch``."""

    epoch: int
    generation: int = 0


def key_of(name: str, stamp: SnapshotStamp) -> bytes:
    """The key of a record. Its generation is written as that many zeros before the epoch: versions of Falcon without
    generations read it as the epoch."""
    return f"{'0' * stamp.generation}{stamp.epoch}/{name}".encode()


class KafkaSnapshots:
    """SnapshotStore. The journal calls ``restore``, ``open`` and ``save`` on its loop; the owner calls the rest.

    The local copy holds the newest record of everything, for each partition that was restored. It belongs to the epoch
    that was opened then. A late checkpoint of an older epoch touches neither the copy nor the garbage.
    """

    def __init__(self, cluster: KafkaCluster, producer: Producer, copy: LocalCopy) -> None:
        self._cluster = cluster
        self._producer = producer
        self._copy = copy
        self._lock = threading.Lock()
        self._open: dict[Partition, _OpenEpoch] = {}
        self._idle: list[Reader] = []
        self._log: Reader | None = None
        self._closing: set[asyncio.Task[None]] = set()  # closing may apply_records long, and runs in the background
        self._restoring = 0
        self._readers = asyncio.Semaphore(_READERS)

    # --- the port -----------------------------------------------------------------------------------------------------

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        kept = self._get(partition, _CHECKPOINT, version)
        if kept is None:
            return None
        data = _checkpoint_data.decode(kept.data)
        return Checkpointed(data.position, data.state)

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        kept = self._get(partition, _versioned(version, key), version)
        return None if kept is None else Snapshot(kept.offset, kept.data)

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        with self._lock:
            rows = self._copy.under(partition, _versioned(version, _ANSWERS))
        return [kept.data for name, kept in rows if int(name.partition(_ANSWERS)[2].partition(":")[0]) >= since]

    def _get(self, partition: Partition, name: str, version: int) -> SnapshotRecord | None:
        with self._lock:
            kept = self._copy.get(partition, name)
        return kept if kept is not None and kept.version == version else None

    # --- saving -------------------------------------------------------------------------------------------------------

    async def save(self, checkpoint: Checkpoint) -> bool:
        """Write the states first, and then the checkpoint that counts on them. Raises NotWritten, TooLarge.

        False if the epoch is over: part of the states may have been written, and no checkpoint counts on them.
        """
        partition = checkpoint.partition
        opened = self._open.get(partition)
        if opened is None or opened.epoch != checkpoint.epoch:
            return False
        rows = _rows(checkpoint, opened.generation)
        for batch in _batches(rows):
            try:
                await self._producer.write(self._cluster.snapshots, partition, batch)
            except BaseException:  # also when cancelled: the write may still succeed
                opened.generation += 1
                raise
            if self._open.get(partition) is not opened:
                return False
        with self._lock:
            replaced = self._copy.stamps(partition, [name for name, _ in rows])
            useless = self._useless(checkpoint)
            self._copy.put(partition, rows)
            self._copy.drop(partition, [name for name, _ in useless])
            replaced = {name: stamp for name, stamp in replaced.items() if stamp.epoch < checkpoint.epoch}
            self._copy.add_garbage(partition, [key_of(*each) for each in (*replaced.items(), *useless)])
        await self._forget(partition, opened)
        return True

    def _useless(self, checkpoint: Checkpoint) -> list[tuple[str, SnapshotStamp]]:
        """Looks at these records only, however many others there are. Leaves answers that have expired and states of
        other versions to later calls if they are many."""
        version = checkpoint.version
        stop = f"{_ANSWERS}{max(checkpoint.answers_expired, 0):015d}"
        ranges = [(_versioned(version, _ANSWERS), _versioned(version, stop), EXPIRED_MAX)]
        ranges += [(_versioned(version, first), _versioned(version, last), -1) for first, last in checkpoint.obsolete]
        ranges += [(*each, _TOMBSTONES_MAX) for each in _ranges_of_other_versions(version)]
        return [each for range_ in ranges for each in self._copy.stamps_between(checkpoint.partition, *range_)]

    async def _forget(self, partition: Partition, opened: _OpenEpoch) -> None:
        """Delete the garbage, also what the takeover found. What cannot be deleted now is deleted with the next
        checkpoint."""
        while self._open.get(partition) is opened and (keys := self._garbage(partition)):
            try:
                await self._producer.write(self._cluster.snapshots, partition, [(key, None) for key in keys])
            except NotWritten as error:
                log.warning("partition %s: old snapshots are deleted later: %s", partition, error)
                return
            if self._open.get(partition) is opened:
                with self._lock:
                    self._copy.drop_garbage(partition, keys)

    def _garbage(self, partition: Partition) -> list[bytes]:
        with self._lock:
            return self._copy.garbage(partition, _TOMBSTONES_MAX)

    # --- restoring ----------------------------------------------------------------------------------------------------

    async def restore(self, partition: Partition, owner: str) -> None:
        """Fill the local copy of the partition again. Its present owner is not disturbed. Raises NotWritten, TooLarge,
        JournalUnavailable.

        To read up to a record of one's own is the only proof of having read everything: the end that the brokers state
        may be stale, and compaction may have removed the states that a missed checkpoint replaces. The record also
        proves that the partition can be written, before its owner is deposed.

        Snapshots of a history that the log has lost are void before a marker makes the log longer. An owner that is
        not deposed yet may make them count again by its next checkpoint, so nothing is deleted here that could count.
        """
        self._open.pop(partition, None)
        stop = await self._say_opening(partition, owner)
        async with self._reader() as reader:
            with self._lock:
                self._copy.clear(partition)
            asking = asyncio.ensure_future(self._log_end(partition))
            try:
                async for records in read_compacted(reader, partition, stop):
                    parsed = [self._parse(partition, record) for record in records]
                    with self._lock:
                        apply_records(self._copy, partition, parsed)
                end = await asking
                until = time.monotonic() + _STALE_SECONDS
                while self._is_lost(partition, end) and time.monotonic() < until:
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
                    end = await self._log_end(partition)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        if self._is_lost(partition, end) and not self._is_void(partition):
            await self._void(partition, 0)

    async def drop_lost(self, partition: Partition, end: int, epoch: int) -> None:
        """Delete snapshots of a history that the log has lost: it ended at ``end`` when ``epoch`` was opened.
        Raises NotWritten, TooLarge.

        If a snapshot holds more than the log did, the log was restored from an older copy and the snapshots were not.
        Then none of them counts, since any may have replaced one that would. A crash may come between any two writes.
        So the checkpoint is void first, and the next owner deletes the rest. It is of the open epoch, so that no late
        checkpoint of an earlier owner counts on what was deleted.
        """
        if not self._is_lost(partition, end) and not self._is_void(partition):
            return
        log.error(
            "partition %s: snapshots hold more than the log, which ended at offset %s: they are of a history that is "
            "lost, and dropped; the log is read from its start",
            partition,
            end,
        )
        await self._void(partition, epoch)
        while keys := self._keys(partition):
            await self._producer.write(self._cluster.snapshots, partition, [(key, None) for key in keys])
            with self._lock:
                self._copy.drop(partition, [key.decode().partition("/")[2] for key in keys])

    async def _log_end(self, partition: Partition) -> int:
        """The end of the log's partition, as a broker states it. Call it during a restore only."""
        if self._log is None:
            self._log = Reader(self._cluster, self._cluster.journal)
        return (await self._log.ends([partition]))[partition]

    def _is_lost(self, partition: Partition, end: int) -> bool:
        """True if a snapshot holds what stood after the end of the log."""
        with self._lock:
            return self._copy.reaches(partition) > end

    def _is_void(self, partition: Partition) -> bool:
        with self._lock:
            checkpoint = self._copy.get(partition, _CHECKPOINT)
        return checkpoint is not None and checkpoint.version == _VOID

    async def _void(self, partition: Partition, epoch: int) -> None:
        """Replace the checkpoint by a void one. Delete the garbage before, or an older checkpoint would count again."""
        while keys := self._garbage(partition):
            await self._producer.write(self._cluster.snapshots, partition, [(key, None) for key in keys])
            with self._lock:
                self._copy.drop_garbage(partition, keys)
        void = SnapshotRecord(epoch, 0, _VOID, b"")
        with self._lock:
            replaced = self._copy.stamps(partition, [_CHECKPOINT])
        records: list[Record] = [(key_of(*each), None) for each in replaced.items()]
        records.append((key_of(_CHECKPOINT, void.stamp), _encode(void)))
        await self._producer.write(self._cluster.snapshots, partition, records)
        with self._lock:
            self._copy.put(partition, [(_CHECKPOINT, void)])

    def _keys(self, partition: Partition) -> list[bytes]:
        """Keys of records, some at a time. The checkpoint is left out."""
        with self._lock:
            for first, stop in (("", _CHECKPOINT), (_CHECKPOINT + _AFTER, _LAST)):
                if kept := self._copy.stamps_between(partition, first, stop, _TOMBSTONES_MAX):
                    return [key_of(*each) for each in kept]
        return []

    def open(self, partition: Partition, epoch: int) -> None:
        """The restored copy belongs to the new epoch from now on."""
        self._open[partition] = _OpenEpoch(epoch)

    async def close(self) -> None:
        """Wait a short time for readers that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)

    async def _say_opening(self, partition: Partition, owner: str) -> int:
        said = SnapshotRecord(0, 0, 0, owner.encode())
        written = await self._producer.write(
            self._cluster.snapshots, partition, [(key_of(_OPENING, said.stamp), _encode(said))]
        )
        return int(written.offset)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Reader]:
        """One of a few readers, kept only during restores: a reader's start may meet a broker that does not answer."""
        self._restoring += 1
        try:
            async with self._readers:
                reader = self._idle.pop() if self._idle else Reader(self._cluster, self._cluster.snapshots)
                try:
                    yield reader
                except BaseException:
                    await reader.close()
                    raise
                self._idle.append(reader)
        finally:
            self._restoring -= 1
            if not self._restoring:
                for unused in (*self._idle, *([self._log] if self._log else [])):
                    self._closing.add(task := asyncio.ensure_future(unused.close()))
                    task.add_done_callback(self._closing.discard)
                self._idle, self._log = [], None

    def _parse(self, partition: Partition, record: ConsumerRecord) -> _Record:
        """Raises JournalUnavailable if a state cannot be read: a checkpoint may count on it, so none may be left
        out."""
        try:
            digits, _, name = (record.key or b"").decode().partition("/")
            int(digits)
            return record.key, name, None if record.value is None else _kept.decode(record.value)
        except (ValueError, msgspec.DecodeError) as error:
            raise JournalUnavailable(
                f"{self._cluster.snapshots}, partition {partition}: the record {record.key!r} does not decode "
                f"({error}); something else than Falcon wrote to the topic",
                partition,
            ) from error


def apply_records(copy: LocalCopy, partition: Partition, records: Sequence[_Record]) -> None:
    """Take the next records of the topic: the copy has the newest about each thing, and the keys of the others among
    its garbage."""
    stamps = copy.stamps(partition, {name for _, name, _ in records})
    newest: dict[str, SnapshotRecord | None] = {}  # None if it was deleted
    is_garbage: dict[bytes, bool] = {}
    for key, name, kept in records:
        known = stamps.get(name)
        if kept is None:
            is_garbage[key] = False
            if known is not None and key_of(name, known) == key:
                del stamps[name]
                newest[name] = None
            continue
        stamp = kept.stamp
        if stamp.newer_than(known):
            stamps[name] = stamp
            newest[name] = kept
            if known is not None:
                is_garbage[key_of(name, known)] = True
            is_garbage[key] = False
        elif known is not None:
            is_garbage[key] = True
            is_garbage[key_of(name, known)] = False
    copy.put(partition, [(name, kept) for name, kept in newest.items() if kept is not None])
    copy.drop(partition, [name for name, kept in newest.items() if kept is None])
    copy.add_garbage(partition, [key for key, is_old in is_garbage.items() if is_old])
    if copy.garbage(partition, 1):
        copy.drop_garbage(partition, [key for key, is_old in is_garbage.items() if not is_old])


def _versioned(version: int, name: str) -> str:
    return f"{version}/{name}"


def _ranges_of_other_versions(version: int) -> Iterator[tuple[str, str]]:
    """All names but those of this version and the ones that all versions share: the first one, and the one after."""
    yield "", f"{version}/"
    yield f"{version}0", _CHECKPOINT  # "0" is the character after "/"
    yield _CHECKPOINT + _AFTER, _OPENING
    yield _OPENING + _AFTER, _LAST


def _rows(checkpoint: Checkpoint, generation: int) -> list[tuple[str, SnapshotRecord]]:
    def kept(data: bytes) -> SnapshotRecord:
        return SnapshotRecord(checkpoint.epoch, checkpoint.position.offset, checkpoint.version, data, generation)

    rows = [(_versioned(checkpoint.version, key), kept(data)) for key, data in checkpoint.snapshots]
    if checkpoint.answers:
        name = f"{_ANSWERS}{checkpoint.answers_at:015d}:{checkpoint.position.offset:015d}"
        rows.append((_versioned(checkpoint.version, name), kept(checkpoint.answers)))
    state = _CheckpointData(checkpoint.position, checkpoint.state)
    rows.append((_CHECKPOINT, kept(_encode(state))))
    return rows


def _batches(rows: Iterable[tuple[str, SnapshotRecord]]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for name, kept in rows:
        value = _encode(kept)
        if batch and size + len(value) > _BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append((key_of(name, kept.stamp), value))
        size += len(value)
    yield batch
