"""Attacks by hostile clients on raw sockets. Each attack is what one connection does, again and again."""

import asyncio
import base64
import json
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

Counts: TypeAlias = Counter[str]
Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_SECONDS: Final = 60.0  # of one connection at most
_PATIENCE_SECONDS: Final = 0.8
_SMUGGLED: Final = (
    b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n5;a=\rb\r\nhello\r\n0\r\n\r\n",
    b"Content-Length: +5\r\n\r\nhello",
    b"Content-Length: 5\r\n Content-Length: 6\r\n\r\nhello",
    b"Host: other\r\nContent-Length: 0\r\n\r\n",
    b"Content-Length: 18446744073709551616\r\n\r\n",
    b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)
_BOMBS: Final = (
    b'{"name":' + b"[" * 100_000,
    b'{"name":' + b'{"a":' * 50_000,
    b'{"name":"' + b"\\u0000" * 60_000 + b'"}',
    b'{"name":' + b"9" * 400_000 + b"}",
    b'{"name":1e999999999}',
    b'{"name":NaN}',
    b'{"name":"\\ud800"}',
    b'{"name":"a",' * 30_000,
    b'{"name":"a","members":[' + b'{"account_id":1},' * 20_000 + b"{}]}",
    b"\x1f\x8b\x08\x00" + bytes(400_000),
)


class Target(msgspec.Struct, frozen=True):
    """``token``: the hostile account's own. ``room``: one of its rooms, with large messages. ``stranger``: an account
    that has nothing to do with it."""

    port: int
    token: str
    room: int
    stranger: int

    def head(self, method: str, path: str, *fields: str) -> bytes:
        lines = (f"{method} {path} HTTP/1.1", "Host: falcon", f"Authorization: Bearer {self.token}", *fields)
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def post(self, path: str, body: Any, *fields: str) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        length = f"Content-Length: {len(data)}"
        return self.head("POST", path, "Content-Type: application/json", length, *fields) + data


# --- one connection ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connection(target: Target, *, limit: int = 1 << 16) -> AsyncIterator[Streams]:
    """From one of a thousand addresses of this machine."""
    source = (f"127.{random.randint(1, 4)}.{random.randint(0, 9)}.{random.randint(1, 25)}", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, local_addr=source, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _answer(reader: asyncio.StreamReader, counts: Counts) -> tuple[int, bytes]:
    """Its status and body, where it has a length. Raises IncompleteReadError."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split()[1])
    counts[str(status)] += 1
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return status, await reader.readexactly(length)


async def _until_closed(reader: asyncio.StreamReader, counts: Counts) -> None:
    """Counts the answers that come until the server ends the connection."""
    while True:
        await _answer(reader, counts)


async def request_and_answer(streams: Streams, counts: Counts, request: bytes) -> tuple[int, bytes]:
    reader, writer = streams
    await send(writer, request)
    return await _answer(reader, counts)


# --- without a token --------------------------------------------------------------------------------------------------


async def endless_head(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\nX: ")
        for _ in range(2_000):
            await send(writer, b"x" * 65_536)
        await _until_closed(reader, counts)


async def endless_target(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, b"GET /")
        for _ in range(2_000):
            await send(writer, b"x" * 65_536)
        await _until_closed(reader, counts)


async def many_fields(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\n")
        for _ in range(2_000):
            await send(writer, b"a: b\r\n" * 1_000)
        await _until_closed(reader, counts)


async def slow_head(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\nX: ")
        await _dripping(reader, writer, counts)


async def slow_body(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, target.post("/v1/rooms", b"{" * 300_000)[:-200_000])
        await _dripping(reader, writer, counts)


async def _dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts) -> None:
    async def drip() -> None:
        while True:
            await send(writer, b"x")
            await asyncio.sleep(0.5)

    dripping = asyncio.create_task(drip())
    try:
        await _until_closed(reader, counts)
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def silent(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, _):
        await _until_closed(reader, counts)


async def pipelining(target: Target, counts: Counts) -> None:
    """A thousand requests at once, and the answers are read only when all are sent."""
    async with connection(target) as (reader, writer):
        await send(writer, b"GET /openapi.json HTTP/1.1\r\nHost: falcon\r\n\r\n" * 200)
        await send(writer, target.head("GET", "/v1/me") * 800)
        for _ in range(1_000):
            await _answer(reader, counts)


async def smuggling(target: Target, counts: Counts) -> None:
    """Another request hides behind one whose end two readers may see in different places."""
    hidden = b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\n\r\n"
    for fields in _SMUGGLED:
        async with connection(target) as (reader, writer):
            await send(writer, b"POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\n" + fields + hidden)
            try:
                async with asyncio.timeout(2):
                    await _until_closed(reader, counts)
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                pass


async def tiny_chunks(target: Target, counts: Counts) -> None:
    """A body without end, in chunks of one byte."""
    async with connection(target) as (reader, writer):
        await send(writer, b"POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\nTransfer-Encoding: chunked\r\n\r\n")
        await _floods(reader, writer, counts, b"1\r\nx\r\n" * 10_000)


async def frames(target: Target, counts: Counts) -> None:
    """Pongs without end, before or after the answer to the request for a WebSocket."""
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    async with connection(target) as (reader, writer):
        await send(writer, target.head("GET", "/v1/stream", *fields, f"Sec-WebSocket-Key: {key}"))
        if random.random() < 0.5:
            await _answer(reader, counts)
        await _floods(reader, writer, counts, (b"\x8a\x80" + bytes(4)) * 10_000)


async def _floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts, data: bytes) -> None:
    for _ in range(2_000):
        await send(writer, data)
    await _until_closed(reader, counts)


async def wrong_tokens(target: Target, counts: Counts) -> None:
    """It waits for no answer that comes late, and continues by another connection."""
    async with connection(target) as streams:
        for _ in range(500):
            token = random.choice(
                (f"falcon_{target.stranger}_{secrets.token_urlsafe(32)}", f"falcon_{secrets.randbits(40)}_x", "x" * 150)
            )
            request = f"GET /v1/me HTTP/1.1\r\nHost: f\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            counts["tokens"] += 1
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await request_and_answer(streams, counts, request)
            except TimeoutError:
                return


async def wrong_tickets(target: Target, counts: Counts) -> None:
    async with connection(target) as streams:
        for _ in range(200):
            path = f"/v1/stream?ticket={secrets.token_urlsafe(random.choice((10, 60, 2_000)))}"
            await request_and_answer(streams, counts, f"GET {path} HTTP/1.1\r\nHost: falcon\r\n\r\n".encode())


# --- by one account ---------------------------------------------------------------------------------------------------


async def json_bombs(target: Target, counts: Counts) -> None:
    for bomb in _BOMBS:
        async with connection(target) as streams:
            await request_and_answer(streams, counts, target.post("/v1/rooms", bomb))


async def commands(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        for _ in range(50):
            sends = (
                target.post(
                    f"/v1/rooms/{target.room}/messages", {"text": "x"}, f"Idempotency-Key: {secrets.token_hex(28)}"
                )
                for _ in range(20)
            )
            await send(writer, b"".join(sends))
            for _ in range(20):
                await _answer(reader, counts)


async def rooms(target: Target, counts: Counts) -> None:
    """Rooms with a stranger in each, who was not asked."""
    body = {"name": "Join us", "members": [{"account_id": target.stranger}]}
    async with connection(target) as streams:
        for _ in range(200):
            await request_and_answer(streams, counts, target.post("/v1/rooms", body))


async def lists(target: Target, counts: Counts) -> None:
    async with connection(target) as streams:
        for _ in range(200):
            await request_and_answer(streams, counts, target.head("GET", "/v1/rooms?limit=200"))


async def waits(target: Target, counts: Counts) -> None:
    """Waits for a place in the log that never comes."""
    async with connection(target) as streams:
        for _ in range(5):
            head = target.head("GET", "/v1/me", "Falcon-Position: 1:999999999999", "Falcon-Wait: 10")
            await request_and_answer(streams, counts, head)


async def streams(target: Target, counts: Counts) -> None:
    async with connection(target) as (reader, writer):
        await send(writer, target.head("GET", "/v1/stream"))
        status, _ = await _answer(reader, counts)
        while status == 200 and await reader.read(1 << 16):
            pass


async def takes_nothing(target: Target, counts: Counts) -> None:
    """It asks for large pages, and for a stream, and reads none of it."""
    async with connection(target, limit=1_024) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        path = random.choice((f"/v1/rooms/{target.room}/messages?limit=200", "/v1/stream", "/openapi.json"))
        for _ in range(50):
            await send(writer, target.head("GET", path))
        await asyncio.sleep(30)
        counts["left alone"] += 1


class Attack(NamedTuple):
    """``connections``: so many at once."""

    once: Callable[[Target, Counts], Awaitable[None]]
    connections: int


ATTACKS: Final = {
    "endless heads": Attack(endless_head, 20),
    "endless targets": Attack(endless_target, 20),
    "fields without end": Attack(many_fields, 20),
    "slow heads": Attack(slow_head, 1_000),
    "slow bodies": Attack(slow_body, 200),
    "silent connections": Attack(silent, 3_000),
    "pipelining": Attack(pipelining, 10),
    "smuggling": Attack(smuggling, 100),
    "tiny chunks": Attack(tiny_chunks, 10),
    "WebSocket frames": Attack(frames, 10),
    "wrong tokens": Attack(wrong_tokens, 500),
    "wrong tickets": Attack(wrong_tickets, 100),
    "JSON bombs": Attack(json_bombs, 10),
    "commands": Attack(commands, 64),
    "rooms": Attack(rooms, 16),
    "lists of rooms": Attack(lists, 16),
    "waits": Attack(waits, 300),
    "streams": Attack(streams, 300),
    "takes nothing": Attack(takes_nothing, 300),
}


async def attack(target: Target, what: Attack, counts: Counts) -> None:
    """Attack for ever, with a new connection whenever the server ends one."""
    await asyncio.gather(*(_again(target, what, counts) for _ in range(what.connections)))


async def _again(target: Target, what: Attack, counts: Counts) -> None:
    await asyncio.sleep(random.random())
    while True:
        counts["connections"] += 1
        try:
            async with asyncio.timeout(_SECONDS):
                await what.once(target, counts)
        except TimeoutError:
            counts["left alone"] += 1
        except (OSError, asyncio.IncompleteReadError):
            counts["ended by the server"] += 1
            await asyncio.sleep(random.uniform(0.2, 1.0))  # or thousands would keep only themselves busy
