"""Clients of a chat, each with one request at a time under way: their interface, and those of Falcon and Matrix."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import Literal, Protocol, TypeAlias
from urllib.parse import quote

import httptools
import msgspec

Kind: TypeAlias = Literal["falcon", "matrix", "xmpp"]
PAGE = 50


class Seat(msgspec.Struct, frozen=True):
    """An account with its place in a room: name, and token or password."""

    room: str
    account: str
    secret: str


class Refused(Exception):
    """The server refused. The text is its answer."""


class Client(Protocol):
    async def open(self) -> None:
        """Connect, and enter the room. Raises OSError, Refused."""

    async def send(self, text: str) -> None:
        """Send the text, and wait until the server has accepted it. Raises OSError, Refused."""

    async def latest(self) -> bytes:
        """The newest 50 messages of the room, as they came. Raises OSError, Refused."""

    def count(self, page: bytes) -> int:
        """The number of messages on a page."""

    def close(self) -> None: ...


class HttpClient:
    """A kept connection that httptools parses. Subclasses know the requests of a chat."""

    def __init__(self, port: int, seat: Seat) -> None:
        self._port = port
        self._seat = seat
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {seat.secret}\r\n"
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._body: list[bytes] = []
        self._is_complete = False

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        self._writer.close()

    def next_key(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"

    async def ask(self, method: str, path: str, body: bytes = b"", more: str = "") -> bytes:
        """Raises OSError, Refused."""
        content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{more}{content}\r\n".encode() + body)
        self._body, self._is_complete = [], False
        parser = httptools.HttpResponseParser(self)
        while not self._is_complete:
            data = await self._reader.read(1 << 17)
            if not data:
                raise ConnectionResetError(f"the server closed the connection while {method} {path} was asked")
            parser.feed_data(data)
        got = b"".join(self._body)
        if not 200 <= parser.get_status_code() < 300:
            raise Refused(f"{method} {path}: {parser.get_status_code()} {got[:300]!r}")
        return got

    # --- callbacks of httptools ---------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_complete = True


class FalconClient(HttpClient):
    async def send(self, text: str) -> None:
        key = f"Idempotency-Key: {self.next_key()}\r\n"
        await self.ask("POST", f"/v1/rooms/{self._seat.room}/messages", msgspec.json.encode({"text": text}), key)

    async def latest(self) -> bytes:
        return await self.ask("GET", f"/v1/rooms/{self._seat.room}/messages?limit={PAGE}")

    def count(self, page: bytes) -> int:
        return page.count(b'"seq":')


class MatrixClient(HttpClient):
    async def send(self, text: str) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(self._seat.room)}/send/m.room.message/{self.next_key()}"
        await self.ask("PUT", path, msgspec.json.encode({"msgtype": "m.text", "body": text}))

    async def latest(self) -> bytes:
        return await self.ask("GET", f"/_matrix/client/v3/rooms/{quote(self._seat.room)}/messages?dir=b&limit={PAGE}")

    def count(self, page: bytes) -> int:
        return page.count(b'"m.room.message"')
