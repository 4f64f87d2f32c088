"""Judges overloads that went well, and some that did not."""

from collections.abc import Callable

import pytest

from tools.bench.overloading import judge
from tools.bench.overloading.limit import Limit, NoLimit, find
from tools.bench.overloading.push import Job, Pushed, Tally, Times
from tools.bench.overloading.stages import broken, stage
from tools.harness.histogram import Histogram
from tools.harness.watching import Look

P99_MAX = 250.0


def times(count: int, milliseconds: float) -> Times:
    histogram = Histogram()
    for _ in range(count):
        histogram.add(milliseconds / 1000)
    return Times(*histogram.packed())


def tenth(
    offered: int, accepted: int, *, after: float = 20.0, refused_after: float = 10.0, bare: int = 0, lost: int = 0
) -> Tally:
    refused = offered - accepted - lost
    return Tally(offered, times(accepted, after), times(refused, refused_after), unanswered=lost, bare=bare)


AT_LIMIT = stage([tenth(600, 600, after=30.0)] * 50)
LIMIT = Limit(6_000.0, AT_LIMIT, "p99 was 300 ms", 0.0)
CALM = [tenth(420, 420)] * 100


def looks(begin: float, end: float) -> list[Look]:
    """Over a minute; memory in MiB."""
    return [Look(at=at, memory=(begin + (end - begin) * at / 60) * 2**20) for at in range(61)]


def verdicts(during: list[Tally], after: list[Tally] = CALM, grown: float = 120.0) -> dict[str, bool]:
    found = judge.verdicts(LIMIT, during, after, P99_MAX, looks(100, 200), looks(200, 200 + grown))
    return {verdict.what: verdict.met for verdict in found}


def test_one_that_carries_on_holds_in_everything() -> None:
    assert all(verdicts([tenth(1_800, 560, after=80.0)] * 600).values())


@pytest.mark.parametrize(
    ("what", "during"),
    [
        ("goodput", tenth(1_800, 500, after=80.0)),
        ("refusals, p99", tenth(1_800, 560, after=80.0, refused_after=60.0)),
        ("refusals without Retry-After", tenth(1_800, 560, after=80.0, bare=1)),
        ("accepted, p99", tenth(1_800, 560, after=95.0)),
        ("not answered, or with something else", tenth(1_800, 560, after=80.0, lost=1)),
    ],
)
def test_what_does_not_hold_is_named(what: str, during: Tally) -> None:
    assert not verdicts([during] * 600)[what]


def test_the_first_two_seconds_in_which_the_queues_fill_do_not_count() -> None:
    assert all(verdicts([tenth(1_800, 100, after=900.0)] * 20 + [tenth(1_800, 560, after=80.0)] * 580).values())


def test_memory_may_grow_as_it_does_for_as_many_messages_and_not_by_what_is_refused() -> None:
    assert verdicts([tenth(1_800, 560, after=80.0)] * 600, grown=280.0)["memory"]
    assert not verdicts([tenth(1_800, 560, after=80.0)] * 600, grown=300.0)["memory"]
    assert not judge.memory([], looks(0, 0)).met


def test_it_is_well_again_when_nothing_goes_wrong_any_more() -> None:
    ill, well = [tenth(420, 419)], [tenth(420, 420)]
    assert judge.well_after(well * 100, P99_MAX) == 0.0
    assert judge.well_after(ill * 12 + well * 88, P99_MAX) == 1.5
    assert judge.well_after(well * 50 + ill * 5 + well * 45, P99_MAX) == 5.5
    assert judge.well_after(well * 50 + ill * 50, P99_MAX) is None


def pushing(carries: float) -> Callable[[Job], Pushed]:
    """A server that is slow, and then refuses, past a rate."""

    def push(job: Job) -> Pushed:
        tallies = []
        for segment in job.segments:
            offered = round(segment.rate / 10)
            accepted = min(offered, round(carries * 1.05 / 10))
            after = 20.0 if segment.rate <= carries else 400.0
            tallies += [tenth(offered, accepted, after=after)] * round(segment.seconds * 10)
        return Pushed(0.0, tallies, 100, 0.0)

    return push


def test_the_limit_is_found_within_some_percent_from_below() -> None:
    limit = find(pushing(6_300.0), P99_MAX, 30, lambda _: None)
    assert 6_300 * 0.96 <= limit.rate <= 6_300
    assert limit.reason


def test_a_server_that_carries_nothing_has_no_limit() -> None:
    with pytest.raises(NoLimit, match="1,000/s are too much already"):
        find(pushing(500.0), P99_MAX, 30, lambda _: None)


def test_one_refusal_or_one_loss_is_too_much() -> None:
    assert broken(stage([tenth(100, 100)]), P99_MAX) is None
    assert broken(stage([tenth(100, 99)]), P99_MAX) == "10/s were refused"
    assert broken(stage([tenth(100, 99, lost=1)]), P99_MAX) == "1 requests were not answered"
    assert broken(stage([tenth(100, 100, after=300.0)]), P99_MAX) is not None
