"""A simulated cluster keeps its promises while things fail, and the same seed is the same course of things."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.volume import volume

ROOT = Path(__file__).parents[2]
SECONDS = volume("FALCON_SIMULATION_SECONDS", 8)


def simulate(*arguments: str) -> str:
    command = [sys.executable, "-m", "tools.simulation", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.processes
def test_the_same_seed_is_the_same_schedule() -> None:
    """Also behind another schedule, which leaves nothing behind, and with the log shown."""
    behind_another = simulate("--seed", "1", "--schedules", "2", "--show")
    alone = simulate("--seed", "2", "--schedules", "1", "--show", "--log")
    seen = [re.search(r"seed 2, short: trace (-?\d+), (\d+) steps", said) for said in (behind_another, alone)]
    assert seen[0] is not None
    assert seen[1] is not None
    assert seen[0].groups() == seen[1].groups()
    assert int(seen[0][2]) > 1_000


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_whatever_fails_all_that_people_were_told_holds() -> None:
    """The same schedules each time, as many as the time is for; ``make simulate`` looks for new ones."""
    assert re.search(r"[1-9]\d* schedules, 0 violations", simulate("--seed", "1", "--seconds", f"{SECONDS:g}"))


@pytest.mark.processes
def test_a_token_that_is_revoked_at_one_pod_is_refused_at_every_other_one_within_two_seconds() -> None:
    count = f"{volume('FALCON_SIMULATION_SCHEDULES', 8):g}"
    assert re.search(
        f"{count} schedules, 0 violations", simulate("--kind", "revocations", "--seed", "1", "--schedules", count)
    )


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_of_2_000_racing_wishes_each_handle_has_one_holder_at_a_time() -> None:
    """Owners are killed meanwhile, and write late what they decided in an old epoch."""
    said = simulate("--kind", "wishes", "--seed", "1", "--schedules", "1", "--show")
    assert "2,000 wishes for 50 handles" in said
    assert "1 schedules, 0 violations" in said
