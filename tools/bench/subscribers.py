"""Many listeners of one room, and one sender; a process of its own, on the load generator's core.

Run as ``python -m tools.bench.subscribers`` with a plan as JSON on standard input; prints what it found as JSON. The
time at which a message was handed over stands in its text, so that a delivery tells how long it was under way.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Literal, TypeAlias, cast

import msgspec
import uvloop

from tools.harness.waiting import eventually_within

_STAMP = re.compile(rb"@(\d+)@")
_SETTLE_SECONDS = 3.0
_OPEN_AT_ONCE = 50
_OPEN_SECONDS = 60.0

Kind: TypeAlias = Literal["falcon-sse", "falcon-websocket", "go-sse"]


class SubscribersPlan(msgspec.Struct, frozen=True):
    kind: Kind
    port: int
    subscribers: int
    seconds: float
    rate: float  # messages a second
    token: str
    room: int


class Found(msgspec.Struct, frozen=True):
    """Times in ms."""

    sent: int
    expected: int
    delivered: int
    p50: float
    p99: float
    most: float


class Listener(asyncio.Protocol):
    """Opens a stream, and notes when each message came. Joins a message that two packets have brought."""

    def __init__(self, opening: bytes, opened: Callable[[], None], ready: bytes) -> None:
        self._opening = opening
        self._opened = opened
        self._ready = ready
        self._rest = b""
        self._is_open = False
        self.delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._opening)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        now = time.monotonic_ns()
        if not self._is_open and self._ready in data:
            self._is_open = True
            self._opened()
        end = 0
        for match in _STAMP.finditer(data):
            self.delays.append((now - int(match[1])) / 1e6)
            end = match.end()
        # The last few bytes may be the beginning of a stamp.
        self._rest = data[max(end, len(data) - 32) :] if self._is_open else data


def opening(plan: SubscribersPlan) -> tuple[bytes, bytes]:
    """The bytes that a listener writes, and the bytes that show that it listens."""
    head = f"GET /v1/stream?rooms={plan.room} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\n"
    head += f"Authorization: Bearer {plan.token}\r\n"
    if plan.kind != "falcon-websocket":
        return f"{head}\r\n".encode(), b"event: hello"
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    return f"{head}{upgrade}\r\n".encode(), b'"event":"hello"'


class Speaker:
    """Sends at an even rate over one connection, without waiting for answers."""

    def __init__(self, plan: SubscribersPlan, writer: asyncio.StreamWriter) -> None:
        self._plan = plan
        self._writer = writer

    async def run(self) -> int:
        count = round(self._plan.seconds * self._plan.rate)
        start = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / self._plan.rate - time.monotonic()))
            self._writer.write(self._request(b"@%d@" % time.monotonic_ns()))
        await self._writer.drain()
        return count

    def _request(self, stamp: bytes) -> bytes:
        text = stamp + b"x" * 80
        body = b'{"text":"%b"}' % text
        head = (
            f"POST /v1/rooms/{self._plan.room}/messages HTTP/1.1\r\nHost: 127.0.0.1:{self._plan.port}\r\n"
            "Content-Type: application/json\r\n"
            f"Authorization: Bearer {self._plan.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def measure(plan: SubscribersPlan, measured: Callable[[str], None]) -> Found:
    """``measured``: hears when it is about to begin, and when everything has arrived."""
    loop = asyncio.get_running_loop()
    count = 0
    everybody = asyncio.Event()

    def opened() -> None:
        nonlocal count
        count += 1
        if count == plan.subscribers:
            everybody.set()

    listeners: list[Listener] = []

    async def open_one() -> None:
        request, ready = opening(plan)
        _, listener = await loop.create_connection(lambda: Listener(request, opened, ready), "127.0.0.1", plan.port)
        listeners.append(listener)

    for start in range(0, plan.subscribers, _OPEN_AT_ONCE):
        await asyncio.gather(*(open_one() for _ in range(start, min(start + _OPEN_AT_ONCE, plan.subscribers))))
    await asyncio.wait_for(everybody.wait(), _OPEN_SECONDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    draining = asyncio.create_task(_drain(reader))
    measured("begin")
    for each in listeners:
        each.delays.clear()  # a hello shows the room's last message, which is of an earlier run
    sent = await Speaker(plan, writer).run()
    expected = sent * plan.subscribers
    await eventually_within(lambda: sum(len(each.delays) for each in listeners) >= expected, _SETTLE_SECONDS, 0.05)
    measured("end")
    draining.cancel()
    delays = sorted(delay for each in listeners for delay in each.delays)
    if not delays:
        return Found(sent, expected, 0, 0.0, 0.0, 0.0)
    return Found(
        sent,
        expected,
        len(delays),
        delays[len(delays) // 2],
        delays[int(len(delays) * 0.99)],
        delays[-1],
    )


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        continue


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=SubscribersPlan)

    def measured(what: str) -> None:
        """Waits until the reader has noted the server's CPU."""
        print(what, flush=True)
        sys.stdin.buffer.readline()

    found = uvloop.run(measure(plan, measured))
    print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    main()
