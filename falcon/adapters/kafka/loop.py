"""An event loop on a thread of its own, where aiokafka runs for callers without a loop and for callers that must not
wait."""

import asyncio
import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any, Final, ParamSpec, TypeVar

import uvloop

from falcon.journal.ports import JournalUnavailable
from falcon.telemetry.dispatchers import start_thread

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("falcon.kafka")

_CANCEL_SECONDS: Final = 1.0  # cancelled tasks end in milliseconds, unless one hangs
_CLOSE_SECONDS: Final = 2.0  # a task that hangs does not hold up the end of the process


class LoopThread:
    """Runs until :meth:`close`, at the latest until the interpreter ends. Every method may be called from any other
    thread."""

    def __init__(self, name: str = "kafka") -> None:
        self._loop = uvloop.new_event_loop()
        self._lock = threading.Lock()  # a call that began after the loop's end would wait for ever
        self._closing = asyncio.Event()
        self._is_closed = False
        self._thread = start_thread(name, self._run)
        _loop_threads.add(self)

    def call(self, coroutine: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run the coroutine there and wait. Raises what it raises; TimeoutError once it has been cancelled; and
        JournalUnavailable if the loop is closed meanwhile."""
        running = self.start(coroutine)
        try:
            return running.result(seconds)
        except WaitedTooLong:
            running.cancel()
            raise
        except CancelledError as error:
            if self._is_closed:
                raise _closed() from error
            raise

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run the coroutine there, and do not wait. Raises JournalUnavailable if the loop is closed."""
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise _closed()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def soon(self, function: Callable[P, object], *args: P.args) -> None:  # type: ignore[valid-type]
        """Call a function there, and do not wait. Raises JournalUnavailable if the loop is closed."""
        with self._lock:
            if self._is_closed:
                raise _closed()
            self._loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        """Cancel what runs there, and wait until the thread has ended. Give up a loop that is blocked."""
        if not self._thread.is_alive():  # also in a process that was forked from this one
            return
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("%s is blocked, and left behind", self._thread.name)

    def _run(self) -> None:
        self._loop.run_until_complete(self._until_closed())
        self._loop.close()

    async def _until_closed(self) -> None:
        await self._closing.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)


def _closed() -> JournalUnavailable:
    return JournalUnavailable("the connections to the brokers are closed: this process is about to end")


_loop_threads: "weakref.WeakSet[LoopThread]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A loop that wakes up when the interpreter has gone crashes the process: libuv calls back into what was freed."""
    for each in list(_loop_threads):
        each.close()
