"""A listener for tests: it drives the application by ASGI, in the application's loop, as a server would."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec
from starlette.types import Message

from falcon.http.server import unknown_requests
from tests.support.http import Falcon, Json, Person
from tools.harness.waiting import eventually

SECONDS: Final = 60.0  # by then a test has failed

Transport: TypeAlias = Literal["sse", "websocket"]


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: Any


@dataclass
class Listener:
    """A connection. ``full``: it takes nothing more, like one whose other end has stopped reading. ``junk``: what the
    server has counted.

    ``stalls``: it is full as soon as the answer has begun. ``slight``: it takes one thing in a turn of the loop, like a
    network with little room, however quickly its other end reads. ``lost``: the sender gets an exception, as from a
    WebSocket server whose client has gone.
    """

    falcon: Falcon
    transport_name: Transport
    query: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[Event] = field(default_factory=list)
    beats: int = 0
    retry: str | None = None
    close_code: int | None = None
    ended: bool = False
    aborted: bool = False
    lost: bool = False
    stalls: bool = False
    slight: bool = False
    path: str = "/v1/stream"
    junk: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transport = self  # as a server's connection has one
        self._changed = asyncio.Condition()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._begun = False
        self._unread = b""
        self._read = 0
        self._task: asyncio.Task[None] | None = None

    # --- what a test does with it -------------------------------------------------------------------------------------

    def open(self) -> "Listener":
        """Wait until the server has accepted or refused the stream."""
        self.falcon.run(self._open())
        return self

    def next(self, name: str | None = None) -> Event:
        """The next event that has not been looked at. With a ``name``: the next one of this name, past all before
        it."""
        while True:
            self._until(lambda: len(self.events) > self._read or self.ended)
            assert len(self.events) > self._read, "it ended before that"
            event = self.events[self._read]
            self._read += 1
            if name in (None, event.name):
                return event
            assert event.name != "bye", f"sent away: {event}"

    def until(self, name: str) -> list[Event]:
        """The events that have not been looked at, up to the first of this name (excluded)."""
        first = self._read
        self.next(name)
        return self.events[first : self._read - 1]

    def rest(self) -> list[Event]:
        """The rest of a stream that ends, or has ended."""
        self._until(lambda: self.ended)
        rest, self._read = self.events[self._read :], len(self.events)
        return rest

    def unread(self) -> list[Event]:
        """The events that have come and were not looked at. Does not wait."""
        rest, self._read = self.events[self._read :], len(self.events)
        return rest

    def fill(self) -> None:
        self._writable.clear()

    def drain(self) -> None:
        self._writable.set()

    def close(self) -> None:
        """The client closes the connection."""
        if self._task is not None:
            self.falcon.run(self._close())

    def abort(self) -> None:
        """The server cuts a connection that takes nothing."""
        self.aborted = True
        self._writable.set()
        self._gone.set()

    def is_closing(self) -> bool:
        return self._gone.is_set()

    # --- ASGI ---------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        if self.lost:
            raise ConnectionResetError("the client has gone")
        await self._writable.wait()
        if self.slight:
            await asyncio.sleep(0)
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                if self.status:
                    raise RuntimeError("the answer has begun already")
                self.answer_headers = {name.decode(): value.decode() for name, value in message["headers"]}
                self._begins(message["status"])
            case "http.response.body" if self.status == 200:
                self._parse(message["body"])
            case "http.response.body" | "websocket.http.response.body":
                self.body += message["body"]
            case "websocket.accept":
                self._begins(101)
            case "websocket.send":
                self._take(msgspec.json.decode(message["text"]))
            case "websocket.close":
                self.close_code = message["code"]
        async with self._changed:
            self._changed.notify_all()

    async def receive(self) -> Message:
        if not self._begun:
            self._begun = True
            kind = "websocket.connect" if self.transport_name == "websocket" else "http.request"
            return {"type": kind, "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "websocket.disconnect" if self.transport_name == "websocket" else "http.disconnect"}

    # --- within the loop ----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._task = asyncio.create_task(self._live())
        await self.wait_for(lambda: self.status > 0 or self.ended)

    async def _live(self) -> None:
        try:
            await self.falcon.app(self._scope(), self.receive, self.send)
        finally:
            self.ended = True
            async with self._changed:
                self._changed.notify_all()

    async def _close(self) -> None:
        self._gone.set()
        self._writable.set()
        assert self._task is not None
        await asyncio.wait([self._task], timeout=SECONDS)

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(holds)

    def _until(self, holds: Callable[[], bool]) -> None:
        try:
            self.falcon.run(self.wait_for(holds))
        except TimeoutError:
            raise AssertionError(f"it never came; there are {self.events[self._read :]}") from None

    def _begins(self, status: int) -> None:
        self.status = status
        if self.stalls:
            self.fill()

    def _parse(self, chunk: bytes) -> None:
        self._unread += chunk
        while b"\n\n" in self._unread:
            block, _, self._unread = self._unread.partition(b"\n\n")
            if block == b":":
                self.beats += 1
            else:
                lines = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                self.retry = lines.pop("retry", self.retry)
                assert list(lines) == ["id", "event", "data"]
                self._take({**lines, "data": msgspec.json.decode(lines["data"])})

    def _take(self, frame: Json) -> None:
        assert list(frame) == ["id", "event", "data"]
        self.events.append(Event(frame["id"], frame["event"], frame["data"]))

    def _scope(self) -> Json:
        websocket = self.transport_name == "websocket"
        scope: Json = {
            "type": "websocket" if websocket else "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws" if websocket else "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": urlencode(self.query).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in self.headers.items()],
            "server": ("falcon.test", 80),
            "client": ("127.0.0.1", 1),
            "state": {unknown_requests.KEY: SimpleNamespace(count=self.junk.append)},
        }
        if websocket:
            return {**scope, "subprotocols": [], "extensions": {"websocket.http.response": {}}}
        return {**scope, "method": "GET"}


class Listen:
    """Opens connections, and closes what a test has left open."""

    def __init__(self) -> None:
        self.opened: list[Listener] = []

    def __call__(self, person: Person, **options: Any) -> Listener:
        """``options``: as for :meth:`bare`."""
        return self.bare(person.falcon, {"Authorization": f"Bearer {person.token}"}, **options)

    def bare(
        self,
        falcon: Falcon,
        headers: dict[str, str],
        *,
        transport: Transport = "sse",
        stalls: bool = False,
        slight: bool = False,
        path: str = "/v1/stream",
        **query: str,
    ) -> Listener:
        listener = Listener(falcon, transport, query, headers, stalls=stalls, slight=slight, path=path)
        self.opened.append(listener)
        return listener.open()

    def resume(self, person: Person, event: Event) -> Listener:
        return self(person, resume=event.id)

    def close(self) -> None:
        for listener in self.opened:
            listener.close()
        self.opened.clear()


def problem_of(refused: Listener, status: int, code: str) -> Json:
    """The body of a refusal before the stream."""
    assert refused.status == status, (refused.status, refused.body, refused.events)
    assert refused.answer_headers["content-type"] == "application/problem+json"
    body: Json = msgspec.json.decode(refused.body)
    assert (body["status"], body["code"]) == (status, code), body
    return body


def soon(falcon: Falcon, holds: Callable[[], bool]) -> None:
    """Let the loop run until it is so."""
    falcon.run(eventually(holds, seconds=SECONDS))
