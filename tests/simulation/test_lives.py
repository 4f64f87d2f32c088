"""People on one machine hear the truth in all of its lives: killed, rolled back, copied, with another clock."""

import re

import pytest

from tests.simulation.test_course import simulate
from tests.support.volume import volume


@pytest.mark.processes
def test_people_who_count_along_are_told_the_truth_in_every_life_of_a_machine() -> None:
    count = f"{volume('FALCON_SIMULATION_SCHEDULES', 4):g}"
    assert re.search(
        r"[1-9]\d* schedules, 0 violations", simulate("--kind", "lives", "--seed", "1", "--schedules", count)
    )


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a token does not say", "a limit refuses", "a pin outlives", "a line in the room"])
def test_a_mistake_between_two_lives_is_found(name: str) -> None:
    assert "1 mutants, 0 not found" in simulate("--mutants", "--mutant", name, "--schedules", "60")
