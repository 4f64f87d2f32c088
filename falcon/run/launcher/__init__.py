"""``falcon up``, and the roles of a cluster: starts the processes, restarts the ones that die, and ends all in order.

It imports little, since the first message waits for it, and it serves nothing itself, since it must not die.
"""

import contextlib
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from resource import RLIM_INFINITY
from typing import Any, Final

from falcon.base.process import adopt_orphans, descriptors_max, is_open_to_others, raise_descriptors, take_lock
from falcon.run.launcher import telling
from falcon.run.launcher.listening import bind, check_privacy, url
from falcon.run.launcher.processes import ProcessGroup, Role
from falcon.run.launcher.telling import CannotStart, say
from falcon.run.settings import Settings, WrongSettings, is_loopback, says_processes, unknown_settings
from falcon.telemetry import instruments, run_folder

_STOP_SECONDS: Final = 4.5  # everything has ended within five
_REFUSED_SECONDS: Final = 2.0  # a start that failed is tried again after so long
_DESCRIPTORS: Final = 128  # of one process; some are left for connections
_DESCRIPTORS_OF_FILE: Final = 12  # its writer and readers, each with the file's log and shared memory
_DESCRIPTORS_GOOD: Final = 65_536  # enough for 50,000 streams on a machine
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Plan of what a command runs: servers of a role (``falcon.run.roles``), and the operations port.

    ``needs``: settings that must be set. ``stores``: it has data on this machine. ``port``: the setting of the socket
    that its servers share; empty if they have none.
    """

    role: str
    needs: tuple[str, ...] = ()
    stores: bool = False
    port: str = ""


_PLANS: Final = {
    "up": _Plan("serve", stores=True, port="http_port"),
    "api": _Plan("api", ("kafka", "hbase"), port="http_port"),
    "write": _Plan("write", ("kafka",), stores=True, port="internal_port"),
    "project": _Plan("projector", ("kafka", "hbase")),
    "forward": _Plan("forwarder", ("kafka", "opensearch_url")),
}


def main(command: str, *, as_json: bool) -> int:
    """``as_json``: print the addresses as one line of JSON. Returns the exit code."""
    try:
        settings = Settings.from_env()
        settings.require(*_PLANS[command].needs)
        for line in unknown_settings():
            say(line)
        return Launcher(settings, command, as_json=as_json).run()
    except WrongSettings as error:
        print(error, file=sys.stderr)
        return 2
    except CannotStart as error:
        print(f"falcon: {error}", file=sys.stderr)
        return 1


class Launcher:
    def __init__(self, settings: Settings, command: str, *, as_json: bool) -> None:
        self._settings = settings
        self._command = command
        self._plan = _PLANS[command]
        self._address = telling.Address(settings.data_dir)
        self._as_json = as_json
        self._group = ProcessGroup()

    def run(self) -> int:
        self._group.stop_when_told(_ENDING_SIGNALS)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it, to outlive the terminal
            self._group.stop_when_told((signal.SIGHUP,))
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
        if self._command == "up":
            self._prepare_database()
        with self._run_folder() as folder:
            return self._run(public, ops, folder)

    def _run(self, public: socket.socket | None, ops: socket.socket | None, folder: Path) -> int:
        environment = {"FALCON_RUN_DIR": str(folder), "FALCON_PROCESSES": str(self._settings.processes)}
        announced = False
        refused_until = time.monotonic() + self._settings.start_seconds
        while not self._group.stopping:
            operations = [] if ops is None else [Role("ops", "ops", ops.fileno(), watched=self._plan.role)]
            ready = self._group.start(self._servers(public), operations, environment)
            if ready is not None and not announced:
                announced = True
                self._announce(ready, public, ops)
            if ready is not None:
                self._group.supervise(self._address.write_again)
            stopping = self._group.stopping
            if stopping and public is not None:
                public.close()  # once its servers have closed it too, clients are refused and do not wait in vain
            self._group.stop(_STOP_SECONDS if stopping else 0.0)
            if ready is None and not self._group.stopping:
                if not announced and time.monotonic() >= refused_until:
                    return 1  # the process that failed has logged the error
                self._group.pause(_REFUSED_SECONDS)
        if self._command == "up":
            self._address.forget()
            self._close_database()
        for number in _ENDING_SIGNALS:  # the interpreter drops its handlers, and the next signal would kill it
            signal.signal(number, signal.SIG_IGN)
        return 0

    def _servers(self, public: socket.socket | None) -> list[Role]:
        handle = None if public is None else public.fileno()
        places = range(self._count()) if self._count() > 1 else [None]
        return [Role("serve", self._plan.role, handle, place) for place in places]

    def _count(self) -> int:
        """How many servers share the socket."""
        return self._settings.processes if self._command == "up" else 1

    def _announce(self, ready: dict[str, Any], public: socket.socket | None, ops: socket.socket | None) -> None:
        settings = self._settings
        line = {"ops_url": "" if ops is None else url("http", ops)}
        if public is not None:
            has_tls = settings.tls_cert is not None and self._plan.port == "http_port"
            line = {"url": url("https" if has_tls else "http", public), **line}
        if self._command == "up":
            self._address.write(line)
            if not settings.allowed_origins and (settings.trusted_proxies or not is_loopback(settings.host)):
                links = f"links of `falcon sign-in` and `falcon invite` name {line['url']}"
                say(f"{links}: set FALCON_ALLOWED_ORIGINS to the address that people use")
        telling.announce(settings, self._command, line, ready, as_json=self._as_json)

    # --- before roles start -------------------------------------------------------------------------------------------

    def _lock_data_dir(self) -> None:
        """Raises CannotStart, OSError."""
        folder = self._settings.data_dir
        folder.mkdir(parents=True, exist_ok=True)
        if is_open_to_others(folder, stat.S_IWOTH):
            raise CannotStart(f"every user of this machine can write to the data folder {folder}; chmod o-w {folder}")
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
    def _run_folder(self) -> Iterator[Path]:
        """A folder of this tree's own, in which its processes meet and measure. Raises CannotStart."""
        processes = self._count() + 2  # and the launcher and operations
        with contextlib.ExitStack() as stack:
            try:
                within = Path(self._settings.run_dir) if self._settings.run_dir else None
                folder = stack.enter_context(run_folder.make_folder(processes, instruments.PROCESS_BYTES, within))
                instruments.attach(folder, "launcher-0")
            except run_folder.NoRoom as error:
                raise CannotStart(str(error)) from error
            except OSError as error:
                raise CannotStart(f"measurements cannot be written ({error}); set FALCON_RUN_DIR") from error
            yield folder

    def _listen(self) -> tuple[socket.socket | None, socket.socket | None]:
        """The sockets of the servers and of the operations port. Raises CannotStart."""
        settings, port = self._settings, self._plan.port
        public = None
        if port == "http_port":
            check_privacy(settings)
        if port:
            public = bind(settings.host, getattr(settings, port), f"FALCON_{port.upper()}")
        if settings.ops_port < 0:
            return public, None
        return public, bind(settings.ops_host, settings.ops_port, "FALCON_OPS_PORT")

    def _prepare_database(self) -> None:
        from falcon.adapters.sqlite import files
        from falcon.adapters.sqlite.database import WrongDatabase
        from falcon.journal.ports import JournalUnavailable

        settings = self._settings
        try:
            count = files.prepare(
                settings.database,
                settings.partitions,
                settings.processes,
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
                f"the data folder {settings.data_dir} has {count} database files, and FALCON_KAFKA needs one: run "
                f"falcon copy --processes 1 --data-dir {settings.data_dir} NEW_FOLDER, and serve from the new folder"
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
            say(line)


def _check_descriptors(files: int) -> None:
    """Each process opens all database files, some of them several times. Raises CannotStart."""
    most, needed = descriptors_max(), _DESCRIPTORS + _DESCRIPTORS_OF_FILE * files
    if most != RLIM_INFINITY and most < needed:
        raise CannotStart(
            f"a process may have only {most} files open, and needs {needed}: raise the hard limit of nofile to "
            f"{_DESCRIPTORS_GOOD} in /etc/security/limits.conf, or with LimitNOFILE={_DESCRIPTORS_GOOD} of systemd"
        )
