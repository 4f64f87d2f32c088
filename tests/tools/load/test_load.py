"""The load test as its operator sees it: users at a real Falcon, and one line if there is none."""

import asyncio
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from load_tests.load import NO_RUN, parse
from load_tests.users.world import NotReady, look
from tools.harness.falcon import Falcon

SIZES = ("--users=12", "--accounts=20", "--rooms=20", "--messages=300", "--pace=2")


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    started = Falcon(tmp_path_factory.mktemp("falcon") / "data").start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def locust() -> None:
    """In CI it is there; elsewhere `make load` installs it."""
    missing = [name for name in ("locust",) if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"{', '.join(missing)}: in the dependency group load; `make load` installs it")


def load(out: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_")}
    return subprocess.run(
        [sys.executable, "-m", "load_tests.load", f"--out={out}", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def lenient(folder: Path) -> str:
    """Objectives that hold on any machine, however busy it is."""
    file = folder / "thresholds.toml"
    file.write_text("[every]\nviolations = 0\nfailed_share = 0.02\nanswered_min = 20\n")
    return f"--thresholds={file}"


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_people_use_a_falcon_of_their_own_and_all_is_reported(locust: None, tmp_path: Path) -> None:
    ran = load(tmp_path / "out", "--seconds=8", "--shape=step", "--workers=2", lenient(tmp_path), *SIZES)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "BROKEN" not in ran.stdout and "×" not in ran.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    figures = json.loads((tmp_path / "out" / "report.json").read_text())
    for kind in ("list rooms", "read page", "send", "mark read", "open stream", "pushed", "audit"):
        assert kind in page and figures["acts"][kind]["count"] > 0
    assert figures["held"] and figures["verdicts"]


@contextmanager
def liar(url: str) -> Iterator[str]:
    """In front of Falcon, and honest but for one thing: it leaves the newest message out of each page."""

    async def forward(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")}
        client = httpx.AsyncClient(timeout=60)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = client.build_request(request.method, url + path, headers=headers, content=await request.body())
        answer = await client.send(asked, stream=True)
        told = {name: answer.headers[name] for name in ("falcon-position", "content-type") if name in answer.headers}
        if "event-stream" in told.get("content-type", ""):
            return StreamingResponse(_all_of(client, answer), answer.status_code, told)
        body = await answer.aread()
        await client.aclose()
        if request.method == "GET" and path.partition("?")[0].endswith("/messages") and answer.is_success:
            page = msgspec.json.decode(body)
            page["messages"] = page["messages"][:-1]
            body = msgspec.json.encode(page)
        return Response(body, answer.status_code, told)

    async def _all_of(client: httpx.AsyncClient, answer: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await client.aclose()

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", forward, methods=methods)])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        thread.join(60)


@pytest.mark.processes
def test_a_server_that_loses_a_message_does_not_pass(locust: None, falcon: Falcon, tmp_path: Path) -> None:
    with liar(falcon.info["url"]) as url:
        tokens = {"FALCON_URL": url, "FALCON_ADMIN_TOKEN": falcon.info["admin_token"]}
        ran = load(tmp_path / "out", "--seconds=6", "--shape=soak", lenient(tmp_path), *SIZES, **tokens)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert re.search("BROKEN +broken promises", ran.stdout)
    assert "went backwards: knew of" in ran.stdout


# --- no run -----------------------------------------------------------------------------------------------------------


def said_of(url: str, admin_token: str, token: str | None = None) -> str:
    with pytest.raises(NotReady) as refused:
        asyncio.run(look([url], admin_token, token))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert f"nothing answers: http://127.0.0.1:{port}" in said_of(f"http://127.0.0.1:{port}", "a-token")
    assert "is not an address" in said_of("not an address", "a-token")


@pytest.mark.processes
def test_tokens_that_will_not_do(falcon: Falcon) -> None:
    told = falcon.info
    asyncio.run(look([told["url"]], told["admin_token"], told["token"]))
    assert "does not know the token in FALCON_ADMIN_TOKEN" in said_of(told["url"], "x" * 43)
    assert "does not know the token in FALCON_TOKEN" in said_of(told["url"], told["admin_token"], "x" * 43)
    headers = {"Authorization": f"Bearer {told['admin_token']}"}
    made = httpx.post(f"{told['url']}/v1/accounts", json={"name": "Ben"}, headers=headers, timeout=60).json()
    assert "who is no admin" in said_of(told["url"], made["token"])


@pytest.mark.processes
def test_what_answers_is_something_else(falcon: Falcon) -> None:
    assert "is no Falcon" in said_of(falcon.info["ops_url"], falcon.info["admin_token"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape=wave"], "SHAPE=wave: must be one of step, spike, soak, limit"),
        (["--seconds=0"], "SECONDS=0: must be 1 to 604800"),
        (["--users=none"], "invalid int value: 'none'"),
        (["--workers=0"], "WORKERS=0: must be 1 to 1000"),
        (["--url=http://127.0.0.1:8080"], "FALCON_URL needs FALCON_ADMIN_TOKEN"),
        (["--accounts=1"], "at least 2 accounts"),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FALCON_ADMIN_TOKEN", raising=False)
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == NO_RUN and said in error and error.count("\n") == 1
