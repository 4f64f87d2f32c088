"""Blocking calls on threads of their own, bounded in number, in waiting, and in time."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from falcon.read.store import ReadStoreUnavailable

T = TypeVar("T")


class Dispatcher:
    """``threads`` at work, at most ``queue`` waiting for one, each done with after ``seconds``, waiting included."""

    def __init__(self, name: str, *, threads: int, queue: int, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._places = threading.Semaphore(threads + queue)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[float], T]) -> T:
        """What ``work`` gives; it gets the time left, in seconds.

        Raises ReadStoreUnavailable at once when too many wait, and when the time is over, whatever the thread does.
        """
        if not self._places.acquire(blocking=False):
            raise ReadStoreUnavailable(f"too many wait for {self._name}")
        until = time.monotonic() + self._seconds
        try:
            future = self._threads.submit(_in_time, work, until)
        except RuntimeError as error:  # it was closed
            self._places.release()
            raise ReadStoreUnavailable(f"{self._name} is closed") from error
        future.add_done_callback(self._leave)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise ReadStoreUnavailable(f"{self._name} took longer than {self._seconds:g} s") from error

    def close(self) -> None:
        """Nothing new is taken; what waits is given up, what is under way comes to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self, _: "Future[T]") -> None:
        self._places.release()


def _in_time(work: Callable[[float], T], until: float) -> T:
    left = until - time.monotonic()
    if left <= 0:
        raise ReadStoreUnavailable("no thread was free in time")
    return work(left)
