"""The operations port: probes, metrics, and pages for finding a cause."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families

from falcon.http.ops.app import create_ops_app
from falcon.http.ops.operators import Operators
from falcon.telemetry import instruments, probes
from falcon.telemetry.dispatchers import Dispatcher, start_thread
from falcon.telemetry.health import Health
from falcon.telemetry.process_tree import ProcessTree
from tests.support.http import Api, Json, Person, Room


@pytest.fixture
def health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Health:
    """The operations port of this process, which measures as one that serves."""
    monkeypatch.setattr(instruments, "_sign", None)  # its folder is gone after the test
    probes.start(tmp_path, "serve-0")
    health = Health()
    health.tell(None)
    return health


@pytest.fixture
def ops(health: Health, tmp_path: Path) -> Iterator[Api]:
    yield from operations_port(tmp_path)


@pytest.fixture
def ops_of_two(health: Health, tmp_path: Path) -> Iterator[Api]:
    """Of a Falcon with two processes, each of which owns partitions. One of them runs."""
    yield from operations_port(tmp_path, needed=2)


def operations_port(folder: Path, needed: int = 1) -> Iterator[Api]:
    dispatcher = Dispatcher("operations", threads=2, queue=4)
    tree, operators = ProcessTree(folder, os.getpid(), "serve"), Operators(None, on_loopback=True)
    api = Api(create_ops_app(tree, dispatcher, operators, needed), "http://127.0.0.1")
    yield api
    api.close()
    dispatcher.close()


def statuses(ops: Api) -> tuple[int, int, int]:
    """The statuses of livez, startupz and readyz."""
    live, start, ready = (ops.send("GET", path).status_code for path in ("/livez", "/startupz", "/readyz"))
    return live, start, ready


def samples(ops: Api, accept: str = "text/plain") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels."""
    answer = ops.send("GET", "/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    found = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in found for s in family.samples}


def value(ops: Api, name: str, **labels: str) -> float:
    return samples(ops).get((name, frozenset(labels.items())), 0.0)


def test_before_it_has_started_it_is_alive_and_not_ready(ops: Api) -> None:
    assert statuses(ops) == (200, 503, 503)
    assert ops.send("GET", "/readyz").text == "starting"


def test_when_it_has_started_it_is_ready(ops: Api, health: Health) -> None:
    health.started = True
    assert statuses(ops) == (200, 200, 200)


def test_a_process_that_is_started_again_is_not_ready_and_falcon_has_started_all_the_same(
    ops: Api, health: Health
) -> None:
    health.started = True
    assert statuses(ops) == (200, 200, 200)
    health.started = False
    assert statuses(ops) == (200, 200, 503)


def test_while_it_drains_it_is_alive_and_not_ready(ops: Api, health: Health) -> None:
    health.started = health.draining = True
    assert statuses(ops) == (200, 200, 503)
    assert ops.send("GET", "/readyz").text == "draining"


def test_readiness_is_asked_each_time(ops: Api, health: Health) -> None:
    health.started = True
    health.ready = lambda: False
    assert statuses(ops) == (200, 200, 503)
    health.ready = lambda: True
    assert statuses(ops) == (200, 200, 200)


def test_while_a_process_that_owns_partitions_is_away_it_is_not_ready(ops_of_two: Api, health: Health) -> None:
    health.started = True
    assert statuses(ops_of_two) == (200, 503, 503)


def test_metrics_are_in_prometheus_text_and_count_what_happens(ops: Api, anna: Person, room: Room) -> None:
    before = value(ops, "falcon_commands_total", command="PostMessage", outcome="accepted")
    anna.says(room, "Hi")
    assert value(ops, "falcon_commands_total", command="PostMessage", outcome="accepted") == before + 1


def test_a_request_is_counted_under_its_route_and_not_its_path(ops: Api, anna: Person, room: Room) -> None:
    anna.says(room, "Hi")
    route = {"route": "/v1/rooms/{room_id}/messages", "method": "POST"}
    assert value(ops, "falcon_http_requests_total", status="2xx", **route) >= 1
    assert value(ops, "falcon_http_request_seconds_count", **route) >= 1


def test_what_is_not_there_makes_no_series_of_its_own(ops: Api, anna: Person) -> None:
    anna.get("/a"), anna.get("/b"), anna.send("BREW", "/v1/me")
    found = {dict(labels)["route"] for name, labels in samples(ops) if name == "falcon_http_requests_total"}
    methods = {dict(labels)["method"] for name, labels in samples(ops) if name == "falcon_http_requests_total"}
    assert not found & {"/a", "/b"} and "BREW" not in methods
    assert "none" in found and "other" in methods


def test_metrics_name_no_room_and_nobody(ops: Api, anna: Person, room: Room) -> None:
    anna.says(room, "Hi")
    names = {name for _, labels in samples(ops) for name, _ in labels}
    allowed = {
        "actor",
        "call",
        "cause",
        "change",
        "command",
        "dispatcher",
        "generation",
        "kind",
        "le",
        "level",
        "limit",
        "method",
        "of",
        "outcome",
    }
    allowed |= {"process", "projection", "python", "role", "route", "shard", "stage", "start", "status"}
    allowed |= {"reason", "server", "setting", "transport", "version", "wanted"}
    assert names <= allowed


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
        ("application/vnd.google.protobuf;encoding=delimited,text/plain;q=0.1", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=nonsense", "text/plain; version=0.0.4"),
        ("image/png", "text/plain; version=0.0.4"),
    ],
)
def test_metrics_come_in_the_format_that_is_asked_for(ops: Api, accept: str, given: str) -> None:
    answer = ops.send("GET", "/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(given)


# --- a look inside ----------------------------------------------------------------------------------------------------


def test_for_people_there_is_a_page_that_refreshes_itself(ops: Api) -> None:
    for path in ("/debug", "/debug/shards"):
        answer = ops.send("GET", path, headers={"accept": "text/html"})
        assert answer.headers["content-type"].startswith("text/html")
        assert 'http-equiv="refresh"' in answer.text


def test_stacks_show_every_thread(ops: Api) -> None:
    begun, seen = Event(), Event()

    def waits_until_it_was_seen() -> None:
        begun.set()
        seen.wait()

    thread = start_thread("waits", waits_until_it_was_seen)
    begun.wait()
    try:
        threads = ops.send("GET", "/debug/stacks").json()["serve-0"]["threads"]
        assert {"MainThread", "falcon-telemetry", "falcon-waits"} <= {thread["name"] for thread in threads}
        text = ops.send("GET", "/debug/stacks", headers={"accept": "text/html"}).text
        assert "waits_until_it_was_seen" in text
    finally:
        seen.set()
        thread.join()


def counted(**classes: list[int]) -> Json:
    """A count of a heap: objects and bytes by class. That of this process would depend on what else its tests keep."""
    return {"objects": 7, "bytes": 1_000, "complete": True, "seconds": 0.0, "classes": classes}


def test_a_heap_shows_what_has_grown_since_an_earlier_one(ops: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([counted(Room=[10, 9_000], Message=[5, 300]), counted(Room=[11, 9_900], Message=[25, 1_500])])
    monkeypatch.setitem(probes._answerers, "heap", lambda arguments: next(counts))
    first = ops.send("GET", "/debug/heap").json()["heap"][0]["number"]
    rows = ops.send("GET", f"/debug/heap?since={first}").json()["classes"]
    assert [(row["class"], row["more"], row["more_bytes"]) for row in rows] == [
        ("Message", 20, 1_200),
        ("Room", 1, 900),
    ]


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/debug/heap?process=nobody-7", 404, "serve-0"),
        ("/debug/heap?since=99", 404, "since"),
        ("/debug/heap?since=soon", 422, "since"),
        ("/debug/heap?depth=3", 422, "depth"),
        ("/debug/stacks?process=nobody-7", 404, "serve-0"),
        ("/debug/shards?process=nobody-7", 404, "serve-0"),
    ],
)
def test_a_wrong_argument_is_named(ops: Api, path: str, status: int, named: str) -> None:
    answer = ops.send("GET", path)
    assert answer.status_code == status
    assert named in answer.json()["detail"]


def test_nothing_else_is_there(ops: Api) -> None:
    assert ops.send("GET", "/").status_code == 404
    assert ops.send("GET", "/v1/me").status_code == 404
    assert ops.send("POST", "/livez").status_code == 405


def test_the_public_port_has_none_of_it(anna: Person) -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/debug", "/debug/stacks"):
        assert anna.get(path).status_code == 404
