"""An event loop with time of its own: it stands still while the loop works, and moves on when the loop has to wait.

A busy machine stops a test for seconds. On this loop no time-out of the code under test ends meanwhile. All ends of the
test's connections belong to this one loop.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")

# Real seconds, for what the kernel or another thread still has on its way to the loop.
_ON_THE_WAY_SECONDS: Final = 0.02


class _Waiting(selectors.DefaultSelector):
    """``now``: the time, which a wait without an event moves on by its whole length."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.monotonic()

    def select(self, timeout: float | None = None) -> Any:
        seconds = None if timeout is None else min(timeout, _ON_THE_WAY_SECONDS)
        found = super().select(seconds)
        if not found and timeout is not None:
            self.now += timeout
        return found


def run_in_own_time(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``. ``time.monotonic`` is the loop's time."""
    waiting = _Waiting()
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(waiting)) as runner,
    ):
        patch.setattr(time, "monotonic", lambda: waiting.now)
        return runner.run(work)
