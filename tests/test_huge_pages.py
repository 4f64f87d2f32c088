"""The memory that a process reads most is moved to huge pages."""

import mmap
import re
from pathlib import Path

import pytest

from falcon.run import huge_pages

_BYTES = 2 << 20
_HEAP = """\
55d000100000-55d000a00000 rw-p 00000000 00:00 0                          [heap]
Size:               9216 kB
Anonymous:          9000 kB
"""
_STACK = """\
7f0000000000-7f0000800000 rw-p 00000000 00:00 0
Size:               8192 kB
Anonymous:            44 kB
"""
_LIBRARY = """\
7f1000000000-7f1000800000 rw-p 00000000 fe:00 4711                       /usr/lib/libpython3.so
Size:               8192 kB
Anonymous:          8192 kB
"""
_SMALL = """\
7f2000100000-7f2000300000 rw-p 00000000 00:00 0
Size:               2048 kB
Anonymous:          2048 kB
"""


def test_memory_in_use_is_moved_in_whole_huge_pages() -> None:
    assert list(huge_pages.dense(_HEAP)) == [(0x55D000200000, 4 * _BYTES)]


def test_the_stack_of_a_thread_keeps_its_size_and_a_file_its_pages() -> None:
    assert list(huge_pages.dense(_STACK + _LIBRARY + _SMALL)) == []


def test_a_process_that_moves_its_memory_has_huge_pages_and_the_same_content() -> None:
    with mmap.mmap(-1, 8 * _BYTES) as memory:
        memory.write(b"tea " * (2 * _BYTES))
        if not huge_pages.move_memory():
            pytest.skip("this kernel moves no memory to huge pages")
        assert _huge_bytes() >= 7 * _BYTES
        assert memory[:] == b"tea " * (2 * _BYTES)


def _huge_bytes() -> int:
    found = re.findall(r"^AnonHugePages:\s+(\d+) kB", Path("/proc/self/smaps").read_text(), re.MULTILINE)
    return sum(map(int, found)) << 10
