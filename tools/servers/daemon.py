"""One server process, in a session of its own. Later runs find it again, and ending it leaves no trace."""

import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.harness.ports import is_free
from tools.harness.waiting import holds_within, until

POLL_SECONDS: Final = 0.05
_END_SECONDS: Final = 20.0
_TAIL_LINES: Final = 20
_LOG_MAX: Final = 8 << 20  # bytes; a longer log is put aside when its process is started the next time

_STOPPED: Final = ("T", "")  # paused, or not there

Say = Callable[[str], None]


class ServerFault(Exception):
    """Something is in the way. The message says what, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a start took. ``first``: there were no data before. ``seconds`` exclude the fetching of jars."""

    seconds: float
    first: bool
    launched: int

    def __str__(self) -> str:
        if not self.launched:
            return "ran already"
        return f"up in {self.seconds:.1f} s ({'first' if self.first else 'warm'} start)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``pid`` is None when it does not run; ``rss_mib`` is the memory in use (resident), ``state`` as ``ps`` has it."""

    name: str
    port: int
    pid: int | None
    state: str
    rss_mib: int

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.name} down"
        paused = ", paused" if self.state == "T" else ""
        return f"{self.name} up, port {self.port}, pid {self.pid}, RSS {self.rss_mib} MiB{paused}"


@dataclass(slots=True)
class Daemon:
    """A process known by its pid file, which is believed only if that process carries this server's mark.

    ``option`` begins an argument that the program takes and does not act on: Java's is ``-D``, Python's ``-X``.
    """

    name: str
    port: int
    folder: Path  # absolute
    option: str = "-D"
    _child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False, compare=False)

    @property
    def mark(self) -> str:
        """An argument that no other process has: a pid may have been given to another since."""
        return f"{self.option}falcon.server={self.folder}/{self.name}"

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.pid"

    def pid(self) -> int | None:
        """None when it does not run."""
        if self._child is not None:
            self._child.poll()  # one that has ended is not to stay a zombie
        pid = self._noted()[0]
        return pid if pid and self._is_marked(pid) else None

    def running(self) -> bool:
        return self.pid() is not None

    def status(self) -> Status:
        pid = self.pid()
        state, rss = _memory(pid) if pid else ("", 0)
        return Status(name=self.name, port=self.port, pid=pid, state=state, rss_mib=rss)

    def launch(self, program: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it in the background. Raises ServerFault when its port is taken."""
        if not is_free(self.port):
            raise ServerFault(f"{self.name}: port {self.port} is taken by another process; choose another port")
        for folder in (self.log.parent, self._pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_MAX:
            self.log.rename(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            begin = log.tell()
            # Descriptors but 0 to 2 are closed: a lock or a pipe of the caller would be held for as long as this lives.
            self._child = subprocess.Popen(
                self._command(program, options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                cwd=self.folder,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{self._child.pid}\n{begin}\n")
        # A process that has just become another program has no arguments for a moment.
        child = self._child
        until(lambda: child.poll() is not None or self._is_marked(child.pid), f"{self.name} is started", every=0.001)

    def _command(self, program: str, options: Sequence[str]) -> list[str]:
        return [program, self.mark, *options]

    def _is_marked(self, pid: int) -> bool:
        return self.mark in _arguments(pid)

    def said(self) -> str:
        """Its log since it was started."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self._noted()[1])
            return log.read().decode(errors="replace")
        return ""

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Raises ServerFault, with the end of the log, when it ends or the time is over before the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.running():
                raise self.fault("ended while starting")
            if time.monotonic() > deadline:
                raise self.fault(f"{what} not within {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def fault(self, what: str) -> ServerFault:
        return ServerFault(f"{self.name} {what}; its log is {self.log}\n{self.tail()}".rstrip())

    def tail(self) -> str:
        """The end of its log since it was started, without the frames of Java's traces, which hide the cause."""
        lines = [line for line in self.said().splitlines() if not line.startswith("\tat ")]
        return "\n".join(lines[-_TAIL_LINES:])

    def kill(self) -> None:
        """kill -9. It is gone when this returns."""
        with self._process() as process:
            if process is not None:
                _send(process, signal.SIGKILL)
                _ended(process, _END_SECONDS)
        self._forget()

    def pause(self) -> None:
        """The process does nothing any more when this returns."""
        self._send(signal.SIGSTOP)
        holds_within(lambda: self.status().state in _STOPPED, _END_SECONDS, every=0.001)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def end(self) -> None:
        """Ask it to end, and kill it if it does not. It is gone when this returns."""
        with self.ending():
            pass

    @contextmanager
    def ending(self) -> Iterator[None]:
        """It is asked when this begins, and gone when this is left.

        Its handle is kept from the one to the other: a process on its way out has no arguments any more by which it
        could be found again, and holds its port and its files for a moment yet.
        """
        with self._process() as process:
            _ask_to_end(process)
            yield
            if process is not None and not _ended(process, _END_SECONDS):
                _send(process, signal.SIGKILL)
                _ended(process, _END_SECONDS)
        self._forget()

    def _send(self, number: signal.Signals) -> None:
        with self._process() as process:
            if process is not None:
                _send(process, number)

    @contextmanager
    def _process(self) -> Iterator[int | None]:
        """A handle of the process. A signal through it reaches no other process, even if the pid has been reused."""
        pid = self.pid()
        handle = None
        if pid is not None:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
        try:
            yield handle if self.pid() == pid else None
        finally:
            if handle is not None:
                os.close(handle)

    def _noted(self) -> tuple[int, int]:
        """The pid, and where its words begin in the log; zeros when there is no such note."""
        try:
            pid, begin = self._pid_file.read_text().split()
            return int(pid), int(begin)
        except (OSError, ValueError):
            return 0, 0

    def _forget(self) -> None:
        if not self.running():
            self._pid_file.unlink(missing_ok=True)


def end_all(daemons: Iterable[Daemon]) -> None:
    """All are asked before the first is waited for."""
    with ExitStack() as asked:
        for daemon in daemons:
            asked.enter_context(daemon.ending())


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Only one process at a time. ``waiting`` is called when another one holds the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:  # Python's descriptors are not inherited, so no server can hold it on
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return []


def _memory(pid: int) -> tuple[str, int]:
    """State and resident memory in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "", 0
    values = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return values["State"][0], int(values.get("VmRSS", ["0"])[0]) >> 10


def _ask_to_end(process: int | None) -> None:
    if process is not None:
        _send(process, signal.SIGTERM)
        _send(process, signal.SIGCONT)  # one that is paused would not hear


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, number)


def _ended(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1_000))
