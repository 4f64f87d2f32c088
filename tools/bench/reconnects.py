"""How soon clients are live again after their server process is killed, when all reconnect at once.

``python -m tools.bench.reconnects`` runs these clients on the load generator's core. It reads its plan as JSON from
standard input, says when all listen, is told when the process was killed, and prints how long they took.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from tools.bench.bench import Bench
from tools.bench.report import Section, Table, numbers
from tools.harness.calls import Caller
from tools.harness.machine import Cores
from tools.harness.processes import spawn
from tools.harness.progress import say
from tools.harness.reports import percentile
from tools.harness.running import running
from tools.harness.servers import FalconServer, ServerFailed
from tools.harness.waiting import eventually

COUNT: Final = 1_000
_ID: Final = re.compile(rb"(?:^|\n)id: ([^\n]+)\n")
_OPEN_AT_ONCE: Final = 50
_AGAIN_SECONDS: Final = 0.05  # while the port is closed; each pause is randomized, as clients should do
_WAIT_SECONDS: Final = 60.0


class ReconnectPlan(msgspec.Struct, frozen=True):
    """``ports``: of the servers; a client that one of them refuses goes to the next. ``tokens``: each client has one
    of them. ``rooms``: of which it listens to one, or to all of its account's where none is named."""

    ports: tuple[int, ...]
    tokens: tuple[str, ...]
    count: int
    rooms: tuple[int, ...] = ()


class Returned(msgspec.Struct, frozen=True):
    """Clients that listened to a process that was killed: seconds from then until they were live again.

    ``refused``: how often one of them was answered otherwise than by a stream.
    """

    clients: int
    first: float
    p50: float
    p99: float
    last: float
    refused: int = 0


class _Heard(msgspec.Struct, frozen=True):
    """Times on the monotonic clock, which all processes share."""

    killed: float


class ReconnectClient:
    """Listens by SSE, and goes on from the last event that it was shown wherever it can."""

    def __init__(self, plan: ReconnectPlan, number: int) -> None:
        self._ports = plan.ports
        self._token = plan.tokens[number % len(plan.tokens)].encode()
        self._query = b"?rooms=%d" % plan.rooms[number % len(plan.rooms)] if plan.rooms else b""
        self._attempts = 0
        self._last = b""
        self.live = asyncio.Event()
        self.live_at = 0.0
        self.refused = 0

    async def listen(self) -> None:
        """Reconnect until cancelled."""
        while True:
            with contextlib.suppress(OSError):  # the port is closed
                await self._listen_once(self._ports[self._attempts % len(self._ports)])
            self._attempts += 1
            await asyncio.sleep(_AGAIN_SECONDS * (0.5 + random.random()))

    async def _listen_once(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        resume = b"Last-Event-ID: %b\r\n" % self._last if self._last else b""
        writer.write(
            b"GET /v1/stream%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %b\r\n%b\r\n"
            % (self._query, port, self._token, resume)
        )
        try:
            while data := await reader.read(1 << 16):
                if ids := _ID.findall(data):
                    self._last = ids[-1]
                if self.live.is_set():
                    continue
                if not data.startswith(b"HTTP/1.1 200"):
                    self.refused += 1
                    return
                self.live_at = time.monotonic()
                self.live.set()
        finally:
            self.live.clear()
            writer.close()


async def _run(plan: ReconnectPlan) -> None:
    clients = [ReconnectClient(plan, number) for number in range(plan.count)]
    tasks: list[asyncio.Task[None]] = []
    for start in range(0, plan.count, _OPEN_AT_ONCE):
        some = clients[start : start + _OPEN_AT_ONCE]
        tasks += [asyncio.create_task(each.listen()) for each in some]
        await asyncio.wait_for(asyncio.gather(*(each.live.wait() for each in some)), _WAIT_SECONDS)
    print("listening", flush=True)
    heard = msgspec.json.decode(await asyncio.to_thread(sys.stdin.buffer.readline), type=_Heard)
    await eventually(
        lambda: all(each.live.is_set() and each.live_at > heard.killed for each in clients),
        "each client has a stream again",
        _WAIT_SECONDS,
    )
    took = [each.live_at - heard.killed for each in clients]
    refused = sum(each.refused for each in clients)
    returned = Returned(plan.count, min(took), percentile(took, 0.5), percentile(took, 0.99), max(took), refused)
    print(msgspec.json.encode(returned).decode(), flush=True)
    for task in tasks:
        task.cancel()


def section(bench: Bench) -> Section:
    """Raises ServerFailed."""
    server, cores, runs = bench.falcon("returning"), bench.cores, bench.runs
    count = min(COUNT, bench.sizes["subscribers"])
    found: list[Returned] = []
    for turn in range(runs):
        with running([server], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Hall"}).json()["room_id"]
            caller.close()
            plan = ReconnectPlan((server.address.port,), (server.announcement.token,), count, (room,))
            returned = come_back(plan, cores, lambda: os.kill(_serving(server), signal.SIGKILL))
        found.append(returned)
        say(f"{turn + 1}/{runs} {count:,} come back: the first after {returned.first:.2f} s, all {returned.last:.2f} s")
    return Section("returning", [table(found)])


def table(found: Sequence[Returned]) -> Table:
    columns = ("seconds", "the first", "half of them", "99 of 100", "all")
    figures = ([each.first, each.p50, each.p99, each.last] for each in found)
    row = (f"{found[0].clients:,} who listened", *(numbers(each, "{:.2f}") for each in zip(*figures, strict=True)))
    note = (
        "From `kill -9` of the process that serves; it is started again within that time. Each goes on from the last "
        "event that it was shown, and tries again every 25 to 75 ms."
    )
    return Table("Coming back", columns, [row], note)


def come_back(plan: ReconnectPlan, cores: Cores, kill: Callable[[], None]) -> Returned:
    """``kill``: what they listen to. Raises ServerFailed."""
    command = [sys.executable, "-m", "tools.bench.reconnects"]
    with spawn(command, cores.generator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"listening\n":
            raise ServerFailed("those who should listen have ended")
        heard = _Heard(time.monotonic())
        kill()
        process.stdin.write(msgspec.json.encode(heard) + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise ServerFailed(f"not all came back within {_WAIT_SECONDS:g} s")
        return msgspec.json.decode(line, type=Returned)


def _serving(server: FalconServer) -> int:
    for pid in server.tree.pids():
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"falcon: serve"):
            return pid
    raise ServerFailed("no process of it serves")


def main() -> None:
    uvloop.run(_run(msgspec.json.decode(sys.stdin.buffer.readline(), type=ReconnectPlan)))


if __name__ == "__main__":
    main()
