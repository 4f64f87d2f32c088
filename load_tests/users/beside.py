"""An asyncio loop beside gevent's, in a thread of its own.

Locust's people are greenlets, and Falcon's client is asyncio. So what a person does is a coroutine on this loop; its
greenlet only waits for the end of that, and cancels it when locust ends the person. Nothing is patched: the client runs
as it does everywhere, and a call costs no way from one loop to the other.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import gevent
import gevent.event
import uvloop

T = TypeVar("T")


class AsyncioThread:
    """To be made on gevent's thread."""

    def __init__(self) -> None:
        self._to_gevent: deque[Callable[[], None]] = deque()
        self._wake = gevent.get_hub().loop.async_()
        self._wake.start(self._run_on_gevent)
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="asyncio", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, for which the calling greenlet waits. Raises what it raises.

        A greenlet that is killed meanwhile continues waiting until the work, cancelled, has cleaned up behind itself.
        """
        result = gevent.event.AsyncResult()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self.loop.create_task(work)
            tasks.append(task)
            task.add_done_callback(lambda task: self._soon(lambda: _hand_over(task, result)))

        self.loop.call_soon_threadsafe(begin)
        try:
            found: T = result.get()
        except gevent.GreenletExit:
            self.loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            result.wait()
            raise
        return found

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self._wake.stop()
        self._wake.close()

    def _soon(self, call: Callable[[], None]) -> None:
        """On gevent's thread; the one thing of gevent's that another thread may touch is the watcher's ``send``."""
        self._to_gevent.append(call)
        self._wake.send()

    def _run_on_gevent(self) -> None:
        while self._to_gevent:
            self._to_gevent.popleft()()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()


def _hand_over(task: asyncio.Task[Any], result: Any) -> None:
    if task.cancelled():
        result.set_exception(asyncio.CancelledError())
    elif (fault := task.exception()) is not None:
        result.set_exception(fault)
    else:
        result.set(task.result())
