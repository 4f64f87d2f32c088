"""Gives memory that is free back to the system.

The C library gives back only what is free at the end of its heap. Bodies and answers of clients are freed in the midst
of it, so a process would stay as large as its clients once made it. The library could give each large block a mapping
of its own, which goes back at once. But then a large answer would cost twice as much CPU.
"""

import asyncio
import ctypes
import functools
from typing import Final

_SECONDS: Final = 5.0
_FREE_BYTES_MAX: Final = 16 << 20


class _Counts(ctypes.Structure):
    """struct mallinfo2 of glibc, since 2.33. ``free``: bytes, called fordblks there."""

    _fields_ = (("others", ctypes.c_size_t * 8), ("free", ctypes.c_size_t), ("at_end", ctypes.c_size_t))


def watch(seconds: float = _SECONDS) -> None:
    """Let the running event loop look at the free memory, and give it back, each so many seconds."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        give_back()
        loop.call_later(seconds, look)

    if _c_library() is not None:
        look()


def give_back() -> None:
    """Give free memory back if it is much. It takes 1 ms of CPU for about 10 MB; nothing happens without glibc."""
    library = _c_library()
    if library is not None and library.mallinfo2().free > _FREE_BYTES_MAX:
        library.malloc_trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Counts
    return library
