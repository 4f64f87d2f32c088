"""Rates and counts by key: what is allowed, what is remembered, and for how long."""

import random

import pytest

from falcon.base.buckets import Buckets, Counts
from tools.harness.clock import FakeClock


def test_a_key_may_be_used_so_often_at_once_and_then_as_time_goes_by() -> None:
    clock = FakeClock()
    buckets = Buckets(100, 5.0, clock=clock.monotonic)
    assert [buckets.consume("ann") for _ in range(100)] == [0.0] * 100
    assert round(buckets.consume("ann"), 3) == 0.05
    clock.advance(0.05)
    assert buckets.consume("ann") == 0.0
    assert buckets.consume("ann") > 0
    clock.advance(5.0)
    assert [buckets.consume("ann") for _ in range(100)] == [0.0] * 100
    assert buckets.consume("ann") > 0


def test_what_is_refused_uses_nothing() -> None:
    clock = FakeClock()
    buckets = Buckets(1, 1.0, clock=clock.monotonic)
    assert buckets.consume("ann") == 0.0
    for _ in range(1_000):
        assert buckets.consume("ann") == buckets.wait("ann") > 0
    clock.advance(1.0)
    assert buckets.wait("ann") == 0.0
    assert buckets.consume("ann") == 0.0


def test_uses_may_be_reserved_one_behind_the_other_for_so_many_seconds() -> None:
    clock = FakeClock()
    buckets = Buckets(2, 1.0, ahead=3.0, clock=clock.monotonic)
    waits = [buckets.consume("ann") for _ in range(10)]
    assert waits[:8] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], abs=0.01)
    assert min(waits[8:]) > 3.0, "nothing is reserved so far ahead"
    clock.advance(2.5)
    assert [buckets.consume("ann") for _ in range(2)] == pytest.approx([1.0, 1.5], abs=0.01)


def test_others_are_not_affected() -> None:
    buckets = Buckets(2, 1.0, clock=FakeClock().monotonic)
    assert [buckets.consume("ann") for _ in range(3)][2] > 0
    assert [buckets.consume("bob") for _ in range(2)] == [0.0, 0.0]


def test_no_quota_is_no_limit_and_remembers_nobody() -> None:
    buckets = Buckets(0, 0.0)
    assert not any(buckets.consume(key) for key in range(1_000))
    assert (len(buckets), buckets.wait(1)) == (0, 0.0)


def test_a_burst_is_never_passed_in_any_window_and_never_refused_below_it() -> None:
    """Against the definition: in no time of length t are more than quota + t * rate uses allowed, and each that is
    refused would have broken that."""
    chance = random.Random(17)
    for _ in range(50):
        clock = FakeClock()
        quota, seconds = chance.randint(1, 8), chance.choice([1.0, 2.0, 5.0])
        buckets = Buckets(quota, seconds, clock=clock.monotonic)
        level, at = float(quota), clock.monotonic()
        for _ in range(400):
            clock.advance(chance.choice([0.0, 0.0, 0.01, 0.3, 1.0, 7.0]))
            now = clock.monotonic()
            level, at = min(quota, level + (now - at) * quota / seconds), now
            if abs(level - 1) < 1e-3:
                continue  # rounding decides
            assert (buckets.consume("ann") == 0.0) == (level >= 1)
            level -= level >= 1


def test_those_that_are_idle_are_forgotten() -> None:
    clock = FakeClock()
    buckets = Buckets(10, 1.0, clock=clock.monotonic)
    for second in range(100):
        for key in range(50):
            buckets.consume((second, key))
        clock.advance(1.0)
    assert len(buckets) <= 3 * 50


def test_however_many_there_are_memory_is_bounded_and_the_older_half_is_forgotten_early() -> None:
    buckets = Buckets(2, 1.0, keys_max=100, clock=FakeClock().monotonic)
    for account in range(10_000):
        assert buckets.consume(account) == 0.0
        assert len(buckets) <= 200
    assert [buckets.consume(9_999), buckets.consume(9_999) > 0] == [0.0, True]


def test_those_who_can_invent_keys_share_a_bucket_and_those_known_before_are_not_affected() -> None:
    clock = FakeClock()
    buckets = Buckets(2, 1.0, keys_max=100, shared=True, clock=clock.monotonic)
    assert buckets.consume("ann") == 0.0
    allowed = sum(buckets.consume(stranger) == 0.0 for stranger in range(10_000))
    assert allowed == 99 + 2  # all further ones share a bucket
    assert len(buckets) <= 101
    assert buckets.consume("ann") == 0.0
    assert buckets.consume("ann") > 0
    clock.advance(1.0)
    assert buckets.consume("somebody else") == 0.0


def test_so_many_there_may_be_at_once() -> None:
    counts = Counts(2)
    assert [counts.enter("ann"), counts.enter("ann"), counts.enter("ann")] == [True, True, False]
    assert counts.is_full("ann")
    assert counts.enter("bob")
    counts.leave("ann")
    assert counts.enter("ann")
    for key in ("ann", "ann", "bob"):
        counts.leave(key)
    assert len(counts) == 0
    assert all(Counts(0).enter("ann") for _ in range(100))
