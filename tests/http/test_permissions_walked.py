"""The whole table of permissions: over HTTP and the stream, on both stores, with one process and with two."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from falcon.adapters.sqlite.source import source_of
from falcon.http.api.examples import as_sent
from falcon.http.api.operation import ApiOperation
from falcon.http.api.operations import OPERATIONS
from falcon.journal.envelope import Position
from falcon.run.bootstrap import embedded
from tests.growth.edge import CallFailed, CountedEdge, Site, counted_edge
from tests.http.walked import TABLE, WHO, Answer, Scene
from tests.streams.reader import Listen, Transport, problem_of
from tests.support.http import Falcon, Person, problem
from tools.harness.falcon import Falcon as FalconUp

OF_A_TOKEN = [each for each in OPERATIONS if not each.permission.is_public]
COMMANDS = [each for each in OF_A_TOKEN if each.method not in ("GET", "HEAD")]
NOT_FROM_TABLES = ("/v1/export", "/v1/invitations")
OTHERS = ("room_id", "seq", "token_id", "session_id", "invitation_id", "emoji")  # in paths


def named(operation: ApiOperation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One whose owners are no other test's."""
    with Falcon(tmp_path_factory.mktemp("walked")) as started:
        yield started


def scene_at(falcon: Falcon) -> Scene:
    def ask(token: str, method: str, path: str, body: Any) -> Answer:
        request = {} if body is None else {"json": body}
        answer = falcon.send(method, path, headers={"Authorization": f"Bearer {token}"}, **request)
        return Answer(answer.status_code, _json(answer))

    return Scene(ask, falcon.admin.token)


def _json(answer: httpx.Response) -> Any:
    return answer.json() if answer.headers.get("content-type", "").endswith(("/json", "+json")) else answer.text[:100]


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_everybody_may_what_the_table_says(tmp_path: Path, processes: int) -> None:
    with Falcon(tmp_path, processes=processes) as falcon:
        assert scene_at(falcon).differences(TABLE) == []


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_everybody_may_what_the_table_says_at_processes_of_their_own(tmp_path: Path) -> None:
    falcon = FalconUp(tmp_path / "data", settings={"processes": 2}).start()
    try:
        with httpx.Client(base_url=falcon.info["url"], timeout=60) as client:

            def ask(token: str, method: str, path: str, body: Any) -> Answer:
                headers = {"Authorization": f"Bearer {token}", "Connection": "close"}  # whichever process is there
                answer = client.request(method, path, json=body, headers=headers)
                return Answer(answer.status_code, _json(answer))

            assert Scene(ask, falcon.info["admin_token"]).differences(TABLE) == []
    finally:
        falcon.stop()


def test_everybody_reads_from_hbase_what_the_table_says(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        scene = scene_at(falcon)
        site = Site(falcon.settings.partitions)
        source = source_of(embedded.open_readers(falcon.settings))
        events, _ = source.read(dict.fromkeys(range(source.partitions), Position()), 10_000)
        site.show(site.happen(recorded.envelope.event for recorded in events))
    site.secrets |= {scene.ids[who]: scene.tokens[who].split("_", 2)[2] for who in WHO}

    async def walked() -> list[str]:
        async with counted_edge(site) as edge:
            wrong: list[str] = []
            for row in TABLE:
                for who, expected in zip(WHO, row.expected, strict=True):
                    if row.method != "GET" or "fresh" in row.path or row.path in NOT_FROM_TABLES:
                        continue
                    status = await got(edge, scene.filled(row.path, who), scene.ids[who])
                    if status != expected:
                        wrong.append(f"{who} {row.path}: {status}, not {expected}")
            return wrong

    assert asyncio.run(walked()) == []


async def got(edge: CountedEdge, path: str, account_id: int) -> int:
    try:
        await edge.get(path, account_id)
    except CallFailed as refusal:
        (status,) = re.findall(r"'status': ([0-9]{3})", str(refusal))[:1]
        return int(status)
    return 200


# --- sessions, commands and origins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", COMMANDS, ids=named)
def test_a_command_with_a_cookie_comes_from_a_page_of_this_falcon(falcon: Falcon, operation: ApiOperation) -> None:
    dora = falcon.account("Dora")
    path = operation.path.format(account_id=dora.account_id, **dict.fromkeys(OTHERS, 1))
    content = b"" if operation.body is None else msgspec.json.encode(as_sent(operation.body))
    cookie = {"Cookie": f"__Host-falcon={dora.token}", "Content-Type": operation.media_type}
    before = falcon.log_length()
    for origin in ({}, {"Origin": "https://evil.test"}, {"Origin": "http://falcon.test"}, {"Origin": "null"}):
        answer = falcon.send(operation.method, path, content=content, headers=cookie | origin)
        problem(answer, 403, "not_allowed", "Origin")
    assert falcon.log_length() == before
    answer = falcon.send(operation.method, path, content=content, headers=cookie | {"Origin": "https://falcon.test"})
    assert answer.is_success or answer.json()["errors"][0]["field"] != "Origin"


# --- the stream -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listen() -> Iterator[Listen]:
    listening = Listen()
    yield listening
    listening.close()


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_stream_has_the_rooms_that_the_account_may_read(falcon: Falcon, listen: Listen, transport: Transport) -> None:
    scene = scene_at(falcon)
    den, lobby = scene.ids["den"], scene.ids["lobby"]
    joined = {"owner": [lobby], "admin": [], "member": [den], "guest": [den], "bot": []}
    for who, rooms in joined.items():
        person = Person(falcon, scene.ids[who], who, scene.tokens[who])
        hello = listen(person, transport=transport).next("hello").data
        assert [each["room_id"] for each in hello["rooms"]] == rooms
        for room, status in ((den, 200 if den in rooms else 404), (lobby, 404 if who == "guest" else 200)):
            stream = listen(person, transport=transport, rooms=str(room))
            if status == 404:
                problem_of(stream, 404, "room_not_found")
            else:
                (shown,) = stream.next("hello").data["rooms"]
                assert (shown["room_id"], shown["role"] is None) == (room, room not in rooms)
    left = Person(falcon, scene.ids["left"], "left", scene.tokens["left"])
    problem_of(listen(left, transport=transport), 401, "unauthenticated")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_demoted_or_deactivated_account_hears_no_more_than_it_may(
    falcon: Falcon, listen: Listen, transport: Transport
) -> None:
    scene = scene_at(falcon)
    lobby = scene.filled("/v1/rooms/<lobby>")
    member = Person(falcon, scene.ids["member"], "member", scene.tokens["member"])
    stream = listen(member, transport=transport, rooms=str(scene.ids["lobby"]))
    stream.next("hello")
    admin = falcon.admin
    admin.patch(scene.filled("/v1/accounts/<member>"), {"role": "guest"})
    Person(falcon, 0, "owner", scene.tokens["owner"]).post(f"{lobby}/messages", {"text": "For members"})
    admin.patch(scene.filled("/v1/accounts/<member>"), {"deactivated": True})
    bye = stream.next("bye")
    assert bye.data["reason"] == "unauthenticated"
    assert "For members" not in str(stream.events)
