"""Maps that other processes hold copies of, over messages that may be lost. Pure: the caller sends what it is given.

A process sends its changes. It also sends a sum of each map from time to time, and a receiver whose copy has another
sum asks for that map again. So a lost message costs one map between two processes, and what has arrived is not sent
again.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, TypeAlias

import msgspec

from falcon.streams.keepers import slot_of

_MESSAGE_BYTES: Final = 32 << 10  # a quarter of what a datagram takes
_ENTRY_BYTES: Final = 16  # of an entry with an empty value, about

Kind: TypeAlias = str
MapId: TypeAlias = tuple[Kind, int]  # one map: the entries of a kind in a slot
MapEntry: TypeAlias = tuple[Kind, int]  # a kind and a key


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


class ReplicatedMap:
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


class ReplicatedMaps:
    """The maps of this process by the process that holds a copy, and its own copies of the maps of others."""

    def __init__(self) -> None:
        self._sent: dict[str, dict[MapId, ReplicatedMap]] = {}
        self._by_map: dict[MapId, dict[str, ReplicatedMap]] = {}  # what was heard, by map and process
        self._received: dict[str, set[MapId]] = {}  # what was heard: the maps of a process
        self._changed: dict[str, dict[MapId, set[int]]] = {}
        self._whole: set[tuple[str, MapId]] = set()

    # --- sent ---------------------------------------------------------------------------------------------------------

    def put(self, process: str, kind: Kind, key: int, value: bytes) -> None:
        map_id = kind, slot_of(key)
        if self._sent.setdefault(process, {}).setdefault(map_id, ReplicatedMap()).put(key, value):
            self._change(process, map_id).add(key)

    def drop(self, process: str, kind: Kind, key: int) -> None:
        map_id = kind, slot_of(key)
        maps = self._sent.get(process, {})
        if map_id in maps and maps[map_id].drop(key):
            self._change(process, map_id).add(key)
            if not maps[map_id].entries:
                del maps[map_id]

    def copy(self, map_id: MapId, before: str, after: str) -> None:
        """Send one process what another has been sent of a map."""
        sent = self._sent.get(before, {}).get(map_id)
        for key, value in () if sent is None else sent.entries.items():
            self.put(after, map_id[0], key, value)

    def clear(self, process: str, map_id: MapId) -> None:
        sent = self._sent.get(process, {}).get(map_id)
        for key in () if sent is None else list(sent.entries):
            self.drop(process, map_id[0], key)

    def sent_to(self, process: str) -> list[MapId]:
        """The maps that the process should have a copy of."""
        return list(self._sent.get(process, {}))

    def send_again(self, process: str, map_id: MapId) -> None:
        sent = self._sent.get(process, {}).get(map_id)
        self._whole.add((process, map_id))
        self._change(process, map_id).update(() if sent is None else sent.entries)

    def messages(self, most: int) -> Iterator[tuple[str, list[MapChanges]]]:
        """The changes that were not given before, by receiver, in at most so many messages."""
        for process in list(self._changed):
            map_ids = self._changed[process]
            while map_ids and most:
                most -= 1
                yield process, self._parts(process, map_ids)
            if not map_ids:
                del self._changed[process]

    def sums(self, process: str) -> list[Sum] | None:
        """The sums of all maps that the process should have a copy of. None while it lacks changes."""
        if process in self._changed:
            return None
        return [Sum(*map_id, sent.sum) for map_id, sent in self._sent.get(process, {}).items()]

    def _change(self, process: str, map_id: MapId) -> set[int]:
        return self._changed.setdefault(process, {}).setdefault(map_id, set())

    def _parts(self, process: str, map_ids: dict[MapId, set[int]]) -> list[MapChanges]:
        parts: list[MapChanges] = []
        size = 0
        while map_ids and size < _MESSAGE_BYTES:
            map_id, keys = map_ids.popitem()
            sent = self._sent.get(process, {}).get(map_id)
            part = MapChanges(*map_id, (process, map_id) in self._whole, [], [])
            self._whole.discard((process, map_id))
            while keys and size < _MESSAGE_BYTES:
                key = keys.pop()
                value = None if sent is None else sent.entries.get(key)
                if value is None:
                    part.dropped.append(key)
                else:
                    part.put.append((key, value))
                size += _ENTRY_BYTES + len(value or b"")
            if keys:
                map_ids[map_id] = keys
            parts.append(part)
            size += _ENTRY_BYTES
        return parts

    # --- heard --------------------------------------------------------------------------------------------------------

    def heard(self, kind: Kind, key: int) -> dict[str, bytes]:
        """The values of a key by the processes that sent them."""
        maps = self._by_map.get((kind, slot_of(key)), {})
        return {process: each.entries[key] for process, each in maps.items() if key in each.entries}

    def receive(self, process: str, part: MapChanges) -> list[MapEntry]:
        """Returns what has changed."""
        map_id = part.kind, part.slot
        maps = self._by_map.setdefault(map_id, {})
        known = maps.setdefault(process, ReplicatedMap())
        self._received.setdefault(process, set()).add(map_id)
        dropped = list(part.dropped)
        if part.whole:
            dropped += known.entries.keys() - {key for key, _ in part.put}
        changed = [(part.kind, key) for key in dropped if known.drop(key)]
        changed += [(part.kind, key) for key, value in part.put if known.put(key, value)]
        if not known.entries:
            self._forget(process, map_id)
        return changed

    def compare(self, process: str, sums: list[Sum]) -> tuple[list[MapId], list[MapEntry]]:
        """Returns the maps that the sender must send again, and the entries that only this process had."""
        sent = {(each.kind, each.slot): each.sum for each in sums}
        known = self._received.get(process, set())
        again = [
            map_id for map_id, sum in sent.items() if map_id not in known or self._by_map[map_id][process].sum != sum
        ]
        return again, [entry for map_id in known - sent.keys() for entry in self._forget(process, map_id)]

    def forget(self, process: str) -> list[MapEntry]:
        """Forget all that the process sent and was sent. Returns what has changed."""
        self._sent.pop(process, None)
        self._changed.pop(process, None)
        self._whole = {each for each in self._whole if each[0] != process}
        changed = [entry for map_id in list(self._received.get(process, ())) for entry in self._forget(process, map_id)]
        self._received.pop(process, None)
        return changed

    def _forget(self, process: str, map_id: MapId) -> list[MapEntry]:
        self._received[process].discard(map_id)
        known = self._by_map[map_id].pop(process)
        if not self._by_map[map_id]:
            del self._by_map[map_id]
        return [(map_id[0], key) for key in known.entries]


def _digest(key: int, value: bytes) -> int:
    return int.from_bytes(blake2b(b"%d %b" % (key, value), digest_size=8).digest())
