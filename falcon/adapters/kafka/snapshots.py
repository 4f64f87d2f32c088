"""Snapshots and checkpoints in a compacted topic, and their copy on this machine's disk, from which rooms come back.

A record's key is the owner's epoch and what the record is about. With the epoch in it, neither the late snapshot of a
deposed owner nor compaction can hide a newer one: of all epochs' records about a thing, the highest (epoch, offset)
counts. A state says at which offset it stands, since between two checkpoints there may be newer states already.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import Producer, Record
from falcon.adapters.kafka.reader import read_compacted
from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import Checkpoint, Checkpointed, JournalUnavailable, Snapshot

_CHECKPOINT: Final = "checkpoint"
_OPENED: Final = "opened"
_ANSWERS: Final = "answers:"
_BATCH_BYTES_MAX: Final = 512 << 10
_TOMBSTONES_MAX: Final = 5_000


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A record's value, and a row of the local copy. It holds what stands below ``offset``."""

    epoch: int
    offset: int
    version: int
    data: bytes

    def newer_than(self, other: "Kept | None") -> bool:
        return other is None or (self.epoch, self.offset) >= (other.epoch, other.offset)


class LocalCopy(Protocol):
    """A file, or what serves as one, that may be thrown away: names and what is kept under them, by partition."""

    def clear(self, partition: Partition) -> None: ...

    def put(self, partition: Partition, rows: Iterable[tuple[str, Kept]]) -> None: ...

    def get(self, partition: Partition, name: str) -> Kept | None: ...

    def under(self, partition: Partition, prefix: str) -> list[tuple[str, Kept]]:
        """What is kept under names that begin so, in the order of the names."""

    def drop(self, partition: Partition, names: Sequence[str]) -> None: ...


class _CheckpointData(msgspec.Struct, frozen=True, array_like=True):
    position: Position
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(Kept)
pack: Final[Callable[[Kept], bytes]] = _encode  # for the local copy
unpack: Final[Callable[[bytes], Kept]] = _kept.decode
_checkpoint_data = msgspec.msgpack.Decoder(_CheckpointData)


class KafkaSnapshots:
    """SnapshotStore. ``restore`` and ``save`` are the journal's, on its loop; the rest is the owner's.

    The local copy holds, for each partition restored, the newest of everything.
    """

    def __init__(self, cluster: KafkaCluster, producer: Producer, copy: LocalCopy) -> None:
        self._cluster = cluster
        self._producer = producer
        self._copy = copy
        self._lock = threading.Lock()
        self._garbage: dict[Partition, list[bytes]] = {}  # keys of older epochs that a newer one's records replace

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

    def _get(self, partition: Partition, name: str, version: int) -> Kept | None:
        with self._lock:
            kept = self._copy.get(partition, name)
        return kept if kept is not None and kept.version == version else None

    # --- saving -------------------------------------------------------------------------------------------------------

    async def save(self, checkpoint: Checkpoint) -> None:
        """The states first, and then the checkpoint that counts on them. Raises NotWritten, TooLarge."""
        rows = _rows(checkpoint)
        names, batch, size = [name for name, _ in rows], list[Record](), 0
        with self._lock:
            before = {name: self._copy.get(checkpoint.partition, name) for name in names}
            expired = self._expired(checkpoint)
        for name, kept in rows:
            record = (_key(kept.epoch, name), _encode(kept))
            if batch and size + len(record[1]) > _BATCH_BYTES_MAX:
                await self._producer.write(self._cluster.snapshots, checkpoint.partition, batch)
                batch, size = [], 0
            batch.append(record)
            size += len(record[1])
        await self._producer.write(self._cluster.snapshots, checkpoint.partition, batch)
        with self._lock:
            self._copy.put(checkpoint.partition, rows)
            self._copy.drop(checkpoint.partition, [name for name, _ in expired])
        old = [_key(kept.epoch, name) for name, kept in before.items() if kept and kept.epoch < checkpoint.epoch]
        await self._forget(checkpoint.partition, [*old, *(_key(kept.epoch, name) for name, kept in expired)])

    def _expired(self, checkpoint: Checkpoint) -> list[tuple[str, Kept]]:
        return [
            (name, kept)
            for name, kept in self._copy.under(checkpoint.partition, _ANSWERS)
            if _answered_at(name) < checkpoint.answers_expired
        ]

    async def _forget(self, partition: Partition, keys: list[bytes]) -> None:
        """Delete records that newer ones replace, those found at the takeover included."""
        keys = [*self._garbage.pop(partition, ()), *keys]
        for start in range(0, len(keys), _TOMBSTONES_MAX):
            tombstones: list[Record] = [(key, None) for key in keys[start : start + _TOMBSTONES_MAX]]
            await self._producer.write(self._cluster.snapshots, partition, tombstones)

    # --- restoring ----------------------------------------------------------------------------------------------------

    async def restore(self, epochs: Mapping[Partition, int], owner: str) -> None:
        """Make the local copy of these partitions anew. Raises NotWritten, TooLarge, JournalUnavailable.

        A record of one's own, read up to, is the only proof of having read what was there: what the brokers call the
        end may be stale, and the states that a missed checkpoint replaces may have been compacted away.
        """
        written = await asyncio.gather(*(self._say_opened(p, epoch, owner) for p, epoch in epochs.items()))
        newest: dict[Partition, dict[str, Kept]] = {partition: {} for partition in epochs}
        self._garbage.update({partition: [] for partition in epochs})
        await read_compacted(
            self._cluster,
            self._cluster.snapshots,
            dict(zip(epochs, written, strict=True)),
            lambda partition, key, value: self._take(newest[partition], partition, key, value),
        )
        with self._lock:
            for partition, rows in newest.items():
                self._copy.clear(partition)
                self._copy.put(partition, rows.items())

    async def _say_opened(self, partition: Partition, epoch: int, owner: str) -> int:
        record = (_key(epoch, _OPENED), _encode(Kept(epoch, 0, 0, owner.encode())))
        written = await self._producer.write(self._cluster.snapshots, partition, [record])
        return int(written.offset)

    def _take(self, rows: dict[str, Kept], partition: Partition, key: bytes, value: bytes | None) -> None:
        epoch, name, kept = self._parse(partition, key, value)
        known = rows.get(name)
        if kept is None:
            if known is not None and known.epoch == epoch:
                del rows[name]
            return
        if kept.newer_than(known):
            rows[name] = kept
            older = known
        else:
            older = kept
        if older is not None and older.epoch != rows[name].epoch:
            self._garbage[partition].append(_key(older.epoch, name))

    def _parse(self, partition: Partition, key: bytes | None, value: bytes | None) -> tuple[int, str, Kept | None]:
        """Raises JournalUnavailable: a checkpoint may count on a state that cannot be read, so none may be left out."""
        try:
            epoch, _, name = (key or b"").decode().partition("/")
            return int(epoch), name, None if value is None else _kept.decode(value)
        except (ValueError, msgspec.DecodeError) as error:
            raise JournalUnavailable(
                f"{self._cluster.snapshots}, partition {partition}: the record {key!r} does not decode ({error}); "
                "something else than Falcon wrote to the topic"
            ) from error


def _rows(checkpoint: Checkpoint) -> list[tuple[str, Kept]]:
    def kept(data: bytes) -> Kept:
        return Kept(checkpoint.epoch, checkpoint.position.offset, checkpoint.version, data)

    rows = [(key, kept(data)) for key, data in checkpoint.snapshots]
    if checkpoint.answers:
        rows.append(
            (f"{_ANSWERS}{checkpoint.answers_at:015d}:{checkpoint.position.offset:015d}", kept(checkpoint.answers))
        )
    state = _CheckpointData(checkpoint.position, checkpoint.state)
    rows.append((_CHECKPOINT, kept(_encode(state))))
    return rows


def _answered_at(name: str) -> Millis:
    return int(name.removeprefix(_ANSWERS).partition(":")[0])


def _key(epoch: int, name: str) -> bytes:
    return f"{epoch}/{name}".encode()
