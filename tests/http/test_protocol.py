"""Rules for every request: methods, browsers, overload, and Falcon's own faults."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from falcon.http.api.operations import OPERATIONS
from falcon.http.app import create_app
from falcon.http.edge import Edge
from falcon.read.store import ReadStoreUnavailable
from falcon.write.protocol import CommandEnvelope, Reason, Unavailable
from tests.http.commands import COMMANDS, Scene, set_scene
from tests.support.http import URL, Falcon, Json, Person, Room, problem, seqs
from tools.harness.asgi import lifespan


@pytest.fixture
def scene(falcon: Falcon) -> Scene:
    return set_scene(falcon)


def queries(scene: Scene) -> list[tuple[Person, str]]:
    return [
        (scene.anna, "/v1/me"),
        (scene.anna, "/v1/rooms"),
        (scene.anna, f"{scene.room}"),
        (scene.anna, f"{scene.room}/members"),
        (scene.anna, f"{scene.room}/messages"),
        (scene.anna, f"{scene.room}/messages/1"),
        (scene.anna, f"/v1/accounts/{scene.anna.account_id}/tokens"),
        (scene.admin, "/v1/accounts"),
        (scene.admin, "/v1/export"),
    ]


# --- methods and paths ------------------------------------------------------------------------------------------------


def test_whatever_can_be_read_has_a_head(scene: Scene) -> None:
    for person, path in [*queries(scene), (scene.anna, "/docs"), (scene.anna, "/openapi.json"), (scene.anna, "/")]:
        head, read = person.send("HEAD", path), person.get(path)
        assert head.status_code == read.status_code == 200
        assert head.headers == read.headers
    problem(scene.cleo.send("HEAD", f"{scene.room}"), 404, "room_not_found")


def test_a_head_is_not_modified_either(scene: Scene) -> None:
    path = f"{scene.room}/messages"
    etag = scene.anna.send("HEAD", path).headers["etag"]
    assert scene.anna.send("HEAD", path, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("path", sorted({operation.path for operation in OPERATIONS}))
def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(falcon: Falcon, anna: Person, path: str) -> None:
    has = {operation.method for operation in OPERATIONS if operation.path == path}
    if "GET" in has:
        has.add("HEAD")
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} - has:
        refused = anna.send(method, re.sub(r"{\w+}", "1", path))
        problem(refused, 405, "method_not_allowed")
        allowed = set(refused.headers["allow"].split(", "))
        assert allowed - {"HEAD"} == has - {"HEAD"}


def test_head_is_among_the_methods_that_are_allowed(anna: Person) -> None:
    assert set(anna.put("/v1/me").headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH"}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
def test_a_method_that_a_document_has_not_is_a_problem_too(falcon: Falcon, path: str) -> None:
    refused = falcon.send("POST", path)
    problem(refused, 405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1", "/v1/", "/v2/me", "/V1/me", "/v1/me/", "/v1/%FF", "/v1/../v1/nothing", "/favicon.ico", "/%00"),
        *("/v1/rooms/", "/v1/rooms/1/", "/v1/rooms//messages", "/v1/rooms/1/messages/1/2", "/" + "x" * 5000),
    ],
)
def test_where_nothing_is_nothing_is_found(falcon: Falcon, anna: Person, path: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        problem(anna.send(method, path), 404, "not_found")
        problem(falcon.send(method, path), 404, "not_found")


def test_no_answer_sends_anybody_elsewhere(falcon: Falcon, anna: Person) -> None:
    for path in ("/v1/rooms/", "/docs/", "/openapi.json/"):
        assert anna.get(path).status_code == 404


# --- browsers ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served_for(falcon: Falcon, *origins: str) -> AsyncIterator[httpx.AsyncClient]:
    """The same Falcon behind an application with CORS for these origins, or without CORS."""

    @asynccontextmanager
    async def same() -> AsyncIterator[Edge]:
        yield falcon.edge

    app = create_app(same, origins)
    async with lifespan(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        yield client


def ask(falcon: Falcon, origins: tuple[str, ...], method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with served_for(falcon, *origins) as client:
            return await client.request(method, path, headers=headers)

    return falcon.run(asked())


def preflight(method: str, *headers: str) -> dict[str, str]:
    asked = {"Origin": "https://chat.example", "Access-Control-Request-Method": method}
    return {**asked, "Access-Control-Request-Headers": ", ".join(headers)} if headers else asked


@pytest.mark.parametrize("origins", [("https://chat.example",), ("https://a.example", "https://chat.example"), ("*",)])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_page_of_an_allowed_origin_may_ask(falcon: Falcon, origins: tuple[str, ...], method: str) -> None:
    sent = preflight(method, "authorization", "content-type", "idempotency-key", "falcon-position", "falcon-wait")
    answer = ask(falcon, origins, "OPTIONS", "/v1/rooms", sent)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", "https://chat.example")
    assert method in answer.headers["access-control-allow-methods"]


def test_a_page_of_an_allowed_origin_sees_the_headers_it_needs(falcon: Falcon, anna: Person) -> None:
    sent = {"Origin": "https://chat.example", "Authorization": f"Bearer {anna.token}"}
    answer = ask(falcon, ("https://chat.example",), "GET", "/v1/me", sent)
    assert (answer.status_code, answer.json()["name"]) == (200, "Anna")
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"falcon-position", "idempotency-replayed", "retry-after", "etag"} <= exposed


def test_a_page_of_an_allowed_origin_sees_what_is_wrong(falcon: Falcon) -> None:
    for path, status, code in (("/v1/me", 401, "unauthenticated"), ("/nothing", 404, "not_found")):
        answer = ask(falcon, ("https://chat.example",), "GET", path, {"Origin": "https://chat.example"})
        problem(answer, status, code)
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"


def test_a_page_of_another_origin_may_not(falcon: Falcon, anna: Person) -> None:
    sent = {**preflight("POST"), "Origin": "https://evil.example"}
    assert ask(falcon, ("https://chat.example",), "OPTIONS", "/v1/rooms", sent).status_code == 400
    read = {"Origin": "https://evil.example", "Authorization": f"Bearer {anna.token}"}
    answer = ask(falcon, ("https://chat.example",), "GET", "/v1/me", read)
    assert "access-control-allow-origin" not in answer.headers


def test_without_the_setting_no_page_may(falcon: Falcon, anna: Person) -> None:
    problem(ask(falcon, (), "OPTIONS", "/v1/rooms", preflight("POST")), 405, "method_not_allowed")
    answer = anna.get("/v1/me", headers={"Origin": "https://chat.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_page_may_send_an_etag_back(falcon: Falcon) -> None:
    answer = ask(falcon, ("https://chat.example",), "OPTIONS", "/v1/rooms", preflight("GET", "if-none-match"))
    assert answer.status_code == 200


# --- what is not the client's fault -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("overloaded", "overloaded"),
        ("expired", "overloaded"),
        ("unavailable", "unavailable"),
        ("not_mine", "unavailable"),
        ("outcome_unknown", "outcome_unknown"),
    ],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_cannot_be_decided_is_unavailable(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str, reason: Reason, code: str
) -> None:
    async def unavailable(envelope: CommandEnvelope) -> Unavailable:
        return Unavailable(reason, 0.2)

    command = COMMANDS[name](scene)
    with monkeypatch.context() as patch:
        patch.setattr(falcon.edge.gateway, "ask", unavailable)
        problem(command.send(key=f"after-all-{scene.anna.account_id}"), 503, code)
    assert command.send(key=f"after-all-{scene.anna.account_id}").is_success


def test_reads_go_on_while_nothing_can_be_decided(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(envelope: CommandEnvelope) -> Unavailable:
        return Unavailable("unavailable")

    monkeypatch.setattr(falcon.edge.gateway, "ask", unavailable)
    for person, path in queries(scene):
        assert person.get(path).status_code == 200


def test_what_cannot_be_read_is_unavailable(falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(*args: Any) -> Any:
        raise ReadStoreUnavailable("the disk is gone")

    for person, _ in queries(scene):
        person.get("/v1/me")  # the token is cached, so that each query reaches its own tables
    with monkeypatch.context() as patch:
        for method in ("access", "room", "rooms_of", "names_of", "accounts", "tokens"):
            patch.setattr(falcon.edge.store, method, unavailable)
        for person, path in queries(scene)[1:-1]:
            problem(person.get(path), 503, "unavailable")
    for person, path in queries(scene):
        assert person.get(path).status_code == 200


def test_sending_goes_on_while_nothing_can_be_read(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*args: Any) -> Any:
        raise ReadStoreUnavailable("the disk is gone")

    scene.ben.get("/v1/me")
    with monkeypatch.context() as patch:
        for method in ("access", "room", "page", "message", "message_at"):
            patch.setattr(falcon.edge.store, method, unavailable)
        assert scene.ben.says(scene.room, "Is anybody reading this?") == 2
    assert seqs(scene.anna.reads(scene.room)) == [1, 2]


def test_a_fault_of_ours_is_said_and_logged_and_tells_nothing(
    falcon: Falcon, scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: Any) -> Any:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(falcon.edge.store, "access", broken)
    monkeypatch.setattr(logging.getLogger("falcon"), "propagate", True)
    with caplog.at_level(logging.ERROR):
        answer = scene.anna.get(f"{scene.room}/messages")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "ZeroDivisionError" in caplog.text and str(scene.room) in caplog.text


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Falcon]:
    """Its mailbox takes three commands at a time."""
    with Falcon(tmp_path, mailbox_bound=3) as falcon:
        yield falcon


def test_past_the_bound_commands_are_refused_at_once_and_nothing_of_them_is_done(narrow: Falcon) -> None:
    anna = narrow.account("Anna")
    room = anna.makes_room()
    sent = [anna.request("POST", f"{room}/messages", {"text": str(i)}, key=str(i)) for i in range(30)]
    answers = narrow.together(*sent)
    accepted = [answer for answer in answers if answer.status_code == 201]
    assert 0 < len(accepted) < 30
    for answer in answers:
        if answer not in accepted:
            problem(answer, 503, "overloaded")
    assert anna.reads(room)["messages"] == [answer.json() for answer in accepted]

    once_more = [anna.post(f"{room}/messages", {"text": str(i)}, key=str(i)) for i in range(30)]
    assert all(answer.status_code == 201 for answer in once_more)
    assert [message["text"] for message in sorted(anna.reads(room)["messages"], key=lambda m: int(m["text"]))] == [
        str(i) for i in range(30)
    ]


def test_a_client_that_goes_away_halfway_has_sent_nothing(falcon: Falcon, anna: Person, room: Room) -> None:
    came: list[Message] = [
        {"type": "http.request", "body": b'{"text": "Half a', "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered: list[Message] = []

    async def receive() -> Message:
        return came.pop(0)

    async def send(message: Message) -> None:
        answered.append(message)

    scope: Json = {
        "type": "http",
        "method": "POST",
        "path": f"{room}/messages",
        "raw_path": str(room).encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {anna.token}".encode()), (b"content-type", b"application/json")],
    }
    falcon.run(asyncio.wait_for(_called(falcon, scope, receive, send), 5))
    assert answered == []
    assert seqs(anna.reads(room)) == []


async def _called(falcon: Falcon, scope: Json, receive: Any, send: Any) -> None:
    await falcon.app(scope, receive, send)
