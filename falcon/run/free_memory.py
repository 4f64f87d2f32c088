"""Gives memory that is free back to the system.

The C library gives back only what is free at the end of its heap. Bodies and answers of clients are freed in the midst
of it, so a process would stay as large as its clients once made it. The library could give each large block a mapping
of its own, which goes back at once. But then a large answer would cost twice as much CPU.
"""

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 5.0  # a trim takes milliseconds, during which the process does nothing else
_FREE_BYTES_MAX: Final = 8 << 20  # what the next burst would ask for again


class _Counts(ctypes.Structure):
    """struct mallinfo2 of glibc, since 2.33. ``free``: bytes; glibc calls it fordblks."""

    _fields_ = (("others", ctypes.c_size_t * 8), ("free", ctypes.c_size_t), ("at_end", ctypes.c_size_t))


def watch(seconds: float = _SECONDS) -> None:
    """Let the running event loop give free memory back, each so many seconds. Nothing happens without glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return
    library.mallinfo2.restype = _Counts
    loop = asyncio.get_running_loop()
    memory = FreeMemory(lambda: library.mallinfo2().free, lambda: library.malloc_trim(0))

    def look() -> None:
        memory.give_back()
        loop.call_later(seconds, look)

    look()


class FreeMemory:
    """``free``: counts the bytes that are free. ``trim``: gives back the pages in them that nothing uses; it takes 1 ms
    of CPU for about 10 MB.

    A trim does not lower the count: glibc keeps the addresses, and pages that are used in part stay. So the next trim
    comes when much more is free than after the last one.
    """

    def __init__(self, free: Callable[[], int], trim: Callable[[], object]) -> None:
        self._free = free
        self._trim = trim
        self._left = 0  # free after the last trim, or at a look since then

    def give_back(self) -> None:
        free = self._free()
        if free > self._left + _FREE_BYTES_MAX:
            self._trim()
            self._left = self._free()
        else:
            self._left = min(self._left, free)
