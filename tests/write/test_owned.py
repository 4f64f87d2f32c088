"""The states of a partition at a shard: each leads only where it should, and keeps the keys that it knows."""

from typing import Final

import pytest

from falcon.journal.ports import Append
from falcon.write import owned
from falcon.write.limits import ShardLimits
from falcon.write.owned import Down, InFlight, Leaving, Lost, Owned, Recovering, Serving
from falcon.write.partition_aggregates import PartitionAggregates
from tools.harness.memory.log import MemoryLog

KEYS: Final = PartitionAggregates(0, 1, MemoryLog(1), ShardLimits())
DOWN: Final = Down(5.0, 2, KEYS)
RECOVERING: Final = Recovering(2, KEYS)
SERVING: Final = Serving(KEYS, captured_at=1.0)
LOST: Final = Lost(3, 6.0, KEYS)
ALL: Final = (DOWN, RECOVERING, SERVING, Leaving(SERVING), LOST)


@pytest.mark.parametrize("state", ALL, ids=owned.name_of)
def test_every_state_knows_the_keys_that_were_used_here(state: Owned) -> None:
    assert owned.known_of(state) is KEYS


def test_only_a_partition_that_serves_or_leaves_waits_for_its_log() -> None:
    assert [owned.serving_of(state) for state in ALL] == [None, None, SERVING, SERVING, None]
    assert owned.serving_of(None) is None


def test_a_takeover_remembers_how_often_it_failed_and_forgets_it_after_a_loss() -> None:
    assert owned.taken_over(DOWN) == Recovering(2, KEYS)
    assert owned.taken_over(LOST) == Recovering(0, KEYS)


def test_one_that_cannot_be_taken_over_counts_its_tries_and_one_that_cannot_be_read_does_not() -> None:
    assert owned.put_off(RECOVERING, 9.0) == Down(9.0, 3, KEYS)
    assert owned.not_readable(RECOVERING, 9.0) == Down(9.0, 2, KEYS)


def test_one_that_is_assigned_elsewhere_leaves_and_comes_back_as_it_was() -> None:
    leaving = owned.assigned_elsewhere(SERVING)
    assert leaving == Leaving(SERVING)
    assert owned.assigned(leaving) is SERVING
    assert owned.assigned(DOWN) is DOWN


def test_one_that_leaves_is_forgotten_once_nothing_of_it_is_in_flight() -> None:
    serving = Serving(KEYS, captured_at=1.0)
    serving.in_flight.append(InFlight(Append(0, 1, [], []), [], 2.0))
    leaving = Leaving(serving)
    assert owned.assigned_elsewhere(leaving) is leaving
    serving.in_flight.clear()
    assert owned.assigned_elsewhere(leaving) is None


@pytest.mark.parametrize("state", [DOWN, RECOVERING, LOST], ids=owned.name_of)
def test_one_that_does_not_serve_is_forgotten_when_it_is_assigned_elsewhere(state: Owned) -> None:
    assert owned.assigned_elsewhere(state) is None


def test_a_failed_append_ends_a_state_and_the_next_takeover_may_begin_at_once() -> None:
    assert owned.went_down(SERVING) == Down(0.0, 0, KEYS)
    assert owned.deposed(SERVING, 4, 7.0) == Lost(4, 7.0, KEYS)
