"""Sends requests to a chat as fast as it answers, over some connections, from a process on the generator's core.

Run as ``python -m tools.bench.peers.asking`` with a plan as JSON on a line of standard input. Says ``open`` when all
connections are; then, for each line with a number of seconds, asks for so long and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import msgspec
import uvloop

from tools.bench import wrk
from tools.bench.peers.clients import PAGE, Client, FalconClient, Kind, MatrixClient, Refused, Seat
from tools.bench.peers.xmpp import XmppClient
from tools.harness.processes import spawn
from tools.harness.reports import percentile

Act: TypeAlias = Literal["send", "latest"]
TEXT = "x" * (wrk.TEXT_BYTES - 9)


_CLIENTS: dict[Kind, Callable[[int, Seat], Client]] = {
    "falcon": FalconClient,
    "matrix": MatrixClient,
    "xmpp": XmppClient,
}


class AskingPlan(msgspec.Struct, frozen=True):
    """A connection for each seat."""

    kind: Kind
    port: int
    act: Act
    seats: list[Seat]


class Asking:
    """The process, as the benchmark holds it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, seconds: int) -> wrk.Load:
        """Raises LoadFailed."""
        self.write(b"%d" % seconds)
        try:
            return msgspec.json.decode(self.read(), type=wrk.Load)
        except msgspec.DecodeError as wrong:
            raise wrk.LoadFailed("the connections ended; what they said stands above") from wrong

    def write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def read(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def asking(plan: AskingPlan, core: int) -> Iterator[Asking]:
    """Raises LoadFailed when not all connections could be opened."""
    command = [sys.executable, "-m", "tools.bench.peers.asking"]
    with spawn(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        found = Asking(process)
        found.write(msgspec.json.encode(plan))
        if found.read() != b"open\n":
            raise wrk.LoadFailed(f"{plan.kind}: the connections could not be opened; what they said stands above")
        yield found


async def fill(kind: Kind, port: int, seats: Sequence[Seat], messages: int) -> None:
    """Send so many messages to each seat's room. Raises OSError, Refused."""

    async def one(seat: Seat) -> None:
        client = _CLIENTS[kind](port, seat)
        await client.open()
        for number in range(messages):
            await client.send(f"{number:08d} {TEXT}")
        client.close()

    await asyncio.gather(*map(one, seats))


async def first_message(kind: Kind, port: int, seat: Seat, seconds: float) -> None:
    """Try until one was accepted. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while True:
        client = _CLIENTS[kind](port, seat)
        try:
            await client.open()
            await client.send("first")
            client.close()
            return
        except (OSError, Refused) as refused:
            if time.monotonic() > until:
                raise TimeoutError(f"no message was accepted within {seconds:.0f} s: {refused}") from refused
            await asyncio.sleep(0.01)


async def prove(kind: Kind, port: int, seat: Seat, text: str) -> int:
    """Check that accepted messages can be read. Returns the bytes of a page. Raises OSError, Refused."""
    client = _CLIENTS[kind](port, seat)
    await client.open()
    await client.send(text)
    page = await client.latest()
    client.close()
    if text.encode() not in page or client.count(page) != PAGE:
        raise Refused(f"{kind}: a page of {client.count(page)} messages, the one just accepted not among them")
    return len(page)


async def _ask_for(clients: Sequence[Client], act: Act, seconds: float) -> wrk.Load:
    until = time.perf_counter() + seconds
    times: list[float] = []
    refused = 0

    async def one(client: Client) -> None:
        nonlocal refused
        number = 0
        while (begun := time.perf_counter()) < until:
            number += 1
            try:
                if act == "send":
                    await client.send(f"{number:08d} {TEXT}")
                elif client.count(await client.latest()) != PAGE:
                    refused += 1
            except Refused as answer:
                refused += 1
                print(f"refused: {answer}", file=sys.stderr)
            times.append(time.perf_counter() - begun)

    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(one, clients))
    return wrk.Load(
        requests=len(times),
        micros=round((time.perf_counter() - begun) * 1e6),
        p50=round(percentile(times, 0.5) * 1e6),
        p99=round(percentile(times, 0.99) * 1e6),
        max=round(max(times) * 1e6),
        refused=refused,
        broken=0,
        cpu=time.process_time() - cpu,
    )


async def _main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=AskingPlan)
    clients = [_CLIENTS[plan.kind](plan.port, seat) for seat in plan.seats]
    await asyncio.gather(*(client.open() for client in clients))
    print("open", flush=True)
    while line := sys.stdin.buffer.readline():
        found = await _ask_for(clients, plan.act, float(line))
        print(msgspec.json.encode(found).decode(), flush=True)
    for client in clients:
        client.close()


if __name__ == "__main__":
    uvloop.run(_main())
