"""The servers under test. Each is started on one core, filled alike, and stopped without a process left."""

from __future__ import annotations

import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tools.harness.calls import Address, Caller
from tools.harness.ports import free_port
from tools.harness.processes import Tree, spawn, terminate
from tools.harness.progress import say
from tools.harness.waiting import holds_within

Targets = list[tuple[int, str]]
START_SECONDS = 60.0


class ServerFailed(Exception):
    """A server did not start, or answers wrongly. The message says which and how."""


class Service(Protocol):
    """A service that can be started and stopped repeatedly, on the same data if it has any."""

    name: str
    tree: Tree

    @property
    def address(self) -> Address: ...

    def start(self) -> None:
        """Start the server, and wait until it serves. Raises ServerFailed."""

    def stop(self) -> None:
        """Stop the server in order, and processes that remain by force."""

    def last_words(self) -> str:
        """The end of what it wrote to its log, for when it fails."""


class Server(Service, Protocol):
    """A chat that speaks as Falcon does."""

    def fill(self, rooms: int, accounts: int) -> Targets:
        """Make accounts and rooms with all of them as members; gives the rooms with tokens to send to them."""


def pick_targets(rooms: Iterable[int], tokens: list[str]) -> Targets:
    """Every room ten times, each time with another account, well mixed and the same for each run."""
    chance = random.Random(1)
    targets: Targets = []
    for _ in range(10):
        once = [(room, chance.choice(tokens)) for room in rooms]
        chance.shuffle(once)
        targets += once
    return targets


def environment_for(**more: str) -> dict[str, str]:
    """Ours without what would change a server: Falcon's settings, and the switch that makes each start compile."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FALCON_") and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED")
    }
    return {**kept, **more}


class ProcessServer:
    """A server that is one process with its children, on one core. ``log``: takes its output."""

    def __init__(self, name: str, core: int, log: Path) -> None:
        self.name = name
        self.tree = Tree()
        self.started_at = 0.0  # time.perf_counter() just before the process was started
        self._core = core
        self._log = log
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port)

    def launch(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with self._log.open("ab") as log:
            self.started_at = time.perf_counter()
            self._process = spawn(list(command), self._core, env=environment, stdout=log, stderr=log)
        self.tree.add(self._process.pid)

    def await_answer(self, ask: Callable[[], object], seconds: float = START_SECONDS) -> None:
        """``ask`` raises OSError until it is answered. Raises ServerFailed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                ask()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise ServerFailed(f"{self.name} did not start\n{self.last_words()}")

    def stop(self) -> None:
        if self._process is not None:
            terminate(self._process, 15)
            self._process = None
        self.stop_database()
        self.tree.kill()

    def stop_database(self) -> None:
        """Stop the server's own database, if it has one, after its process has ended."""

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""


class Announcement(msgspec.Struct, frozen=True):
    """The first line of `falcon up --json`."""

    url: str
    ops_url: str
    account_id: int
    token: str
    admin_token: str


class FalconServer(ProcessServer):
    """`falcon up` on a data folder, as one process and with its defaults but for what `settings` says."""

    def __init__(self, name: str, core: int, data: Path, settings: dict[str, str] | None = None) -> None:
        super().__init__(name, core, data.with_suffix(".log"))
        self.data = data
        self._settings = settings or {}
        self._ops_port = 0
        self._announcement: Announcement | None = None

    @property
    def announcement(self) -> Announcement:
        if self._announcement is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._announcement

    @property
    def _falcon(self) -> str:
        program = Path(sys.executable).with_name("falcon")
        if not program.exists():
            raise ServerFailed(f"{program} does not exist; make run installs it")
        return str(program)

    @property
    def environment(self) -> dict[str, str]:
        return environment_for(
            FALCON_DATA_DIR=str(self.data),
            FALCON_HTTP_PORT=str(self._port),
            FALCON_OPS_PORT=str(self._ops_port),
            **{"FALCON_PROCESSES": "1", **self._settings},
        )

    def start(self) -> None:
        self._port, self._ops_port = free_port(), free_port()
        with self._log.open("ab") as log:
            self.started_at = time.perf_counter()
            self._process = spawn(
                [self._falcon, "up", "--json"], self._core, env=self.environment, stdout=subprocess.PIPE, stderr=log
            )
        self.tree.add(self._process.pid)
        line = self._first_line(self._process)
        try:
            self._announcement = msgspec.json.decode(line, type=Announcement)
        except msgspec.DecodeError as wrong:
            self.tree.kill()
            raise ServerFailed(
                f"{self.name} printed {line[:200]!r} and not its address\n{self.last_words()}"
            ) from wrong

    def _first_line(self, process: subprocess.Popen[bytes]) -> bytes:
        output = process.stdout
        if output is None:
            raise ServerFailed(f"{self.name} has no standard output")
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def pump() -> None:
            # Reads on after the first line, so that the server never waits for a full pipe.
            with output:
                for line in output:
                    lines.put(line)
            lines.put(b"")

        threading.Thread(target=pump, daemon=True).start()
        try:
            return lines.get(timeout=START_SECONDS)
        except queue.Empty:
            self.tree.kill()
            raise ServerFailed(f"{self.name} did not serve within {START_SECONDS} s\n{self.last_words()}") from None

    def stop(self) -> None:
        if self._process is not None:
            if not terminate(self._process, 15):
                say(f"{self.name} did not stop within 15 s and was killed")
            left = self._left_after(1.0)
            if left:
                say(f"{self.name} left {len(left)} processes behind, which were killed")
            self.tree.kill()
            self._process = None

    def _left_after(self, seconds: float) -> set[int]:
        """Processes that are still there; the ones that are just ending get that long."""
        holds_within(lambda: not self.tree.pids(), seconds)
        return self.tree.pids()

    def kill(self) -> None:
        """kill -9 of every process, the launcher first so that it restarts nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self.tree.kill()
            self._process.wait()
            self._process = None

    def run(self, *arguments: str, core: int | None = None) -> float:
        """Run a falcon command against this server; gives the seconds that it took. Raises ServerFailed."""
        start = time.perf_counter()
        with self._log.open("ab") as log:
            process = spawn(
                [self._falcon, *arguments],
                self._core if core is None else core,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        if process.wait(3600) != 0:
            raise ServerFailed(f"falcon {' '.join(arguments)} failed\n{self.last_words()}")
        return time.perf_counter() - start

    def fill(self, rooms: int, accounts: int) -> Targets:
        admin = Caller(self.address, self.announcement.admin_token)
        made = [admin.must("POST", "/v1/accounts", {"name": f"account {n}"}).json() for n in range(accounts)]
        owner = Caller(self.address, made[0]["token"])
        members = [{"account_id": account["account_id"], "role": "member"} for account in made[1:]]
        room_ids = [
            owner.must("POST", "/v1/rooms", {"name": f"room {n}", "members": members}).json()["room_id"]
            for n in range(rooms)
        ]
        admin.close()
        owner.close()
        return pick_targets(room_ids, [account["token"] for account in made])
