"""``falcon up`` as its user sees it: it starts, stops, refuses, and leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from falcon.adapters.sqlite.database import SCHEMA_VERSION
from tests.history.test_folders import FOLDERS, SCHEMAS
from tests.support.small_disk import on_small_disk
from tools.harness.falcon import Falcon, alive
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

TCP = {"actors": "processes", "shards": 2, "http_workers": 2, "projection": "process"}
EACH_WAY = pytest.mark.parametrize("settings", [{}, {"processes": 2}, TCP], ids=["in_process", "places", "processes"])


def call(falcon: Falcon, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    return httpx.request(method, falcon.info["url"] + path, headers=headers, timeout=10, **arguments)


def refused(falcon: Falcon, **settings: Any) -> str:
    """What ``falcon up`` says that does not start with these settings beside Falcon's own."""
    environment = {**falcon.environment(), **{f"FALCON_{name.upper()}": str(value) for name, value in settings.items()}}
    command = [*falcon.within, sys.executable, "-m", "falcon", "up"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr
    return ended.stderr


@EACH_WAY
def test_a_first_message_is_there_after_a_restart(settings: dict[str, Any], tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    room = call(falcon, "POST", "/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
    assert call(falcon, "POST", f"/v1/rooms/{room}/messages", json={"text": "Hello"}).status_code == 201
    told = falcon.info
    falcon.stop()
    falcon.start()
    assert falcon.info == told, "the address and the tokens stay as they were"
    page = call(falcon, "GET", f"/v1/rooms/{room}/messages").json()
    assert [message["text"] for message in page["messages"]] == ["Hello"]
    falcon.stop()


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
    assert {path.name for path in own} >= {"falcon.db", "falcon.db-wal", "lock", "credentials.json"}
    assert [str(path) for path in own if path.stat().st_mode & 0o077] == []
    falcon.stop()


@EACH_WAY
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_it_is_told_and_leaves_nothing(settings: dict[str, Any], number: int, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    falcon.stop(number)
    assert falcon.left() == []
    assert falcon.process is not None
    assert falcon.process.returncode == 0
    assert not (tmp_path / "up.json").exists()


def test_a_stop_does_not_wait_for_a_process_that_hangs(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    (hangs,) = falcon.pids("serve")
    os.kill(hangs, signal.SIGSTOP)
    falcon.stop()
    assert falcon.left() == []
    assert falcon.process is not None
    assert falcon.process.returncode == 0
    assert "serve was killed: it did not end in time" in falcon.log()


@EACH_WAY
@pytest.mark.parametrize("role", ["launcher", "serve"])
def test_no_orphan_survives_a_kill(settings: dict[str, Any], role: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    killed = falcon.kill(role)
    if role == "launcher":
        assert until(lambda: falcon.left() == [])
    else:
        assert until(lambda: not alive(killed))
        assert until(lambda: bool(falcon.pids("serve")))
    falcon.stop()
    assert until(lambda: falcon.left() == [])


@pytest.mark.parametrize("role", ["shard", "admin", "supervisor", "actors", "project"])
def test_no_orphan_survives_a_kill_among_the_actors(role: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(TCP)).start()
    falcon.kill(role)
    assert until(lambda: len(falcon.pids("shard")) == 2 and len(falcon.pids("serve")) == 2, seconds=15)
    falcon.stop()
    assert until(lambda: falcon.left() == [])


def test_a_second_falcon_on_the_same_data_is_turned_away(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    said = refused(falcon, http_port=0, ops_port=0)
    assert falcon.process is not None
    assert f"process {falcon.process.pid}" in said
    assert "FALCON_DATA_DIR" in said
    assert call(falcon, "GET", "/v1/me").status_code == 200
    falcon.stop()


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
    assert word in refused(Falcon(tmp_path), **settings)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("credentials.json", b'{"token":', "is not as Falcon writes it"), ("secret", b"", "is empty")],
)
def test_a_broken_file_of_the_data_folder_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], tmp_path / "falcon.db")
    (tmp_path / name).write_bytes(content)
    assert f"falcon up: {tmp_path / name} {said}" in refused(Falcon(tmp_path))


def test_data_made_for_other_partitions_is_refused(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    falcon.stop()
    assert "FALCON_PARTITIONS=64" in refused(falcon, partitions=32)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path / "one").start()
    said = refused(falcon, data_dir=tmp_path / "two", ops_port=0)
    falcon.stop()
    assert "FALCON_HTTP_PORT" in said


def test_it_measures_where_shared_memory_is_small(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, within=on_small_disk(Path("/dev/shm"), "64k")).start()
    assert 'falcon_process_uptime_seconds{process="serve-0"}' in httpx.get(f"{falcon.info['ops_url']}/metrics").text
    falcon.stop()
    assert falcon.left() == []


def test_a_folder_without_room_for_measurements_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    falcon = Falcon(tmp_path, within=on_small_disk(folder, "64k"))
    assert re.fullmatch(r".*launcher-0.* needs .* set FALCON_RUN_DIR\n", refused(falcon, run_dir=folder))


@EACH_WAY
def test_the_probes_say_what_is_so(settings: dict[str, Any], tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    for probe in ("livez", "readyz", "startupz"):
        assert httpx.get(f"{falcon.info['ops_url']}/{probe}").status_code == 200
    assert "falcon_build_info" in httpx.get(f"{falcon.info['ops_url']}/metrics").text
    falcon.stop()


def test_files_that_hold_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    falcon.stop()
    for name in ("credentials.json", "secret"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


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
