"""A whole process tree as its collector sees it: one page, right after any process was killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

SERIES_MAX = 4_000

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module", params=[{}, {"processes": 2}], ids=["alone", "places"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture(scope="module")
def falcon(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for all tests that do not kill its processes."""
    with started(settings, tmp_path_factory.mktemp("falcon")) as running:
        yield running


@pytest.fixture
def victim(settings: dict[str, Any], tmp_path: Path) -> Iterator[Falcon]:
    """One whose processes a test may kill."""
    with started(settings, tmp_path) as running:
        yield running


@contextmanager
def started(settings: dict[str, Any], folder: Path) -> Iterator[Falcon]:
    running = Falcon(folder, dict(settings)).start()
    try:
        yield running
    finally:
        running.stop()


def scrape(falcon: Falcon) -> Samples:
    """While the operations port itself is being started again, a connection waits."""
    answer = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=60)
    families = list(text_string_to_metric_families(answer.text))
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(v for (n, found), v in samples.items() if n == name and labels.items() <= dict(found).items())


def send(falcon: Falcon, room: int, count: int, kill: Callable[[int], None] = lambda number: None) -> int:
    """Messages that were accepted; what is refused or cut off is tried again until it is."""
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    with httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as client:
        for number in range(count):
            kill(number)
            until = time.monotonic() + 60
            while not _sent(client, room, number):
                assert time.monotonic() < until
    return count


def _sent(client: httpx.Client, room: int, number: int) -> bool:
    try:
        answer = client.post(
            f"/v1/rooms/{room}/messages", json={"text": "Hi"}, headers={"Idempotency-Key": f"{room}-{number}"}
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 201


def make_room(falcon: Falcon) -> int:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    answer = httpx.post(f"{falcon.info['url']}/v1/rooms", json={"name": "Tea"}, headers=headers, timeout=60)
    room: int = answer.json()["room_id"]
    return room


def test_every_process_of_the_tree_is_there(falcon: Falcon) -> None:
    expected = {"launcher-0", "ops-0", "serve-0"}
    if falcon.settings.get("processes"):
        expected |= {"serve-1"}

    def processes(figure: str) -> set[str]:
        return {dict(labels)["process"] for name, labels in scrape(falcon) if name == f"falcon_process_{figure}"}

    assert until(lambda: expected <= processes("pss_bytes")), processes("pss_bytes")
    for figure in ("resident_bytes", "threads", "fds", "fds_max", "uptime_seconds"):
        assert expected <= processes(figure) <= expected
    assert until(lambda: total(scrape(falcon), "falcon_process_cpu_seconds_total", process="serve-0") > 0)
    assert until(lambda: total(scrape(falcon), "falcon_event_loop_delay_seconds_count", process="serve-0") > 0)


def test_counters_never_go_back_when_a_process_is_killed(victim: Falcon) -> None:
    room = make_room(victim)
    victims = ["serve", "ops", "serve"]
    seen: list[Samples] = []
    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(0.05):
            try:
                seen.append(scrape(victim))
            except httpx.TransportError:
                continue  # a connection that the killed process had taken

    def posted() -> float:
        return total(scrape(victim), "falcon_commands_total", command="PostMessage", outcome="accepted")

    def kill(number: int) -> None:
        if number % 20 == 10 and victims:
            assert until(lambda: posted() >= number), "each process passes on once a second what it has counted"
            os.kill(victim.pids(victims.pop())[0], signal.SIGKILL)
            enough = len(seen) + 2
            assert until(lambda: len(seen) >= enough)

    watching = threading.Thread(target=watch)
    watching.start()
    accepted = send(victim, room, 20 * len(victims) + 10, kill)
    ending.set()
    watching.join()
    seen.append(scrape(victim))
    assert victims == []
    for before, after in pairwise(seen):
        for (name, labels), value in before.items():
            if name.endswith(("_total", "_count", "_sum", "_bucket")) and "created" not in name:
                assert after.get((name, labels), -1.0) >= value, (name, sorted(labels))
    assert until(lambda: posted() >= accepted), "what was counted by those who were killed has not been lost"


def test_of_one_that_was_killed_no_gauge_is_left_over(victim: Falcon) -> None:
    def uptime() -> float:
        return total(scrape(victim), "falcon_process_uptime_seconds", process="serve-0")

    assert until(lambda: uptime() > 0)
    (serve, *_) = victim.pids("serve")
    os.kill(serve, signal.SIGSTOP)
    last = uptime()
    os.kill(serve, signal.SIGKILL)
    assert until(lambda: uptime() not in (0, last))
    assert total(scrape(victim), "falcon_process_restarts_total", role="serve") == 1
    names = [dict(labels)["process"] for name, labels in scrape(victim) if name == "falcon_process_resident_bytes"]
    assert len(names) == len(set(names))


def test_a_loaded_system_has_few_series(falcon: Falcon) -> None:
    room = make_room(falcon)
    send(falcon, room, 200)
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    with httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as client:
        for path in ("me", "rooms", f"rooms/{room}", f"rooms/{room}/messages", f"rooms/{room}/members", "accounts"):
            client.get(f"/v1/{path}")
        # The last request; each process passes on once a second what it has counted.
        assert until(lambda: total(scrape(falcon), "falcon_http_request_seconds_count", route="/v1/accounts") > 0)
        before = scrape(falcon)
        for _ in range(30):
            send(falcon, make_room(falcon), 1)
        after = scrape(falcon)
    new = {name for name, labels in after.keys() - before.keys()}
    assert not new & {"falcon_commands_total", "falcon_http_requests_total", "falcon_read_seconds_count"}, "by room"
    assert len(after) < SERIES_MAX


def test_one_can_look_inside(falcon: Falcon) -> None:
    room = make_room(falcon)
    send(falcon, room, 5)
    ops = httpx.Client(base_url=falcon.info["ops_url"], timeout=60)
    partitions: list[dict[str, Any]] = ops.get("/debug/shards").json()["partitions"]
    assert sorted(row["partition"] for row in partitions) == list(range(64))
    assert {row["state"] for row in partitions} == {"serving"}
    stacks = ops.get("/debug/stacks").json()
    assert set(ops.get("/debug/stacks").json()) >= {"serve-0", "ops-0"}
    assert any(thread["name"] == "falcon-telemetry" for thread in stacks["serve-0"]["threads"])
    heap = ops.get("/debug/heap?process=serve-0").json()
    assert heap["heap"][0]["objects"] > 0
    ops.close()


def test_the_probes_say_that_it_serves(falcon: Falcon) -> None:
    for probe in ("livez", "readyz", "startupz"):
        assert httpx.get(f"{falcon.info['ops_url']}/{probe}", timeout=60).status_code == 200
    assert total(scrape(falcon), "falcon_build_info") > 0


def test_a_process_that_hangs_is_not_live(falcon: Falcon) -> None:
    pid = falcon.pids("serve")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = httpx.get(f"{falcon.info['ops_url']}/livez", timeout=60)
        assert answer.status_code == 503 and "serve-" in answer.text
    finally:
        os.kill(pid, signal.SIGCONT)
    assert until(lambda: httpx.get(f"{falcon.info['ops_url']}/livez", timeout=60).status_code == 200)


def test_without_an_operations_port_nothing_is_there(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"ops_port": -1}).start()
    assert falcon.info["ops_url"] == ""
    assert falcon.pids("ops") == []
    falcon.stop()
