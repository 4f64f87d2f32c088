"""Connections to the stream of events, by both transports, as thin as they can be: what arrives is what was sent."""

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

Json: TypeAlias = dict[str, Any]

OPEN_SECONDS: Final = 20.0
_LINE_MAX: Final = 1 << 22


class Refused(Exception):
    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status


class Connection(Protocol):
    async def next(self) -> tuple[str, str, Json]:
        """Id, name and data of the next event. Raises OSError, EOFError when it is over."""

    async def close(self, *, roughly: bool) -> None: ...


class Sse:
    """Over a bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._found: dict[str, str] = {}  # of an event that is not there whole yet

    @classmethod
    async def open(cls, url: str, token: str, since: str | None) -> "Sse":
        host = urlsplit(url)
        reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=_LINE_MAX)
        last = "" if since is None else f"Last-Event-ID: {since}\r\n"
        writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n".encode())
        made = cls(reader, writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split()[1])
            if status != 200:
                raise Refused(status, (await reader.read(1_000)).decode())
        except BaseException:
            writer.close()
            raise
        return made

    async def next(self) -> tuple[str, str, Json]:
        while "data" not in self._found:
            line = await self._reader.readuntil(b"\n")
            name, colon, value = line.rstrip(b"\r\n").decode().partition(": ")
            if colon:
                self._found[name] = value
        found, self._found = self._found, {}
        return found["id"], found["event"], msgspec.json.decode(found["data"])

    async def close(self, *, roughly: bool) -> None:
        if roughly:
            self._writer.transport.abort()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class WebSocket:
    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    @classmethod
    async def open(cls, url: str, token: str, since: str | None) -> "WebSocket":
        address = url.replace("http", "ws", 1) + "/v1/stream" + ("" if since is None else f"?resume={since}")
        headers = {"Authorization": f"Bearer {token}"}
        try:
            client = await connect(
                address, additional_headers=headers, max_size=None, max_queue=4, open_timeout=OPEN_SECONDS
            )
        except InvalidStatus as error:
            raise Refused(error.response.status_code, str(error.response.body)) from error
        except (InvalidHandshake, TimeoutError) as error:
            raise EOFError from error
        return cls(client)

    async def next(self) -> tuple[str, str, Json]:
        try:
            frame = msgspec.json.decode(await self._client.recv())
        except ConnectionClosed as error:
            raise EOFError from error
        return frame["id"], frame["event"], frame["data"]

    async def close(self, *, roughly: bool) -> None:
        if roughly:
            self._client.transport.abort()
        await self._client.close()
