"""Times that are added up over workers."""

from random import Random

import pytest

from tools.harness.histogram import Histogram


def of(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram


def test_a_quantile_is_within_a_percent_of_the_exact_one() -> None:
    chance = Random(1)
    times = [chance.lognormvariate(-4, 1) for _ in range(20_000)]
    histogram = of(*times)
    for share in (0.5, 0.95, 0.99, 0.999):
        assert histogram.quantile(share) == pytest.approx(sorted(times)[round(share * len(times)) - 1], rel=0.015)


def test_the_largest_is_exact_and_no_quantile_is_beyond_it() -> None:
    histogram = of(0.001, 0.25)
    assert histogram.longest == 0.25
    assert histogram.quantile(1.0) == pytest.approx(0.25, rel=0.01)
    assert all((of(each).quantile(1.0) or 0.0) <= each for each in (0.2501, 0.0123, 7.7))


def test_two_workers_times_together_are_those_of_all() -> None:
    fast, slow = of(*[0.001] * 99), of(*[1.0] * 99)
    fast.merge(slow)
    assert fast.count == 198
    assert fast.quantile(0.5) == pytest.approx(0.001, rel=0.01)
    assert fast.quantile(0.51) == pytest.approx(1.0, rel=0.01)


def test_it_crosses_from_a_worker_and_is_the_same() -> None:
    sent = of(0.001, 0.002, 0.002, 5.0)
    longest, numbers = sent.packed()
    come = Histogram.unpacked(longest, numbers)
    assert (come.buckets, come.count, come.longest) == (sent.buckets, sent.count, sent.longest)


def test_nothing_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
