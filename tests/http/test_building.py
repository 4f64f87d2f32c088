"""docs/building.md explains every event, code and limit, and its samples run."""

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from falcon.cli.importing import import_lines
from falcon.domain import limits
from falcon.features.catalogue import modules
from falcon.http.problems import _REASONS, KINDS
from falcon.http.shapes import AUTHORS_MAX
from falcon.http.stream.events import STREAM_EVENTS
from falcon.run.bootstrap.embedded import own_name
from falcon.streams import room_lists
from falcon.streams.events import LOGGED_EVENTS
from falcon.streams.frames import Reason
from falcon_chat import Imported
from falcon_chat.events import read_event
from tests.support.samples import environment, program, samples
from tools.harness.falcon import Falcon

FOLDER: Final = Path(__file__).parents[2] / "falcon"
PAGE: Final = (FOLDER.parent / "docs" / "building.md").read_text()
OPERATORS_CODES: Final = {"busy"}  # only on the operations port


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str) -> set[str]:
    """The first cells of a table's rows that are code."""
    return set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))


def sources(*folders: str) -> str:
    return "".join(path.read_text() for folder in folders for path in sorted((FOLDER / folder).rglob("*.py")))


def test_every_event_is_in_the_page() -> None:
    sent = {event.name for event in LOGGED_EVENTS}
    of_the_stream = {"hello", "caught_up", "catch_up", "bye", *(event.name for event in STREAM_EVENTS if event.signal)}
    reasons = set(Reason.__args__)  # type: ignore[attr-defined]  # a Literal
    assert table(section("The stream")) == sent | of_the_stream | reasons


def test_the_client_knows_every_event_of_the_page() -> None:
    for name in table(section("The stream")) - {"draining", "slow", "unauthenticated"}:
        with pytest.raises(msgspec.DecodeError):
            read_event(name, b"", "")  # None for an unknown one


def test_every_code_is_in_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| (.+) \|$", section("Errors"), re.MULTILINE)
    listed = {code: (tuple(map(int, statuses.split(","))), meaning) for code, statuses, meaning in rows}
    assert listed == KINDS


def test_every_code_that_is_raised_has_a_meaning() -> None:
    raised = re.findall(r'Problem\(\s*(\d+),\s*"(\w+)"', sources("features", "http"))
    raised += [(status, code) for code, status in re.findall(r'_last\(\s*"(\w+)",\s*(\d+)', sources("http"))]
    assert len(raised) > 30
    for status, code in raised:
        assert code in OPERATORS_CODES or int(status) in KINDS[code].statuses, (status, code)
    assert KINDS.keys() == {code for _, code in raised} - OPERATORS_CODES | {code for code, _ in _REASONS.values()}


def test_every_limit_is_in_the_page() -> None:
    text = section("Limits")
    bounds = [
        value for module in (limits, *modules("rules")) for name, value in vars(module).items() if name.endswith("_MAX")
    ]
    for value in (*bounds, AUTHORS_MAX):
        assert f"{value:,}" in text


def test_the_page_says_how_many_rooms_hello_has() -> None:
    assert f"more than these {room_lists.FEW} rooms" in section("The stream")


def test_the_import_file_of_the_page_is_one() -> None:
    (file,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    sent: list[bytes] = []

    async def send(lines: bytes) -> Imported:
        sent.append(lines)
        return Imported({"al": 1}, {"tea": 2}, 0, 0)

    outcome = asyncio.run(import_lines(enumerate(file.encode().splitlines(), 1), "page", send))
    assert (outcome.lines, len(sent)) == (3, 3)


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path_factory.mktemp("falcon")).start()
    yield falcon
    falcon.stop()


@pytest.mark.processes
def test_the_lines_for_a_shell_work_when_they_are_pasted_one_after_the_other(falcon: Falcon) -> None:
    command = program("sh", "\n".join(samples(PAGE, "sh")), falcon.data_dir)
    done = subprocess.run(command, env=environment(falcon), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Who wants some?") == 3
    assert done.stdout.count("Milk?") == 1


@pytest.mark.processes
@pytest.mark.parametrize("language", ["python", "js"])
def test_the_bot_answers(falcon: Falcon, tmp_path: Path, language: str) -> None:
    (bot,) = samples(PAGE, language)
    command = program(language, bot, tmp_path)
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    with httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as client:
        room = client.post("/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
        running = subprocess.Popen(command, env=environment(falcon))
        try:
            said: list[dict[str, Any]] = []
            deadline = time.monotonic() + 120
            while not any(each["text"].startswith("pong") for each in said):
                assert time.monotonic() < deadline and running.poll() is None, said
                client.post(f"/v1/rooms/{room}/messages", json={"text": "ping"})  # the server may not listen yet
                time.sleep(0.2)
                said = client.get(f"/v1/rooms/{room}/messages").json()["messages"]
        finally:
            running.kill()
            running.wait()
    pong = next(each for each in said if each["text"].startswith("pong"))
    assert pong["text"] == f"pong, {own_name()}"
    assert said[pong["reply_to"] - 1]["text"] == "ping"
