"""Threads, locks, event loops and clocks that one generator of random numbers schedules, in simulated time.

Within a ``Simulation`` the code under test runs as it is: it starts threads, waits for locks and events, sleeps and
runs asyncio's loops. But each of its threads is a greenlet, one runs at a time, and the seed draws the one that
continues. When all of them wait, time moves on to the next event. So a seed is a schedule, and an hour takes a moment.

Threads belong to processes, which can be stopped, continue, be killed, and have wrong clocks.
"""

import asyncio
import gc
import heapq
import itertools
import os
import queue
import random
import signal
import sys
import threading
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Final, TypeVar
from unittest.mock import patch

import greenlet
import uvloop

T = TypeVar("T")

# Before any real time, so that files on the disk do not count as old.
_BEGINNING: Final = 1_767_225_600.0
_STEP_SECONDS: Final = 20e-6  # at most, that a thread takes from one place where it may be interrupted to the next
_LOOK_SECONDS: Final = 1e-6
_INTERRUPTED: Final = 0.3  # the share of a busy loop's rounds before which other threads may run
_REAL_GET_IDENT: Final = threading.get_ident
_WALL: Final = time.time
_MONOTONIC: Final = time.monotonic
_IDENTS: Final = 1_000_000


class Deadlock(Exception):
    """No thread can continue, now or later."""


class Killed(BaseException):
    """Ends what runs in a simulation that is over."""


@dataclass(eq=False)
class Process:
    """``skew``: seconds that its wall clock is ahead. Its other clock is right, but begins anywhere.

    ``held``: its threads that could continue, while it is stopped.
    """

    name: str
    skew: float = 0.0
    stopped: bool = False
    dead: bool = False
    held: "list[Strand]" = field(default_factory=list)


class Strand:
    """A thread. ``waiting``: the number of the wait that it is in; 0 where it may continue."""

    __slots__ = ("ended", "greenlet", "hooks", "ident", "loop", "name", "process", "thread", "waiting", "woken")

    def __init__(self, process: Process, name: str, run: Callable[[], None], ident: int, hub: Any) -> None:
        self.process = process
        self.name = name
        self.ident = ident
        self.greenlet = greenlet.greenlet(run, parent=hub)
        self.waiting = 0
        self.woken = False
        self.ended = False
        self.loop: asyncio.AbstractEventLoop | None = None  # that runs in it
        self.hooks: Any = (None, None)  # by which that loop knows its asynchronous generators
        self.thread: Any = None

    def __repr__(self) -> str:
        return f"<{self.name} of {self.process.name}>"


class Simulation:
    """``run`` something in it. ``now``: seconds; ``trace``: a number that two runs share as long as they are alike."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.entropy = random.Random(self.random.random())  # what os.urandom gives
        self.now = 1_000.0
        self.trace = 0
        self.steps = 0
        self.main = Process("main")
        self._ready: list[Strand] = []
        self._timers: list[tuple[float, int, Strand | None, Callable[[], object] | None]] = []
        self._numbers = itertools.count(1)
        self._idents = itertools.count(_IDENTS)
        self._strands: dict[Strand, None] = {}
        self._real_thread = 0  # in which it runs
        self._current: Strand | None = None
        self._hub: Any = None
        self._errand: tuple[Strand, Callable[[], object]] | None = None
        self._failure: BaseException | None = None

    # --- from outside -------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[], T]) -> T:
        """Run until ``work`` has ended, even if others still run. Returns or raises what it does. Raises Deadlock."""
        result: list[T] = []

        def main() -> None:
            result.append(work())

        with _patched(self), self._noting_signals():
            self._hub = greenlet.getcurrent()
            self._real_thread = _REAL_GET_IDENT()
            first = self.spawn(main, "main", self.main)
            try:
                while not first.ended and self._failure is None:
                    self._enter(self._next())
                    while self._errand is not None:
                        (waiting, errand), self._errand = self._errand, None
                        errand()
                        self._enter(waiting)
            finally:
                self._end()
        if self._failure is not None:
            raise self._failure
        return result[0]

    def reseed(self, seed: int) -> None:
        """From now on every chance of the scheduler and of the code under test follows from this seed."""
        chance = random.Random(seed)
        self.random.seed(chance.random())
        self.entropy.seed(chance.random())
        random.seed(chance.random())

    def outside(self, errand: Callable[[], T]) -> T:
        """Called within it: run a function while none of the threads runs. No time passes."""
        done: list[T] = []
        strand = self.current
        self._errand = strand, lambda: done.append(errand())
        self._switch(strand, None)
        return done[0]

    def _next(self) -> Strand:
        """The thread that continues now. Where all of them wait, time moves on to the next timer. Raises Deadlock."""
        timers, ready = self._timers, self._ready
        while True:
            while timers and timers[0][0] <= self.now:
                _, number, sleeper, do = heapq.heappop(timers)
                if do is not None:
                    self._do(do)
                elif sleeper is not None and sleeper.waiting == number and not sleeper.process.dead:
                    sleeper.waiting = 0
                    sleeper.woken = False
                    (sleeper.process.held if sleeper.process.stopped else ready).append(sleeper)
            if ready:
                break
            if not timers:
                raise Deadlock(f"all wait for ever: {[each for each in self._strands if not each.ended]}")
            self.now = timers[0][0]
        chance = self.random.random
        if len(ready) > 1:
            place = int(chance() * len(ready))
            strand, ready[place] = ready[place], ready[-1]
            ready.pop()
        else:
            strand = ready.pop()
        self.steps += 1
        self.now += chance() * _STEP_SECONDS
        self.trace = hash((self.trace, strand.ident, self.now))
        return strand

    @contextmanager
    def _noting_signals(self) -> Iterator[None]:
        """An exception from a signal's handler ends the simulation. It may be raised anywhere: in a thread that catches
        it, or in the scheduler, which would forget the thread that it was about to enter."""

        def noting(handler: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                self._failure = self._failure or error
                raise

        changed: dict[int, tuple[Any, Any]] = {}
        if _REAL_GET_IDENT() == threading.main_thread().ident:  # no other thread runs handlers
            found = {int(number): signal.getsignal(number) for number in signal.valid_signals()}
            changed = {number: (each, partial(noting, each)) for number, each in found.items() if callable(each)}
        for number, (_, during) in changed.items():
            signal.signal(number, during)
        try:
            yield
        finally:
            for number, (before, during) in changed.items():
                if signal.getsignal(number) is during:
                    signal.signal(number, before)

    def _do(self, do: Callable[[], object]) -> None:
        """Do what no thread does."""
        current, self._current = self._current, None
        try:
            do()
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._current = current

    def _enter(self, strand: Strand) -> None:
        """Called from outside: run until a thread ends or wants something done outside."""
        self._current = strand
        events._set_running_loop(strand.loop)
        sys.set_asyncgen_hooks(*strand.hooks)
        try:
            strand.greenlet.switch()
        finally:
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(None, None)
            self._current = None

    def _switch(self, strand: Strand, other: Strand | None) -> None:
        """Switch from one thread straight to another one, or to the outside."""
        strand.loop, strand.hooks = events._get_running_loop(), sys.get_asyncgen_hooks()
        if other is None:
            self._hub.switch()
        else:
            events._set_running_loop(other.loop)
            sys.set_asyncgen_hooks(*other.hooks)
            self._current = other
            other.greenlet.switch()

    def _end(self) -> None:
        """End all threads where they stand, without a word to them."""
        for strand in list(self._strands):
            strand.process.dead = True
        for strand in list(self._strands):
            while not strand.ended and strand.greenlet:
                self._current = strand
                try:
                    strand.greenlet.throw(Killed)
                finally:
                    self._current = None
        self._strands.clear()

    # --- for what runs in it ------------------------------------------------------------------------------------------

    @property
    def current(self) -> Strand:
        assert self.running, "nothing runs"
        assert self._current is not None
        return self._current

    @property
    def running(self) -> bool:
        return self._current is not None and not self.is_beside()

    def is_beside(self) -> bool:
        """A real thread that runs beside the simulation asks."""
        return _REAL_GET_IDENT() != self._real_thread

    def spawn(self, work: Callable[[], object], name: str, process: Process | None = None) -> Strand:
        """A thread, of the caller's process if none is named."""

        def run() -> None:
            try:
                work()
            except Killed:
                return
            except BaseException as error:
                if not strand.process.dead:  # what is ended where it stood may fail in its last blocks
                    self._failure = self._failure or error
            finally:
                strand.ended = True
                self._strands.pop(strand, None)

        strand = Strand(process or self.current.process, name, run, next(self._idents), self._hub)
        self._strands[strand] = None
        (strand.process.held if strand.process.stopped else self._ready).append(strand)
        return strand

    def wait(self, until: float | None = None) -> bool:
        """Let others run until a thread wakes this one: True. False once it is ``until``."""
        strand = self._current
        assert strand is not None, "nothing runs"
        strand.waiting = number = next(self._numbers)
        if until is not None:
            heapq.heappush(self._timers, (until, number, strand, None))
        self._leave(strand)
        return strand.woken

    def at(self, when: float, do: Callable[[], object]) -> None:
        """Do something then that belongs to no thread, and does not wait: something arrives, or ends."""
        heapq.heappush(self._timers, (when, next(self._numbers), None, do))

    def wake(self, strand: Strand) -> None:
        if strand.waiting and not strand.process.dead:
            strand.waiting = 0
            strand.woken = True
            (strand.process.held if strand.process.stopped else self._ready).append(strand)

    def yield_to_others(self) -> None:
        strand = self._current
        assert strand is not None, "nothing runs"
        (strand.process.held if strand.process.stopped else self._ready).append(strand)
        self._leave(strand)

    def number(self) -> int:
        """One that no other has: objects that are kept in sets get their order from it, not from where they lie."""
        return next(self._numbers)

    def read_clock(self) -> float:
        """It takes a moment: who looks at the clock until it is time must come to an end."""
        self.now += _LOOK_SECONDS
        return self.now

    def wall(self) -> float:
        process = self._current.process if self._current is not None else self.main
        return _BEGINNING + self.read_clock() + process.skew

    def kill(self, process: Process) -> None:
        """At once: nothing of it runs any more, and nothing in it hears."""
        process.dead = True
        self._ready[:] = [each for each in self._ready if each.process is not process]
        process.held.clear()
        if self.running and self.current.process is process:
            self.wait()

    def stop(self, process: Process) -> None:
        """None of its threads continues until ``go_on``."""
        process.stopped = True
        process.held += [each for each in self._ready if each.process is process]
        self._ready[:] = [each for each in self._ready if each.process is not process]

    def go_on(self, process: Process) -> None:
        process.stopped = False
        self._ready += process.held
        process.held.clear()

    def _leave(self, strand: Strand) -> None:
        """Wait for the thread's next turn, which may come at once."""
        if self._hub is None or strand.process.dead:
            raise Killed
        try:
            other = self._next()
        except Deadlock as error:
            self._failure = self._failure or error
            self._switch(strand, None)
        else:
            if self._failure is not None:
                self._switch(strand, None)
            elif other is not strand:
                self._switch(strand, other)


# --- what takes the place of threading's, time's and asyncio's ------------------------------------------------------


class Lock:
    """threading.Lock. A real thread beside the simulation goes past it: its turns are no part of the schedule, so no
    thread of the simulation may wait for it. One that samples metrics meets the locks of all dispatchers."""

    __slots__ = ("_held", "_simulation", "_waiting")

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._held = False
        self._waiting: deque[Strand] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        simulation = self._simulation
        if simulation.is_beside():
            return True
        if not self._held:
            self._held = True
            return True
        if not blocking or not simulation.running:
            return False
        until = None if timeout < 0 else simulation.now + timeout
        while self._held:
            if until is not None and simulation.now >= until:
                return False
            self._waiting.append(simulation.current)
            simulation.wait(until)
            if simulation.current in self._waiting:
                self._waiting.remove(simulation.current)
        self._held = True
        return True

    def release(self) -> None:
        if self._simulation.is_beside():
            return
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False
        if self._waiting:
            self._simulation.wake(self._waiting.popleft())

    def locked(self) -> bool:
        return self._held

    def _release_save(self) -> object:
        self.release()
        return None

    def _acquire_restore(self, _: object) -> None:
        self.acquire()

    def _is_owned(self) -> bool:
        return self._held

    def _at_fork_reinit(self) -> None:
        """The holder lives on in the child."""

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        if self._is_owned():  # a thread that was ended while it waited is not the owner
            self.release()


class RLock(Lock):
    """threading.RLock."""

    __slots__ = ("_count", "_owner")

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._owner: Strand | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._simulation.is_beside():
            return True
        current = self._simulation._current
        if self._count and self._owner is current:
            self._count += 1
            return True
        if self._held and not super().acquire(blocking, timeout):
            return False
        self._held = True
        self._owner, self._count = current, 1
        return True

    def release(self) -> None:
        if self._simulation.is_beside():
            return
        if not self._count or self._owner is not self._simulation._current:
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._held = False
            if self._waiting:
                self._simulation.wake(self._waiting.popleft())

    def _release_save(self) -> object:
        count, self._count = self._count, 1
        self.release()
        return count

    def _acquire_restore(self, count: Any) -> None:
        self.acquire()
        self._count = count

    def _is_owned(self) -> bool:
        return bool(self._count) and self._owner is self._simulation._current


class Condition:
    """threading.Condition, by which Event, Semaphore and Queue wait too."""

    def __init__(self, simulation: Simulation, lock: Any = None) -> None:
        self._simulation = simulation
        self._lock: Lock = RLock(simulation) if lock is None else lock
        self._waiting: deque[Strand] = deque()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def wait(self, timeout: float | None = None) -> bool:
        if not self._lock._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        simulation, strand = self._simulation, self._simulation.current
        until = None if timeout is None else simulation.now + timeout
        self._waiting.append(strand)
        held = self._lock._release_save()
        try:
            while strand in self._waiting and (until is None or simulation.now < until):
                simulation.wait(until)
            notified = strand not in self._waiting
            if not notified:
                self._waiting.remove(strand)
        finally:
            self._lock._acquire_restore(held)
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        until = None if timeout is None else self._simulation.now + timeout
        while not (found := predicate()) and (until is None or self._simulation.now < until):
            self.wait(None if until is None else until - self._simulation.now)
        return found

    def notify(self, n: int = 1) -> None:
        if not self._lock._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        while self._waiting and n > 0:
            self._simulation.wake(self._waiting.popleft())
            n -= 1

    def notify_all(self) -> None:
        self.notify(len(self._waiting))

    def _at_fork_reinit(self) -> None:
        """The waiters live on in the child."""

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__()


class Semaphore:
    """threading.Semaphore."""

    def __init__(self, simulation: Simulation, value: int = 1) -> None:
        self._simulation = simulation
        self._value = value
        self._waiting: deque[Strand] = deque()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not self._value:
            if not blocking:
                return False
            simulation, strand = self._simulation, self._simulation.current
            until = None if timeout is None else simulation.now + timeout
            while not self._value:
                if until is not None and simulation.now >= until:
                    return False
                self._waiting.append(strand)
                simulation.wait(until)
                if strand in self._waiting:
                    self._waiting.remove(strand)
        self._value -= 1
        return True

    def release(self, n: int = 1) -> None:
        self._value += n
        for _ in range(min(n, len(self._waiting))):
            self._simulation.wake(self._waiting.popleft())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class SimpleQueue:
    """queue.SimpleQueue."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._items: deque[Any] = deque()
        self._waiting: deque[Strand] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)
        if self._waiting:
            self._simulation.wake(self._waiting.popleft())

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        simulation = self._simulation
        until = None if timeout is None else simulation.now + timeout
        while not self._items:
            if not block or (until is not None and simulation.now >= until):
                raise queue.Empty
            self._waiting.append(simulation.current)
            simulation.wait(until)
            if simulation.current in self._waiting:
                self._waiting.remove(simulation.current)
        return self._items.popleft()

    def put_nowait(self, item: Any) -> None:
        self.put(item)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Thread:
    """threading.Thread, as far as it is used: a purpose, a name, and being waited for."""

    def __init__(
        self,
        simulation: Simulation,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._simulation = simulation
        self._target = target
        self._args = args
        self._kwargs = kwargs or {}
        self._strand: Strand | None = None
        self._joining: list[Strand] = []
        self._number = simulation.number()
        self.name = name or "thread"
        self.daemon = bool(daemon)

    def __hash__(self) -> int:
        return self._number

    @property
    def ident(self) -> int | None:
        return None if self._strand is None else self._strand.ident

    def start(self) -> None:
        self._strand = self._simulation.spawn(self._run, self.name)
        self._strand.thread = self

    def _run(self) -> None:
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            for strand in self._joining:
                self._simulation.wake(strand)

    def is_alive(self) -> bool:
        return self._strand is not None and not self._strand.ended and not self._strand.process.dead

    def join(self, timeout: float | None = None) -> None:
        simulation = self._simulation
        until = None if timeout is None else simulation.now + timeout
        while self.is_alive() and simulation.running and (until is None or simulation.now < until):
            self._joining.append(simulation.current)
            simulation.wait(until)


def _loop_of(waits: asyncio.Future[Any]) -> "Loop":
    loop = waits.get_loop()
    assert isinstance(loop, Loop)
    return loop


class _Numbered:
    """Kept in sets in the order in which it is first put into one, and not in that of its address."""

    _number: int

    def __hash__(self) -> int:
        try:
            number = self._number
        except AttributeError:
            assert isinstance(self, asyncio.Future)
            number = self._number = _loop_of(self).simulation.number()
        return number


class _Future(_Numbered, asyncio.Future[Any]):
    """A future of a simulated loop."""


class _Task(_Numbered, asyncio.Task[Any]):
    """A task of a simulated loop."""


class _Handle(asyncio.Handle):
    __slots__ = ()

    _args: Any
    _callback: Any
    _cancelled: bool
    _context: Any

    def __init__(self, callback: Any, args: Any, loop: "Loop", context: Any) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._cancelled = False
        self._callback = callback
        self._args = args
        self._repr = None
        self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None


class _TimerHandle(_Handle, asyncio.TimerHandle):
    __slots__ = ()

    _loop: "Loop"
    _scheduled: bool
    _when: float

    def cancel(self) -> None:
        if not self._cancelled:
            self._loop._timers_cancelled += self._scheduled
            self._cancelled = True
            self._callback = self._args = None


class Loop(asyncio.BaseEventLoop):
    """asyncio's own, but for where it waits, and shorter where a simulation spends its time. There are no sockets."""

    _closed: bool
    _ready: deque[_Handle]
    _stopping: bool

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.simulation = simulation
        self.time = simulation.read_clock  # type: ignore[method-assign]
        self._strand: Strand | None = None
        self._selecting = False  # and not waiting for something else, a lock say, in the middle of a callback
        self._timers: list[tuple[float, int, _TimerHandle]] = []
        self._timers_cancelled = 0

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        return _Task(coro, loop=self, name=name, context=context)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = self.call_soon(callback, *args, context=context)
        if self._selecting:
            assert self._strand is not None
            self.simulation.wake(self._strand)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        return self.call_at(self.simulation.read_clock() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer = _TimerHandle(callback, args, self, context)
        timer._when = when
        timer._scheduled = True
        heapq.heappush(self._timers, (when, next(self.simulation._numbers), timer))
        return timer

    def run_forever(self) -> None:
        self._strand = self.simulation.current
        try:
            super().run_forever()
        finally:
            self._strand = None

    def close(self) -> None:
        super().close()
        self._timers.clear()

    def _run_once(self) -> None:
        """One look at what is due, and what could be called by then is called: as asyncio's own does it."""
        timers, ready, simulation = self._timers, self._ready, self.simulation
        if timers and (timers[0][2]._cancelled or self._timers_cancelled > 100):
            self._forget_cancelled_timers()
        if ready or self._stopping:
            if simulation.random.random() < _INTERRUPTED:
                simulation.yield_to_others()
        else:
            self._selecting = True
            simulation.wait(timers[0][0] if timers else None)
            self._selecting = False
        now = simulation.read_clock()
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt, Killed):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"in {handle!r}", "exception": error, "handle": handle})

    def _forget_cancelled_timers(self) -> None:
        timers = self._timers
        if self._timers_cancelled > 100 and self._timers_cancelled > len(timers) / 2:
            kept = [each for each in timers if not each[2]._cancelled]
            for each in timers:
                each[2]._scheduled = not each[2]._cancelled
            timers[:] = kept
            heapq.heapify(timers)
            self._timers_cancelled = 0
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)[2]._scheduled = False
            self._timers_cancelled -= 1


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self._loops: dict[Strand, asyncio.AbstractEventLoop | None] = {}

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return Loop(self._simulation)

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loops.get(self._simulation.current)
        if loop is None:
            raise RuntimeError("there is no event loop in this thread")
        return loop

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loops[self._simulation.current] = loop


def _bound_to_clocks(clocks: Mapping[Any, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Falcon's functions that have a clock for a default, which they took when they were defined: with another one."""
    for name, module in list(sys.modules.items()):
        if name.startswith("falcon."):
            for each in list(vars(module).values()):
                functions = vars(each).values() if isinstance(each, type) else [each]
                for function in functions:
                    by_place = getattr(function, "__defaults__", None) or ()
                    by_name = getattr(function, "__kwdefaults__", None) or {}
                    if any(_is_clock(default) for default in by_place):
                        yield function, "__defaults__", tuple(_in_place_of(each, clocks) for each in by_place)
                    if any(_is_clock(default) for default in by_name.values()):
                        changed = {name: _in_place_of(each, clocks) for name, each in by_name.items()}
                        yield function, "__kwdefaults__", changed


def _is_clock(default: object) -> bool:
    return default is _WALL or default is _MONOTONIC


def _in_place_of(default: Any, clocks: Mapping[Any, Any]) -> Any:
    return clocks[default] if _is_clock(default) else default


def _in_this_thread(simulated: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """Real threads that still run beside the simulation keep what is real, and move no clock in it."""
    ident = _REAL_GET_IDENT()
    return lambda *args, **named: (simulated if _REAL_GET_IDENT() == ident else real)(*args, **named)


@contextmanager
def _patched(simulation: Simulation) -> Iterator[None]:
    def sleep(seconds: float) -> None:
        simulation.wait(simulation.now + seconds)

    def ident() -> int:
        return simulation.current.ident if simulation.running else _REAL_GET_IDENT()

    def current_thread() -> Any:
        if not simulation.running:
            return threading.main_thread()
        strand = simulation.current
        if strand.thread is None:
            strand.thread = Thread(simulation, name=strand.name)
            strand.thread._strand = strand
        return strand.thread

    changed: list[tuple[Any, str, Any]] = [
        (time, "time", simulation.wall),
        (time, "time_ns", lambda: round(simulation.wall() * 1e9)),
        (time, "monotonic", simulation.read_clock),
        (time, "monotonic_ns", lambda: round(simulation.read_clock() * 1e9)),
        (time, "perf_counter", simulation.read_clock),
        (time, "clock_gettime_ns", lambda _: round(simulation.read_clock() * 1e9)),
        (time, "sleep", sleep),
        (threading, "_time", simulation.read_clock),
        (queue, "time", simulation.read_clock),
        (threading, "Lock", partial(Lock, simulation)),
        (threading, "_allocate_lock", partial(Lock, simulation)),
        (threading, "RLock", partial(RLock, simulation)),
        (threading, "Condition", partial(Condition, simulation)),
        (threading, "Semaphore", partial(Semaphore, simulation)),
        (threading, "BoundedSemaphore", partial(Semaphore, simulation)),
        (threading, "Thread", lambda *args, **named: Thread(simulation, *args, **named)),
        (threading, "get_ident", ident),
        (threading, "current_thread", current_thread),
        (queue, "SimpleQueue", partial(SimpleQueue, simulation)),
        (os, "urandom", simulation.entropy.randbytes),
        (random, "_urandom", simulation.entropy.randbytes),
        (uvloop, "new_event_loop", lambda: Loop(simulation)),
    ]
    clocks: dict[Any, Any] = {_WALL: simulation.wall, _MONOTONIC: simulation.read_clock}
    if threading.active_count() > 1:
        changed = [(module, name, _in_this_thread(to, getattr(module, name))) for module, name, to in changed]
        clocks = {real: _in_this_thread(clock, real) for real, clock in clocks.items()}
    changed += _bound_to_clocks(clocks)
    policy, state = asyncio.get_event_loop_policy(), random.getstate()
    collects = gc.isenabled()
    with ExitStack() as stack:
        for module, name, changed_to in changed:
            stack.enter_context(patch.object(module, name, changed_to))
        asyncio.set_event_loop_policy(_Policy(simulation))
        random.seed(simulation.entropy.random())
        gc.disable()  # what it ends would run at a time of its own
        try:
            yield
        finally:
            asyncio.set_event_loop_policy(policy)
            random.setstate(state)
            if collects:
                gc.enable()
