"""Maps that other processes hold copies of, over messages that may be lost. Pure: the caller sends what it is given.

A process tells its changes. It also tells a sum of each map from time to time, and a receiver whose copy has another
sum asks for that map again. So a lost message costs one map between two processes, and what has arrived is not told
again.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec

from falcon.streams.keepers import slot_of

_MESSAGE_BYTES: Final = 32 << 10
_ENTRY_BYTES: Final = 16  # of an entry with an empty value, about

Kind: TypeAlias = str
Place: TypeAlias = tuple[Kind, int]  # one map: the entries of a kind in a slot
Fact: TypeAlias = tuple[Kind, int]  # a kind and a key


class MapChanges(msgspec.Struct, array_like=True, frozen=True):
    """Changes of one map. ``whole``: the receiver forgets what else it has of the map."""

    kind: Kind
    slot: int
    whole: bool
    put: list[tuple[int, bytes]]
    dropped: list[int]


class Sum(msgspec.Struct, array_like=True, frozen=True):
    kind: Kind
    slot: int
    sum: int


class _Map:
    """``sum``: the same for the same entries, in whatever order they came."""

    __slots__ = ("entries", "sum")

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}
        self.sum = 0

    def put(self, key: int, value: bytes) -> bool:
        """Returns True if that changes the map."""
        before = self.entries.get(key)
        if before == value:
            return False
        if before is not None:
            self.sum ^= _digest(key, before)
        self.entries[key] = value
        self.sum ^= _digest(key, value)
        return True

    def drop(self, key: int) -> bool:
        """Returns True if that changes the map."""
        before = self.entries.pop(key, None)
        if before is None:
            return False
        self.sum ^= _digest(key, before)
        return True


class Copies:
    """The maps of this process by the process that holds a copy, and its own copies of the maps of others."""

    def __init__(self) -> None:
        self._told: dict[str, dict[Place, _Map]] = {}
        self._by_place: dict[Place, dict[str, _Map]] = {}  # what was heard, by place and process
        self._places: dict[str, set[Place]] = {}  # what was heard: the places of a process
        self._changed: dict[str, dict[Place, set[int]]] = {}
        self._whole: set[tuple[str, Place]] = set()

    # --- told ---------------------------------------------------------------------------------------------------------

    def put(self, process: str, kind: Kind, key: int, value: bytes) -> None:
        place = kind, slot_of(key)
        if self._told.setdefault(process, {}).setdefault(place, _Map()).put(key, value):
            self._change(process, place).add(key)

    def drop(self, process: str, kind: Kind, key: int) -> None:
        place = kind, slot_of(key)
        maps = self._told.get(process, {})
        if place in maps and maps[place].drop(key):
            self._change(process, place).add(key)
            if not maps[place].entries:
                del maps[place]

    def copy(self, place: Place, before: str, after: str) -> None:
        """Tell one process what another has been told of a map."""
        told = self._told.get(before, {}).get(place)
        for key, value in () if told is None else told.entries.items():
            self.put(after, place[0], key, value)

    def clear(self, process: str, place: Place) -> None:
        told = self._told.get(process, {}).get(place)
        for key in () if told is None else list(told.entries):
            self.drop(process, place[0], key)

    def told(self, process: str) -> list[Place]:
        """The maps that the process should have a copy of."""
        return list(self._told.get(process, {}))

    def tell_again(self, process: str, place: Place) -> None:
        told = self._told.get(process, {}).get(place)
        self._whole.add((process, place))
        self._change(process, place).update(() if told is None else told.entries)

    def messages(self, most: int) -> Iterator[tuple[str, list[MapChanges]]]:
        """The changes that were not given before, by receiver, in at most so many messages."""
        for process in list(self._changed):
            places = self._changed[process]
            while places and most:
                most -= 1
                yield process, self._parts(process, places)
            if not places:
                del self._changed[process]

    def sums(self, process: str) -> list[Sum] | None:
        """The sums of all maps that the process should have a copy of. None while it lacks changes."""
        if process in self._changed:
            return None
        return [Sum(*place, told.sum) for place, told in self._told.get(process, {}).items()]

    def _change(self, process: str, place: Place) -> set[int]:
        return self._changed.setdefault(process, {}).setdefault(place, set())

    def _parts(self, process: str, places: dict[Place, set[int]]) -> list[MapChanges]:
        parts: list[MapChanges] = []
        size = 0
        while places and size < _MESSAGE_BYTES:
            place, keys = places.popitem()
            told = self._told.get(process, {}).get(place)
            part = MapChanges(*place, (process, place) in self._whole, [], [])
            self._whole.discard((process, place))
            while keys and size < _MESSAGE_BYTES:
                key = keys.pop()
                value = None if told is None else told.entries.get(key)
                if value is None:
                    part.dropped.append(key)
                else:
                    part.put.append((key, value))
                size += _ENTRY_BYTES + len(value or b"")
            if keys:
                places[place] = keys
            parts.append(part)
            size += _ENTRY_BYTES
        return parts

    # --- heard --------------------------------------------------------------------------------------------------------

    def heard(self, kind: Kind, key: int) -> dict[str, bytes]:
        """The values of a key by the processes that told them."""
        maps = self._by_place.get((kind, slot_of(key)), {})
        return {process: each.entries[key] for process, each in maps.items() if key in each.entries}

    def take(self, process: str, part: MapChanges) -> list[Fact]:
        """Returns what has changed."""
        place = part.kind, part.slot
        maps = self._by_place.setdefault(place, {})
        known = maps.setdefault(process, _Map())
        self._places.setdefault(process, set()).add(place)
        dropped = list(part.dropped)
        if part.whole:
            dropped += known.entries.keys() - {key for key, _ in part.put}
        changed = [(part.kind, key) for key in dropped if known.drop(key)]
        changed += [(part.kind, key) for key, value in part.put if known.put(key, value)]
        if not known.entries:
            self._forget(process, place)
        return changed

    def compare(self, process: str, sums: list[Sum]) -> tuple[list[Place], list[Fact]]:
        """Returns the maps that this process has to be told again, and what it still had but the sender has not."""
        told = {(each.kind, each.slot): each.sum for each in sums}
        known = self._places.get(process, set())
        again = [
            place for place, sum in told.items() if place not in known or self._by_place[place][process].sum != sum
        ]
        return again, [fact for place in known - told.keys() for fact in self._forget(process, place)]

    def forget(self, process: str) -> list[Fact]:
        """Forget all that the process told and was told. Returns what has changed."""
        self._told.pop(process, None)
        self._changed.pop(process, None)
        self._whole = {each for each in self._whole if each[0] != process}
        changed = [fact for place in list(self._places.get(process, ())) for fact in self._forget(process, place)]
        self._places.pop(process, None)
        return changed

    def _forget(self, process: str, place: Place) -> list[Fact]:
        self._places[process].discard(place)
        known = self._by_place[place].pop(process)
        if not self._by_place[place]:
            del self._by_place[place]
        return [(place[0], key) for key in known.entries]


def _digest(key: int, value: bytes) -> int:
    return int.from_bytes(blake2b(b"%d %b" % (key, value), digest_size=8).digest())
