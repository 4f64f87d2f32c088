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
from typing import Literal, TypeAlias

import msgspec
import uvloop

from tools.harness.waiting import eventually_within

_STAMP = re.compile(rb"@(\d+)@")
_SETTLE_SECONDS = 3.0
_OPEN_AT_ONCE = 50
_OPEN_SECONDS = 60.0

Kind: TypeAlias = Literal["falcon-sse", "falcon-websocket", "centrifugo-sse", "centrifugo-websocket"]


class SubscribersPlan(msgspec.Struct, frozen=True):
    kind: Kind
    port: int
    subscribers: int
    seconds: float
    rate: float  # messages a second
    token: str = ""
    room: int = 0
    channel: str = ""


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

    def __init__(self, opening: list[bytes], opened: Callable[[], None], ready: bytes) -> None:
        self._opening = opening
        self._opened = opened
        self._ready = ready
        self._rest = b""
        self._is_open = False
        self.delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(self._opening.pop(0))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        now = time.monotonic_ns()
        if not self._is_open:
            if self._ready in data:
                self._is_open = True
                self._opened()
            elif self._opening and b"\r\n\r\n" in data:
                self._transport.write(self._opening.pop(0))
                data = b""
        end = 0
        for match in _STAMP.finditer(data):
            self.delays.append((now - int(match[1])) / 1e6)
            end = match.end()
        # The last few bytes may be the beginning of a stamp.
        self._rest = data[max(end, len(data) - 32) :] if self._is_open else data


def opening(plan: SubscribersPlan) -> tuple[list[bytes], bytes]:
    """The bytes that a listener writes, each after the answer to the one before; and the bytes that show that it
    listens."""
    host = f"Host: 127.0.0.1:{plan.port}\r\n"
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
    )
    bearer = f"Authorization: Bearer {plan.token}\r\n"
    match plan.kind:
        case "falcon-sse":
            return [f"GET /v1/stream?rooms={plan.room} HTTP/1.1\r\n{host}{bearer}\r\n".encode()], b"event: hello"
        case "falcon-websocket":
            head = f"GET /v1/stream?rooms={plan.room} HTTP/1.1\r\n{host}{bearer}{upgrade}\r\n"
            return [head.encode()], b'"event":"hello"'
        case "centrifugo-sse":
            connect = f"%7B%22subs%22%3A%7B%22{plan.channel}%22%3A%7B%7D%7D%7D"
            return [f"GET /connection/uni_sse?cf_connect={connect} HTTP/1.1\r\n{host}\r\n".encode()], b'"connect"'
        case "centrifugo-websocket":
            head = f"GET /connection/websocket HTTP/1.1\r\n{host}{upgrade}\r\n"
            commands = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"%b"}}' % plan.channel.encode()
            return [head.encode(), masked(commands)], b'"id":2'


def masked(text: bytes) -> bytes:
    """A client's text frame of less than 126 bytes; a mask of zeros leaves it as it is."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text


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
        if self._plan.kind.startswith("falcon"):
            path, body = f"/v1/rooms/{self._plan.room}/messages", b'{"text":"%b"}' % text
        else:
            path, body = "/api/publish", b'{"channel":"%b","data":{"text":"%b"}}' % (self._plan.channel.encode(), text)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._plan.port}\r\nContent-Type: application/json\r\n"
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
        writes, ready = opening(plan)
        _, listener = await loop.create_connection(lambda: Listener(writes, opened, ready), "127.0.0.1", plan.port)
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
