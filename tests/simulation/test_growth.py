"""Days pass in a cluster that is used a little, and nothing grows but what lives."""

import re

import pytest

from tests.simulation.growth import grown
from tests.simulation.test_course import simulate


def test_what_is_more_each_day_grows() -> None:
    assert grown([{"leaks": 10 * day, "stays": 40} for day in range(1, 8)]) == [
        "leaks grows: [10, 20, 30, 40, 50, 60, 70], a day each"
    ]


@pytest.mark.faults
def test_nothing_grows_in_two_days_but_what_lives() -> None:
    assert re.search("2 days, 0 violations", simulate("--growth", "2", "--seed", "1"))
