"""The servers under test. Each is started on one core, filled alike, and stopped without a process left."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from tools.bench.calls import Caller
from tools.bench.peers import crud
from tools.bench.peers.postgres import Postgres, free_port
from tools.bench.wrk import Address
from tools.harness.processes import Tree, register, spawn, terminate
from tools.harness.progress import say

Targets = list[tuple[int, str]]
START_SECONDS = 60.0


class ServerFailed(Exception):
    """A server did not start, or answers wrongly; the text says which and how."""


class Service(Protocol):
    """What can be started and stopped again and again, on the same data where it has any."""

    name: str
    tree: Tree

    @property
    def address(self) -> Address: ...

    def start(self) -> None:
        """Start it and wait until it serves. Raises ServerFailed."""

    def stop(self) -> None:
        """Stop it in order, and whatever of it is left by force."""

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


def _environment(**more: str) -> dict[str, str]:
    """Ours without what would change a server: Falcon's settings, and the switch that makes each start compile."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FALCON_") and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED")
    }
    return {**kept, **more}


class BareServer:
    """The ceiling; `page` is a file whose bytes it sends for each read."""

    def __init__(self, core: int, folder: Path, page: Path | None = None) -> None:
        self.name = "bare"
        self.tree = Tree()
        self.page = page
        self._core = core
        self._log = folder / "bare.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port)

    def start(self) -> None:
        env = _environment(PEER_PORT=str(self._port))
        if self.page is not None:
            env["PEER_PAGE"] = str(self.page)
        with self._log.open("ab") as log:
            self._process = spawn([sys.executable, "-m", "tools.bench.peers.bare"], self._core, env=env, stderr=log)
        self.tree.add(self._process.pid)
        _wait_until_served(self.name, self.address, self._process)

    def stop(self) -> None:
        if self._process is not None:
            terminate(self._process, 10)
            self.tree.kill()
            self._process = None

    def last_words(self) -> str:
        return _tail(self._log)

    def fill(self, rooms: int, accounts: int) -> Targets:
        tokens = [secrets.token_urlsafe(32) for _ in range(accounts)]
        return pick_targets(range(64, 64 * (rooms + 1), 64), tokens)


class CrudServer:
    """The neighbour: the hand-written chat and its PostgreSQL, both on the core."""

    def __init__(self, core: int, folder: Path) -> None:
        self.name = "crud"
        self.tree = Tree()
        self._core = core
        self._log = folder / "crud.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._postgres = Postgres(folder / "postgres", free_port(), ["taskset", "-c", str(core)])

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port)

    @property
    def postgres_version(self) -> str:
        return self._postgres.version

    @property
    def dsn(self) -> str:
        return self._postgres.dsn

    def start(self) -> None:
        database = self._postgres.start()
        register(database)
        self.tree.add(database)
        self._start_app()

    def _start_app(self) -> None:
        env = _environment(PEER_PORT=str(self._port), PEER_DSN=self._postgres.dsn)
        with self._log.open("ab") as log:
            self._process = spawn([sys.executable, "-m", "tools.bench.peers.crud"], self._core, env=env, stderr=log)
        self.tree.add(self._process.pid)
        _wait_until_served(self.name, self.address, self._process)

    def stop(self) -> None:
        if self._process is not None:
            terminate(self._process, 10)
            self._process = None
        self._postgres.stop()
        self.tree.kill()

    def last_words(self) -> str:
        return _tail(self._log)

    def fill(self, rooms: int, accounts: int) -> Targets:
        tokens, room_ids = asyncio.run(crud.fill(self._postgres.dsn, accounts, rooms))
        return pick_targets(room_ids, tokens)


class Announcement(msgspec.Struct, frozen=True):
    """The first line of `falcon up --json`."""

    url: str
    ops_url: str
    account_id: int
    token: str
    admin_token: str


class FalconServer:
    """`falcon up` on a data folder, with its defaults but for what `settings` says."""

    def __init__(self, name: str, core: int, data: Path, settings: dict[str, str] | None = None) -> None:
        self.name = name
        self.tree = Tree()
        self.data = data
        self._core = core
        self._settings = settings or {}
        self._log = data.with_suffix(".log")
        self._ports = (0, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._announcement: Announcement | None = None
        self.started_at = 0.0  # time.perf_counter() just before the process was started

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._ports[0])

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
        return _environment(
            FALCON_DATA_DIR=str(self.data),
            FALCON_HTTP_PORT=str(self._ports[0]),
            FALCON_OPS_PORT=str(self._ports[1]),
            **self._settings,
        )

    def start(self) -> None:
        self._ports = (free_port(), free_port())
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

    def last_words(self) -> str:
        return _tail(self._log)

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
        """Processes that are still there; those that are just ending get that long."""
        deadline = time.monotonic() + seconds
        while (left := self.tree.pids()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

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


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""


def _wait_until_served(name: str, address: Address, process: subprocess.Popen[bytes]) -> None:
    caller = Caller(address, "nobody")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            caller.call("GET", "/v1/rooms/1/messages")
        except OSError:
            time.sleep(0.02)
            continue
        caller.close()
        return
    raise ServerFailed(f"{name} does not serve")


def prove(server: Server, targets: Targets) -> bytes:
    """That the server keeps what it acknowledges and knows retries; gives the page it sent. Raises ServerFailed."""
    room, token = targets[0]
    caller = Caller(server.address, token)
    path = f"/v1/rooms/{room}/messages"
    headers = {"Idempotency-Key": f"prove-{secrets.token_hex(8)}"}
    body = {"text": f"proof {secrets.token_hex(8)}"}
    first = caller.must("POST", path, body, headers=headers).json()
    again = caller.must("POST", path, body, headers=headers).json()
    if first != again:
        raise ServerFailed(f"{server.name} answered a retry with another message: {first} and {again}")
    second = caller.must("POST", path, body)
    position = second.headers.get("Falcon-Position")
    page = caller.must("GET", f"{path}?limit=50", headers={"Falcon-Position": position} if position else None)
    messages = page.json()["messages"]
    seqs = [message["seq"] for message in messages]
    # Requests that a load left behind may still add messages in between, but never a gap.
    if second.json() not in messages or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise ServerFailed(f"{server.name} acknowledged {second.json()} and then showed the messages {seqs}")
    refused = Caller(server.address, "x" * 43).call("POST", path, body)
    if refused.status != 401:
        raise ServerFailed(f"{server.name} answered an unknown token with {refused.status}")
    caller.close()
    return page.body
