"""``falcon up``, and the roles of a cluster: starts the processes, restarts those that die, and ends all in order.

It imports little, since the first message waits for it, and it serves nothing itself, since it must not die.
"""

import argparse
import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from resource import RLIM_INFINITY
from typing import Any, Final, TextIO

from falcon.process import (
    LISTEN_BACKLOG,
    adopt_orphans,
    descendants,
    descriptors_max,
    raise_descriptors,
    start_ticks,
    take_lock,
)
from falcon.settings import Settings, WrongSettings, is_loopback, says_processes
from falcon.telemetry import instruments, metrics, slots
from falcon.telemetry.logs import is_for_people

_STOP_SECONDS: Final = 4.5  # everything has ended within five
_READY_SECONDS: Final = 60.0
_RESTART_SECONDS: Final = (0.0, 0.1, 0.5, 1.0)  # the pauses before a role that keeps dying is restarted
_REFUSED_SECONDS: Final = 2.0
_STEADY_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 2.0
_DESCRIPTORS: Final = 128  # of one process; some are left for connections
_DESCRIPTORS_OF_FILE: Final = 12
_DESCRIPTORS_GOOD: Final = 65_536
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class CannotStart(Exception):
    """The message says what is in the way and what to do."""


@dataclass
class _Role:
    """A process that is to run. ``place``: among several of its role."""

    name: str
    arguments: list[str]
    handles: list[int]
    place: int | None = None
    process: "subprocess.Popen[bytes] | None" = None
    pidfd: int = -1
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = field(default=0.0)

    @property
    def title(self) -> str:
        return self.name if self.place is None else f"{self.name} {self.place}"


@dataclass
class _Plan:
    """The processes of a command. ``needs``: settings that must be set. ``stores``: it has data on this machine.

    ``port``: of the socket that its servers share, and the setting's name; None if it serves operations only.
    """

    command: str
    description: str
    needs: tuple[str, ...] = ()
    stores: bool = False
    port: tuple[str, str] | None = None


_PLANS: Final = {
    "up": _Plan(
        "up",
        "Run Falcon on this machine. Data lives in FALCON_DATA_DIR (./data).",
        (),
        True,
        ("http_port", "FALCON_HTTP_PORT"),
    ),
    "api": _Plan(
        "api", "Run the HTTP edge of a cluster.", ("kafka", "hbase"), False, ("http_port", "FALCON_HTTP_PORT")
    ),
    "write": _Plan(
        "write", "Run owners of partitions of a cluster.", ("kafka",), True, ("internal_port", "FALCON_INTERNAL_PORT")
    ),
    "project": _Plan("project", "Run the projections of a cluster.", ("kafka", "hbase")),
}


# The role that answers, by command.
_SERVERS: Final = {"up": "serve", "api": "api", "write": "write", "project": "projector"}


def main(command: str, argv: list[str]) -> int:
    """Returns the exit code."""
    plan = _PLANS[command]
    parser = argparse.ArgumentParser(
        prog=f"falcon {command}",
        description=f"{plan.description} Ctrl-C shuts it down cleanly.",
        epilog="Settings are environment variables: see docs/settings.md, or run falcon doctor.",
    )
    parser.add_argument("--json", action="store_true", help="print the addresses as one line of JSON")
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.from_env()
        settings.require(*plan.needs)
        return Launcher(settings, plan, as_json=arguments.json).run()
    except WrongSettings as error:
        print(error, file=sys.stderr)
        return 2
    except CannotStart as error:
        print(f"falcon: {error}", file=sys.stderr)
        return 1


class Launcher:
    def __init__(self, settings: Settings, plan: _Plan, *, as_json: bool) -> None:
        self._settings = settings
        self._plan = plan
        self._as_json = as_json
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._waking, self._woken = os.pipe()
        self._roles: list[_Role] = []
        self._run_dir: Path
        self._cpu_counted = 0.0

    def run(self) -> int:
        for number in _ENDING_SIGNALS:
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it, to outlive the terminal
            signal.signal(signal.SIGHUP, self._on_signal)
        adopt_orphans()
        raise_descriptors()
        os.umask(0o077)  # files of this process and its children are for their user alone
        if self._plan.stores:
            try:
                self._lock_data_dir()
            except OSError as error:
                folder = self._settings.data_dir
                raise CannotStart(
                    f"the data folder {folder} cannot be written ({error}); set FALCON_DATA_DIR"
                ) from error
        public, ops = self._listen()
        if self._plan.command == "up":
            self._prepare_database()
        with self._measuring():
            return self._run(public, ops)

    def _run(self, public: socket.socket | None, ops: socket.socket | None) -> int:
        self._selector.register(self._waking, selectors.EVENT_READ)
        announced = False
        refused_until = time.monotonic() + self._settings.start_seconds
        while not self._stopping:
            ready = self._start_group(public, ops)
            if ready is not None and not announced:
                announced = True
                self._announce(ready, public, ops)
            if ready is not None:
                self._supervise()
            if self._stopping and public is not None:
                public.close()  # once its servers have closed it too, clients are refused and do not wait in vain
            self._stop_group(_STOP_SECONDS if self._stopping else 0.0)
            if ready is None and not self._stopping:
                if not announced and time.monotonic() >= refused_until:
                    return 1  # the process that failed has logged the error
                select.select([self._waking], [], [], _REFUSED_SECONDS)
        self._forget_address()
        if self._plan.command == "up":
            self._close_database()
        for number in _ENDING_SIGNALS:  # the interpreter drops its handlers, and the next signal would kill it
            signal.signal(number, signal.SIG_IGN)
        return 0

    # --- before roles start -------------------------------------------------------------------------------------------

    def _lock_data_dir(self) -> None:
        """Raises CannotStart, OSError."""
        folder = self._settings.data_dir
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not take_lock(handle):
            owner = os.pread(handle, 32, 0).decode().strip()  # empty if it has just taken the lock
            raise CannotStart(
                f"another falcon{f' (process {owner})' if owner else ''} runs on the data folder {folder}; "
                "stop that one, or set FALCON_DATA_DIR to another folder"
            )
        os.ftruncate(handle, 0)
        # the handle stays open, and holds the lock, for the process's life
        os.pwrite(handle, str(os.getpid()).encode(), 0)

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        """Keep a folder of this tree's own, which its processes share, while the block runs. Raises CannotStart."""
        slot_bytes = slots.SLOT_BYTES
        if self._settings.telemetry == "off":
            instruments.switch_off()
            slot_bytes = slots.UNMEASURED_BYTES
        with contextlib.ExitStack() as stack:
            try:
                within = Path(self._settings.run_dir) if self._settings.run_dir else None
                folder = stack.enter_context(slots.make_folder(self._slots(), slot_bytes, within))
                instruments.attach(folder, "launcher-0")
            except slots.NoRoom as error:
                raise CannotStart(str(error)) from error
            except OSError as error:
                raise CannotStart(f"measurements cannot be written ({error}); set FALCON_RUN_DIR") from error
            self._run_dir = folder
            yield

    def _slots(self) -> int:
        """How many processes have a slot, at most."""
        return self._count() + 2  # and the launcher and operations

    def _listen(self) -> tuple[socket.socket | None, socket.socket | None]:
        """The launcher binds the socket, so that connections wait for a restarted server."""
        public = None
        if self._plan.port is not None:
            field, setting = self._plan.port
            if field == "http_port":
                self._check_privacy()
            public = self._bind(self._settings.host, getattr(self._settings, field), setting)
        if self._settings.ops_port < 0:
            return public, None
        return public, self._bind(self._settings.ops_host, self._settings.ops_port, "FALCON_OPS_PORT")

    def _check_privacy(self) -> None:
        """Others on the network must not read what clients send to the public port. Raises CannotStart."""
        settings = self._settings
        if settings.tls_cert is not None and settings.tls_key is not None:
            from falcon.certificates import WrongCertificate
            from falcon.http.server.tls import Certificate

            try:
                Certificate(settings.tls_cert, settings.tls_key)
            except WrongCertificate as error:
                raise CannotStart(f"{error}; see FALCON_TLS_CERT in docs/settings.md") from error
        if not settings.is_read_on_the_way:
            return
        if settings.plaintext != "yes":
            raise CannotStart(
                f"traffic to FALCON_HOST={settings.host} would not be encrypted: set FALCON_TLS_CERT and "
                "FALCON_TLS_KEY; or FALCON_TRUSTED_PROXIES, if a proxy before it ends TLS; or FALCON_PLAINTEXT=yes"
            )
        _say(f"traffic to {settings.host} is not encrypted (FALCON_PLAINTEXT)")

    def _bind(self, host: str, port: int, setting: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port} ({error.strerror}); stop the program that uses it, or set {setting}"
            ) from error
        listening.listen(LISTEN_BACKLOG)
        return listening

    def _prepare_database(self) -> None:
        from falcon.adapters.sqlite import files
        from falcon.adapters.sqlite.database import WrongDatabase
        from falcon.journal.ports import JournalUnavailable

        settings = self._settings
        try:
            with _signals_end_in_order():
                count = files.prepare(
                    settings.database,
                    settings.partitions,
                    settings.processes,
                    _catch_up,
                    _Moving(settings.processes),
                    keep=not says_processes(),
                    check_count=self._check_processes,
                )
        except (WrongDatabase, JournalUnavailable) as error:
            raise CannotStart(str(error)) from error
        self._settings = replace(settings, processes=count)

    def _check_processes(self, count: int) -> None:
        """So many processes, each with a database file, can serve. Raises CannotStart."""
        settings = self._settings
        if count > 1 and settings.kafka:
            raise CannotStart(
                f"the data folder {settings.data_dir} has {count} database files, and FALCON_KAFKA needs one: set "
                "FALCON_PROCESSES=1, and Falcon moves the data to one"
            )
        _check_descriptors(count)

    def _close_database(self) -> None:
        from falcon.adapters.sqlite import files
        from falcon.journal.ports import JournalUnavailable

        try:
            failed = files.close(self._settings.database)
        except (JournalUnavailable, OSError) as error:
            failed = [str(error)]
        for line in failed:
            _say(line)

    # --- the roles ----------------------------------------------------------------------------------------------------

    def _start_group(self, public: socket.socket | None, ops: socket.socket | None) -> dict[str, Any] | None:
        """Start the roles. Returns the first server's line once all servers serve; None if one of them never did."""
        self._roles = []
        servers = self._servers(public)
        if ops is not None:
            watched = ["--launcher", str(os.getpid()), "--watched", _SERVERS[self._plan.command]]
            self._roles.append(_Role("ops", ["ops", "--ops-socket", str(ops.fileno()), *watched], [ops.fileno()]))
            self._start(self._roles[-1])
        return self._start_and_wait(servers)

    def _servers(self, public: socket.socket | None) -> list[_Role]:
        name = _SERVERS[self._plan.command]
        shared = [] if public is None else ["--public-socket", str(public.fileno())]
        handles = [] if public is None else [public.fileno()]
        count = self._count()
        return [
            _Role("serve", [name, *shared, "--place", str(place)], list(handles), place if count > 1 else None)
            for place in range(count)
        ]

    def _count(self) -> int:
        """How many servers share the socket."""
        return self._settings.processes if self._plan.command == "up" else 1

    def _start_and_wait(self, roles: list[_Role]) -> dict[str, Any] | None:
        """Start these roles at the same time. Returns the line of the first once each has said one; None if one of them
        has not."""
        lines = {self._start_with_pipe(role): b"" for role in roles}
        waiting = set(lines)
        ended = False  # the pipe alone does not tell: processes that the role has forked hold it open
        until = time.monotonic() + _READY_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._waking, selectors.EVENT_READ)
            for reading in lines:
                selector.register(reading, selectors.EVENT_READ)
            for watched in self._roles:
                if watched in roles:
                    selector.register(watched.pidfd, selectors.EVENT_READ, watched)
            while waiting and not ended and time.monotonic() < until and not self._stopping:
                for key, _ in selector.select(_POLL_SECONDS):
                    if isinstance(key.data, _Role):
                        ended = True
                    elif key.fd in waiting:
                        data = os.read(key.fd, 4096)
                        ended = ended or not data
                        lines[key.fd] += data
                        if data.endswith(b"\n"):
                            waiting.remove(key.fd)
                            selector.unregister(key.fd)
        for reading in lines:
            os.close(reading)
        return None if waiting else json.loads(next(iter(lines.values())))

    def _start_with_pipe(self, role: _Role) -> int:
        """Returns the end of a pipe from which the role's line can be read."""
        reading, writing = os.pipe()
        self._roles.append(role)
        self._start(role, writing)
        os.close(writing)
        return reading

    def _start(self, role: _Role, ready: int | None = None) -> None:
        command = [sys.executable, "-m", "falcon.roles", *role.arguments, "--parent", str(os.getpid())]
        handles = list(role.handles)
        if ready is not None:
            command += ["--ready", str(ready)]
            handles.append(ready)
        shared = {"FALCON_RUN_DIR": str(self._run_dir), "FALCON_PROCESSES": str(self._settings.processes)}
        environment = {**os.environ, **shared}
        # Standard output is the launcher's alone, so roles write to standard error: nothing may be mixed with what
        # follows the first line.
        with _signals_of_a_terminal_blocked():
            role.process = subprocess.Popen(
                command, pass_fds=handles, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
            )
        metrics.process_restarts.begin((role.name,))
        role.pidfd = os.pidfd_open(role.process.pid)
        role.started_at = time.monotonic()
        self._selector.register(role.pidfd, selectors.EVENT_READ, role)

    def _supervise(self) -> None:
        """Restart roles until it is time to stop."""
        while not self._stopping:
            for key, _ in self._selector.select(_POLL_SECONDS):
                if isinstance(key.data, _Role):
                    self._ended(key.data)
            now = time.monotonic()
            for role in self._roles:
                if role.process is None and now >= role.restart_at:
                    self._start_again(role)
            self._reap()
            self._count_cpu()

    def _start_again(self, role: _Role) -> None:
        try:
            self._start(role)
        except OSError as error:
            role.restart_at = time.monotonic() + _RESTART_SECONDS[-1]
            _say(f"{role.title} cannot be started ({error}); trying again")

    def _count_cpu(self) -> None:
        cpu = time.process_time()
        metrics.process_cpu.inc(cpu - self._cpu_counted)
        self._cpu_counted = cpu
        instruments.sample()

    def _reap(self) -> None:
        """Wait for adopted orphans that have ended, so that they leave no zombies. A role is waited for by its pid."""
        roles = {role.process.pid for role in self._roles if role.process is not None}
        while (ended := _ended_child()) is not None and ended not in roles:
            os.waitpid(ended, 0)

    def _ended(self, role: _Role) -> None:
        assert role.process is not None
        code = role.process.wait()
        self._let_go(role)
        now = time.monotonic()
        role.failures = 0 if now - role.started_at > _STEADY_SECONDS else role.failures + 1
        role.restart_at = now + _RESTART_SECONDS[min(role.failures, len(_RESTART_SECONDS) - 1)]
        if not self._stopping:
            metrics.process_restarts.labels(role.name).inc()
            _say(f"{role.title} has ended ({_how(code)}); starting it again")

    def _let_go(self, role: _Role) -> None:
        self._selector.unregister(role.pidfd)
        os.close(role.pidfd)
        role.process = None

    def _stop_group(self, seconds: float) -> None:
        """Stop the servers first, then the operations port. After that time the rest is killed."""
        until = time.monotonic() + seconds
        for name in ("serve", "ops"):
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
                        _say(f"{role.title} was killed: it did not end in time")
                else:
                    if code < 0 and code != -signal.SIGTERM:  # that ends a process that has only begun to start
                        _say(f"{role.title} crashed when it was to stop ({_how(code)})")
                self._let_go(role)
        _kill_all(lambda: descendants(os.getpid()))

    def _on_signal(self, number: int, frame: object) -> None:
        if not self._stopping:  # a write that the next signal interrupts would call this again, and so on
            self._stopping = True
            os.write(self._woken, b"\0")

    # --- output -------------------------------------------------------------------------------------------------------

    def _announce(self, ready: dict[str, Any], public: socket.socket | None, ops: socket.socket | None) -> None:
        line = {"ops_url": "" if ops is None else self._url("http", ops)}
        if public is not None:
            line = {"url": self._url(self._public_scheme(), public), **line}
        if self._plan.command == "up":
            pid = os.getpid()
            self._write_address({**line, "pid": pid, "start_ticks": start_ticks(pid)})
        if self._as_json:
            shown = {name: ready[name] for name in ("account_id", "token", "admin_token") if name in ready}
            _print(json.dumps({**line, **shown}), sys.stdout)
        elif self._plan.command == "up" and is_for_people(self._settings.log_format, sys.stdout):
            _print(
                _WELCOME.format(**line, data=self._settings.data_dir, browser=self._page(line, ready), **ready),
                sys.stdout,
            )
        else:
            where = f"at {line['url']}" if "url" in line else "running"
            _print(
                f"falcon {self._plan.command} is {where} (operations: {line['ops_url'] or 'none'}). Ctrl-C stops it.",
                sys.stdout,
            )
            if self._plan.command == "up":  # others may read a journal or a log file: tokens must not be in it
                _print(f"The first accounts' tokens are in {self._settings.data_dir}/credentials.json.", sys.stdout)

    def _write_address(self, line: dict[str, Any]) -> None:
        """Only the command line needs it: a Falcon that cannot write it serves all the same."""
        try:
            self._address_file().write_text(json.dumps(line))
        except OSError as error:
            _say(f"commands need --url, since the address cannot be written ({error})")

    def _page(self, line: dict[str, str], ready: dict[str, Any]) -> str:
        """The address of the page. It contains the token only if no other user can see it."""
        if is_loopback(self._settings.host):
            return f"{line['url']}/#token={ready['token']}"
        return f"{line['url']}, and sign in with the token below"

    def _public_scheme(self) -> str:
        has_tls = self._settings.tls_cert is not None and self._plan.port == _PLANS["up"].port
        return "https" if has_tls else "http"

    def _url(self, scheme: str, listening: socket.socket) -> str:
        host, port = listening.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def _address_file(self) -> Path:
        return self._settings.data_dir / "up.json"

    def _forget_address(self) -> None:
        """An address that is left names a process that has ended. The command line tells by its pid and its start."""
        if self._plan.command == "up":
            with contextlib.suppress(OSError):
                self._address_file().unlink(missing_ok=True)


_WELCOME = """
Falcon is up at {url}   (documentation: {url}/docs, operations: {ops_url}, data: {data})

  in a browser: {browser}

  account {account_id}   token {token}
  admin token (for creating accounts): {admin_token}

Try it:

  TOKEN={token}
  ROOM=$(curl -s {url}/v1/rooms -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
-d '{{"name": "Tea kitchen"}}' | sed 's/[^0-9]*\\([0-9]*\\).*/\\1/'); echo "room $ROOM"
  curl -s {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
-d '{{"text": "Hello, world"}}'; echo
  curl -s {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN"; echo

Ctrl-C stops it.
"""


def _check_descriptors(files: int) -> None:
    """Each process opens all database files, some of them several times. Raises CannotStart."""
    most, needed = descriptors_max(), _DESCRIPTORS + _DESCRIPTORS_OF_FILE * files
    if most != RLIM_INFINITY and most < needed:
        raise CannotStart(
            f"a process may have only {most} files open, and needs {needed}: raise the hard limit of nofile to "
            f"{_DESCRIPTORS_GOOD} in /etc/security/limits.conf, or with LimitNOFILE={_DESCRIPTORS_GOOD} of systemd"
        )


@contextlib.contextmanager
def _signals_end_in_order() -> Iterator[None]:
    """Ctrl-C or SIGTERM within the block ends the process after what the block cleans up. Its exit code is the one of
    a stop later."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(0)

    before = {number: signal.signal(number, end) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _catch_up(path: Path) -> None:
    """Bring the tables of a file to the end of its log."""
    from falcon.bootstrap import embedded  # seldom, and it imports much

    embedded.bring_up_to_date(path)


class _Moving:
    """Tells how far the partitions have been moved to another number of files."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._told_at = time.monotonic()  # there is nothing to tell of a move that takes a moment

    def __call__(self, done: int, total: int) -> None:
        from falcon.adapters.sqlite.files import mebibytes

        now = time.monotonic()
        if now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            _say(f"moving the data folder to {self._files} files: {mebibytes(done)} of {mebibytes(total)} MiB")


def _say(line: str) -> None:
    _print(f"falcon: {line}", sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """All processes end with the launcher, so it goes on if the disk of its log is full, or its terminal is gone."""
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)


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
