"""Owners contend for partitions, and the log has one writer of each."""

import random
import re

import pytest

from tests.simulation.test_course import simulate
from tests.support.volume import volume

pytestmark = pytest.mark.processes

_SCHEDULES = f"{volume('FALCON_SIMULATION_SCHEDULES', 25, 8):g}"


def test_nothing_acknowledged_is_lost_and_nothing_void_is_acknowledged() -> None:
    """New schedules each time; the seed of a wrong one is in the failure."""
    seed = random.randrange(10**9)
    assert re.search(
        f"{_SCHEDULES} schedules, 0 violations",
        simulate("--kind", "owners", "--seed", str(seed), "--schedules", _SCHEDULES),
    )
