"""The search that finds the mutants finds nothing in Falcon as it is, and finds some of them at once."""

import json
import re
import subprocess
import sys
from inspect import Parameter, signature
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


def test_every_mutant_can_be_called_as_what_it_replaces() -> None:
    """Else its schedules fail for that, and not for the mistake."""
    for mutant in MUTANTS:
        for where, what, instead in mutant.replaced:
            if callable(replaced := getattr(where, what)):
                taken = signature(replaced).parameters.values()
                named = {each.name: None for each in taken if each.kind is Parameter.KEYWORD_ONLY}
                by_place = [each for each in taken if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
                try:
                    signature(instead).bind(*by_place, **named)
                except TypeError as error:
                    pytest.fail(f"{mutant.name}: {what}: {error}")


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a page goes", "a refusal makes", "snapshots are compacted", "a checkpoint"])
def test_falcon_as_it_is_is_found_innocent_where_mutants_are_found(name: str) -> None:
    assert re.search(r"[1-9]\d* schedules, 0 violations", simulate("--innocent", "--mutant", name))


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a checkpoint lacks", "time never", "snapshots are compacted"])
def test_a_mutant_is_found(name: str) -> None:
    assert "1 mutants, 0 not found" in simulate("--mutants", "--mutant", name, "--schedules", _SEARCHED)
