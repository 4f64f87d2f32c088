"""The one way to wait until something is so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NotInTime(TimeoutError):
    """The condition did not come true in time."""


def until(holds: Callable[[], T | None], what: str = "it was so", seconds: float = 60.0, every: float = 0.02) -> T:
    """Ask again ``every`` so many seconds; gives the first answer that is true. Raises NotInTime."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return found


def holds_within(holds: Callable[[], Any], seconds: float, every: float = 0.02) -> bool:
    """Wait until it is so, but not for longer. Returns True if it is so."""
    try:
        until(holds, seconds=seconds, every=every)
    except NotInTime:
        return False
    return True


async def eventually(
    holds: Callable[[], Any], what: str = "it was so", seconds: float = 60.0, every: float = 0.01
) -> float:
    """The same on an event loop; gives the seconds that it took. ``holds`` may be a coroutine function."""
    began = time.monotonic()
    while True:
        found = holds()
        if await found if asyncio.iscoroutine(found) else found:
            return time.monotonic() - began
        if time.monotonic() > began + seconds:
            raise NotInTime(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(every)


async def eventually_within(holds: Callable[[], Any], seconds: float, every: float = 0.01) -> bool:
    """``holds_within`` on an event loop."""
    try:
        await eventually(holds, seconds=seconds, every=every)
    except NotInTime:
        return False
    return True
