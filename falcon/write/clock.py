"""The clocks of the write side."""

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from falcon.domain.ids import Millis

log = logging.getLogger("falcon.clock")

_JUMP_MILLIS: Final = 10_000


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
        self._ahead = _wall() - _since_boot()
        self._jumped = False

    def now(self) -> Millis:
        steady = _since_boot() + self._ahead
        wall = _wall()
        jump = wall - steady
        if abs(jump) < _JUMP_MILLIS:
            self._jumped = False
            return wall
        if not self._jumped:
            self._jumped = True
            log.error(
                "the machine's clock jumped by %+d s; going on with the time as it was. "
                "Set the clock right; if the new time is right, start this process again",
                jump // 1_000,
            )
        return steady

    def ahead_of(self, reference: Millis) -> Millis:
        ahead = self.now() - reference
        if abs(ahead) >= _JUMP_MILLIS and abs(_wall() - reference) < _JUMP_MILLIS:
            log.warning(
                "the machine's clock was wrong by %+d s when this process started; it is right now", ahead // 1_000
            )
            self._ahead = _wall() - _since_boot()
            ahead = self.now() - reference
        return ahead


def _wall() -> Millis:
    return time.time_ns() // 1_000_000


def _since_boot() -> Millis:
    """It goes on while the machine sleeps, as the wall clock does."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
