"""A whole Falcon in this process, for tests that speak HTTP to it.

Tests are plain functions: the event loop runs while a request is under way, and rests between two.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar

import httpx
from starlette.types import ASGIApp
from thespian.actors import ActorSystem

from falcon.adapters.sqlite import database
from falcon.http.api.operations import OPERATIONS
from falcon.http.app import create_app
from falcon.http.edge import Edge
from falcon.http.server.fast_lane import FastLane
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from tools.harness.asgi import lifespan

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]
URL: Final = "http://falcon.test"


class Api:
    """An application, and the loop that it lives in. ``with`` starts it, and ends what it started."""

    def __init__(self, app: ASGIApp, url: str = URL) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app)
        self._client = httpx.AsyncClient(transport=transport, base_url=url)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """``request`` as httpx takes it."""
        return self.run(self._client.request(method, path, **request))

    def together(self, *requests: httpx.Request) -> list[httpx.Response]:
        """All of them at once; the answers in the requests' order."""

        async def sent() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.send(request) for request in requests))

        return self.run(sent())

    def request(self, method: str, path: str, **request: Any) -> httpx.Request:
        """One for :meth:`together`."""
        return self._client.build_request(method, path, **request)

    def close(self) -> None:
        self.run(self._client.aclose())
        self._runner.close()


@asynccontextmanager
async def all_places(settings: Settings) -> AsyncIterator[list[Edge]]:
    """All places serve. They are entered one after the other, and left together."""
    if settings.processes == 1:
        async with embedded.serving(settings) as edge:
            yield [edge]
        return
    with tempfile.TemporaryDirectory(prefix="falcon-run-") as run_dir:
        meeting = replace(settings, run_dir=settings.run_dir or run_dir)
        stopping = asyncio.Event()
        ready: list[asyncio.Future[Edge]] = [
            asyncio.get_running_loop().create_future() for _ in range(settings.processes)
        ]

        async def serve(place: int) -> None:
            async with embedded.serving(meeting, place=place) as edge:
                ready[place].set_result(edge)
                await stopping.wait()

        serving = [asyncio.create_task(serve(place)) for place in range(settings.processes)]
        try:
            yield [await each for each in ready]
        finally:
            stopping.set()
            await asyncio.gather(*serving)


class Falcon(Api):
    """The public application over a data folder of its own, served as ``falcon up`` serves it.

    ``settings`` as :class:`Settings` has them, but that a command has a minute: a busy machine stops tests for seconds.
    With several processes all places are in this one, and the first serves. ``admin`` may make accounts. ``lane``: for
    a server of the application.
    """

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.settings = Settings(data_dir=data_dir, **{"command_seconds": 60.0, **settings})
        self.edge: Edge
        self.admin: Person
        self._ending: asyncio.Event
        self._living: asyncio.Task[None]
        self.lane = FastLane()
        super().__init__(create_app(self._serving, self.settings.cors_origins, self.lane))

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[Edge]:
        # Thespian has one system of a kind in a process. The end of one Falcon must not be the end of another.
        if hasattr(ActorSystem, "systemBase"):
            del ActorSystem.systemBase
        async with all_places(self.settings) as edges:
            edge = edges[0]
            made = await embedded.credentials(self.settings, edge)
            self.edge = edge
            self.admin = Person(self, made.admin_account_id, "Admin", made.admin_token)
            yield edge

    def __enter__(self) -> "Falcon":
        embedded.prepare(self.settings)
        self.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._stop())
        self.close()

    async def _start(self) -> None:
        """The lifespan is entered and left in one task, as a server would."""
        started = asyncio.Event()
        self._ending = asyncio.Event()
        self._living = asyncio.create_task(self._live(started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([self._living, waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._living.done():
            self._living.result()

    async def _live(self, started: asyncio.Event) -> None:
        async with lifespan(self.app):
            started.set()
            await self._ending.wait()

    async def _stop(self) -> None:
        self._ending.set()
        await self._living

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """As :meth:`Api.send`. A refusal must be one that the OpenAPI document names for the operation."""
        response = super().send(method, path, **request)
        if response.headers.get("content-type") == "application/problem+json" and response.content:
            check_documented(response)
        return response

    def log_length(self) -> int:
        """The number of events so far. Commands that change nothing leave it as it is."""
        connection = database.connect(self.settings.database, writable=False)
        try:
            ((length,),) = connection.execute("SELECT next FROM log")
            return int(length)
        finally:
            connection.close()

    def account(self, name: str) -> "Person":
        made = self.admin.post("/v1/accounts", {"name": name})
        assert made.status_code == 201, made.text
        return Person(self, made.json()["account_id"], name, made.json()["token"])


class Person:
    """A person with an account and a token. The HTTP methods return the response; the others return what the test
    needs."""

    def __init__(self, falcon: Falcon, account_id: int, name: str, token: str) -> None:
        self.falcon = falcon
        self.account_id = account_id
        self.name = name
        self.token = token

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, **request: Any) -> httpx.Response:
        """``body`` becomes JSON. ``key``, ``position``, ``wait``: the headers. The rest as httpx takes it."""
        return self.falcon.send(method, path, **self._dressed(body, request))

    def request(self, method: str, path: str, body: Any = None, **request: Any) -> httpx.Request:
        """One for ``falcon.together``; arguments as for :meth:`send`."""
        return self.falcon.request(method, path, **self._dressed(body, request))

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.send("GET", path, **request)

    def post(self, path: str, body: Any = None, **request: Any) -> httpx.Response:
        return self.send("POST", path, body, **request)

    def put(self, path: str, body: Any = None, **request: Any) -> httpx.Response:
        return self.send("PUT", path, body, **request)

    def patch(self, path: str, body: Any = None, **request: Any) -> httpx.Response:
        return self.send("PATCH", path, body, **request)

    def delete(self, path: str, body: Any = None, **request: Any) -> httpx.Response:
        return self.send("DELETE", path, body, **request)

    def _dressed(self, body: Any, request: Json) -> Json:
        headers = {"Authorization": f"Bearer {self.token}"}
        for argument, name in (("key", "Idempotency-Key"), ("position", "Falcon-Position"), ("wait", "Falcon-Wait")):
            value = request.pop(argument, None)
            if value is not None:
                headers[name] = value
        headers |= request.pop("headers", {})
        if body is not None:
            request["json"] = body
        return {**request, "headers": headers}

    # --- chat ---------------------------------------------------------------------------------------------------------

    def makes_room(self, name: str = "Tea kitchen", *members: "Person", **roles: "Person") -> "Room":
        """``members`` join as members, ``roles`` (admin=, readonly=) as what they are called."""
        invited = [{"account_id": person.account_id, "role": "member"} for person in members]
        invited += [{"account_id": person.account_id, "role": role} for role, person in roles.items()]
        made = self.post("/v1/rooms", {"name": name, "members": invited})
        assert made.status_code == 201, made.text
        return Room(self.falcon, made.json()["room_id"])

    def direct_with(self, other: "Person") -> "Room":
        opened = self.put(f"/v1/direct/{other.account_id}")
        assert opened.status_code in (200, 201), opened.text
        return Room(self.falcon, opened.json()["room_id"])

    def says(self, room: "Room", text: str, **more: Any) -> int:
        """Gives the message's seq."""
        posted = self.post(f"{room}/messages", {"text": text, **more})
        assert posted.status_code == 201, posted.text
        seq: int = posted.json()["seq"]
        return seq

    def reads(self, room: "Room", **query: Any) -> Json:
        """A page."""
        page = self.get(f"{room}/messages", params=query)
        assert page.status_code == 200, page.text
        return dict(page.json())

    def message(self, room: "Room", seq: int) -> Json:
        read = self.get(f"{room}/messages/{seq}")
        assert read.status_code == 200, read.text
        return dict(read.json())

    def marks_read(self, room: "Room", seq: int, **more: Any) -> Json:
        moved = self.put(f"{room}/read", {"seq": seq, **more})
        assert moved.status_code == 200, moved.text
        return dict(moved.json())

    def walks(self, path: str, items: str, limit: int) -> list[Json]:
        """A list by its cursors. Each page but the last is as long as it may be."""
        walked: list[Json] = []
        query: Json = {"limit": limit}
        while True:
            answer = self.get(path, params=query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            walked += page[items]
            if page.get("next_cursor") is None:
                return walked
            assert len(page[items]) == limit
            query["cursor"] = page["next_cursor"]

    def rooms(self) -> list[Json]:
        """All of one's own rooms, as the list has them."""
        listed: list[Json] = []
        query: Json = {"limit": 200}
        while True:
            page = self.get("/v1/rooms", params=query)
            assert page.status_code == 200, page.text
            listed += page.json()["rooms"]
            if page.json()["next_cursor"] is None:
                return listed
            query["cursor"] = page.json()["next_cursor"]

    def summary(self, room: "Room") -> Json:
        """The room's line in one's own list of rooms."""
        return next(each for each in self.rooms() if each["room_id"] == room.room_id)


class Room:
    """A room. As a string it is its path."""

    def __init__(self, falcon: Falcon, room_id: int) -> None:
        self.falcon = falcon
        self.room_id = room_id

    def __str__(self) -> str:
        return f"/v1/rooms/{self.room_id}"


_DOCUMENTED: Final = [
    (operation.method, re.compile(re.sub(r"{\w+}", "[^/]+", operation.path)), operation.codes_by_status())
    for operation in OPERATIONS
]


OF_PYTHON: Final = re.compile(r"Expected|[<>]=|\b(?:str|int|bool|NoneType|Traceback)\b")


def check_documented(response: httpx.Response) -> None:
    """The document names the problem for its operation. Every 4xx says, in words, which field breaks which rule."""
    body = response.json()
    assert body["status"] >= 500 or body["errors"], body
    rules = [body["detail"], *(error["rule"] for error in body.get("errors", ()))]
    assert not OF_PYTHON.search(" ".join(rules)), body
    asked = response.request.url.path
    first = next((path for _, path, _ in _DOCUMENTED if path.fullmatch(asked)), None)  # words are before ids
    for method, path, codes in _DOCUMENTED:
        if method == response.request.method and path == first:
            assert body["code"] in codes.get(body["status"], ()), (method, path.pattern, body)


def without_more(message: Json) -> Json:
    """The message as streams, lists of rooms and the response to an edit have it."""
    return {field: value for field, value in message.items() if field not in ("reactions", "thread")}


def texts(page: Json) -> list[str]:
    return [message["text"] for message in page["messages"]]


def seqs(page: Json) -> list[int]:
    return [message["seq"] for message in page["messages"]]


def problem(response: httpx.Response, status: int, code: str, field: str | None = None) -> Json:
    """The body of a refusal, having looked at all of its shape; with ``field``, that the refusal names it.

    That of a HEAD has no body.
    """
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.status_code,
        response.text,
    )
    if response.request.method == "HEAD":
        return {}
    body: Json = response.json()
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code), body
    assert body["type"] == "about:blank" and body["title"] and body["detail"]
    for error in body.get("errors", ()):
        assert set(error) == {"field", "rule"} and error["field"] and error["rule"]
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
    if status == 503:
        assert int(response.headers["retry-after"]) >= 1
    if status == 401:
        assert response.headers["www-authenticate"].startswith("Bearer")
    return body
