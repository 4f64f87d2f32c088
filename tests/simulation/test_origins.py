"""The outcome of a schedule comes to light, also if its process dies."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from unittest.mock import patch

import pytest

from tools.simulation.cluster import SimulatedFalcon
from tools.simulation.course import Course
from tools.simulation.origins import explore

pytestmark = pytest.mark.processes


@contextmanager
def dies() -> Iterator[None]:
    async def hurt(self: Course) -> None:
        if self._outcome.seed % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("it stumbles")

    with patch.object(Course, "_hurt", hurt):
        yield


@contextmanager
def starts_never() -> Iterator[None]:
    async def start(self: SimulatedFalcon) -> None:
        raise RuntimeError("it does not start")

    with patch.object(SimulatedFalcon, "start", start):
        yield


def test_one_that_dies_or_fails_is_a_violation_and_the_next_one_runs() -> None:
    died, failed, again = islice(explore(1, "short", dies), 3)
    assert died.violations == ["the process died"]
    assert failed.violations[0] == "the schedule failed: RuntimeError: it stumbles"
    assert again.violations == ["the process died"]


def test_a_cluster_that_does_not_start_is_a_violation_of_each_schedule() -> None:
    first, second = islice(explore(1, "short", starts_never), 2)
    assert (first.seed, second.seed) == (1, 2)
    assert first.violations[0] == second.violations[0] == "the schedule failed: RuntimeError: it does not start"
