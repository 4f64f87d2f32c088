"""An event loop on a thread of its own, where aiokafka runs for callers without a loop and for callers that must not
wait."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any, ParamSpec, TypeVar

import uvloop

from falcon.telemetry.dispatchers import start_thread

P = ParamSpec("P")
T = TypeVar("T")


class LoopThread:
    """Runs until :meth:`close`. Every method may be called from any other thread."""

    def __init__(self, name: str = "kafka") -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = start_thread(name, self._loop.run_forever)

    def call(self, coroutine: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run the coroutine there and wait. Raises what it raises, and TimeoutError once it has been cancelled."""
        running = self.start(coroutine)
        try:
            return running.result(seconds)
        except WaitedTooLong:
            running.cancel()
            raise

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def soon(self, function: Callable[P, object], *args: P.args) -> None:  # type: ignore[valid-type]
        """Call a function there, and do not wait."""
        self._loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
