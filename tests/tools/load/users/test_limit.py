"""Finding the limit, at a Falcon that is a formula."""

from collections import Counter
from pathlib import Path

import pytest

from load_tests.users.limit import Limit, Search
from load_tests.users.objectives import Objectives
from load_tests.users.recorder import Met

ACTS = 2.0  # a second, of one person


@pytest.fixture
def objectives(tmp_path: Path) -> Objectives:
    path = tmp_path / "thresholds.toml"
    path.write_text('[every]\nviolations = 0\n[every.p99]\n"send" = 250\n')
    return Objectives.read(path, "limit")


def searched(
    objectives: Objectives,
    *,
    carries: float = 1e9,
    stalls: float = 1e9,
    generator: float = 1e9,
    most: int = 10_000,
    seconds: float = 600,
    broken: int = 0,
) -> Limit:
    """At one that is slow past ``carries`` acts a second, and answers no more than ``stalls``."""
    search = Search(objectives, ACTS, 20, most, seconds)
    now, times, rate = 1_000.0, Counter[int](), 0.0
    while True:
        met = {"send": Met(times.copy(), 0), "promise": Met(Counter(), broken)}
        people = search.people(now, met, 0.95 if rate > generator else 0.5)
        if people is None:
            break
        rate = people * ACTS
        times[20 if rate <= carries else 900] += round(min(rate, stalls))
        now += 1.0
    assert search.limit is not None
    return search.limit


def test_the_limit_is_the_last_rate_that_held_and_says_what_broke(objectives: Objectives) -> None:
    limit = searched(objectives, carries=500)
    assert 500 / 1.25 <= limit.rate <= 500
    assert limit.of_falcon
    assert "send, p99 was 900 ms" in limit.reason and "may be ≤ 250 ms" in limit.reason


def test_one_that_does_not_keep_up_is_at_its_limit_though_what_it_answers_is_quick(objectives: Objectives) -> None:
    limit = searched(objectives, stalls=300)
    assert limit.rate <= 300
    assert "were meant only 300 were done" in limit.reason


def test_a_load_generator_that_is_late_finds_its_own_limit_and_says_so(objectives: Objectives) -> None:
    limit = searched(objectives, generator=400)
    assert not limit.of_falcon
    assert "the load generator itself used 95 % of a core" in limit.reason


def test_it_ends_when_there_are_no_more_people_or_no_more_time(objectives: Objectives) -> None:
    few = searched(objectives, most=30)
    assert (few.people, few.of_falcon) == (30, False)
    assert searched(objectives, seconds=30).reason == "the time was over"


def test_a_broken_promise_is_a_limit(objectives: Objectives) -> None:
    assert "broken promises" in searched(objectives, broken=1).reason
