"""All threads. Blocking calls run on dispatchers: named pools with bounded threads and bounded queues.

A thread with one task for its whole life (an event loop) needs no pool: :func:`start_thread` names it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from falcon.telemetry import metrics

P = ParamSpec("P")
T = TypeVar("T")


class Saturated(RuntimeError):
    """Too many calls wait for a thread of this dispatcher. Nothing was done."""


class Activity:
    """The figures of some threads and their tasks. Any thread may call any method."""

    def __init__(self, name: str, threads: int, bound: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._active = 0
        self._all_active_since = 0.0
        self._all_active_seconds = 0.0  # what the metric does not have yet
        self._waiting: deque[float] = deque()  # the start of each wait, the oldest first
        self._all_active = metrics.dispatcher_all_active.labels(name)
        self._wait = metrics.dispatcher_wait.labels(name)
        self._run = metrics.dispatcher_run.labels(name)
        self._rejections = metrics.dispatcher_rejections.labels(name)
        metrics.dispatcher_threads_max.labels(name).set(threads)
        metrics.dispatcher_bound.labels(name).set(bound)
        metrics.dispatcher_active.labels(name).set_function(self._sample)
        metrics.dispatcher_queue.labels(name).set_function(lambda: len(self._waiting))
        metrics.dispatcher_oldest.labels(name).set_function(self._oldest)

    def rejected(self) -> None:
        self._rejections.inc()

    def queued(self) -> float:
        """A task starts to wait. Returns its ticket."""
        now = time.monotonic()
        with self._lock:
            self._waiting.append(now)
        return now

    def withdrawn(self, ticket: float) -> None:
        """The task was cancelled while it waited."""
        with self._lock:
            self._waiting.remove(ticket)

    def run(self, ticket: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the task that has this ticket. Raises what it raises."""
        began = time.monotonic()
        with self._lock:
            self._waiting.remove(ticket)  # it is usually the first one
            self._active += 1
            if self._active == self._threads:
                self._all_active_since = began
        self._wait.observe(began - ticket)
        try:
            return fn(*args, **kwargs)
        finally:
            ended = time.monotonic()
            with self._lock:
                if self._active == self._threads:
                    self._all_active_seconds += ended - self._all_active_since
                self._active -= 1
            self._run.observe(ended - began)

    def _sample(self) -> float:
        """Time in which all threads are active counts while it lasts, since a thread that hangs would never show
        otherwise."""
        with self._lock:
            if self._active == self._threads:
                now = time.monotonic()
                self._all_active_seconds += now - self._all_active_since
                self._all_active_since = now
            self._all_active.inc(self._all_active_seconds)
            self._all_active_seconds = 0.0
            return self._active

    def _oldest(self) -> float:
        with self._lock:
            return time.monotonic() - self._waiting[0] if self._waiting else 0.0


class Dispatcher(ThreadPoolExecutor):
    """Runs at most ``threads`` tasks, while ``queue`` tasks wait. More are refused at once."""

    def __init__(self, name: str, *, threads: int, queue: int) -> None:
        super().__init__(threads, thread_name_prefix=f"falcon-{name}")
        self.name = name
        self._places = threading.Semaphore(threads + queue)
        self._activity = Activity(name, threads, queue)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Raises Saturated; RuntimeError once it is closed."""
        if not self._places.acquire(blocking=False):
            self._activity.rejected()
            raise Saturated(f"too many wait for {self.name}")
        ticket = self._activity.queued()

        def work() -> T:
            return self._activity.run(ticket, fn, *args, **kwargs)

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
        """Wait for the result on an event loop. Raises Saturated, or what the call raises."""
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def close(self) -> None:
        """Accept nothing more, give up what waits, and let running tasks end."""
        self.shutdown(wait=False, cancel_futures=True)


def start_thread(name: str, run: Callable[[], object]) -> threading.Thread:
    """Start a thread with one task. It does not keep the process from ending."""
    thread = threading.Thread(target=run, name=f"falcon-{name}", daemon=True)
    thread.start()
    return thread
