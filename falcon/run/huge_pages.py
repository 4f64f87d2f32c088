"""Moves the memory of a process to huge pages.

While a process waits for a disk or a client, others take the processor's caches. What it does next misses the tables of
its pages as well, and a Python program reads from all over its memory. A huge page stands for 512 of the usual ones.
Python does not ask for them, and most systems give them only to programs that ask (docs/decisions/0047).
"""

import ctypes
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger("falcon")

_MAPPINGS: Final = Path("/proc/self/smaps")
_HEAD: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)")
_BYTES: Final = 2 << 20  # of a huge page on x86 and ARM
_MADV_COLLAPSE: Final = 25  # of Linux, since 6.1


def move_memory() -> int:
    """Returns how many bytes have been moved: 0 if the kernel cannot. Nothing depends on it.

    Call it when the process has loaded what it runs. It takes about 30 ms of CPU.
    """
    if not _MAPPINGS.exists():
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    moved = 0
    for start, size in dense(_MAPPINGS.read_text()):
        if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_COLLAPSE) == 0:
            moved += size
        else:
            log.debug("no huge pages at %x: %s", start, os.strerror(ctypes.get_errno()))
    return moved


def dense(mappings: str) -> Iterator[tuple[int, int]]:
    """Start and size of the memory that is mostly in use, in whole huge pages. ``mappings``: as in /proc/PID/smaps.

    The stacks of threads are mostly not in use: huge pages would make them as large as they may become.
    """
    start = end = 0
    for line in mappings.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            is_memory = head[3] == "rw-p" and head[4] == "0"
            start, end = (int(head[1], 16), int(head[2], 16)) if is_memory else (0, 0)
        elif line.startswith("Anonymous:"):
            used = int(line.split()[1]) << 10
            first, last = -(-start // _BYTES) * _BYTES, end // _BYTES * _BYTES
            if first < last and 2 * used >= end - start:
                yield first, last - first
