"""The operations port: what probes and the collector of metrics ask."""

from collections.abc import Iterator

import pytest

from falcon.http.ops import Health, create_ops_app
from tests.support.http import Api, Person, Room


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def ops(health: Health) -> Iterator[Api]:
    api = Api(create_ops_app(health))
    yield api
    api.close()


def statuses(ops: Api) -> tuple[int, int, int]:
    """Of livez, startupz and readyz."""
    live, start, ready = (ops.send("GET", path).status_code for path in ("/livez", "/startupz", "/readyz"))
    return live, start, ready


def test_before_it_has_started_it_is_alive_and_not_ready(ops: Api) -> None:
    assert statuses(ops) == (200, 503, 503)
    assert ops.send("GET", "/readyz").text == "starting"


def test_when_it_has_started_it_is_ready(ops: Api, health: Health) -> None:
    health.started = True
    assert statuses(ops) == (200, 200, 200)


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


def test_metrics_are_in_prometheus_text_and_count_what_happens(ops: Api, anna: Person, room: Room) -> None:
    def accepted() -> float:
        answer = ops.send("GET", "/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        samples = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        return float(samples['falcon_commands_total{outcome="accepted"}'])

    before = accepted()
    anna.says(room, "Hi")
    assert accepted() == before + 1


def test_metrics_name_no_room_and_nobody(ops: Api, anna: Person, room: Room) -> None:
    anna.says(room, "Hi")
    labels = {
        line.partition("{")[2].partition("=")[0]
        for line in ops.send("GET", "/metrics").text.splitlines()
        if line.startswith("falcon_") and "{" in line
    }
    assert labels <= {"outcome", "le", "shard", "projection", "status"}


def test_nothing_else_is_there(ops: Api) -> None:
    assert ops.send("GET", "/").status_code == 404
    assert ops.send("GET", "/v1/me").status_code == 404
    assert ops.send("POST", "/livez").status_code == 405


def test_the_public_port_has_none_of_it(anna: Person) -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/debug/stacks"):
        assert anna.get(path).status_code == 404
