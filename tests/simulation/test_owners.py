"""Owners contend for partitions, and the log has one writer of each."""

import re

import pytest

from tests.simulation.test_course import simulate
from tests.support.volume import volume

pytestmark = pytest.mark.processes

_SCHEDULES = f"{volume('FALCON_SIMULATION_SCHEDULES', 10):g}"


def test_nothing_acknowledged_is_lost_and_nothing_void_is_acknowledged() -> None:
    assert re.search(
        f"{_SCHEDULES} schedules, 0 violations",
        simulate("--kind", "owners", "--seed", "1", "--schedules", _SCHEDULES),
    )
