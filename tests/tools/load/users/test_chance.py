"""The distributions: what is stated of them is what comes out of them."""

from itertools import islice, pairwise
from random import Random

import pytest

from load_tests.users.chance import Pace, Thinking, Zipf, even, poisson


def test_the_second_room_is_drawn_half_as_often_as_the_first_and_the_tenth_a_tenth() -> None:
    zipf, chance = Zipf(100), Random(1)
    draws = [zipf.draw(chance) for _ in range(100_000)]
    counts = [draws.count(rank) for rank in range(100)]
    assert counts[1] / counts[0] == pytest.approx(1 / 2, rel=0.05)
    assert counts[9] / counts[0] == pytest.approx(1 / 10, rel=0.1)
    assert min(counts) > 0


def test_starts_by_chance_come_at_the_rate_and_know_nothing_of_one_another() -> None:
    starts = list(islice(poisson(50.0, Random(3)), 50_000))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / 50, rel=0.02)
    # The deviation of exponential gaps is as large as their mean; that of even gaps would be 0.
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.03)


def test_even_starts_are_a_gap_apart_from_their_phase_on() -> None:
    assert list(islice(even(4.0, 0.5), 3)) == [0.125, 0.375, 0.625]


def test_pauses_have_the_median_and_the_mean_that_are_said() -> None:
    thinking, chance = Thinking(2.0), Random(4)
    draws = sorted(thinking.draw(chance) for _ in range(50_000))
    assert draws[len(draws) // 2] == pytest.approx(2.0, rel=0.03)
    assert sum(draws) / len(draws) == pytest.approx(thinking.mean, rel=0.03)


def test_whoever_was_answered_late_does_not_act_later_for_it() -> None:
    pace = Pace(100.0)
    pace.pause(2.0)
    assert pace.since(109.0) == 102.0  # meant at 102, and begun at 109 since the answer before came then
    pace.pause(2.0)
    assert pace.since(109.5) == 104.0


def test_what_follows_from_an_answer_at_once_was_meant_at_that_moment() -> None:
    pace = Pace(100.0)
    pace.pause(2.0)
    pace.since(102.0)
    assert pace.since(103.5) == 103.5
