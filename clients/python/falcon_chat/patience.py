"""How long to continue trying, and how long to wait in between."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from falcon_chat.errors import Unreachable

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_MOST_DOUBLINGS = 10  # the longest pause comes sooner; without a bound the power would outgrow a float
_KEY_SECONDS = 540.0  # the server remembers a key for ten minutes from the first attempt on


@dataclass(frozen=True)
class Clock:
    """Seconds that go forward, and a way to let them pass. Tests bring their own.

    ``wall`` also counts the time in which the computer sleeps.
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Patience:
    """A deadline ``timeout`` seconds ahead, and the pauses between the attempts before it.

    With a ``key`` it ends before the server forgets the key: an attempt after that would execute the command again.
    """

    def __init__(self, timeout: float, clock: Clock, key: str | None = None) -> None:
        self._timeout = timeout if key is None else min(timeout, _KEY_SECONDS)
        self._clock = clock
        self._key = key
        self._forgotten = math.inf if key is None else clock.wall() + _KEY_SECONDS
        self.renew()

    def renew(self) -> None:
        """Note progress: the deadline and the pauses start again."""
        self._deadline = self._clock.now() + self._timeout
        self._pauses = 0

    @property
    def left(self) -> float:
        """Seconds until the deadline, never less than 0."""
        return max(0.0, min(self._deadline - self._clock.now(), self._forgotten - self._clock.wall()))

    async def wait(self, met: Exception, retry_after: float | None = None) -> None:
        """Pause before the next attempt; for at least ``retry_after`` seconds, if the server said so.

        Raises Unreachable if the next attempt would come after the deadline.
        """
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._pauses, _MOST_DOUBLINGS)) * random.uniform(0.5, 1.0)
        self._pauses += 1
        if retry_after is not None:
            # Clients that were refused together do not come back together.
            pause = max(pause, retry_after * random.uniform(1.0, 1.1))
        if pause >= self.left:
            raise Unreachable(f"no answer within {self._timeout:g} s; the last attempt: {met}", met, self._key) from met
        await self._clock.sleep(pause)
