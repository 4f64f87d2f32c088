"""Falcon on one simulated machine: processes that share the partitions, on SQLite files as they are.

What is replaced: the sockets and pipes between the processes, and the end of a process. A process that is killed
loses what its connections have not committed. All of its clocks are the machine's.
"""

import asyncio
import dataclasses
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import apsw

import falcon.run.bootstrap as composing
from falcon.adapters.sqlite import database, files, journal, search_tables
from falcon.http.app import create_app
from falcon.http.edge import Edge
from falcon.http.internal.connection import Deliver, EdgeConnection
from falcon.run import bootstrap
from falcon.run.bootstrap import FirstAccounts, embedded, places
from falcon.run.settings import Settings
from falcon.telemetry.health import Health
from falcon.write.signing import Keys
from falcon.write.transit import Arrivals
from tools.harness.waiting import eventually, eventually_within
from tools.simulation.http import Http, lifespan
from tools.simulation.threads import Killed, Process, Simulation

log = logging.getLogger("simulation")

PARTITIONS: Final = 4
_RESTART_SECONDS: Final = (0.2, 1.5)  # as the launcher waits
_DRAIN_SECONDS: Final = 3.0
_END_SECONDS: Final = 10.0
_START_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 0.02
_CHECKPOINT_EVENTS: Final = 40  # few, so that lives begin with checkpoints and events after them


class SimulatedMachine:
    """``urls``: of the processes as they are now. ``processes``: how many there are; ``skew``: seconds that the wall
    clock is ahead."""

    def __init__(self, simulation: Simulation, folder: Path, processes: int, **changed: Any) -> None:
        self.simulation = simulation
        self.random = random.Random(simulation.random.random())
        self.http = Http(simulation, random.Random(self.random.random()))
        self.folder = folder
        self.processes = processes
        self.skew = 0.0
        self.ended: list[str] = []  # what processes died of by themselves
        self._changed = changed
        self._supervised = True
        self._living: dict[str, Process] = {}
        self._serving: dict[str, tuple[Edge, asyncio.AbstractEventLoop]] = {}
        self._terminate: dict[str, Callable[[], object]] = {}
        self._opened: dict[Process, list[apsw.Connection]] = {}
        self._nudged: dict[str, tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = {}
        self._signalled: dict[str, tuple[asyncio.AbstractEventLoop, Callable[[bytes], None]]] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://{name}:8080" for name in self._names()]

    @property
    def settings(self) -> Settings:
        usual = Settings(
            partitions=PARTITIONS,
            processes=self.processes,
            data_dir=self.folder / "data",
            run_dir=str(self.folder / "run") if self.processes > 1 else "",
        )
        return dataclasses.replace(usual, **self._changed)

    async def start(self) -> FirstAccounts:
        """Begin a life, until all processes serve."""
        self._supervised = True
        await self.command(embedded.prepare)
        for name in self._names():
            self._launch(name)
        await eventually(lambda: len(self._serving) == self.processes, "all serve", _START_SECONDS, every=0.05)
        edge, loop = self._serving["serve-0"]
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(embedded.credentials(self.settings, edge), loop)
        )

    async def end(self, *, orderly: bool) -> None:
        """End this life; nothing starts again."""
        self._supervised = False
        if orderly:
            for name in self._names():
                if terminate := self._terminate.pop(name, None):
                    terminate()
            await eventually_within(lambda: all(each.dead for each in self._living.values()), _END_SECONDS, 0.05)
        for name in [*self._living]:
            self.kill(name)

    def kill(self, name: str) -> None:
        """Like SIGKILL. The launcher starts another one."""
        process = self._living[name]
        if process.dead:
            return
        for known in (self._serving, self._terminate, self._nudged, self._signalled):
            known.pop(name, None)
        self.http.forget(process)
        if self._supervised:
            self.http.later(self.random.uniform(*_RESTART_SECONDS), partial(self._launch_again, process))
        self.simulation.kill(process)
        for connection in self._opened.pop(process, []):
            with suppress(apsw.Error):
                connection.close(force=True)  # and so roll back what it has not committed

    def kill_one(self) -> None:
        self.kill(self.random.choice(self._names()))

    def set_clock(self, skew: float) -> None:
        """The machine's wall clock is set, also that of the processes that run."""
        self.skew = skew
        for process in self._living.values():
            process.skew = skew

    def wall(self) -> float:
        """Seconds since 1970 by a clock that is right."""
        return self.simulation.wall()

    async def command(self, work: Callable[[Settings], Any]) -> Any:
        """Run an operator's command, in a process of its own. Returns or raises what it does."""
        done: list[tuple[Any, Exception | None]] = []
        settings, process = self.settings, Process("command", self.skew)

        def run() -> None:
            try:
                done.append((work(settings), None))
            except Exception as error:
                done.append((None, error))

        self.simulation.spawn(run, "command", process)
        await eventually(lambda: bool(done), "the command ends", _START_SECONDS, every=0.01)
        value, error = done[0]
        if error is not None:
            raise error
        return value

    def snapshot(self, target: Path) -> None:
        """A snapshot of the file system as of one moment, in which processes may run."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.settings.data_dir, target)

    def put_back(self, source: Path) -> None:
        """Make the folder as the snapshot has it, for as many processes. Nothing runs."""
        shutil.rmtree(self.settings.data_dir)
        shutil.copytree(source, self.settings.data_dir)
        self.processes = len(files.present(self.settings.database))

    # --- processes ----------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [f"serve-{place}" for place in range(self.processes)]

    def _launch(self, name: str) -> None:
        process = self._living[name] = Process(name, skew=self.skew)
        composing.blocking.cache_clear()
        self.simulation.spawn(partial(self._run, process), name, process)

    def _launch_again(self, process: Process) -> None:
        if self._supervised and self._living[process.name] is process:
            self._launch(process.name)

    def _run(self, process: Process) -> None:
        try:
            asyncio.run(self._serve(process.name))
        except Killed:
            raise
        except Exception as error:
            log.warning("%s has ended: %r", process.name, error)
            self.ended.append(f"{process.name}: {error!r}")
        self.kill(process.name)

    async def _serve(self, name: str) -> None:
        settings = self.settings
        place = int(name.partition("-")[2])

        @asynccontextmanager
        async def serving() -> AsyncIterator[Edge]:
            async with embedded.serving(settings, health=Health(), place=place) as edge:
                self._serving[name] = edge, asyncio.get_running_loop()
                yield edge

        app = create_app(serving)
        end = await lifespan(app)
        self.http.serve(f"{name}:8080", app)
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        self._terminate[name] = lambda: loop.call_soon_threadsafe(told.set)
        await told.wait()
        self._serving[name][0].streams.drain()
        await self.http.close(_DRAIN_SECONDS)
        await end()

    # --- what is replaced ---------------------------------------------------------------------------------------------

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts, Falcon's processes find the simulated parts where they look for the real ones."""
        machine = self
        connect = database.connect

        def opened(*arguments: Any, **named: Any) -> apsw.Connection:
            connection = connect(*arguments, **named)
            connection.set_busy_timeout(0)  # a real wait would keep the thread that it waits for
            machine._opened.setdefault(machine.simulation.current.process, []).append(connection)
            return connection

        with ExitStack() as stack:
            for target, name, new in (
                (bootstrap, "_CHECKPOINT_EVENTS", _CHECKPOINT_EVENTS),
                (database, "connect", opened),
                (database, "BUSY_MILLISECONDS", 0),
                (journal, "BUSY_MILLISECONDS", 0),
                (search_tables, "BUSY_MILLISECONDS", 0),
                (journal, "_TAKEOVER_SECONDS", 0),
                (files, "_CLOSED_MILLISECONDS", 0),
                (places, "LocalCommands", partial(_Commands, machine)),
                (places, "connected_locally", self._connected),
                (places, "Nudges", partial(_Nudges, machine)),
                (places, "_ServingLock", _NoLock),
                (embedded, "SocketSignalTransport", partial(_Signals, machine)),
                (os, "_exit", self._exit),
            ):
                stack.enter_context(patch.object(target, name, new))
            yield

    async def _connected(self, address: str, protocol: asyncio.Protocol, folder: Path) -> None:
        while True:
            try:
                return await self.http.upgrade(address, protocol)
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)

    def _exit(self, code: int) -> None:
        """Stands in for os._exit."""
        name = self.simulation.current.process.name
        self.ended.append(f"{name}: exit {code}")
        self.kill(name)
        raise Killed


class _Commands:
    """Stands in for LocalCommands."""

    def __init__(self, machine: SimulatedMachine, folder: Path, name: str, keys: Keys) -> None:
        self._http = machine.http
        self._name = name
        self._keys = keys
        self._arrivals = Arrivals()

    async def start(self, deliver: Deliver) -> None:
        self._http.serve(self._name, None, lambda: EdgeConnection(self._keys, deliver, self._arrivals))

    async def close(self) -> None:
        await self._http.close(1.0)


class _Nudges:
    """Stands in for Nudges."""

    def __init__(self, machine: SimulatedMachine, folder: Path, names: Sequence[str], here: int) -> None:
        self._machine = machine
        self._here = f"serve-{here}"

    def open(self, nudged: Callable[[], None]) -> None:
        self._machine._nudged[self._here] = asyncio.get_running_loop(), nudged

    def send(self) -> None:
        for name, (loop, nudged) in self._machine._nudged.items():
            if name != self._here and not loop.is_closed():
                loop.call_soon_threadsafe(nudged)

    def close(self) -> None:
        self._machine._nudged.pop(self._here, None)


class _Signals:
    """Stands in for SocketSignalTransport."""

    def __init__(self, machine: SimulatedMachine, folder: Path, log_name: str, name: str) -> None:
        self._all = machine._signalled
        self._place = machine.simulation.current.process.name
        self.name = name

    def open(self, take: Callable[[bytes], None]) -> None:
        self._all[self._place] = asyncio.get_running_loop(), take

    def send(self, data: bytes) -> None:
        for loop, take in self._all.values():
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, data)

    def send_to(self, process: str, data: bytes) -> None:
        self.send(data)

    async def close(self) -> None:
        self._all.pop(self._place, None)


class _NoLock:
    """Stands in for the lock that processes share while they serve: the kernel gives it to real processes."""

    def __init__(self, *_: object) -> None:
        """There is none."""

    async def end(self) -> None:
        """The others need not be waited for."""
