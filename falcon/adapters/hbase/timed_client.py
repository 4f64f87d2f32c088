"""Runs blocking calls on a dispatcher, each with a time limit."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry.dispatchers import Dispatcher, Saturated

T = TypeVar("T")


class TimedClient:
    """A call is given up after ``seconds``, the wait for a thread included."""

    def __init__(self, dispatcher: Dispatcher, seconds: float) -> None:
        self._dispatcher = dispatcher
        self._seconds = seconds

    async def run(self, work: Callable[[float], T]) -> T:
        """Returns what ``work`` returns. ``work`` gets the time left, in seconds.

        Raises ReadStoreUnavailable at once if too many calls wait, and when the time is over even if the thread
        continues.
        """
        name = self._dispatcher.name
        try:
            future = self._dispatcher.submit(_in_time, work, time.monotonic() + self._seconds)
        except Saturated as error:
            raise ReadStoreUnavailable(str(error)) from error
        except RuntimeError as error:
            raise ReadStoreUnavailable(f"{name} is closed") from error
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise ReadStoreUnavailable(f"{name} took longer than {self._seconds:g} s") from error

    def close(self) -> None:
        self._dispatcher.close()


def _in_time(work: Callable[[float], T], until: float) -> T:
    left = until - time.monotonic()
    if left <= 0:
        raise ReadStoreUnavailable("no thread was free in time")
    return work(left)
