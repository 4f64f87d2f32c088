"""A snapshot as a cluster stores it, and as an owner's disk has a copy of it."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from falcon.domain.ids import Partition


class SnapshotStamp(NamedTuple):
    """The record with the highest stamp counts among all records about a thing."""

    epoch: int
    offset: int
    generation: int

    def newer_than(self, other: "SnapshotStamp | None") -> bool:
        """Also true if both are the same: the same record was written twice."""
        return other is None or self >= other


class SnapshotRecord(msgspec.Struct, frozen=True, array_like=True):
    """Holds what stands below ``offset``. Topics keep this layout for ever."""

    epoch: int
    offset: int
    version: int
    data: bytes
    generation: int = 0

    @property
    def stamp(self) -> SnapshotStamp:
        return SnapshotStamp(self.epoch, self.offset, self.generation)


class LocalCopy(Protocol):
    """A file, or a substitute, that may be thrown away. It keeps records by partition and name.

    Beside them it keeps ``garbage``: keys of records in the store that newer ones have replaced.
    """

    def clear(self, partition: Partition) -> None:
        """Drop the partition's records and its garbage."""

    def put(self, partition: Partition, rows: Iterable[tuple[str, SnapshotRecord]]) -> None: ...

    def get(self, partition: Partition, name: str) -> SnapshotRecord | None: ...

    def under(self, partition: Partition, prefix: str) -> list[tuple[str, SnapshotRecord]]:
        """The records under names that begin so, in the order of the names."""

    def stamps(self, partition: Partition, names: Iterable[str]) -> dict[str, SnapshotStamp]:
        """The stamps of those of the names that have a record."""

    def stamps_between(
        self, partition: Partition, first: str, stop: str, most: int = -1
    ) -> list[tuple[str, SnapshotStamp]]:
        """The stamps of the names from ``first`` up to ``stop`` (excluded), in their order; at most ``most``, unless
        that is negative."""

    def drop(self, partition: Partition, names: Iterable[str]) -> None: ...

    def reaches(self, partition: Partition) -> int:
        """The highest offset of a record, or 0."""

    def add_garbage(self, partition: Partition, keys: Iterable[bytes]) -> None: ...

    def garbage(self, partition: Partition, most: int) -> list[bytes]:
        """Returns at most so many keys."""

    def drop_garbage(self, partition: Partition, keys: Iterable[bytes]) -> None: ...
