"""Snapshots and checkpoints in a compacted topic, and their copy on this machine's disk, from which rooms come back.

A record's key is the owner's epoch and the name of the thing. With the epoch in it, neither the late snapshot of a
deposed owner nor compaction can hide a newer one: of all epochs' records about a thing, the highest (epoch, offset)
counts. A state says at which offset it stands, since between two checkpoints there may be newer states already.

The same holds within an epoch. A write of unknown outcome may succeed at any time, and would stand behind newer
records. So the epoch's keys get a new generation from then on, and the late write can hide only its own generation's.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeAlias

import msgspec
from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer, Record
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import EXPIRED_MAX, Checkpoint, Checkpointed, JournalUnavailable, Snapshot

log = logging.getLogger("falcon.journal")

_CHECKPOINT: Final = "checkpoint"
_OPENING: Final = "opened"
_ANSWERS: Final = "answers:"
_BATCH_BYTES_MAX: Final = 512 << 10
_TOMBSTONES_MAX: Final = 5_000
# This many partitions are read at once, each by itself.
_READERS: Final = 4
_CLOSE_SECONDS: Final = 2.0


class SnapshotRecord(msgspec.Struct, frozen=True, array_like=True):
    """The value of a record, and a row of the local copy. It holds what stands below ``offset``."""

    epoch: int
    offset: int
    version: int
    data: bytes
    generation: int = 0

    def newer_than(self, other: "SnapshotRecord | None") -> bool:
        if other is None:
            return True
        return (self.epoch, self.offset, self.generation) >= (other.epoch, other.offset, other.generation)

    def key(self, name: str) -> bytes:
        """The generation is written as that many zeros before the epoch: versions of Falcon without generations read it
        as the epoch."""
        return f"{'0' * self.generation}{self.epoch}/{name}".encode()


class LocalCopy(Protocol):
    """A file, or a substitute, that may be thrown away. It keeps values by partition and name."""

    def clear(self, partition: Partition) -> None: ...

    def put(self, partition: Partition, rows: Iterable[tuple[str, SnapshotRecord]]) -> None: ...

    def get(self, partition: Partition, name: str) -> SnapshotRecord | None: ...

    def under(
        self, partition: Partition, prefix: str, stop: str | None = None, most: int = -1
    ) -> list[tuple[str, SnapshotRecord]]:
        """The values under names that begin so, in the order of the names, up to the name ``stop`` (excluded); at most
        ``most``, unless that is negative."""

    def drop(self, partition: Partition, names: Sequence[str]) -> None: ...


_Record: TypeAlias = "tuple[bytes, str, SnapshotRecord | None]"  # key, name of the thing, None if it is deleted


class _CheckpointData(msgspec.Struct, frozen=True, array_like=True):
    position: Position
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(SnapshotRecord)
pack: Final[Callable[[SnapshotRecord], bytes]] = _encode  # for the local copy
unpack: Final[Callable[[bytes], SnapshotRecord]] = _kept.decode
_checkpoint_data = msgspec.msgpack.Decoder(_CheckpointData)


class _OpenEpoch(msgspec.Struct, eq=False):
    """A partition whose copy belongs to ``epoch``. ``garbage``: keys of records that newer ones have replaced."""

    epoch: int
    garbage: list[bytes]
    generation: int = 0


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
        self._restored: dict[Partition, _NewestRecords] = {}
        self._idle: list[Reader] = []
        self._closing: set[asyncio.Task[None]] = set()  # closing may take long, and runs in the background
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
        kept = self._get(partition, key, version)
        return None if kept is None else Snapshot(kept.offset, kept.data)

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        with self._lock:
            rows = self._copy.under(partition, _ANSWERS)
        return [kept.data for name, kept in rows if kept.version == version and _answered_at(name) >= since]

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
            replaced = [(name, self._copy.get(partition, name)) for name, _ in rows]
            useless = self._expired(checkpoint)
            for first, stop in checkpoint.obsolete:
                useless += self._copy.under(partition, first, stop)
            self._copy.put(partition, rows)
            self._copy.drop(partition, [name for name, _ in useless])
        opened.garbage += [kept.key(name) for name, kept in replaced if kept and kept.epoch < checkpoint.epoch]
        opened.garbage += [kept.key(name) for name, kept in useless]
        await self._forget(partition, opened)
        return True

    def _expired(self, checkpoint: Checkpoint) -> list[tuple[str, SnapshotRecord]]:
        """Looks at expired records only, however long the window is, and leaves those that are many to later calls."""
        stop = f"{_ANSWERS}{max(checkpoint.answers_expired, 0):015d}"
        return self._copy.under(checkpoint.partition, _ANSWERS, stop, EXPIRED_MAX)

    async def _forget(self, partition: Partition, opened: _OpenEpoch) -> None:
        """Delete the garbage, also what the takeover found. What cannot be deleted now is deleted with the next
        checkpoint."""
        while opened.garbage and self._open.get(partition) is opened:
            keys = opened.garbage[:_TOMBSTONES_MAX]
            try:
                await self._producer.write(self._cluster.snapshots, partition, [(key, None) for key in keys])
            except NotWritten as error:
                log.warning("partition %s: old snapshots are deleted later: %s", partition, error)
                return
            del opened.garbage[: len(keys)]

    # --- restoring ----------------------------------------------------------------------------------------------------

    async def restore(self, partition: Partition, owner: str) -> None:
        """Fill the local copy of the partition again. Its present owner is not disturbed. Raises NotWritten, TooLarge,
        JournalUnavailable.

        To read up to a record of one's own is the only proof of having read everything: the end that the brokers state
        may be stale, and compaction may have removed the states that a missed checkpoint replaces. The record also
        proves that the partition can be written, before its owner is deposed.
        """
        self._open.pop(partition, None)
        stop = await self._say_opening(partition, owner)
        async with self._reader() as reader:
            with self._lock:
                self._copy.clear(partition)
            found = _NewestRecords()
            async for records in read_compacted(reader, partition, stop):
                changed = found.take([self._parse(partition, record) for record in records])
                with self._lock:
                    self._copy.put(partition, [(name, kept) for name, kept in changed.items() if kept is not None])
                    self._copy.drop(partition, [name for name, kept in changed.items() if kept is None])
        self._restored[partition] = found

    async def drop_lost(self, partition: Partition, end: int) -> None:
        """Delete snapshots of a history that the log has lost. If a snapshot holds more than the log did at its end,
        the log was restored from an older copy and the snapshots were not. Then none of them counts, since any may have
        replaced one that would. They are deleted before the log grows past them. Raises NotWritten, TooLarge."""
        found = self._restored[partition]
        if found.reaches <= end:
            return
        log.error(
            "partition %s: snapshots hold what stood below offset %s, and the log ended at %s: they are of a history "
            "that is lost, and dropped; the log is read from its start",
            partition,
            found.reaches,
            end,
        )
        with self._lock:
            self._copy.clear(partition)
        keys = found.keys()
        for start in range(0, len(keys), _TOMBSTONES_MAX):
            dropped: list[Record] = [(key, None) for key in keys[start : start + _TOMBSTONES_MAX]]
            await self._producer.write(self._cluster.snapshots, partition, dropped)
        self._restored[partition] = _NewestRecords()

    def open(self, partition: Partition, epoch: int) -> None:
        """The restored copy belongs to the new epoch from now on."""
        self._open[partition] = _OpenEpoch(epoch, list(self._restored.pop(partition).garbage))

    async def close(self) -> None:
        """Wait a short time for readers that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)

    async def _say_opening(self, partition: Partition, owner: str) -> int:
        said = SnapshotRecord(0, 0, 0, owner.encode())
        written = await self._producer.write(self._cluster.snapshots, partition, [(said.key(_OPENING), _encode(said))])
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
            while self._idle and not self._restoring:
                self._closing.add(task := asyncio.ensure_future(self._idle.pop().close()))
                task.add_done_callback(self._closing.discard)

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


class _NewestRecords:
    """Finds the newest record about each thing among those read so far. The keys of the others are ``garbage``."""

    def __init__(self) -> None:
        self.garbage: set[bytes] = set()
        self._newest: dict[str, SnapshotRecord] = {}  # without their data

    @property
    def reaches(self) -> int:
        """The offset that the log must reach if all of this was made from it."""
        return max((kept.offset for kept in self._newest.values()), default=0)

    def keys(self) -> list[bytes]:
        """The keys of all records."""
        return [*self.garbage, *(kept.key(name) for name, kept in self._newest.items())]

    def take(self, records: Iterable[_Record]) -> dict[str, SnapshotRecord | None]:
        """Take the next records. Returns the newest value of each thing, or None if it was deleted."""
        changed: dict[str, SnapshotRecord | None] = {}
        for key, name, kept in records:
            known = self._newest.get(name)
            if kept is None:
                self.garbage.discard(key)
                if known is not None and known.key(name) == key:
                    del self._newest[name]
                    changed[name] = None
                continue
            older: bytes | None = key
            if kept.newer_than(known):
                self._newest[name] = SnapshotRecord(kept.epoch, kept.offset, kept.version, b"", kept.generation)
                changed[name] = kept
                older = known.key(name) if known is not None else None
            if older is not None and older != self._newest[name].key(name):
                self.garbage.add(older)
            self.garbage.discard(self._newest[name].key(name))
        return changed


def _rows(checkpoint: Checkpoint, generation: int) -> list[tuple[str, SnapshotRecord]]:
    def kept(data: bytes) -> SnapshotRecord:
        return SnapshotRecord(checkpoint.epoch, checkpoint.position.offset, checkpoint.version, data, generation)

    rows = [(key, kept(data)) for key, data in checkpoint.snapshots]
    if checkpoint.answers:
        rows.append(
            (f"{_ANSWERS}{checkpoint.answers_at:015d}:{checkpoint.position.offset:015d}", kept(checkpoint.answers))
        )
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
        batch.append((kept.key(name), value))
        size += len(value)
    yield batch


def _answered_at(name: str) -> Millis:
    return int(name.removeprefix(_ANSWERS).partition(":")[0])
