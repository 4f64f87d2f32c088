"""Time as the write side takes it in."""

import time
from typing import Protocol

from falcon.domain.ids import Millis


class Clock(Protocol):
    def now(self) -> Millis:
        """Wall clock, milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back and is the same in every process of the machine."""


class SystemClock:
    def now(self) -> Millis:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
