"""Numbers under names, a few bytes each. A dict takes a hundred, since each name and number is an object."""

import struct
from typing import Final

_ENTRY: Final = struct.Struct("<Qi")
_NAME: Final = struct.Struct("<Q")
# Entries of a bucket, on average. More would take longer to search, and fewer have more overhead each.
_FILL: Final = 16


class PackedTable:
    """Numbers of 32 bits, with a sign, under names of 64 bits. A name may have several numbers, the oldest first.

    The entries of a bucket are the bytes of one object. The table grows by linear hashing (Litwin, 1980): it splits one
    bucket at a time, so that no call takes long however large the table is.
    """

    def __init__(self) -> None:
        self._buckets: list[bytes] = [b""]
        self._mask = 0  # for the buckets that are split in this round, and those that they are split into
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, name: int) -> list[int]:
        bucket = self._buckets[self._place(name)]
        wanted = _NAME.pack(name)
        at = bucket.find(wanted)
        if at < 0:
            return []
        numbers: list[int] = []
        at = _aligned(bucket, wanted, at)
        while at >= 0:
            numbers.append(_ENTRY.unpack_from(bucket, at)[1])
            at = _aligned(bucket, wanted, bucket.find(wanted, at + 1))
        return numbers

    def add(self, name: int, number: int) -> None:
        self._buckets[self._place(name)] += _ENTRY.pack(name, number)
        self._grow()

    def remove(self, name: int, number: int) -> None:
        """Raises KeyError if the name does not have the number."""
        place = self._place(name)
        bucket = self._buckets[place]
        entry = _ENTRY.pack(name, number)
        at = bucket.find(entry)
        if at % _ENTRY.size and (at := _aligned(bucket, entry, at)) < 0:
            raise KeyError(name)
        self._buckets[place] = bucket[:at] + bucket[at + _ENTRY.size :]
        self._shrink()

    def change(self, name: int, by: int) -> None:
        """Add to the only number of the name. A name that has none has 0, and loses its number when that is 0 again."""
        place = self._place(name)
        bucket = self._buckets[place]
        wanted = _NAME.pack(name)
        at = bucket.find(wanted)
        if at % _ENTRY.size and (at := _aligned(bucket, wanted, at)) < 0:
            self._buckets[place] = bucket + _ENTRY.pack(name, by)
            self._grow()
            return
        number = _ENTRY.unpack_from(bucket, at)[1] + by
        entry = _ENTRY.pack(name, number) if number else b""
        self._buckets[place] = bucket[:at] + entry + bucket[at + _ENTRY.size :]
        if not number:
            self._shrink()

    def _place(self, name: int) -> int:
        place = hash((name,)) & self._mask
        return place if place < len(self._buckets) else place & self._mask >> 1

    def _grow(self) -> None:
        self._count += 1
        if self._count > _FILL * len(self._buckets):
            self._split()

    def _shrink(self) -> None:
        self._count -= 1
        if 2 * self._count < _FILL * len(self._buckets) and len(self._buckets) > 1:
            self._merge()

    def _split(self) -> None:
        """The first bucket of this round that is not split gives about half of its entries to a new last one."""
        if len(self._buckets) > self._mask:
            self._mask = 2 * self._mask + 1
        last = len(self._buckets)
        place = last & self._mask >> 1
        bucket = self._buckets[place]
        self._buckets.append(b"")
        parts: dict[int, list[bytes]] = {place: [], last: []}
        for at in range(0, len(bucket), _ENTRY.size):
            entry = bucket[at : at + _ENTRY.size]
            parts[self._place(_NAME.unpack_from(entry)[0])].append(entry)
        for each, entries in parts.items():
            self._buckets[each] = b"".join(entries)

    def _merge(self) -> None:
        """Undo the newest split."""
        bucket = self._buckets.pop()
        self._buckets[len(self._buckets) & self._mask >> 1] += bucket
        if len(self._buckets) == (self._mask >> 1) + 1:
            self._mask >>= 1


def _aligned(bucket: bytes, wanted: bytes, at: int) -> int:
    """The place of the first entry from ``at`` on that begins so, or -1."""
    while at >= 0 and at % _ENTRY.size:  # these bytes are of two entries
        at = bucket.find(wanted, at + 1)
    return at
