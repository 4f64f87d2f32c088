"""A process does not stay as large as its clients once made it."""

import asyncio
import ctypes
import gc
import os
from pathlib import Path

import pytest

from falcon.run import free_memory
from tools.harness.waiting import eventually

_BODY_BYTES = 100_000
_SMALL_BYTES = 2_000


def resident_bytes() -> int:
    """What this process has in memory once everything unused is collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_between_what_stays_goes_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library gives nothing back")

    async def chat() -> None:
        bodies, stays = [], []
        for _ in range(1_000):
            bodies.append(b"x" * _BODY_BYTES)
            stays.append(b"x" * _SMALL_BYTES)
        large = resident_bytes()
        bodies.clear()
        free_memory.watch(seconds=0.01)
        await eventually(lambda: resident_bytes() < large - 800 * _BODY_BYTES)
        assert len(stays) == 1_000

    asyncio.run(chat())


def test_what_a_trim_has_given_back_is_not_given_back_again() -> None:
    """The C library still counts it as free."""
    free, trims = [0], []
    memory = free_memory.FreeMemory(lambda: free[0], lambda: trims.append(free[0]))
    mebibyte = 1 << 20
    for now in (5, 100, 100, 105, 110, 110, 20, 25, 30):
        free[0] = now * mebibyte
        memory.give_back()
    assert trims == [100 * mebibyte, 110 * mebibyte, 30 * mebibyte]
