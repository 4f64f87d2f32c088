"""Counts the objects on the heap by class, to find what grows."""

import gc
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

_OBJECTS_MAX: Final = 2_000_000  # counting stops the process: for a second or two
_CLASSES: Final = 200  # the largest; the page shows fewer
# Other threads get a turn after so many objects.
_CHUNK: Final = 5_000


def count_objects(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Objects and their bytes by class, most bytes first.

    Counts everything that can be reached from the modules and from what the collector tracks. Neither would do alone:
    objects of the start-up are frozen, and many small ones are not tracked. Bytes are of the objects themselves,
    without what they refer to. If there are more than two million objects only those are counted, and ``complete`` is
    False.
    """
    began = time.monotonic()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen: set[int] = {id(counts), id(sizes)}
    frontier: list[Any] = [*sys.modules.values(), *gc.get_objects()]
    seen |= {id(seen), id(frontier)}
    while frontier and len(seen) < _OBJECTS_MAX:
        chunk = frontier[-_CHUNK:]
        del frontier[-_CHUNK:]
        new = [each for each in chunk if id(each) not in seen]
        for each in new:
            if id(each) in seen:
                continue  # already counted among these
            seen.add(id(each))
            name = _name(type(each))
            counts[name] += 1
            sizes[name] += sys.getsizeof(each, 0)
        frontier += [each for each in gc.get_referents(*new) if id(each) not in seen]
        time.sleep(0)
    return {
        "objects": sum(counts.values()),
        "bytes": sum(sizes.values()),
        "complete": not frontier,
        "seconds": round(time.monotonic() - began, 3),
        "classes": {name: [counts[name], size] for name, size in sizes.most_common(_CLASSES)},
    }


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Heaps:
    """The last few counts, for comparison with later ones."""

    def __init__(self, most: int = 10) -> None:
        self._most = most
        self._number = 0
        self._kept: dict[int, tuple[str, Mapping[str, Any]]] = {}

    def keep(self, process: str, counted: Mapping[str, Any]) -> int:
        """Returns its number."""
        self._number += 1
        self._kept[self._number] = process, counted
        self._kept.pop(self._number - self._most, None)
        return self._number

    def get(self, number: int | None, process: str) -> Mapping[str, Any] | None:
        """None if that process has no count of that number, or not any more."""
        kept_of, counted = self._kept.get(number or 0, ("", None))
        return counted if kept_of == process else None
