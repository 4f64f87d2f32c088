"""``falcon up`` as its user sees it: it starts, stops, refuses, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from falcon.adapters.sqlite import database
from tools.faults.chaos import Machine
from tools.harness.falcon import Falcon, alive
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

TCP = {"actors": "processes", "shards": 2, "http_workers": 2, "projection": "process"}
EACH_WAY = pytest.mark.parametrize("settings", [{}, {"processes": 2}, TCP], ids=["in_process", "places", "processes"])


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for the tests that do not end it."""
    running = Falcon(tmp_path_factory.mktemp("falcon")).start()
    yield running
    running.stop()


def call(falcon: Falcon, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    return httpx.request(method, falcon.info["url"] + path, headers=headers, timeout=10, **arguments)


@EACH_WAY
def test_it_stops_in_order_within_five_seconds_leaves_nothing_and_has_its_messages_when_it_starts_again(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    room = call(falcon, "POST", "/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
    assert call(falcon, "POST", f"/v1/rooms/{room}/messages", json={"text": "Hello"}).status_code == 201
    told = falcon.info
    stops_in_order(falcon, signal.SIGINT)
    falcon.start()
    assert falcon.info == told, "the address and the tokens stay as they were"
    page = call(falcon, "GET", f"/v1/rooms/{room}/messages").json()
    assert [message["text"] for message in page["messages"]] == ["Hello"]
    stops_in_order(falcon, signal.SIGTERM)


def stops_in_order(falcon: Falcon, number: int) -> None:
    assert falcon.stop(number) < 5
    assert falcon.left() == []
    assert falcon.process is not None
    assert falcon.process.returncode == 0
    assert not (falcon.data_dir / "up.json").exists()


@EACH_WAY
def test_what_it_keeps_is_for_its_user_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    falcon = Falcon(folder, dict(settings))
    falcon.start()
    falcon.stop()
    (folder / "falcon.db").chmod(0o644)  # as an earlier version made it
    falcon.start()
    assert call(falcon, "POST", "/v1/rooms", json={"name": "Tea kitchen"}).status_code == 201
    own = [path for path in folder.rglob("*") if path.name != "up.log"]  # which this test has made
    assert {path.name for path in own} >= {"falcon.db", "falcon.db-wal", "lock", "credentials.json", "secret"}
    assert [str(path) for path in own if path.stat().st_mode & 0o077] == []
    falcon.stop()


@EACH_WAY
def test_no_orphan_survives_a_kill(settings: dict[str, Any], tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    kill_until_whole(falcon, "serve")
    falcon.kill("launcher")
    assert until(lambda: falcon.left() == [])


def test_no_orphan_survives_a_kill_among_the_actors(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(TCP)).start()
    for role in ("shard", "admin", "supervisor", "actors", "project"):
        kill_until_whole(falcon, role)
    falcon.stop()
    assert until(lambda: falcon.left() == [])


def kill_until_whole(falcon: Falcon, role: str) -> None:
    """Kill one process of the role. Returns once as many run as before."""
    machine = Machine(falcon)
    before = machine.running()
    killed = falcon.kill(role)
    until(lambda: not alive(killed) and machine.running() == before, f"all is there again after a kill of {role}")


def test_a_second_falcon_on_the_same_data_is_turned_away(falcon: Falcon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "falcon", "up"],
        env={**falcon.environment(), "FALCON_HTTP_PORT": "0", "FALCON_OPS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert falcon.process is not None
    assert f"process {falcon.process.pid}" in second.stderr
    assert "FALCON_DATA_DIR" in second.stderr
    assert call(falcon, "GET", "/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"partitions": "many"}, "FALCON_PARTITIONS"),
        ({"actors": "multiprocUDPBase"}, "FALCON_ACTORS"),
        ({"http_workers": 2}, "processes"),
        ({"data_dir": "/proc/nowhere"}, "FALCON_DATA_DIR"),
        ({"http_port": 1, "host": "203.0.113.7", "plaintext": "yes"}, "FALCON_HTTP_PORT"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], word: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path)
    environment = {**falcon.environment(), **{f"FALCON_{name.upper()}": str(v) for name, v in settings.items()}}
    ended = subprocess.run(
        [sys.executable, "-m", "falcon", "up"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode in (1, 2)
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_data_made_for_other_partitions_is_refused(tmp_path: Path) -> None:
    database.prepare(tmp_path / "falcon.db", 64)
    environment = {**Falcon(tmp_path).environment(), "FALCON_PARTITIONS": "32"}
    ended = subprocess.run(
        [sys.executable, "-m", "falcon", "up"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 1
    assert "FALCON_PARTITIONS=64" in ended.stderr


def test_a_port_in_use_is_named(falcon: Falcon, tmp_path: Path) -> None:
    environment = {**falcon.environment(), "FALCON_DATA_DIR": str(tmp_path), "FALCON_OPS_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "falcon", "up"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 1
    assert "FALCON_HTTP_PORT" in ended.stderr


@pytest.mark.parametrize("format", ["text", "json", "auto"])
def test_falcon_shows_tokens_to_people_and_not_to_a_log(format: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"log_format": format})
    command = [sys.executable, "-m", "falcon", "up"]
    process = subprocess.Popen(command, env=falcon.environment(), stdout=subprocess.PIPE, text=True)
    assert until(lambda: (tmp_path / "up.json").exists(), seconds=30)
    process.terminate()
    said, _ = process.communicate(timeout=30)
    token = json.loads((tmp_path / "credentials.json").read_text())["token"]
    assert (token in said) == (format == "text")
    assert f"{tmp_path}/credentials.json" in said or format == "text"


# --- a start that is refused ------------------------------------------------------------------------------------------


def starting(tmp_path: Path, **settings: Any) -> "subprocess.Popen[str]":
    """``falcon write``, whose secret is nowhere."""
    falcon = Falcon(tmp_path, {"kafka": "127.0.0.1:1", "internal_port": 0, "ops_port": -1, **settings})
    environment = {**falcon.environment(), "FALCON_INTERNAL_TOKEN_FILE": str(tmp_path / "none")}
    command = [sys.executable, "-m", "falcon", "write"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_start_that_is_refused_is_said_and_ends(tmp_path: Path) -> None:
    process = starting(tmp_path)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.count("must hold a secret") == 1


def test_a_start_that_is_refused_is_tried_again_for_as_long_as_is_set(tmp_path: Path) -> None:
    process = starting(tmp_path, start_seconds=60)
    assert process.stderr is not None
    for _ in range(2):
        assert "must hold a secret" in process.stderr.readline()
    (tmp_path / "none").write_text("a secret that came late")
    while "no Kafka answers" not in (line := process.stderr.readline()):
        assert line, "it goes on until it has what it needs"
    process.terminate()
    assert process.wait(10) == 0
    process.stderr.close()
