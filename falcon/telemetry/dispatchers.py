"""Every thread there is. Blocking calls run on dispatchers: named pools, bounded in threads and in what may wait.

A thread with a purpose of its own for its whole life (an event loop, a lane) is no pool: :func:`start_thread` names it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from falcon.telemetry import metrics

P = ParamSpec("P")
T = TypeVar("T")


class Saturated(RuntimeError):
    """Too many wait for a thread of this dispatcher; nothing was done."""


class Activity:
    """The figures of some threads that do tasks. Any thread may call anything."""

    def __init__(self, name: str, threads: int, bound: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._active = 0
        self._all_active_since = 0.0
        self._waiting: deque[float] = deque()  # since when, the oldest first
        self._all_active = metrics.dispatcher_all_active.labels(name)
        self._wait = metrics.dispatcher_wait.labels(name)
        self._run = metrics.dispatcher_run.labels(name)
        self._completed = metrics.dispatcher_completed.labels(name)
        self._rejections = metrics.dispatcher_rejections.labels(name)
        metrics.dispatcher_threads_max.labels(name).set(threads)
        metrics.dispatcher_bound.labels(name).set(bound)
        metrics.dispatcher_active.labels(name).set_function(self._sample)
        metrics.dispatcher_queue.labels(name).set_function(lambda: len(self._waiting))
        metrics.dispatcher_oldest.labels(name).set_function(self._oldest)

    def rejected(self) -> None:
        self._rejections.inc()

    def queued(self) -> float:
        """A task waits from now on; gives its ticket."""
        now = time.monotonic()
        with self._lock:
            self._waiting.append(now)
        return now

    def withdrawn(self, ticket: float) -> None:
        """It was cancelled while it waited."""
        with self._lock:
            self._waiting.remove(ticket)

    @contextmanager
    def at_work(self, ticket: float) -> Iterator[None]:
        began = time.monotonic()
        with self._lock:
            self._waiting.remove(ticket)  # mostly the first
            self._active += 1
            if self._active == self._threads:
                self._all_active_since = began
        self._wait.observe(began - ticket)
        try:
            yield
        finally:
            ended = time.monotonic()
            with self._lock:
                if self._active == self._threads:
                    self._all_active.inc(ended - self._all_active_since)
                self._active -= 1
            self._run.observe(ended - began)
            self._completed.inc()

    def _sample(self) -> float:
        """A time in which all have been active counts while it lasts, or a thread that hangs would never show."""
        with self._lock:
            if self._active == self._threads:
                now = time.monotonic()
                self._all_active.inc(now - self._all_active_since)
                self._all_active_since = now
            return self._active

    def _oldest(self) -> float:
        with self._lock:
            return time.monotonic() - self._waiting[0] if self._waiting else 0.0


class Dispatcher(ThreadPoolExecutor):
    """At most ``threads`` at work and ``queue`` waiting for one; what is more is refused at once."""

    def __init__(self, name: str, *, threads: int, queue: int) -> None:
        super().__init__(threads, thread_name_prefix=f"falcon-{name}")
        self.name = name
        self._places = threading.Semaphore(threads + queue)
        self._activity = Activity(name, threads, queue)
        metrics.dispatcher_threads.labels(name).set_function(lambda: len(self._threads))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Raises Saturated; RuntimeError once it is closed."""
        if not self._places.acquire(blocking=False):
            self._activity.rejected()
            raise Saturated(f"too many wait for {self.name}")
        ticket = self._activity.queued()

        def work() -> T:
            with self._activity.at_work(ticket):
                return fn(*args, **kwargs)

        def leave(future: "Future[T]") -> None:
            self._places.release()
            if future.cancelled():
                self._activity.withdrawn(ticket)

        try:
            future = super().submit(work)
        except RuntimeError:
            self._places.release()
            self._activity.withdrawn(ticket)
            raise
        future.add_done_callback(leave)
        return future

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for it on an event loop. Raises Saturated, or what it raises."""
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def close(self) -> None:
        """Nothing new is taken; what waits is given up, what is under way comes to its end."""
        self.shutdown(wait=False, cancel_futures=True)


def start_thread(name: str, run: Callable[[], object]) -> threading.Thread:
    """A thread of a purpose of its own; it does not keep the process from ending."""
    thread = threading.Thread(target=run, name=f"falcon-{name}", daemon=True)
    thread.start()
    return thread
