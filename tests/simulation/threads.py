"""Threads, locks, event loops and clocks that one generator of random numbers schedules, in simulated time.

Within a ``Simulation`` the code under test runs as it is: it starts threads, waits for locks and events, sleeps and
runs asyncio's loops. But each of its threads is a greenlet, one runs at a time, and which one goes on is drawn from the
seed. Where all of them wait, time moves on to whatever comes next. So a seed is a schedule, and an hour takes a moment.

Threads belong to processes, which can be stopped, go on, be killed, and have wrong clocks.
"""

import asyncio
import gc
import heapq
import itertools
import os
import queue
import random
import sys
import threading
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from unittest.mock import patch

import greenlet
import uvloop

T = TypeVar("T")

# Before any real time, so that nobody takes what is on the disk for old.
_BEGINNING: Final = 1_767_225_600.0
_STEP_SECONDS: Final = 20e-6  # at most, that a thread takes from one place where it may be interrupted to the next
_LOOK_SECONDS: Final = 1e-6
_REAL_GET_IDENT: Final = threading.get_ident
_WALL: Final = time.time
_MONOTONIC: Final = time.monotonic
_IDENTS: Final = 1_000_000


class Deadlock(Exception):
    """Nobody can go on, now or later."""


class Killed(BaseException):
    """Ends what runs in a simulation that is over."""


@dataclass(eq=False)
class Process:
    """``skew``: seconds that its wall clock is ahead. Its other clock is right, but begins anywhere."""

    name: str
    skew: float = 0.0
    stopped: bool = False
    dead: bool = False


class Strand:
    """A thread. ``waiting``: the number of the wait that it is in; 0 where it may go on."""

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
        self.now = 1_000.0
        self.trace = 0
        self.steps = 0
        self.main = Process("main")
        self._ready: list[Strand] = []
        self._timers: list[tuple[float, int, Strand, int]] = []
        self._numbers = itertools.count(1)
        self._idents = itertools.count(_IDENTS)
        self._strands: dict[Strand, None] = {}
        self._current: Strand | None = None
        self._hub: Any = None
        self._failure: BaseException | None = None

    # --- from outside -------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[], T]) -> T:
        """Until ``work`` has ended, whatever else still runs then; gives or raises what it does. Raises Deadlock."""
        result: list[T] = []

        def main() -> None:
            result.append(work())

        with _patched(self):
            self._hub = greenlet.getcurrent()
            first = self.spawn(main, "main", self.main)
            try:
                while not first.ended and self._failure is None:
                    self._step()
            finally:
                self._end()
        if self._failure is not None:
            raise self._failure
        return result[0]

    def _step(self) -> None:
        """One thread, from where it waits to where it waits again."""
        while self._timers and self._timers[0][0] <= self.now:
            self._next_timer()
        able = [strand for strand in self._ready if not strand.process.stopped]
        if not able:
            self._pass_time()
            return
        strand = able[self.random.randrange(len(able))] if len(able) > 1 else able[0]
        self._ready.remove(strand)
        self.steps += 1
        self.now += self.random.random() * _STEP_SECONDS
        self.trace = hash((self.trace, strand.ident, self.now))
        self._current = strand
        events._set_running_loop(strand.loop)
        sys.set_asyncgen_hooks(*strand.hooks)
        try:
            strand.greenlet.switch()
        finally:
            strand.loop, strand.hooks = events._get_running_loop(), sys.get_asyncgen_hooks()
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(None, None)
            self._current = None

    def _pass_time(self) -> None:
        """To the next timer."""
        if not self._timers:
            raise Deadlock(f"all wait for ever: {[each for each in self._strands if not each.ended]}")
        self.now = max(self.now, self._timers[0][0])

    def _next_timer(self) -> None:
        _, _, strand, number = heapq.heappop(self._timers)
        if strand.waiting == number and not strand.process.dead:
            self._resume(strand, woken=False)

    def _end(self) -> None:
        """What still runs is ended where it stands, without a word to anybody."""
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
        assert self._current is not None, "nothing runs"
        return self._current

    @property
    def running(self) -> bool:
        return self._current is not None

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
        self._ready.append(strand)
        return strand

    def wait(self, until: float | None = None) -> bool:
        """Let others run until somebody wakes this thread: True; False once it is ``until``."""
        strand = self.current
        strand.waiting = next(self._numbers)
        if until is not None:
            heapq.heappush(self._timers, (until, strand.waiting, strand, strand.waiting))
        self._leave()
        return strand.woken

    def wake(self, strand: Strand) -> None:
        if strand.waiting and not strand.process.dead:
            self._resume(strand, woken=True)

    def yield_to_others(self) -> None:
        self._ready.append(self.current)
        self._leave()

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
        """At once: nothing of it runs any more, and nothing in it is told."""
        process.dead = True
        self._ready = [each for each in self._ready if each.process is not process]
        if self.running and self.current.process is process:
            self.wait()

    def _resume(self, strand: Strand, *, woken: bool) -> None:
        strand.waiting = 0
        strand.woken = woken
        self._ready.append(strand)

    def _leave(self) -> None:
        if self._hub is None or self.current.process.dead:
            raise Killed
        self._hub.switch()


# --- what takes the place of threading's, time's and asyncio's ------------------------------------------------------


class Lock:
    """threading.Lock."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._held = False
        self._waiting: deque[Strand] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        simulation = self._simulation
        if not simulation.running:
            taken, self._held = not self._held, True
            return taken
        until = None if timeout < 0 else simulation.now + timeout
        while self._held:
            if not blocking or (until is not None and simulation.now >= until):
                return False
            self._waiting.append(simulation.current)
            simulation.wait(until)
            if simulation.current in self._waiting:
                self._waiting.remove(simulation.current)
        self._held = True
        return True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False
        if self._waiting:
            self._simulation.wake(self._waiting.popleft())

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


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


class _Selector:
    """Where a loop waits: for its next timer, or to be woken from another thread."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.selecting = False  # and not waiting for something else, a lock say, in the middle of a callback

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            self._simulation.yield_to_others()
            return []
        self.selecting = True
        self._simulation.wait(None if timeout is None else self._simulation.now + timeout)
        self.selecting = False
        return []


class _Future(asyncio.Future[Any]):
    def __init__(self, *, loop: "Loop") -> None:
        super().__init__(loop=loop)
        self._number = loop.simulation.number()

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    def __init__(self, coroutine: Any, *, loop: "Loop", **named: Any) -> None:
        self._number = loop.simulation.number()
        super().__init__(coroutine, loop=loop, **named)

    def __hash__(self) -> int:
        return self._number


class Loop(asyncio.BaseEventLoop):
    """asyncio's own, but for where it waits. There are no sockets here."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.simulation = simulation
        self._selector = _Selector(simulation)
        self._strand: Strand | None = None
        self.set_task_factory(lambda loop, coroutine, **named: _Task(coroutine, loop=self, **named))

    def time(self) -> float:
        return self.simulation.read_clock()

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def run_forever(self) -> None:
        self._strand = self.simulation.current
        try:
            super().run_forever()
        finally:
            self._strand = None

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        if self._strand is not None and self._selector.selecting:
            self.simulation.wake(self._strand)


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
    chance = random.Random(simulation.random.random())

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
        (threading, "Lock", lambda: Lock(simulation)),
        (threading, "_allocate_lock", lambda: Lock(simulation)),
        (threading, "RLock", threading._PyRLock),  # type: ignore[attr-defined]
        (threading, "Thread", lambda *args, **named: Thread(simulation, *args, **named)),
        (threading, "get_ident", ident),
        (threading, "current_thread", current_thread),
        (queue, "SimpleQueue", queue._PySimpleQueue),  # type: ignore[attr-defined]
        (os, "urandom", chance.randbytes),
        (random, "_urandom", chance.randbytes),
        (uvloop, "new_event_loop", lambda: Loop(simulation)),
    ]
    changed = [(module, name, _in_this_thread(to, getattr(module, name))) for module, name, to in changed]
    clocks = {_WALL: simulation.wall, _MONOTONIC: simulation.read_clock}
    changed += _bound_to_clocks({real: _in_this_thread(clock, real) for real, clock in clocks.items()})
    policy, state = asyncio.get_event_loop_policy(), random.getstate()
    collects = gc.isenabled()
    with ExitStack() as stack:
        for module, name, changed_to in changed:
            stack.enter_context(patch.object(module, name, changed_to))
        asyncio.set_event_loop_policy(_Policy(simulation))
        random.seed(chance.random())
        gc.disable()  # what it ends would run at a time of its own
        try:
            yield
        finally:
            asyncio.set_event_loop_policy(policy)
            random.setstate(state)
            if collects:
                gc.enable()
