"""A real server with Falcon's protocol and a small application, on this event loop, and raw connections to it."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import uvloop

from falcon.http.limits.per_address import ConnectionsPerAddress
from falcon.http.problems import Problem
from falcon.http.responses import BUDGET, problem_response
from falcon.http.server import memory_budget
from falcon.http.server.connection_limits import ConnectionLimits
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import create_server
from falcon.http.server.tls import Certificate
from tests.support.own_time import run_in_own_time
from tools.harness.waiting import eventually

# Short times, for ``at_a_quick_server``. Sizes are the usual ones, but room for the answer of /large.
QUICK: Final = ConnectionLimits(
    idle_seconds=0.4,
    head_seconds=0.4,
    body_seconds=0.4,
    stalled_seconds=0.4,
    linger_seconds=0.2,
    sweep_seconds=0.02,
    holder_bytes=32 << 20,
)
_SECONDS: Final = 60  # by then a test has failed
PATIENT: Final = ConnectionLimits(sweep_seconds=0.02)


class Answer:
    """``head`` in bytes, ``status`` 0 where the connection was closed without an answer."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.status = int(head.split()[1]) if head else 0

    @property
    def code(self) -> str:
        assert b"\r\ncontent-type: application/problem+json\r\n" in self.head
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        code: str = problem["code"]
        return code

    @property
    def closes(self) -> bool:
        return b"\r\nconnection: close\r\n" in self.head


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError where the server has cut it."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), _SECONDS)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return Answer(b"", b"")
        length = re.search(rb"content-length: (\d+)", head)
        return Answer(head, await self.reader.readexactly(int(length[1]) if length else 0))

    async def asks(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def is_closed(self) -> bool:
        """True if it closes in time, and sends nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(1), _SECONDS) == b""
        except ConnectionResetError:
            return True


class Server:
    """``bodies``: those of the requests that the application has read. ``fields``: their fields then."""

    def __init__(self, port: int, state: Any, sweeper: ConnectionSweeper) -> None:
        self.port = port
        self.state = state
        self._sweeper = sweeper
        self.bodies: list[bytes] = []
        self.fields: list[list[tuple[bytes, bytes]]] = []
        self.gone = 0
        self._clients: list[Client] = []

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        self._clients.append(Client(*await asyncio.open_connection(sock=connection, limit=1 << 16)))
        return self._clients[-1]

    def held(self) -> int:
        """Bytes of bodies and of unread answers."""
        return self._sweeper.memory.size

    def taken(self) -> int:
        """Slots of connections."""
        return self._sweeper.slots.taken

    def close(self) -> None:
        for client in self._clients:
            client.writer.close()


async def _read(receive: Any) -> bytes | None:
    body = b""
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


@asynccontextmanager
async def serving(
    limits: ConnectionLimits,
    connections_max: int = 1_000,
    per_address: ConnectionsPerAddress | None = None,
    certificate: Certificate | None = None,
) -> AsyncIterator[Server]:
    """The server answers 201 with the body's size. /early does not wait for the body; the answer of /stream has no
    end, those of /large and /document have 16 MB, and all clients share the latter; /broken raises; /as/7 has a good
    token of account 7, and on /refused-as/7 it is refused after a second. A WebSocket is accepted, and sent as much; on
    /refused its refusal waits; /refused-at-once needs no wait."""
    server: Server

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/as/"):
            memory_budget.charge_to(scope, int(scope["path"][4:]))
        if scope["type"] == "websocket":
            if scope["path"] in ("/refused", "/refused-at-once"):
                if scope["path"] == "/refused":
                    await scope["state"][BUDGET].wait(_SECONDS)
                await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
                await send({"type": "websocket.http.response.body", "body": b""})
                return
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(16 << 20 if scope["path"] == "/large" else 1)})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            server.gone += 1
            return
        if scope["path"].startswith("/refused-as/"):
            memory_budget.charge_to(scope, int(scope["path"][12:]))
            problem = Problem(429, "rate_limited", "Too many.")
            problem.delay_seconds = 1.0
            await problem_response(problem)(scope, receive, send)
            return
        if scope["path"] == "/broken":
            raise RuntimeError("a fault")
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"event", "more_body": True})
            await _until_gone(receive)
            server.gone += 1
            return
        body = b"" if scope["path"] == "/early" else await _read(receive)
        if body is None:
            server.gone += 1
            return
        server.bodies.append(body)
        server.fields.append(list(scope["headers"]))
        if scope["path"] == "/document":
            memory_budget.share_answer(scope)
        text = bytes(16 << 20) if scope["path"] in ("/large", "/document") else b"%d" % len(body)
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    sweeper = ConnectionSweeper("test", limits, connections_max, per_address)
    running = create_server(app, sweeper, certificate=certificate)
    listening = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(running.serve([listening]))
    await eventually(lambda: running.started)
    server = Server(listening.getsockname()[1], running.server_state, sweeper)
    try:
        yield server
    finally:
        server.close()
        running.should_exit = True
        await task


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def at_a_server(
    ask: Callable[[Server], Awaitable[None]],
    limits: ConnectionLimits = PATIENT,
    connections_max: int = 1_000,
    per_address: ConnectionsPerAddress | None = None,
) -> None:
    """Runs ``ask`` on the event loop that Falcon uses."""
    uvloop.run(_asked(ask, limits, connections_max, per_address))


def at_a_quick_server(ask: Callable[[Server], Awaitable[None]], limits: ConnectionLimits = QUICK) -> None:
    """Runs ``ask`` in time of its own: what it does takes no time, and what it waits for comes soon."""
    run_in_own_time(_asked(ask, limits))


async def _asked(
    ask: Callable[[Server], Awaitable[None]],
    limits: ConnectionLimits,
    connections_max: int = 1_000,
    per_address: ConnectionsPerAddress | None = None,
) -> None:
    async with serving(limits, connections_max, per_address) as server, asyncio.timeout(_SECONDS):
        await ask(server)
