"""The aggregates of one partition in its snapshot store."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import TypeAlias

import msgspec

from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable, SnapshotStore
from falcon.write import snapshots
from falcon.write.snapshots import Aggregate, PartMissing, StoredParts

log = logging.getLogger("falcon.shard")

Unreadable: TypeAlias = PartMissing | JournalUnavailable


class Stored(msgspec.Struct, frozen=True):
    """An aggregate that holds what stands below ``offset``."""

    offset: int
    aggregate: Aggregate


class Changes(msgspec.Struct, frozen=True):
    """The rows that a checkpoint writes, each head after its parts, and the ranges of names that it makes useless."""

    rows: list[tuple[str, bytes]]
    obsolete: list[tuple[str, str]]


class StoredAggregates:
    """Reads stored aggregates, and gives what a checkpoint must write of the ones that have changed."""

    def __init__(self, store: SnapshotStore, partition: Partition) -> None:
        self._store = store
        self._partition = partition

    def load(self, identity: int) -> Stored | None:
        head = self._store.load(self._partition, snapshots.head_of(identity), snapshots.VERSION)
        if head is None:
            return None
        return Stored(head.offset, snapshots.decode_aggregate(head.data, self._read))

    def changes(
        self, aggregates: Iterable[tuple[int, Aggregate]], epoch: int, unknown: tuple[str, ...] = ()
    ) -> Changes:
        """Returns what a checkpoint of ``epoch`` writes. The next call must wait until that is stored. ``unknown`` as
        in PartitionState."""
        changes = Changes([], [])
        for identity, aggregate in aggregates:
            parts = self._change_parts(identity, aggregate, epoch, changes)
            changes.rows.append((snapshots.head_of(identity), snapshots.encode_aggregate(aggregate, parts, unknown)))
        return changes

    def _change_parts(self, identity: int, aggregate: Aggregate, epoch: int, changes: Changes) -> StoredParts | None:
        """Write the parts that have changed, or all of them if the stored ones are another epoch's."""
        parted = snapshots.parted(aggregate)
        if parted is None:
            if getattr(aggregate, "deleted", False):
                first = snapshots.parts_of(identity)
                changes.obsolete.append((first, first + "\U0010ffff"))
            return None
        before = self._stored_parts(identity)
        if before is None or before.epoch != epoch:
            before = StoredParts(epoch, 0, b"")
            changes.obsolete.append((snapshots.parts_of(identity), snapshots.parts_of(identity, epoch)))
        slots = before.slots.ljust(len(parted.parts), b"\0")
        names = StoredParts(epoch, 0, slots).names(identity)
        other_slots = bytes(1 - slot for slot in slots)
        other_names = StoredParts(epoch, 0, other_slots).names(identity)
        after = bytearray(slots)
        for place, part in enumerate(parted.parts):
            if part.stored == names[place]:
                continue
            if part.stored is None:
                data = snapshots.encode_part(part)
            else:
                data = self._read(part.stored)
                # Its old name goes with the checkpoint, and its new one comes with it: rely on neither meanwhile.
                part.read = partial(snapshots.decode_part, type(aggregate), data)
            part.stored = other_names[place]
            after[place] = other_slots[place]
            changes.rows.append((part.stored, data))
        return StoredParts(epoch, len(parted), bytes(after))

    def _stored_parts(self, identity: int) -> StoredParts | None:
        """None also if the stored head is damaged: the log need not be read, since the next head replaces it."""
        head = self._store.load(self._partition, snapshots.head_of(identity), snapshots.VERSION)
        try:
            return None if head is None else snapshots.decode_parts(head.data)
        except PartMissing as damaged:
            log.warning("partition %s: a checkpoint replaces the head of %s: %s", self._partition, identity, damaged)
            return None

    def _read(self, name: str) -> bytes:
        part = self._store.load(self._partition, name, snapshots.VERSION)
        if part is None:
            raise PartMissing(f"partition {self._partition}: the snapshot {name} is missing, and its head counts on it")
        return part.data
