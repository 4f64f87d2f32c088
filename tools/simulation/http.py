"""HTTP between simulated processes without sockets: requests to ASGI applications, over a road that may fail.
Connections that have left HTTP by an Upgrade go over the same road.

A server belongs to a process: one that is stopped accepts and does not answer, one that was killed breaks what it had
in hand and refuses what comes. A pair of processes can be cut off from one another; then nothing arrives, and neither
hears.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tools.harness.waiting import eventually_within
from tools.simulation.threads import Loop, Process, Simulation

_APART_SECONDS: Final = 1e-6  # between what arrives in order
_LOOK_SECONDS: Final = 0.05


class NotReached(Exception):
    """No server listens there, or nothing gets there: the request was not carried out."""


class Broken(Exception):
    """The connection broke; the request may have been carried out."""


@dataclass(eq=False)
class _Server:
    process: Process
    loop: asyncio.AbstractEventLoop
    app: Any
    upgraded: Callable[[], asyncio.Protocol] | None = None


@dataclass(eq=False)
class Exchange:
    """A request and its answer. On the client's loop: ``status`` and ``headers`` are there once it has ``begun``."""

    client: Process
    loop: asyncio.AbstractEventLoop
    address: str
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    begun: bool = False
    server: _Server | None = None
    asked: "asyncio.Queue[dict[str, Any]] | None" = None  # on the server's loop
    parts: deque[bytes | Exception | None] = field(default_factory=deque)  # on the client's loop
    coming: list[dict[str, Any]] = field(default_factory=list)  # on its way to the client, all together
    arrived: float = 0.0  # when the last part of the answer has come: they come in order
    over: bool = False
    waiting: "asyncio.Future[None] | None" = None

    async def part(self) -> bytes | None:
        """The next part of the body; None at its end. Raises Broken."""
        while not self.parts:
            await self.news()
        found = self.parts.popleft()
        if isinstance(found, Exception):
            raise found
        return found

    async def body(self) -> bytes:
        """Raises Broken."""
        parts: list[bytes] = []
        while (part := await self.part()) is not None:
            parts.append(part)
        return b"".join(parts)

    async def news(self) -> None:
        self.waiting = self.loop.create_future()
        await self.waiting

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], list(message["headers"])
                self.begun = True
                continue
            if message.get("body"):
                self.parts.append(message["body"])
            if _ends(message):
                self.parts.append(None)
        self._wake()

    def fail(self, error: Exception) -> None:
        self.parts.append(error)
        self.begun = True
        self._wake()

    def _wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class End(asyncio.Transport):
    """One end of an upgraded connection: what its process writes arrives at the other end, in order.

    ``is_lost``: the network has lost something on the way there, and what comes after it is of no use.
    """

    def __init__(self, http: "Http", process: Process, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.process = process
        self.loop = loop
        self.protocol: asyncio.Protocol
        self.peer: End
        self.is_lost = False
        self.arrives = 0.0  # when the last bytes written here arrive
        self.is_over = False
        self._http = http

    def write(self, data: Any) -> None:
        if not self.is_over:
            self._http.carry(self, bytes(data))

    def close(self) -> None:
        self._http.hang_up(self)

    def abort(self) -> None:
        self._http.hang_up(self)

    def is_closing(self) -> bool:
        return self.is_over

    def get_write_buffer_size(self) -> int:
        return 0

    def receive(self, data: bytes) -> None:
        if not self.is_over:
            self.protocol.data_received(data)

    def lose(self, error: Exception | None) -> None:
        if not self.is_over:
            self.is_over = True
            self._http.ends.pop(self, None)
            self.protocol.connection_lost(error)


class Http:
    """``delay_max``: seconds, each way. ``broken``: the share of exchanges whose connection breaks at some point."""

    def __init__(self, simulation: Simulation, chance: random.Random) -> None:
        self.random = chance
        self._simulation = simulation
        self._servers: dict[str, _Server] = {}
        self._cut: set[frozenset[str]] = set()
        self._exchanges: dict[Exchange, None] = {}
        self.ends: dict[End, None] = {}  # of upgraded connections, on the side of servers
        self._tasks: dict[asyncio.Task[None] | None, None] = {}
        self.delay_max = 0.0
        self.broken = 0.0

    # --- servers, and faults ------------------------------------------------------------------------------------------

    def serve(self, address: str, app: Any, upgraded: Callable[[], asyncio.Protocol] | None = None) -> None:
        """On the running loop, for as long as its process lives. ``upgraded``: makes the server's end of a connection
        that leaves HTTP."""
        self._servers[address] = _Server(self._simulation.current.process, asyncio.get_running_loop(), app, upgraded)

    async def close(self, seconds: float) -> None:
        """The running process accepts nothing more, and returns once what it has in hand is answered, or it is time."""
        process = self._simulation.current.process
        self._servers = {address: each for address, each in self._servers.items() if each.process is not process}
        for end in self._ends_of(process):
            end.protocol.shutdown()  # type: ignore[attr-defined]

        def is_answered() -> bool:
            return not self._ends_of(process) and not any(
                each.server is not None and each.server.process is process for each in self._exchanges
            )

        await eventually_within(is_answered, seconds, _LOOK_SECONDS)

    def _ends_of(self, process: Process) -> list[End]:
        return [end for end in self.ends if end.process is process]

    def forget(self, process: Process) -> None:
        """The process has ended. Its peers hear, as by the kernel."""
        self._servers = {address: each for address, each in self._servers.items() if each.process is not process}
        for exchange in list(self._exchanges):
            if exchange.client is process or (exchange.server is not None and exchange.server.process is process):
                self._break(exchange)
        for end in list(self.ends):
            if process in (end.process, end.peer.process):
                self._reset(end)

    def cut(self, one: str, other: str) -> None:
        self._cut.add(frozenset((one, other)))

    def heal(self) -> None:
        """End the cut. Requests of that time never arrive: their senders have given up."""
        self._cut.clear()
        self.delay_max = self.broken = 0.0

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        self._simulation.at(self._simulation.now + seconds, do)

    # --- upgraded connections -----------------------------------------------------------------------------------------

    async def upgrade(self, address: str, protocol: asyncio.Protocol) -> None:
        """Connect the protocol to the server there. Raises OSError."""
        process, loop, server = self._simulation.current.process, asyncio.get_running_loop(), self._servers.get(address)
        if server is None or server.process.dead or server.upgraded is None:
            raise ConnectionRefusedError(address)
        await asyncio.sleep(1.0 if self._is_cut(process, server.process) else self._delay())
        if server.process.dead or self._is_cut(process, server.process):
            raise TimeoutError(address)
        here, there = End(self, process, loop), End(self, server.process, server.loop)
        here.protocol, here.peer, there.peer = protocol, there, here
        protocol.connection_made(here)

        def accept() -> None:
            assert server.upgraded is not None
            self.ends[there] = None
            there.protocol = server.upgraded()
            there.protocol.connection_made(there)

        self._call(server.loop, accept)

    def carry(self, end: End, data: bytes) -> None:
        peer = end.peer
        if end.is_lost or self._is_cut(end.process, peer.process):
            end.is_lost = True
            return
        end.arrives = max(end.arrives, self._simulation.now + self._delay()) + _APART_SECONDS
        self._simulation.at(end.arrives, lambda: self._call(peer.loop, lambda: peer.receive(data)))
        if self.broken and self.random.random() < self.broken:
            self.later(self.random.uniform(0, 1), lambda: self._reset(end))

    def hang_up(self, end: End) -> None:
        """One end closes the connection. The other hears of it, unless the network has lost it."""
        if end.is_over:
            return
        end.loop.call_soon(end.lose, None)
        if not (end.is_lost or self._is_cut(end.process, end.peer.process)):
            end.arrives = max(end.arrives, self._simulation.now + self._delay()) + _APART_SECONDS
            self._simulation.at(end.arrives, lambda: self._call(end.peer.loop, lambda: end.peer.lose(None)))

    def _reset(self, end: End) -> None:
        """The connection breaks. Both ends hear of it, as far as the network lets them."""
        for each in (end, end.peer):
            if not (each.peer.is_lost or self._is_cut(end.process, end.peer.process)):
                self._call(each.loop, lambda each=each: each.lose(ConnectionResetError("it broke")))  # type: ignore[misc]

    # --- exchanges ----------------------------------------------------------------------------------------------------

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, connect_seconds: float = 1.0
    ) -> Exchange:
        """Returns once the answer has begun. Raises NotReached, Broken. Call ``drop`` if the rest is not needed."""
        parts = urlsplit(url)
        exchange = Exchange(self._simulation.current.process, asyncio.get_running_loop(), parts.netloc)
        self._exchanges[exchange] = None
        self._send(exchange, _scope(method, parts.netloc, parts.path, parts.query, headers), body)
        try:
            while not exchange.begun:
                await exchange.news()
        except asyncio.CancelledError:
            self.drop(exchange)
            raise
        if not exchange.status:
            await exchange.part()
        return exchange

    def drop(self, exchange: Exchange) -> None:
        """The client hangs up."""
        if not exchange.over:
            exchange.over = True
            self._exchanges.pop(exchange, None)
            self._tell_server(exchange)

    def _send(self, exchange: Exchange, scope: dict[str, Any], body: bytes) -> None:
        server = self._servers.get(exchange.address)
        if server is not None and self._is_cut(exchange.client, server.process):
            self.later(1.0, lambda: self._fail(exchange, NotReached(exchange.address)))
        elif server is None or server.process.dead:
            self.later(0.0, lambda: self._fail(exchange, NotReached(exchange.address)))
        else:
            exchange.server = server
            self.later(self._delay(), lambda: self._arrive(exchange, server, scope, body))
            if self.broken and self.random.random() < self.broken:
                self.later(self.random.uniform(0, 1), lambda: self._break(exchange))

    def _arrive(self, exchange: Exchange, server: _Server, scope: dict[str, Any], body: bytes) -> None:
        if exchange.over or self._is_cut(exchange.client, server.process):
            return

        def run() -> None:
            exchange.asked = asyncio.Queue()
            exchange.asked.put_nowait({"type": "http.request", "body": body, "more_body": False})
            self._tasks[server.loop.create_task(self._carry_out(exchange, server, scope))] = None

        self._call(server.loop, run)

    async def _carry_out(self, exchange: Exchange, server: _Server, scope: dict[str, Any]) -> None:
        async def receive() -> dict[str, Any]:
            assert exchange.asked is not None
            return await exchange.asked.get()

        async def send(message: dict[str, Any]) -> None:
            self._answer(exchange, server, message)

        try:
            await server.app(scope, receive, send)
        except Exception:
            self._break(exchange)
            raise
        finally:
            self._tasks.pop(asyncio.current_task(), None)

    def _answer(self, exchange: Exchange, server: _Server, message: dict[str, Any]) -> None:
        if exchange.over or self._is_cut(exchange.client, server.process):
            return
        exchange.coming.append(message)
        if len(exchange.coming) == 1:
            exchange.arrived = max(exchange.arrived, self._simulation.now + self._delay()) + _APART_SECONDS
            self._simulation.at(exchange.arrived, lambda: self._give(exchange))

    def _give(self, exchange: Exchange) -> None:
        messages, exchange.coming = exchange.coming, []
        if exchange.over:
            return
        if _ends(messages[-1]):
            exchange.over = True
            self._exchanges.pop(exchange, None)
        self._call(exchange.loop, lambda: exchange.take(messages))

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        if exchange.over:
            return
        exchange.over = True
        self._exchanges.pop(exchange, None)
        self._call(exchange.loop, lambda: exchange.fail(error))

    def _break(self, exchange: Exchange) -> None:
        self._fail(exchange, Broken(exchange.address))
        self._tell_server(exchange)

    def _tell_server(self, exchange: Exchange) -> None:
        server = exchange.server
        if server is not None:
            self.later(self._delay(), lambda: self._call(server.loop, lambda: _hang_up(exchange)))

    def _call(self, loop: asyncio.AbstractEventLoop, do: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(do)

    def _is_cut(self, one: Process, other: Process) -> bool:
        return bool(self._cut) and frozenset((one.name, other.name)) in self._cut

    def _delay(self) -> float:
        return self.random.uniform(0, self.delay_max) if self.delay_max else 0.0


def _hang_up(exchange: Exchange) -> None:
    if exchange.asked is not None:
        exchange.asked.put_nowait({"type": "http.disconnect"})


def _ends(message: dict[str, Any]) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


def _scope(method: str, netloc: str, path: str, query: str, headers: Mapping[str, str]) -> dict[str, Any]:
    host, _, port = netloc.partition(":")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", netloc.encode())]
        + [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": (host, int(port or 80)),
        "state": {},
    }


async def lifespan(app: Any) -> Callable[[], Awaitable[None]]:
    """Start an application; gives what ends it in order. Raises RuntimeError where it does not start."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    started = asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        if not started.done():
            started.set_result(message)

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.get_running_loop().create_task(app(scope, told.get, send))
    await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
    if not started.done() or started.result()["type"] != "lifespan.startup.complete":
        raise RuntimeError("the application did not start")

    async def end() -> None:
        told.put_nowait({"type": "lifespan.shutdown"})
        await running

    return end


def network_loop(simulation: Simulation, process: Process) -> Loop:
    """A loop that runs in a process of the network's own."""
    loop = Loop(simulation)
    simulation.spawn(loop.run_forever, process.name, process)
    return loop
