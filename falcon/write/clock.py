"""The clocks of the write side."""

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from falcon.domain.ids import Millis

log = logging.getLogger("falcon.clock")

_JUMP_MILLIS: Final = 10_000
_MILLI: Final = 1_000_000  # in nanoseconds


class Clock(Protocol):
    def now(self) -> Millis:
        """Wall clock, milliseconds since 1970."""

    def ahead_of(self, reference: Millis) -> Millis:
        """How far ``now`` is ahead of another machine's time."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back and is the same in every process of the machine."""


class SystemClock:
    """The machine's clock, which does not follow a jump: all later events of the log would bear the wrong time, since
    an owner's time never goes back. It follows a correction: a jump after which the machine agrees with others."""

    monotonic: Callable[[], float]

    def __init__(self) -> None:
        self.monotonic = time.monotonic
        self._follow_wall()
        self._jumped = False

    def now(self) -> Millis:
        wall = time.time_ns()
        steady = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._ahead
        jump = wall - steady
        if abs(jump) < _JUMP_MILLIS * _MILLI:
            self._jumped = False
            return wall // _MILLI
        if not self._jumped:
            self._jumped = True
            log.error(
                "the machine's clock jumped by %+d s; going on with the time as it was. "
                "Set the clock right; if the new time is right, start this process again",
                jump // 1_000_000_000,
            )
        return steady // _MILLI

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
        """Take the time of the wall clock for right. CLOCK_BOOTTIME goes on while the machine sleeps, as that does."""
        self._ahead = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
