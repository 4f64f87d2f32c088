"""Attacks by clients that read a little now and then, by trailers, and by floods of new connections."""

import asyncio
import random
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tools.attack.attacks import Attack, Counts, Target, connection, request_and_answer, send

_RECEIVED_BYTES: Final = 4_096  # the kernel's buffer, so that nearly all of an answer stays at the server
_READ_BYTES: Final = 1_300
_READ_SECONDS: Final = 0.8
_FLOODER: Final = "127.5.0.1"  # one address, which has its own share of new connections


async def reads_a_little(target: Target, counts: Counts) -> None:
    """Asks for large answers, four at once, and reads each so slowly that it never ends."""
    page = target.head("GET", f"/v1/rooms/{target.room}/messages?limit=200")
    asked = random.choice((page, b"GET /openapi.json HTTP/1.1\r\nHost: falcon\r\n\r\n")) * 4
    loop = asyncio.get_running_loop()
    with _small_socket(f"127.4.9.{random.randint(1, 9)}") as slow:
        await loop.sock_connect(slow, ("127.0.0.1", target.port))
        await loop.sock_sendall(slow, asked)
        while piece := await loop.sock_recv(slow, _READ_BYTES):
            counts["bytes read"] += len(piece)
            await asyncio.sleep(_READ_SECONDS)
    raise ConnectionError("the server has ended it")


@contextmanager
def _small_socket(source: str) -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
        made.setblocking(False)
        made.bind((source, 0))
        yield made


async def trailers(target: Target, counts: Counts) -> None:
    """Tokens, keys and addresses behind a body. A token there must open nothing."""
    head = "POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    body = '12\r\n{"name":"trailer"}\r\n0\r\n'
    fields = (
        f"Authorization: Bearer {target.token}",
        f"Idempotency-Key: {secrets.token_hex(8)}",
        f"X-Forwarded-For: 192.0.2.{random.randint(1, 250)}",
        "Content-Length: 100",
        "Host: other",
    )
    for _ in range(50):
        sent = f"{head}{body}{fields[0]}\r\n{random.choice(fields[1:])}\r\n\r\n".encode()
        async with connection(target) as streams:
            status, _ = await request_and_answer(streams, counts, sent)
            counts["believed"] += status == 201


async def hellos(target: Target, counts: Counts) -> None:
    """A ClientHello from one address, again and again, each on a new connection that it then closes."""
    hello = _hello()
    for _ in range(1_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, local_addr=(_FLOODER, 0))
        try:
            await send(writer, hello)
            counts["answered" if await reader.read(4_096) else "closed"] += 1
        except ConnectionError:
            counts["closed"] += 1
        finally:
            writer.transport.abort()


def _hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl._create_unverified_context().wrap_bio(ssl.MemoryBIO(), outgoing)  # noqa: S323  there is no peer
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


SLOW: Final = {
    "reads a little": Attack(reads_a_little, 190),
    "trailers": Attack(trailers, 20),
    "hellos": Attack(hellos, 16),
}
