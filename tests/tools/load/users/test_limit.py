"""Finding the limit, at a Falcon that is a formula."""

from pathlib import Path

import pytest

from load_tests.users.limit import Limit, Search
from load_tests.users.objectives import Objectives
from load_tests.users.recorder import Cell, Part, Second, Timeline
from tools.harness.histogram import Histogram

ACTS = 2.0  # a second, of one person


@pytest.fixture
def objectives(tmp_path: Path) -> Objectives:
    path = tmp_path / "thresholds.toml"
    path.write_text('[every]\nviolations = 0\n[every.p99]\n"send" = 250\n')
    return Objectives.read(path, "limit")


def second(acts: float, milliseconds: float, late: float = 0.0) -> Second:
    times = Histogram()
    for _ in range(round(acts)):
        times.add(milliseconds / 1000)
    return Second({"send": Cell(*times.packed())}, loop_delay=late)


def searched(
    objectives: Objectives,
    *,
    carries: float = 1e9,
    stalls: float = 1e9,
    generator: float = 1e9,
    most: int = 10_000,
    seconds: float = 600,
) -> Limit:
    """At one that is slow past ``carries`` acts a second, and answers no more than ``stalls``."""
    timeline = Timeline()
    search = Search(timeline, objectives, ACTS, 20, most, seconds)
    now = 1_000.0
    while (people := search.people(now)) is not None:
        rate = people * ACTS
        milliseconds = 20.0 if rate <= carries else 900.0
        late = 0.5 if rate > generator else 0.01
        timeline.add(Part({int(now): second(min(rate, stalls), milliseconds, late)}))
        now += 1.0
    assert search.limit is not None
    return search.limit


def test_the_limit_is_the_last_rate_that_held_and_says_what_broke(objectives: Objectives) -> None:
    limit = searched(objectives, carries=500)
    assert 500 / 1.25 <= limit.rate <= 500
    assert limit.of_falcon
    assert "send, p99 was 90" in limit.reason and "may be ≤ 250 ms" in limit.reason


def test_one_that_does_not_keep_up_is_at_its_limit_though_what_it_answers_is_quick(objectives: Objectives) -> None:
    limit = searched(objectives, stalls=300)
    assert limit.rate <= 300
    assert "were meant only 300 were done" in limit.reason


def test_a_load_generator_that_is_late_finds_its_own_limit_and_says_so(objectives: Objectives) -> None:
    limit = searched(objectives, generator=400)
    assert not limit.of_falcon
    assert "the load generator itself was 500 ms late" in limit.reason


def test_it_ends_when_there_are_no_more_people_or_no_more_time(objectives: Objectives) -> None:
    few = searched(objectives, most=30)
    assert (few.people, few.of_falcon) == (30, False)
    assert searched(objectives, seconds=30).reason == "the time was over"


def test_a_broken_promise_is_a_limit(objectives: Objectives) -> None:
    timeline = Timeline()
    search = Search(timeline, objectives, ACTS, 20, 1_000, 600)
    timeline.add(Part(violations={"room 640, seq 5: a1 was confirmed and is lost": 1}))
    now = 1_000.0
    while (people := search.people(now)) is not None:
        timeline.add(Part({int(now): second(people * ACTS, 1.0)}))
        now += 1.0
    assert search.limit is not None and "broken promises" in search.limit.reason
