"""Several processes share the partitions of one machine, and their clients see one Falcon."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

PARTITIONS = 64


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """Two processes, for the tests that kill and stop neither."""
    running = Falcon(tmp_path_factory.mktemp("falcon"), {"processes": 2}).start()
    yield running
    running.stop()


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Falcon]:
    """Two processes that a test may kill or stop."""
    running = Falcon(tmp_path, {"processes": 2}).start()
    yield running
    running.stop()


class Client(httpx.Client):
    """One connection, to the process at one place."""

    def __init__(self, falcon: Falcon) -> None:
        headers = {"Authorization": f"Bearer {falcon.info['token']}"}
        super().__init__(base_url=falcon.info["url"], headers=headers, timeout=60, verify=False)  # there is no TLS

    def post_message(self, room: int, text: str, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.post(f"/v1/rooms/{room}/messages", json={"text": text}, headers=headers)

    def texts(self, room: int, position: str = "") -> list[str]:
        """Of its first messages."""
        headers = {"Falcon-Position": position} if position else {}
        page = self.get(f"/v1/rooms/{room}/messages", params={"after": 0}, headers=headers)
        assert page.status_code == 200, page.text
        return [message["text"] for message in page.json()["messages"]]


def room_at(falcon: Falcon, client: Client, place: int) -> int:
    """A room that the process at this place owns."""
    while True:
        made = client.post("/v1/rooms", json={"name": "Tea kitchen"})
        assert made.status_code == 201, made.text
        room: int = made.json()["room_id"]
        if room % PARTITIONS % falcon.settings["processes"] == place:
            return room


def test_each_process_owns_its_share_of_the_partitions_in_a_file_of_its_own(falcon: Falcon) -> None:
    rows = httpx.get(f"{falcon.info['ops_url']}/debug/shards", timeout=60).json()["partitions"]
    owners = {row["partition"]: row["process"] for row in rows}
    assert owners == {partition: f"serve-{partition % 2}" for partition in range(PARTITIONS)}
    assert {row["state"] for row in rows} == {"serving"}
    assert {path.name for path in falcon.data_dir.glob("*.db")} == {"falcon.db", "falcon-1.db", "search.db"}


class Sender:
    """Posts with keys, one message after the other, and asks again until each is accepted. ``acknowledged``: the seqs
    of its messages."""

    def __init__(self, falcon: Falcon, room: int) -> None:
        self.room = room
        self.acknowledged: list[int] = []
        self.wrong: list[str] = []
        self._falcon = falcon
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        assert self.wrong == []
        assert self.acknowledged == list(range(1, len(self.acknowledged) + 1))

    def _run(self) -> None:
        client = Client(self._falcon)
        while not self._ending.is_set():
            while not self._is_sent(client, len(self.acknowledged)):
                client.close()
                client = Client(self._falcon)
        client.close()

    def _is_sent(self, client: Client, number: int) -> bool:
        try:
            answer = client.post_message(self.room, f"{number}", f"{self.room}-{number}")
        except httpx.TransportError:  # the process was killed
            self._ending.wait(0.05)
            return False
        if answer.status_code == 201:
            self.acknowledged.append(answer.json()["seq"])
        elif answer.status_code != 503 or "retry-after" not in answer.headers:
            self.wrong.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == 201


def everything(client: Client, room: int) -> list[str]:
    found: list[str] = []
    while True:
        page = client.get(f"/v1/rooms/{room}/messages", params={"after": len(found)}).json()["messages"]
        if not page:
            return found
        found += [message["text"] for message in page]


def test_the_probes_say_that_it_serves(falcon: Falcon) -> None:
    for probe in ("livez", "readyz", "startupz"):
        assert httpx.get(f"{falcon.info['ops_url']}/{probe}", timeout=60).status_code == 200
    assert until(lambda: "falcon_build_info" in httpx.get(f"{falcon.info['ops_url']}/metrics", timeout=60).text)


def test_it_is_ready_only_while_every_process_serves(victim: Falcon) -> None:
    def status() -> int:
        return httpx.get(f"{victim.info['ops_url']}/readyz", timeout=60).status_code

    assert status() == 200
    assert victim.process is not None
    victim.process.send_signal(signal.SIGSTOP)  # or the process may be there again before this test looks
    os.kill(victim.place(1), signal.SIGKILL)
    assert until(lambda: status() == 503)
    victim.process.send_signal(signal.SIGCONT)
    assert until(lambda: status() == 200)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_acknowledged_while_it_stopped_is_there_when_it_starts(victim: Falcon, number: int) -> None:
    with Client(victim) as client:
        senders = [Sender(victim, room_at(victim, client, place)) for place in (0, 1)]
    until(lambda: all(len(sender.acknowledged) > 10 for sender in senders))
    victim.stop(number)
    victim.start()
    with Client(victim) as client:
        for sender in senders:
            sender.end()
            assert everything(client, sender.room) == [f"{each}" for each in range(len(sender.acknowledged))]


def test_a_folder_of_one_process_is_copied_for_several_and_back(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path / "1", {"processes": 1}).start()
    refused = command(falcon, "copy", "--processes", "2", str(tmp_path / "2"))
    assert refused.returncode == 1 and "stop it first" in refused.stderr
    with Client(falcon) as client:
        rooms = [client.post("/v1/rooms", json={"name": f"Room {n}"}).json()["room_id"] for n in range(8)]
        for room in rooms:
            assert client.post_message(room, "1", f"first-{room}").status_code == 201
    for number, processes in enumerate((2, 3, 1), 2):
        falcon.stop()
        copied = command(falcon, "copy", "--processes", f"{processes}", str(tmp_path / f"{number}"))
        assert copied.returncode == 0, copied.stderr
        falcon = Falcon(tmp_path / f"{number}", {"processes": processes}).start()
        assert len(falcon.pids("serve")) == processes
        with Client(falcon) as client:
            for room in rooms:
                again = client.post_message(room, "1", f"first-{room}")
                assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
                assert client.post_message(room, f"{number}").json()["seq"] == number
                assert client.texts(room) == [f"{n}" for n in range(1, number + 1)]
            listed = client.get("/v1/rooms").json()["rooms"]
            assert [room["room_id"] for room in listed] == rooms[::-1]
    falcon.stop()


def command(falcon: Falcon, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "falcon", *arguments],
        env=falcon.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_works_as_with_one_process(falcon: Falcon, tmp_path: Path) -> None:
    with Client(falcon) as client:
        rooms = [room_at(falcon, client, place) for place in (0, 1)]
        for room in rooms:
            assert client.post_message(room, f"Hello {room}").status_code == 201
    doctor = command(falcon, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    exported = tmp_path / "export.jsonl"
    assert command(falcon, "export", str(exported)).returncode == 0
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert {f"Hello {room}" for room in rooms} <= {line.get("text") for line in lines}
    assert command(falcon, "rebuild", "timeline").returncode == 0
    with Client(falcon) as client:
        assert [client.texts(room) for room in rooms] == [[f"Hello {room}"] for room in rooms]
    health = command(falcon, "health", "--ready")
    assert health.returncode == 0, health.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"processes": 2, "kafka": "127.0.0.1:1"},
        {"processes": 33},
        {"processes": 0},
    ],
)
def test_processes_that_make_no_sense_are_refused_in_one_line(settings: dict[str, Any], tmp_path: Path) -> None:
    refused = command(Falcon(tmp_path, settings), "up")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("FALCON_PROCESSES")
