"""What finds the mutants finds nothing in Falcon as it is, and finds some of them at once."""

import json
from itertools import islice

import pytest

from tests.simulation.hunt import outcomes, search
from tests.simulation.mutants import MUTANTS, SEEDS
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.schedules import BEHIND, ONE_SHARD, OWNERS, STANDSTILL, Schedules

_QUICK = ("a checkpoint lacks some of what has changed", "a key remembers a refusal that rests on what was read")
_SEARCHED = 300


def test_every_mutant_has_a_name_of_its_own_and_only_known_ones_have_seeds() -> None:
    names = [each.name for each in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(json.loads(SEEDS.read_text())) <= set(names)


@pytest.mark.processes
@pytest.mark.parametrize("schedules", [ONE_SHARD, OWNERS, BEHIND, STANDSTILL], ids=str)
def test_falcon_as_it_is_is_found_innocent_by_what_finds_mutants(schedules: Schedules) -> None:
    """At the seeds that were kept for such schedules."""
    kept = json.loads(SEEDS.read_text())
    seeds = {kept[each.name] for each in MUTANTS if each.schedules is schedules and each.name in kept}
    assert seeds
    for seed in sorted(seeds)[:3]:
        [(_, wrong)] = islice(outcomes(Mutant("none", (), schedules), seed), 1)
        assert not wrong, f"seed {seed}: {wrong[:5]}"


@pytest.mark.processes
@pytest.mark.parametrize("name", _QUICK)
def test_a_mutant_is_found(name: str) -> None:
    mutant = next(each for each in MUTANTS if each.name == name)
    _, found, _ = search(mutant, json.loads(SEEDS.read_text()).get(name), 1, _SEARCHED)
    assert found is not None
