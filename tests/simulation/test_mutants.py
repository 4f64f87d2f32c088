"""The search that finds the mutants finds nothing in Falcon as it is, and finds some of them at once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.simulation.mutants import MUTANTS, SEEDS

ROOT = Path(__file__).parents[2]
_SEARCHED = "300"


def simulate(*arguments: str) -> str:
    command = [sys.executable, "-m", "tools.simulation", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_mutant_has_a_name_of_its_own_and_only_known_ones_have_seeds() -> None:
    names = [each.name for each in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(json.loads(SEEDS.read_text())) <= set(names)


def test_every_mutant_replaces_what_is_there() -> None:
    replaced = [each for mutant in MUTANTS for each in mutant.replaced]
    assert [each for each in replaced if not hasattr(each.where, each.what)] == []


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a page goes", "a refusal makes", "snapshots are compacted", "a checkpoint"])
def test_falcon_as_it_is_is_found_innocent_where_mutants_are_found(name: str) -> None:
    assert re.search(r"[1-9]\d* schedules, 0 violations", simulate("--innocent", "--mutant", name))


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a checkpoint lacks", "time never", "snapshots are compacted"])
def test_a_mutant_is_found(name: str) -> None:
    assert "1 mutants, 0 not found" in simulate("--mutants", "--mutant", name, "--schedules", _SEARCHED)
