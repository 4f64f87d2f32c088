"""Days pass in a cluster that is used a little, and nothing grows but what lives."""

import inspect
import os
import re

import pytest

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from tests.simulation.test_course import simulate
from tools.simulation.growth import BOUNDED, classes, grown
from tools.simulation.kafka.partitions import DEFAULTS, Entry, Log


def test_what_is_more_each_day_grows() -> None:
    assert grown([{"leaks": 10 * day, "stays": 40} for day in range(1, 8)]) == [
        "leaks grows: [10, 20, 30, 40, 50, 60, 70], a day each"
    ]


def test_each_container_that_may_fill_up_to_its_bound_is_still_there() -> None:
    sources = {each.__name__: inspect.getsource(each) for each in classes()}
    for kind in BOUNDED:
        name, attribute = kind.removeprefix("memory: ").split(".")
        assert f"self.{attribute}" in sources[name]


def test_deleted_rooms_leave_a_snapshot_each_and_nothing_more() -> None:
    name = "records of falcon.snapshots"
    left = [{name: 100 + 70 * day, "rooms that were deleted": 70 * day} for day in range(7)]
    assert grown(left) == []
    assert len(grown([{**each, name: 2 * each[name]} for each in left])) == 1


@pytest.mark.parametrize("name", ["signals", "inboxes", "applied"])
def test_signals_and_positions_are_forgotten_within_the_hour(name: str) -> None:
    (topic,) = [each for each in topics.topics(KafkaCluster((), 1)) if each.name.endswith(name)]
    log = Log({**DEFAULTS, **topics._as_made(topic)})
    for minute in range(24 * 60):
        log.append([Entry(None, b"for a moment", minute * 60_000)], minute * 60_000)
        log.tidy(minute * 60_000, log.end)
    assert len(log.records) < 60


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    os.environ.get("CI") != "true", reason="takes 45 s of a processor: with CI=true, or make simulate ARGS='--growth 2'"
)
def test_nothing_grows_in_two_days_but_what_lives() -> None:
    """Their hours are short ones. As much is done in each; ``make simulate ARGS='--growth 2'`` waits out whole ones."""
    assert re.search("2 days, 0 violations", simulate("--growth", "2", "--hour", "900", "--seed", "1"))
