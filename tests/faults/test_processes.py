"""``falcon up`` as its user sees it: it starts, stops, refuses, and leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import SCHEMA_VERSION
from falcon.telemetry.run_folder import make_folder
from tests.history.test_folders import FOLDERS, SCHEMAS
from tests.support.secret_files import write_secret
from tests.support.small_disk import on_small_disk
from tools.faults.chaos import Machine
from tools.harness.falcon import Falcon, alive
from tools.harness.ports import answers
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

EACH_WAY = pytest.mark.parametrize("settings", [{}, {"processes": 2}], ids=["alone", "places"])


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for the tests that do not end it."""
    running = Falcon(tmp_path_factory.mktemp("falcon")).start()
    yield running
    running.stop()


def call(falcon: Falcon, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    return httpx.request(method, falcon.info["url"] + path, headers=headers, timeout=60, **arguments)


def refused(falcon: Falcon, **settings: Any) -> str:
    """The output of a ``falcon up`` that refuses to start with these settings beside Falcon's own."""
    environment = {**falcon.environment(), **{f"FALCON_{name.upper()}": str(value) for name, value in settings.items()}}
    command = [*falcon.within, sys.executable, "-m", "falcon", "up"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr
    return ended.stderr


@EACH_WAY
def test_it_stops_when_it_is_told_leaves_nothing_and_has_its_messages_when_it_starts_again(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    room = call(falcon, "POST", "/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
    assert call(falcon, "POST", f"/v1/rooms/{room}/messages", json={"text": "Hello"}).status_code == 201
    what_it_keeps_is_for_its_user_alone(tmp_path)
    told = falcon.info
    stops_when_told(falcon, signal.SIGINT)
    falcon.start()
    assert falcon.info == told, "the address and the tokens stay as they were"
    page = call(falcon, "GET", f"/v1/rooms/{room}/messages").json()
    assert [message["text"] for message in page["messages"]] == ["Hello"]
    stops_when_told(falcon, signal.SIGTERM)


def what_it_keeps_is_for_its_user_alone(folder: Path) -> None:
    own = [path for path in folder.rglob("*") if path.name != "up.log"]  # which this test has made
    assert {path.name for path in own} >= {"falcon.db", "falcon.db-wal", "lock", "credentials.json", "secret"}
    assert [str(path) for path in own if path.stat().st_mode & 0o077] == []


def stops_when_told(falcon: Falcon, number: int) -> None:
    falcon.stop(number)
    assert falcon.left() == []
    assert falcon.process is not None
    assert falcon.process.returncode == 0
    assert not (falcon.data_dir / "up.json").exists()
    wals = falcon.data_dir.glob("falcon*.db-wal")
    assert {wal.stat().st_size for wal in wals} == {0}, "the files have everything, without their WALs"


def test_a_stop_does_not_wait_for_a_process_that_hangs(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    (hangs,) = falcon.pids("serve")
    os.kill(hangs, signal.SIGSTOP)
    falcon.stop()
    assert falcon.left() == []
    assert falcon.process is not None
    assert falcon.process.returncode == 0
    assert "serve was killed: it did not end in time" in falcon.log()


def test_a_client_that_comes_while_falcon_stops_is_refused_and_does_not_wait(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    (hangs,) = falcon.pids("ops")
    os.kill(hangs, signal.SIGSTOP)  # the launcher waits for it
    assert falcon.process is not None
    falcon.process.send_signal(signal.SIGTERM)
    until(lambda: not answers(urlsplit(falcon.info["url"]).port or 0))
    assert alive(hangs), "nothing answers, and Falcon still runs"
    os.kill(hangs, signal.SIGCONT)
    assert falcon.process.wait(60) == 0


def test_falcon_goes_on_if_nothing_can_be_written_to_its_log(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, within=("sh", "-c", 'exec "$@" 2>/dev/full', "sh")).start()
    kill_until_whole(falcon, "serve")
    stops_when_told(falcon, signal.SIGTERM)


def test_falcon_outlives_its_terminal_under_nohup(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, within=("nohup",)).start()
    assert falcon.process is not None
    falcon.process.send_signal(signal.SIGHUP)
    kill_until_whole(falcon, "serve")  # which the launcher has started again
    stops_when_told(falcon, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_only_the_launcher_acts_on_a_signal_that_a_terminal_sends_to_all_processes(
    falcon: Falcon, number: signal.Signals
) -> None:
    before = falcon.pids()
    for pid in before:
        os.kill(pid, number)
    assert call(falcon, "GET", "/v1/me").status_code == 200
    assert falcon.pids() == before


def test_a_start_that_is_interrupted_ends_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "falcon", "up"]
    process = subprocess.Popen(
        command, env=Falcon(tmp_path).environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until((tmp_path / "lock").exists)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == ""


def test_a_signal_that_comes_again_and_again_does_not_cut_a_stop_short(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    assert falcon.process is not None
    while falcon.process.poll() is None:
        falcon.process.send_signal(signal.SIGTERM)
    assert falcon.process.returncode == 0
    assert falcon.left() == []


@EACH_WAY
def test_no_orphan_survives_a_kill_and_no_measurement_the_next_start(settings: dict[str, Any], tmp_path: Path) -> None:
    shared = tmp_path / "run"  # not in /dev/shm, where any other start would remove what is left
    falcon = Falcon(tmp_path, {**settings, "run_dir": shared}).start()
    kill_until_whole(falcon, "serve")
    launcher = falcon.kill("launcher")
    assert until(lambda: falcon.left() == [])
    (folder,) = shared.glob(f"falcon-run-{launcher}-*")
    with make_folder(1, 0, within=shared):  # as the next start does
        assert not folder.exists()


def kill_until_whole(falcon: Falcon, role: str) -> None:
    """Kill one process of the role. Returns once as many run as before."""
    machine = Machine(falcon)
    before = machine.running()
    killed = falcon.kill(role)
    until(lambda: not alive(killed) and machine.running() == before, f"all is there again after a kill of {role}")


def test_a_second_falcon_on_the_same_data_is_turned_away(falcon: Falcon) -> None:
    said = refused(falcon, http_port=0, ops_port=0)
    assert falcon.process is not None
    assert f"process {falcon.process.pid}" in said
    assert "FALCON_DATA_DIR" in said
    assert call(falcon, "GET", "/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"partitions": "many"}, "FALCON_PARTITIONS"),
        ({"data_dir": "/proc/nowhere"}, "FALCON_DATA_DIR"),
        ({"data_dir": "/tmp/no \udcff text"}, "FALCON_DATA_DIR: must be UTF-8"),
        ({"http_port": 1, "host": "203.0.113.7", "plaintext": "yes"}, "FALCON_HTTP_PORT"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], word: str, tmp_path: Path) -> None:
    assert word in refused(Falcon(tmp_path), **settings)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("credentials.json", b'{"token":', "is not as Falcon writes it"),
        ("credentials.json", b'{"token":"\xff"}', "is not as Falcon writes it"),
        ("secret", b"", "has 0 bytes and not 32"),
        ("secret", b"half of a secret", "has 16 bytes and not 32"),
    ],
)
def test_a_broken_file_of_the_data_folder_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], tmp_path / "falcon.db")
    (tmp_path / name).write_bytes(content)
    assert f"falcon up: {tmp_path / name} {said}" in refused(Falcon(tmp_path))


def test_data_made_for_other_partitions_is_refused(tmp_path: Path) -> None:
    database.prepare(tmp_path / "falcon.db", 64)
    assert "FALCON_PARTITIONS=64" in refused(Falcon(tmp_path), partitions=32)


def test_a_limit_of_open_files_that_is_too_low_is_named(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, within=("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"))
    said = refused(falcon, processes=2)
    assert re.fullmatch(r"falcon: .* only 64 files open, and needs 152: raise the hard limit .* LimitNOFILE=.*\n", said)


def test_a_port_in_use_is_named(falcon: Falcon, tmp_path: Path) -> None:
    assert "FALCON_HTTP_PORT" in refused(falcon, data_dir=tmp_path, ops_port=0)


def test_it_measures_where_shared_memory_is_small() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not in shared memory, where tests' folders may be
        falcon = Falcon(Path(folder), within=on_small_disk(Path("/dev/shm"), "64k")).start()
        until(  # a process shows what it has measured once a second
            lambda: (
                'falcon_process_uptime_seconds{process="serve-0"}'
                in httpx.get(f"{falcon.info['ops_url']}/metrics", timeout=60).text
            )
        )
        falcon.stop()
    assert falcon.left() == []


def test_a_folder_without_room_for_measurements_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    falcon = Falcon(tmp_path, within=on_small_disk(folder, "64k"))
    assert re.fullmatch(
        r".* cannot take .* KiB for the measurements of 3 processes: .* set FALCON_RUN_DIR to another folder\n",
        refused(falcon, run_dir=folder),
    )


def test_a_first_start_on_a_disk_that_is_nearly_full_says_so(tmp_path: Path) -> None:
    within = on_small_disk(tmp_path, "16m")
    filled = ("sh", "-c", f'head -c {15_500 << 10} /dev/zero >"{tmp_path}/filling" && exec "$@"', "sh")
    said = refused(Falcon(tmp_path, within=(*within, *filled)))
    assert said.endswith(
        "falcon up: the disk has too little room left for the first account: make some, and start again\n"
    )


@pytest.mark.parametrize("format", ["text", "auto"])
def test_falcon_shows_tokens_to_people_and_not_to_a_log(format: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"log_format": format})
    command = [sys.executable, "-m", "falcon", "up"]
    process = subprocess.Popen(command, env=falcon.environment(), stdout=subprocess.PIPE, text=True)
    assert until(lambda: (tmp_path / "up.json").exists())
    process.terminate()
    said, _ = process.communicate(timeout=60)
    token = json.loads((tmp_path / "credentials.json").read_text())["token"]
    assert (token in said) == (format == "text")
    link = re.search(r"browser: (\S+)/#sign-in=(\S+)", said)
    assert (link is not None) == (format == "text")
    assert f"{tmp_path}/credentials.json" in said or format == "text"


def test_the_owner_of_a_new_folder_signs_in_once_by_the_link_that_is_printed(tmp_path: Path) -> None:
    environment = Falcon(tmp_path, {"log_format": "text"}).environment()

    def said() -> str:
        command = [sys.executable, "-m", "falcon", "up"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, "Ctrl-C stops it.\n"))
        try:
            if link := re.search(r"browser: (\S+)/#sign-in=(\S+)", "".join(lines)):
                url = f"{link[1]}/v1/sign-in/by-code/{link[2]}"
                made = [httpx.post(url, json={}, headers={"Origin": link[1]}, timeout=60) for _ in range(2)]
                assert [each.status_code for each in made] == [201, 404]
                assert made[0].json()["account"]["role"] == "owner"
                assert made[0].headers["set-cookie"].startswith("falcon=falcon_")
        finally:
            process.terminate()
            process.communicate(timeout=60)
        return "".join(lines)

    assert "/#sign-in=" in said()
    again = said()
    assert "#" not in again.partition("Try it")[0] and "falcon sign-in --open" in again


def test_a_session_that_ends_takes_its_streams_along_at_every_process(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"processes": 2}).start()
    try:
        owner = {"Authorization": f"Bearer {falcon.info['token']}"}
        with httpx.Client(base_url=falcon.info["url"], timeout=60) as client:
            link = client.post(f"/v1/accounts/{falcon.info['account_id']}/sign-in-link", headers=owner).json()["url"]
            path = f"/v1/sign-in/by-code/{link.partition('#sign-in=')[2]}"
            session = client.post(path, json={"bearer": True}).json()
            own = {"Authorization": f"Bearer {session['token']}"}
            with ExitStack() as stack:
                streams = [stack.enter_context(client.stream("GET", "/v1/stream", headers=own)) for _ in range(12)]
                assert client.delete(f"/v1/sessions/{session['session_id']}", headers=owner).status_code == 204
                for stream in streams:
                    assert "unauthenticated" in stream.read().decode().partition("event: bye")[2]
    finally:
        falcon.stop()


# --- a start that is refused ------------------------------------------------------------------------------------------


def starting(tmp_path: Path, **settings: Any) -> "subprocess.Popen[str]":
    """``falcon write``, whose secret is nowhere."""
    falcon = Falcon(tmp_path, {"kafka": "127.0.0.1:1", "internal_port": 0, "ops_port": -1, **settings})
    environment = {**falcon.environment(), "FALCON_INTERNAL_TOKEN_FILE": str(tmp_path / "none")}
    command = [sys.executable, "-m", "falcon", "write"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_a_start_that_is_refused_is_said_and_ends(tmp_path: Path) -> None:
    process = starting(tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("must hold a secret") == 1


def test_a_start_that_is_refused_is_tried_again_for_as_long_as_is_set(tmp_path: Path) -> None:
    process = starting(tmp_path, start_seconds=60)
    assert process.stderr is not None
    for _ in range(2):
        assert "must hold a secret" in process.stderr.readline()
    write_secret(tmp_path / "none", "a secret that came late")
    while "no Kafka answers" not in (line := process.stderr.readline()):
        assert line, "it goes on until it has what it needs"
    process.terminate()
    assert process.wait(60) == 0
    process.stderr.close()
