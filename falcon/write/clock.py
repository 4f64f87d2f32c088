"""The clocks of the write side."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from falcon.domain.ids import Millis

log = logging.getLogger("falcon.clock")

# Events further ahead of the clock were written by a clock that was wrong: those of two machines may differ by 20 s.
AHEAD_MILLIS_MAX: Final = 60_000
_JUMP_MILLIS: Final = 10_000
_MILLI: Final = 1_000_000  # in nanoseconds
_SECOND: Final = 1_000 * _MILLI


class Clock(Protocol):
    def now(self) -> Millis:
        """Wall clock, milliseconds since 1970."""

    def ahead_of(self, reference: Millis) -> Millis:
        """How far ``now`` is ahead of another machine's time."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back and is the same in every process of the machine."""


class SystemClock:
    """The machine's clock, which does not follow a jump: events would bear a wrong time if the new time is wrong. It
    follows a correction: a jump after which the machine agrees with others, or that has lasted for
    ``followed_after_seconds``. A machine by itself has no others to agree with."""

    monotonic: Callable[[], float]

    def __init__(self, followed_after_seconds: float = math.inf) -> None:
        self.monotonic = time.monotonic
        self._followed_after_seconds = followed_after_seconds
        self._jumped_at = math.inf  # seconds of CLOCK_BOOTTIME; none while the time is right
        self._follow_wall()

    def now(self) -> Millis:
        wall, up = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        steady = up + self._ahead
        jump, seconds = (wall - steady) // _SECOND, up / _SECOND
        if abs(wall - steady) < _JUMP_MILLIS * _MILLI:
            self._jumped_at = math.inf
            return wall // _MILLI
        if seconds - self._jumped_at >= self._followed_after_seconds:
            log.warning("the machine's clock jumped by %+d s and stayed so; events follow it now", jump)
            self._follow_wall()
            return self.now()
        if self._jumped_at == math.inf:
            self._jumped_at = seconds
            log.error("the machine's clock jumped by %+d s; going on with the time as it was%s", jump, self._advice)
        return steady // _MILLI

    @property
    def _advice(self) -> str:
        if self._followed_after_seconds == math.inf:
            return ". Set the clock right; if the new time is right, start this process again"
        return f" for {self._followed_after_seconds:g} s. Set the clock right if the new time is wrong"

    def ahead_of(self, reference: Millis) -> Millis:
        ahead = self.now() - reference
        if abs(ahead) >= _JUMP_MILLIS and abs(time.time_ns() // _MILLI - reference) < _JUMP_MILLIS:
            log.warning(
                "the machine's clock was wrong by %+d s when this process started; it is right now", ahead // 1_000
            )
            self._follow_wall()
            ahead = self.now() - reference
        return ahead

    def _follow_wall(self) -> None:
        """Take the time of the wall clock for right. CLOCK_BOOTTIME continues while the machine sleeps, as that
        does."""
        self._ahead = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
