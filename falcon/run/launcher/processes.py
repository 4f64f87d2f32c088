"""The processes below the launcher: started, started again when they die or hang, and ended in order."""

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from falcon.base.process import descendants
from falcon.run.launcher.telling import say
from falcon.telemetry import instruments, metrics

_READY_SECONDS: Final = 60.0  # a large log takes long to recover: then it says what it waits for
_RESTART_SECONDS: Final = (0.0, 0.1, 0.5, 1.0)  # the pauses before a role that keeps dying is started again
_STEADY_SECONDS: Final = 10.0  # a role that ran for so long has not kept dying
_LOOK_SECONDS: Final = 0.5  # a process that ended is started again this soon
# A process shows each second that it lives. No work on an event loop takes a tenth of this, and Kubernetes waits as
# long before it restarts a pod that is not live.
_SILENT_SECONDS: Final = 30.0


@dataclass
class Role:
    """A process that is to run. ``role``: what it does, in ``falcon.run.roles``. ``socket``: the handle on which it
    listens. ``place``: among several of its role. ``watched``: the role of the processes that it tells about.

    ``line``: what it said when it was ready, as JSON. ``silent_seconds``: since it last showed that it lives.
    """

    name: str
    role: str
    socket: int | None = None
    place: int | None = None
    watched: str | None = None
    process: "subprocess.Popen[bytes] | None" = None
    pidfd: int = -1
    pipe: int = -1
    line: bytes = b""
    silent_seconds: float = 0.0
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    @property
    def title(self) -> str:
        return self.name if self.place is None else f"{self.name} {self.place}"

    @property
    def process_name(self) -> str:
        """The name that ``falcon.run.roles`` gives it."""
        return f"{self.role}-{self.place or 0}"

    @property
    def is_ready(self) -> bool:
        return self.line.endswith(b"\n")


class ProcessGroup:
    """``stop_when_told`` once: from then on signals end the group. Raises OSError if a process cannot be started."""

    def __init__(self) -> None:
        self.stopping = False
        self._roles: list[Role] = []
        self._environment: dict[str, str] = {}
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = os.pipe()
        self._selector.register(self._waking, selectors.EVENT_READ)
        self._cpu_counted = 0.0

    def stop_when_told(self, signals: Sequence[signal.Signals]) -> None:
        for number in signals:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if not self.stopping:  # a write that the next signal interrupts would call this again, and so on
            self.stopping = True
            os.write(self._woken, b"\0")

    def pause(self, seconds: float) -> None:
        """Returns at once when the group is to stop."""
        select.select([self._waking], [], [], seconds)

    # --- starting -----------------------------------------------------------------------------------------------------

    def start(self, servers: Sequence[Role], others: Sequence[Role], environment: dict[str, str]) -> Any:
        """Start all at the same time. Returns what the first server says once each server is ready; None if one of them
        never was. ``environment``: added to the launcher's own."""
        self._environment = {**os.environ, **environment}
        self._roles = [*others, *servers]
        for role in self._roles:
            self._start(role)
        until = time.monotonic() + _READY_SECONDS
        while not all(role.is_ready for role in servers):
            if self.stopping or time.monotonic() >= until:
                return None
            for role in self._look():
                if role in servers:
                    return None
                self._restart_later(role)
        return json.loads(servers[0].line)

    def _start(self, role: Role) -> None:
        role.pipe, writing = os.pipe()
        os.set_blocking(role.pipe, False)
        options = {"socket": role.socket, "place": role.place, "watched": role.watched, "ready": writing}
        given = {"parent": os.getpid()} | {name: value for name, value in options.items() if value is not None}
        command = [sys.executable, "-m", "falcon.run.roles", role.role, *(f"--{name}={given[name]}" for name in given)]
        # Standard output is the launcher's alone, so roles write to standard error: nothing may be mixed with what
        # follows the first line.
        try:
            with _signals_of_a_terminal_blocked():
                role.process = subprocess.Popen(
                    command,
                    pass_fds=[writing] if role.socket is None else [role.socket, writing],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr,
                )
        except OSError:
            os.close(role.pipe)
            raise
        finally:
            os.close(writing)
        metrics.process_restarts.begin((role.name,))
        role.pidfd = os.pidfd_open(role.process.pid)
        role.line, role.silent_seconds = b"", 0.0
        role.started_at = time.monotonic()
        self._selector.register(role.pidfd, selectors.EVENT_READ, role)
        self._selector.register(role.pipe, selectors.EVENT_READ, role)

    # --- while it runs ------------------------------------------------------------------------------------------------

    def supervise(self, each_look: Callable[[], None]) -> None:
        """Start roles again until it is time to stop, and call ``each_look`` every half second or more often."""
        looked_at = time.monotonic()
        while not self.stopping:
            for role in self._look():
                self._restart_later(role)
            now = time.monotonic()
            # The time in which the launcher did not run either does not count: the machine was suspended, or has no
            # processor for any of them.
            passed, looked_at = min(now - looked_at, 2 * _LOOK_SECONDS), now
            for role in self._roles:
                if role.process is None:
                    if now >= role.restart_at:
                        self._start_again(role)
                elif role.is_ready:
                    self._end_if_it_hangs(role, passed)
            self._reap()
            self._count_cpu()
            each_look()

    def _look(self) -> list[Role]:
        """Wait a moment for news of the roles. Returns the ones that have ended."""
        ended = []
        for key, _ in self._selector.select(_LOOK_SECONDS):
            if isinstance(key.data, Role):
                if key.fd == key.data.pidfd:
                    ended.append(key.data)
                else:
                    self._hear(key.data)
        return ended

    def _hear(self, role: Role) -> None:
        """Read its line, which comes first, and then a byte each second."""
        said = os.read(role.pipe, 4096)
        if not said:
            self._selector.unregister(role.pipe)
        elif not role.is_ready:
            role.line += said.partition(b"\n")[0] + (b"\n" if b"\n" in said else b"")
        role.silent_seconds = 0.0

    def _end_if_it_hangs(self, role: Role, passed: float) -> None:
        role.silent_seconds += passed
        if role.silent_seconds > _SILENT_SECONDS:
            assert role.process is not None
            say(f"{role.title} has not answered for {_SILENT_SECONDS:g} s; it is killed")
            role.process.kill()
            role.silent_seconds = 0.0  # one that waits for a disk ends when that answers

    def _restart_later(self, role: Role) -> None:
        """The role has ended."""
        assert role.process is not None
        code = role.process.wait()
        self._let_go(role)
        now = time.monotonic()
        role.failures = 0 if now - role.started_at > _STEADY_SECONDS else role.failures + 1
        role.restart_at = now + _RESTART_SECONDS[min(role.failures, len(_RESTART_SECONDS) - 1)]
        if not self.stopping:
            metrics.process_restarts.labels(role.name).inc()
            say(f"{role.title} has ended ({_how(code)}); starting it again")

    def _start_again(self, role: Role) -> None:
        try:
            self._start(role)
        except OSError as error:
            role.restart_at = time.monotonic() + _RESTART_SECONDS[-1]
            say(f"{role.title} cannot be started ({error}); trying again")

    def _reap(self) -> None:
        """Wait for adopted orphans that have ended, so that they leave no zombies. A role is waited for by its pid."""
        roles = {role.process.pid for role in self._roles if role.process is not None}
        while (ended := _ended_child()) is not None and ended not in roles:
            os.waitpid(ended, 0)

    def _count_cpu(self) -> None:
        cpu = time.process_time()
        metrics.process_cpu.inc(cpu - self._cpu_counted)
        self._cpu_counted = cpu
        instruments.sample()

    def _let_go(self, role: Role) -> None:
        for handle in (role.pidfd, role.pipe):
            with contextlib.suppress(KeyError):  # a pipe that its process has closed
                self._selector.unregister(handle)
            os.close(handle)
        role.process = None
        instruments.forget_gauges(role.process_name)

    # --- ending -------------------------------------------------------------------------------------------------------

    def stop(self, seconds: float) -> None:
        """Stop the servers first, then the operations port. After that time the rest is killed."""
        until = time.monotonic() + seconds
        for name in dict.fromkeys(role.name for role in reversed(self._roles)):
            running = [role for role in self._roles if role.name == name and role.process is not None]
            for role in running:
                assert role.process is not None
                role.process.terminate()
            for role in running:
                assert role.process is not None
                try:
                    code = role.process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    role.process.kill()
                    role.process.wait()
                    if seconds:
                        say(f"{role.title} was killed: it did not end in time")
                else:
                    if code < 0 and code != -signal.SIGTERM:  # that ends a process that has only begun to start
                        say(f"{role.title} crashed when it was to stop ({_how(code)})")
                self._let_go(role)
        _kill_all(lambda: descendants(os.getpid()))


@contextlib.contextmanager
def _signals_of_a_terminal_blocked() -> Iterator[None]:
    """Processes that are started within the block never get them. A terminal sends them to all of its processes, and
    only the launcher acts on them, so that all end in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _ended_child() -> int | None:
    """A child that has ended and was not waited for."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _kill_all(pids: Callable[[], list[int]]) -> None:
    """Repeat until none is left: a dying process may still have forked."""
    while left := pids():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                time.sleep(0.01)
