"""A server that answers each request as a script says: what a real one does seldom, or not on demand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

MESSAGE: Final = {
    "room_id": 64,
    "seq": 1,
    "author_id": 130,
    "text": "Hi",
    "posted_at": "2026-11-25T09:30:00.123Z",
    "edited_at": None,
    "deleted": False,
    "reply_to": None,
    "mentions": [],
}


@dataclass(frozen=True)
class Request:
    """``at``: when it came, in seconds of the event loop's clock."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float


Reply: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """Replies in the order of the script; the last one is repeated."""

    def __init__(self, *script: Reply) -> None:
        self._script = list(script)
        self.requests: list[Request] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def headers(self, name: str) -> list[str | None]:
        """The headers of each request, in order."""
        return [request.headers.get(name) for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request for each connection, so that each ending is one that clients see."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            parts = urlsplit(target)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            at = asyncio.get_running_loop().time()
            self.requests.append(Request(method, parts.path, query, headers, body, at))
            await self._script[min(len(self.requests), len(self._script)) - 1](writer)
        writer.close()


def answer(status: int, body: Any, **headers: str) -> Reply:
    """``body``: JSON, or text as it is. Names of headers with ``_`` for ``-``."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    async def reply(writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{more}"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + data)
        await writer.drain()

    return reply


def busy(status: int = 503, code: str = "overloaded", after: str | None = None) -> Reply:
    more = {} if after is None else {"Retry_After": after}
    return answer(status, {"status": status, "code": code, "detail": "come back"}, **more)


def refusal(status: int, code: str, errors: tuple[dict[str, str], ...] = ()) -> Reply:
    return answer(status, {"status": status, "code": code, "detail": "no", "errors": list(errors)})


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    """The connection breaks, and it is unknown whether the command was executed."""


async def damaged(writer: asyncio.StreamWriter) -> None:
    """The answer's bytes are not what its headers say."""
    writer.write(
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnotgzip"
    )
    await writer.drain()


def events(*pieces: bytes, breaks: bool = False) -> Reply:
    """A stream that is sent in these pieces, and then is silent or breaks."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not breaks:
            await asyncio.Event().wait()

    return reply


def event(name: str, data: Any, id: str = "") -> bytes:
    return f"id: {id}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
