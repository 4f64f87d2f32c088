"""Looks for garbage at short intervals, so that no look takes long.

Python looks at new objects when the process has made 5,000 more than it has freed. While connections come as fast as
others go, that number stays small. The look then comes late, and takes all objects of thousands of connections at once:
50 to 100 ms, in which no client is served.
"""

import asyncio
import gc
import time
from typing import Final

# As gc.set_threshold has them: each 20th look takes the middle-aged objects too, and each 50th of those takes all.
_THRESHOLDS: Final = (5_000, 20, 50)
_SECONDS: Final = 0.05
# Of CPU: a look at what is made in them takes 3 to 15 ms. A process that mostly waits finds its caches cold after each.
_WORK_SECONDS: Final = 0.02
_ALL_AFTER: Final = _THRESHOLDS[0] * _THRESHOLDS[1] * _THRESHOLDS[2]
_NEVER: Final = 2**31 - 1


def freeze() -> None:
    """Look once more at all objects of now, and then never again."""
    gc.collect()
    gc.freeze()


def look_seldom() -> None:
    """Leave it to Python when to look. For a process without an event loop."""
    gc.set_threshold(*_THRESHOLDS)


def look_often(seconds: float = _SECONDS, all_after: int = _ALL_AFTER, work: float = _WORK_SECONDS) -> None:
    """Let the running event loop look at new objects, each so many seconds in which the process has worked for ``work``
    seconds. An object that stays is old then: a second look at it would cost as much again, and finds next to nothing.

    A look takes all objects, which may last 200 ms, when the process has made ``all_after`` more than it has freed
    between looks. Python looks by itself only while something keeps the loop from it.
    """
    gc.set_threshold(*_THRESHOLDS[:2], _NEVER)
    loop = asyncio.get_running_loop()
    made = 0
    before = _looks()
    looked_at = time.process_time()

    def look() -> None:
        nonlocal made, before, looked_at
        loop.call_later(seconds, look)
        now = time.process_time()
        if now - looked_at < work:
            return
        looked_at = now
        made += gc.get_count()[0] + _THRESHOLDS[0] * (_looks() - before)
        if made >= all_after:
            made = 0
            gc.collect()
        else:
            gc.collect(1)
        before = _looks()

    look()


def _looks() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())
