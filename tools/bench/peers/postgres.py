"""A private PostgreSQL: its own directory, a free port on loopback, the durability that it comes with."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from tools.harness.ports import free_port
from tools.harness.processes import register
from tools.harness.servers import ProcessServer


class PostgresMissing(Exception):
    """PostgreSQL's programs, or an unprivileged user to run them as, are not to be found on this machine."""


def find_binaries() -> Path:
    """The folder with initdb and postgres, of the newest version. Raises PostgresMissing."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if installed:
        return max(installed, key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    raise PostgresMissing("PostgreSQL is not installed; on Debian: apt-get install postgresql")


def _as_unprivileged() -> tuple[list[str], pwd.struct_passwd | None]:
    """The prefix that runs a command as another user than root, which PostgreSQL refuses, and that user's id."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"], user
    raise PostgresMissing("run as root, the benchmark needs a user named postgres or nobody for PostgreSQL")


class Postgres:
    """One server with its data in `folder`, which must not exist yet; its processes run behind `prefix` (taskset)."""

    def __init__(self, folder: Path, port: int, prefix: list[str]) -> None:
        self._bin = find_binaries()
        self._prefix = prefix
        self._drop, owner = _as_unprivileged()
        self._folder = folder
        self.port = port
        self._server: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._data = folder / "data"
        subprocess.run(
            [*self._drop, self._bin / "initdb", "-D", self._data, "-U", "chat", "-A", "trust", "-E", "UTF8"],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def dsn(self) -> str:
        return f"postgresql://chat@127.0.0.1:{self.port}/postgres"

    @property
    def version(self) -> str:
        answer = subprocess.run([self._bin / "postgres", "--version"], check=True, capture_output=True, text=True)
        return answer.stdout.removeprefix("postgres (PostgreSQL)").split()[0]

    def start(self) -> int:
        """Start the server and wait until it accepts connections; gives its process id. Raises TimeoutError."""
        self._server = subprocess.Popen(
            [
                *self._prefix,
                *self._drop,
                self._bin / "postgres",
                *("-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder),
            ],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "log").open("ab"),
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._server.poll() is None:
            ready = subprocess.run(
                [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
            )
            if ready.returncode == 0:
                return self._server.pid
            time.sleep(0.05)
        log = (self._folder / "log").read_text(errors="replace")[-2000:]
        raise TimeoutError(f"PostgreSQL did not start:\n{log}")

    def stop(self) -> None:
        """A fast shutdown: connections are ended, data is kept for the next start."""
        if self._server is None:
            return
        if self._server.poll() is None:
            self._server.send_signal(2)
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._server = None


class DatabaseServer(ProcessServer):
    """A server with a PostgreSQL of its own on the same core, its data in ``folder``."""

    def __init__(self, name: str, core: int, log: Path, folder: Path) -> None:
        super().__init__(name, core, log)
        self.database = Postgres(folder, free_port(), ["taskset", "-c", str(core)])

    def start_database(self) -> None:
        """Raises TimeoutError."""
        pid = self.database.start()
        register(pid)
        self.tree.add(pid)

    def stop_database(self) -> None:
        self.database.stop()
