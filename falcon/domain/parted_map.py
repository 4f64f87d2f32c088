"""A map whose entries lie in parts, so that a large one is stored and read a part at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

from immutables import Map

V = TypeVar("V")
D = TypeVar("D")

# Spreads ids that follow one another over the parts (Fibonacci hashing).
_SPREAD: Final = 0x9E3779B97F4A7C15
_BITS: Final = (1 << 64) - 1


class Part(Generic[V]):
    """Some entries. ``read`` brings those of a stored part when they are first needed.

    ``stored``: the name under which the store has these entries; None if it does not have them.
    """

    __slots__ = ("_entries", "read", "stored")

    def __init__(
        self,
        entries: "Map[int, V] | None" = None,
        read: "Callable[[], Map[int, V]] | None" = None,
        stored: str | None = None,
    ) -> None:
        self._entries = entries
        self.read = read
        self.stored = stored

    @property
    def entries(self) -> "Map[int, V]":
        if self._entries is None:
            assert self.read is not None, "a part has its entries, or a way to read them"
            self._entries = self.read()
        return self._entries


class PartedMap(Mapping[int, V]):
    """Values under ids. It never changes: ``set`` and ``delete`` return another one, which shares the other parts.

    A part has about ``most`` entries. The map grows by linear hashing (Litwin, 1980): a new entry splits one part at
    most. It does not shrink, since a part that is nearly empty costs little.
    """

    __slots__ = ("_most", "_size", "parts")

    def __init__(self, most: int, parts: "tuple[Part[V], ...]", size: int) -> None:
        self._most = most
        self.parts = parts
        self._size = size

    @classmethod
    def from_entries(cls, most: int, entries: Iterable[tuple[int, V]] = ()) -> "PartedMap[V]":
        whole = Map(entries)
        count = max(1, -(-len(whole) // most))
        if count == 1:
            return cls(most, (Part(whole),), len(whole))
        shares: list[dict[int, V]] = [{} for _ in range(count)]
        for key, value in whole.items():
            shares[_place(key, count)][key] = value
        return cls(most, tuple(Part(Map(share)) for share in shares), len(whole))

    def set(self, key: int, value: V) -> "PartedMap[V]":
        parts = self.parts
        place = _place(key, len(parts)) if len(parts) > 1 else 0
        before = parts[place].entries
        entries = before.set(key, value)
        size = self._size + len(entries) - len(before)
        if len(parts) == 1:
            after = PartedMap(self._most, (Part(entries),), size)
        else:
            after = PartedMap(self._most, (*parts[:place], Part(entries), *parts[place + 1 :]), size)
        return after if size <= self._most * len(parts) else after._split()

    def delete(self, key: int) -> "PartedMap[V]":
        """Raises KeyError if there is no such entry."""
        place = _place(key, len(self.parts))
        part = Part(self.parts[place].entries.delete(key))
        return PartedMap(self._most, (*self.parts[:place], part, *self.parts[place + 1 :]), self._size - 1)

    def _split(self) -> "PartedMap[V]":
        """The map with one part more, which takes entries of one other part."""
        new = len(self.parts)
        source = new - (1 << (new.bit_length() - 1))
        stay: dict[int, V] = {}
        move: dict[int, V] = {}
        for key, value in self.parts[source].entries.items():
            (move if _place(key, new + 1) == new else stay)[key] = value
        parts = (*self.parts[:source], Part(Map(stay)), *self.parts[source + 1 :], Part(Map(move)))
        return PartedMap(self._most, parts, self._size)

    # --- Mapping ------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: int) -> V:
        parts = self.parts
        return parts[_place(key, len(parts)) if len(parts) > 1 else 0].entries[key]

    def get(self, key: int, default: D | None = None) -> V | D | None:  # type: ignore[override]
        parts = self.parts
        return parts[_place(key, len(parts)) if len(parts) > 1 else 0].entries.get(key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self.get(key) is not None

    def __iter__(self) -> Iterator[int]:
        for part in self.parts:
            yield from part.entries

    def __len__(self) -> int:
        return self._size


# A small map is not parted: that costs nothing.
IdMap: TypeAlias = Map[int, V] | PartedMap[V]


def id_map(most: int, entries: Iterable[tuple[int, V]] = ()) -> "IdMap[V]":
    """A map whose parts have about ``most`` entries, if it has more than that."""
    whole = Map(entries)
    return whole if len(whole) <= most else PartedMap.from_entries(most, whole.items())


def with_entry(entries: "IdMap[V]", most: int, key: int, value: V) -> "IdMap[V]":
    """``most`` as in :func:`id_map`."""
    after = entries.set(key, value)
    return after if isinstance(after, PartedMap) or len(after) <= most else PartedMap.from_entries(most, after.items())


def _place(key: int, count: int) -> int:
    """The number of the part that has this id, if there are ``count`` parts."""
    mixed = (key * _SPREAD & _BITS) >> 32
    place = mixed & ((1 << (count - 1).bit_length()) - 1)
    return place if place < count else place & ((1 << ((count - 1).bit_length() - 1)) - 1)
