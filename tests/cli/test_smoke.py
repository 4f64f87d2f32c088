"""`falcon smoke` against a real Falcon, and with some answers damaged on the way."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from falcon.cli import app
from falcon.cli.calling import Outside
from falcon.run.bootstrap.embedded import own_name
from falcon_chat import FalconClient
from tests.cli.broken import Break, Broken, Forward, answering, changing, streaming, without
from tests.cli.fake import FakeClock, Json
from tools.harness.falcon import Falcon
from tools.harness.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

STEPS = ["reach", "room", "send", "read", "edit", "mark", "stream", "resume", "delete"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _client_logs_again() -> Iterator[None]:
    """`falcon smoke` silences the client in its process, which is that of the tests, too."""
    yield
    logging.getLogger("falcon_chat").disabled = False


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path_factory.mktemp("falcon") / "data")
    yield falcon.start()
    falcon.stop()


def smoke(
    falcon: Falcon, *arguments: str, breaks: Break | None = None, token: str | None = None, hurries: bool = False
) -> Result:
    """``hurries``: the pauses between attempts take no time."""
    environment = {"FALCON_TOKEN": token or falcon.info["token"]}
    outside = Outside(None if breaks is None else Broken(breaks), FakeClock().clock() if hurries else None)
    return CliRunner().invoke(app, ["smoke", falcon.info["url"], *arguments], env=environment, obj=outside)


def failed(result: Result, step: str, *said: str) -> None:
    """One line says what is wrong, what was expected and what to look at."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{step}: "), line
    assert "; expected " in line and "; look at " in line, line
    for words in said:
        assert words in line, line
    last = result.stdout.splitlines()[-1].split()
    assert (last[0], last[-1]) == (step, "failed"), result.stdout


# --- all is well ------------------------------------------------------------------------------------------------------


def test_a_falcon_that_works_passes_each_step_in_a_line(falcon: Falcon) -> None:
    result = smoke(falcon)
    assert result.exit_code == 0, result.output
    *steps, last = result.stdout.splitlines()
    assert [line.split()[0] for line in steps] == STEPS
    assert all(" ms  " in line for line in steps)
    assert last.startswith("All is well: 9 steps in ")
    assert result.stderr == ""


def test_without_arguments_it_is_the_falcon_of_the_data_directory(falcon: Falcon) -> None:
    command = [sys.executable, "-m", "falcon", "smoke"]
    done = subprocess.run(command, cwd=falcon.data_dir.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == STEPS


def test_it_leaves_no_room_behind(falcon: Falcon) -> None:
    before = rooms(falcon)
    assert smoke(falcon).exit_code == 0
    assert rooms(falcon) == before


def test_it_leaves_no_room_behind_when_it_fails_either(falcon: Falcon) -> None:
    before = rooms(falcon)
    failed(smoke(falcon, breaks=answering("POST", "/messages", 500), hurries=True), "send")
    assert rooms(falcon) == before


def test_what_it_has_to_leave_behind_is_said(falcon: Falcon) -> None:
    token = new_account(falcon, "Cannot delete")
    result = smoke(falcon, breaks=answering("DELETE", "", 500), token=token, hurries=True)
    failed(result, "stream", "500 internal: something failed")
    assert re.search(r"; room \d+ could not be deleted\n$", result.stderr), result.stderr
    assert len(rooms(falcon, token)) == 1


def test_a_token_can_come_from_a_file(falcon: Falcon, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(falcon.info["token"] + "\n")
    assert smoke(falcon, "--token-file", str(tmp_path / "token"), token="void").exit_code == 0

    (tmp_path / "token").write_text("\n")
    assert smoke(falcon, "--token-file", str(tmp_path / "token")).stderr.endswith("does not hold a token\n")
    (tmp_path / "token").write_bytes(b"\xff")
    assert smoke(falcon, "--token-file", str(tmp_path / "token")).stderr.endswith("does not hold a token\n")
    assert smoke(falcon, "--token-file", "none").stderr == "none: No such file or directory\n"


def test_where_the_data_are_the_first_accounts_token_is_too(falcon: Falcon) -> None:
    """The address may differ from the one that `falcon up` prints, for example behind a Service."""
    elsewhere = falcon.info["url"].replace("127.0.0.1", "localhost")
    arguments = ["smoke", elsewhere, "--data-dir", str(falcon.data_dir)]
    assert "no token for http://localhost" in CliRunner().invoke(app, arguments).stderr
    result = CliRunner().invoke(app, [*arguments, "--first-account"])
    assert result.exit_code == 0, result.output
    assert own_name() in result.stdout


def test_without_data_and_settings_there_is_no_first_account(falcon: Falcon) -> None:
    result = CliRunner().invoke(app, ["smoke", falcon.info["url"], "--first-account", "--data-dir", "none"])
    assert result.exit_code == 1
    assert "none/ has no credentials.json, and FALCON_KAFKA is not set\n" in result.stderr


def test_pages_that_it_points_to_are_there() -> None:
    pages = set(re.findall(r"docs/[a-z/-]+\.md", (ROOT / "falcon/cli/smoke.py").read_text()))
    assert len(pages) > 4
    assert [page for page in pages if not (ROOT / page).is_file()] == []


# --- it is not reached ------------------------------------------------------------------------------------------------


def test_one_that_is_not_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(app, ["smoke", url, "--token", "t0ken", "--timeout", "1"])
    failed(result, "reach", url, "connection attempts failed", "kubectl get pods")


def test_each_address_must_answer(falcon: Falcon) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    urls = f"{falcon.info['url']},{dead}"
    command = ["smoke", urls, "--token", falcon.info["token"], "--timeout", "1"]
    failed(CliRunner().invoke(app, command), "reach", dead)


def test_one_that_takes_connections_and_never_answers() -> None:
    async def visit() -> Result:
        async with silent() as url:
            command = ["smoke", url, "--token", "t0ken", "--timeout", "1.5"]
            return await asyncio.to_thread(CliRunner().invoke, app, command)

    failed(asyncio.run(visit()), "reach", "no answer within 0.75 s")


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_something_else_at_its_address(falcon: Falcon) -> None:
    async def welcome(_: httpx.Request, __: Forward) -> httpx.Response:
        return httpx.Response(200, text="<h1>It works!</h1>")

    failed(smoke(falcon, breaks=welcome), "reach", "does not answer as Falcon does")


def test_one_that_begins_a_moment_later_is_waited_for(falcon: Falcon) -> None:
    asked = 0

    async def late(request: httpx.Request, forward: Forward) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await forward(request) if asked > 2 else httpx.Response(503, text="no endpoints")

    assert smoke(falcon, breaks=late).exit_code == 0


@pytest.mark.parametrize("token", ["void", "Void-of-one-who-left-long-ago"])
def test_a_token_that_is_not_known_there(falcon: Falcon, token: str) -> None:
    failed(smoke(falcon, token=token), "reach", "401 unauthenticated", "FALCON_TOKEN")


# --- it does not do what it says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "ending", "step"),
    [
        ("POST", "/v1/rooms", "room"),
        ("POST", "/messages", "send"),
        ("GET", "/messages", "read"),
        ("PATCH", "", "edit"),
        ("PUT", "/read", "mark"),
        ("DELETE", "", "stream"),
    ],
)
def test_one_that_answers_500(falcon: Falcon, method: str, ending: str, step: str) -> None:
    result = smoke(falcon, breaks=answering(method, ending, 500), hurries=True)
    failed(result, step, "500 internal: something failed")


def test_one_that_has_no_room_for_a_command(falcon: Falcon) -> None:
    overloaded = answering("POST", "/messages", 503, {"Retry-After": "1"})
    result = smoke(falcon, "--timeout", "2", breaks=overloaded)
    failed(result, "send", "503 overloaded: something failed", "partitions.md")


def test_a_message_that_is_lost(falcon: Falcon) -> None:
    nothing = changing("GET", "/messages", lambda page: {**page, "messages": []})
    failed(smoke(falcon, breaks=nothing), "read", "was acknowledged and is lost: nothing is in its place", "projection")


def test_a_message_that_is_there_twice(falcon: Falcon) -> None:
    def twice(page: Json) -> Json:
        (message,) = page["messages"]
        return {**page, "messages": [message, {**message, "seq": message["seq"] + 1}]}

    failed(smoke(falcon, breaks=changing("GET", "/messages", twice)), "read", "sent once and is there twice, at")


def test_one_that_forgets_keys(falcon: Falcon) -> None:
    async def forgetful(request: httpx.Request, forward: Forward) -> httpx.Response:
        request.headers.pop("Idempotency-Key", None)
        return await forward(request)

    failed(smoke(falcon, breaks=forgetful), "send", "the same key made message", "it is there twice")


def test_one_that_answers_a_retry_otherwise(falcon: Falcon) -> None:
    later = changing("POST", "/messages", lambda message: {**message, "text": "Hi"}, only_from=2)
    failed(smoke(falcon, breaks=later), "send", "the same key was answered otherwise: 'Hi'")


def test_a_proxy_that_drops_the_position(falcon: Falcon) -> None:
    async def drops(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        response.headers.pop("Falcon-Position", None)
        return response

    failed(smoke(falcon, breaks=drops), "send", "Falcon-Position", "proxies")


def test_a_position_that_is_none(falcon: Falcon) -> None:
    async def garbles(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if "Falcon-Position" in response.headers:
            response.headers["Falcon-Position"] = "here"
        return response

    failed(smoke(falcon, breaks=garbles), "room", "answers with the Falcon-Position 'here'")


def test_a_room_that_reads_otherwise(falcon: Falcon) -> None:
    async def renames(request: httpx.Request, forward: Forward) -> httpx.Response:
        response = await forward(request)
        if request.method == "GET" and re.fullmatch(r"/v1/rooms/\d+", request.url.path) and response.is_success:
            return httpx.Response(200, json={**json.loads(await response.aread()), "name": "Tea"})
        return response

    failed(smoke(falcon, breaks=renames), "room", "was created and reads otherwise, as 'Tea'", "projection")


def test_an_edit_that_is_lost(falcon: Falcon) -> None:
    async def loses(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method != "PATCH":
            return await forward(request)
        read = httpx.Request("GET", request.url, headers={"Authorization": request.headers["Authorization"]})
        response = await forward(read)
        await response.aread()
        return response

    failed(smoke(falcon, breaks=loses), "edit", "sent'", "its new text, as was acknowledged")


def test_a_read_mark_that_is_lost(falcon: Falcon) -> None:
    def unread(page: Json) -> Json:
        return {**page, "members": [{**member, "read_seq": 0} for member in page["members"]]}

    failed(smoke(falcon, breaks=changing("GET", "/members", unread)), "mark", "to 1 and reads 0", "projection")


# --- the stream -------------------------------------------------------------------------------------------------------


def test_one_that_never_streams(falcon: Falcon) -> None:
    result = smoke(falcon, "--timeout", "2", breaks=streaming(None))
    failed(result, "stream", "the first event of the stream did not come within", "--timeout", "streams.md", "proxies")


def test_a_stream_that_does_not_tell_of_a_message(falcon: Falcon) -> None:
    result = smoke(falcon, "--timeout", "2", breaks=without(b"message.posted"))
    failed(result, "stream", "was sent once and delivered 0 times", "streams.md")


def test_a_stream_that_does_not_tell_of_a_deletion(falcon: Falcon) -> None:
    result = smoke(falcon, "--timeout", "2", breaks=without(b"message.deleted"))
    failed(result, "stream", "or its deletion, which were acknowledged, did not come within")


def test_a_stream_that_tells_everything_twice(falcon: Falcon) -> None:
    result = smoke(falcon, breaks=streaming(lambda event: event * 2))
    failed(result, "stream", "was sent once and delivered 2 times")


def test_a_stream_that_is_cut_off_and_goes_on_is_in_order(falcon: Falcon) -> None:
    cuts = 0

    def cut(event: bytes) -> bytes:
        nonlocal cuts
        if b"event: message.posted" in event and not cuts:
            cuts += 1
            raise httpx.ReadError("the connection broke")
        return event

    result = smoke(falcon, breaks=streaming(cut))
    assert (result.exit_code, result.stderr, cuts) == (0, "", 1), result.output


def test_a_stream_that_does_not_tell_what_was_missed(falcon: Falcon) -> None:
    forgets = streaming(lambda event: b"" if b": missed 1" in event else event)
    failed(smoke(falcon, breaks=forgets), "resume", "messages 3 and 4 were missed, and it delivers 4", "streams.md")


def test_a_stream_that_begins_anew(falcon: Falcon) -> None:
    async def forgets(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.url.path.endswith("/stream"):
            request.url = request.url.copy_remove_param("resume")
        return await forward(request)

    failed(smoke(falcon, "--timeout", "3", breaks=forgets), "resume", "what was missed, messages 3 and 4, did not come")


def test_a_stream_that_asks_for_the_history_to_be_read(falcon: Falcon) -> None:
    async def cannot(request: httpx.Request, forward: Forward) -> httpx.Response:
        if "resume" not in request.url.params:
            return await forward(request)
        told = b'id: x\nevent: catch_up\ndata: {"rooms":[]}\n\n'
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=told)

    failed(smoke(falcon, breaks=cannot), "resume", "the stream does not resume: it asks for the history")


def test_a_room_that_cannot_be_deleted(falcon: Falcon) -> None:
    async def keeps(request: httpx.Request, forward: Forward) -> httpx.Response:
        if request.method == "DELETE" and re.fullmatch(r"/v1/rooms/\d+", request.url.path):
            return httpx.Response(204, headers={"Falcon-Position": "0:0"})
        return await forward(request)

    failed(smoke(falcon, breaks=keeps, token=new_account(falcon, "Keeps")), "delete", "was deleted and is there")


# --- under the bonnet -------------------------------------------------------------------------------------------------


def talk(falcon: Falcon, token: str, work: Callable[[FalconClient], Awaitable[Any]]) -> Any:
    async def session() -> Any:
        async with FalconClient(falcon.info["url"], token) as client:
            return await work(client)

    return asyncio.run(session())


def rooms(falcon: Falcon, token: str | None = None) -> list[str]:
    async def names(client: FalconClient) -> list[str]:
        return [room.name for room in (await client.rooms(limit=200)).rooms]

    found: list[str] = talk(falcon, token or falcon.info["token"], names)
    return found


def new_account(falcon: Falcon, name: str) -> str:
    account = talk(falcon, falcon.info["admin_token"], lambda client: client.create_account(name))
    token: str = account.token
    return token
