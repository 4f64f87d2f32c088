"""When an owner is taken for dead, and how often one that is merely slow can be."""

import math
from collections.abc import Iterable

import pytest

from falcon.adapters.owner_http.suspicion import (
    ENDED_TICKS,
    REMEMBER_SECONDS,
    SILENT_TICKS,
    TICK_SECONDS,
    Patience,
    Suspicion,
    name_of,
    precedes,
    process_of,
    watched_by,
)

SESSION_SECONDS = 6.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ticks_until_dead(suspicion: Suspicion, patience: float = 1.0, limit: int = 1_000) -> int:
    for ticks in range(limit):
        if suspicion.is_dead(patience):
            return ticks
        suspicion.tick()
    return limit


def heard() -> Suspicion:
    suspicion = Suspicion()
    suspicion.beat()
    return suspicion


# --- one watcher, one owner -------------------------------------------------------------------------------------------


def test_an_owner_that_falls_silent_is_dead_within_a_second_and_a_half() -> None:
    assert ticks_until_dead(heard()) == SILENT_TICKS
    assert 1.0 < SILENT_TICKS * TICK_SECONDS < 1.5


def test_an_owner_that_closed_its_connection_and_answers_no_other_is_dead_within_half_a_second() -> None:
    suspicion = heard()
    suspicion.ended()
    assert ticks_until_dead(suspicion) == ENDED_TICKS
    assert ENDED_TICKS * TICK_SECONDS < 0.5


def test_an_owner_whose_connection_was_only_lost_is_heard_on_the_next_one_and_lives() -> None:
    suspicion = heard()
    suspicion.ended()
    suspicion.tick()
    suspicion.beat()
    assert ticks_until_dead(suspicion) == SILENT_TICKS


def test_an_owner_that_was_never_heard_is_never_suspected() -> None:
    suspicion = Suspicion()
    suspicion.ended()
    assert ticks_until_dead(suspicion, limit=1_000) == 1_000


def test_a_watcher_that_was_stopped_itself_suspects_nobody() -> None:
    suspicion = heard()
    suspicion.tick()  # the one that came due while it was stopped, however long that was
    assert not suspicion.is_dead(1.0)


# --- how patient watchers are -----------------------------------------------------------------------------------------

OWNER = name_of("10.0.0.7:8082/0", "5f3a")


def removed_wrongly(patience: Patience, times: Iterable[int]) -> None:
    for number in times:
        patience.see({})
        patience.see({OWNER: f"id {number}"})


def test_each_wrong_removal_doubles_the_patience_until_the_brokers_session_is_as_quick() -> None:
    patience = Patience(SESSION_SECONDS, Clock())
    found = []
    for number in range(5):
        removed_wrongly(patience, [number])
        found.append(patience.patience_of([OWNER]))
    assert found == [1.0, 2.0, 4.0, math.inf, math.inf]


def test_an_owner_that_was_started_again_is_not_treated_as_a_slow_one() -> None:
    patience = Patience(SESSION_SECONDS, Clock())
    patience.see({OWNER: "id 1"})
    again = name_of("10.0.0.7:8082/0", "77b1")
    patience.see({again: "id 2"})
    assert patience.patience_of([again]) == 1.0


def test_a_wrong_removal_is_forgotten_after_a_while() -> None:
    clock = Clock()
    patience = Patience(SESSION_SECONDS, clock)
    removed_wrongly(patience, range(3))
    assert patience.patience_of([OWNER]) == 4.0
    clock.now += REMEMBER_SECONDS
    assert patience.patience_of([OWNER]) == 1.0


@pytest.mark.parametrize(
    ("paused", "running", "most"),
    [(0.4, 0.6, 0), (1.0, 0.2, 0), (2.0, 1.0, 3), (4.0, 0.6, 3)],
)
def test_an_owner_that_pauses_all_the_time_is_removed_three_times_in_ten_minutes_at_most(
    paused: float, running: float, most: int
) -> None:
    """It beats while it runs, joins the group again at once, and pauses, for ten minutes."""
    clock, suspicion = Clock(), Suspicion()
    patience = Patience(SESSION_SECONDS, clock)
    patience.see({OWNER: "id 0"})
    turn, pause = round((paused + running) / TICK_SECONDS), round(paused / TICK_SECONDS)
    removals = 0
    for tick in range(round(REMEMBER_SECONDS / TICK_SECONDS)):
        clock.now += TICK_SECONDS
        if tick % turn >= pause:
            suspicion.beat()
            patience.see({OWNER: f"id {removals}"})
        suspicion.tick()
        if suspicion.is_dead(patience.patience_of([OWNER])):
            removals += 1
            suspicion = Suspicion()
    assert removals <= most
    assert (removals > 0) == (most > 0)


# --- who watches whom -------------------------------------------------------------------------------------------------


def group(*addresses: str) -> dict[str, str]:
    return {name_of(address, "5f3a"): f"member at {address}" for address in addresses}


def test_each_owner_is_watched_by_several_others_and_by_none_twice() -> None:
    members = group(*(f"10.0.0.{i}:8082/0" for i in range(1, 8)))
    watchers: dict[str, list[str]] = {}
    for i in range(1, 8):
        for watched in watched_by(f"10.0.0.{i}:8082", members, 4):
            watchers.setdefault(watched.process, []).append(f"10.0.0.{i}:8082")
    assert {len(set(each)) for each in watchers.values()} == {4}
    assert all(process not in each for process, each in watchers.items())


def test_the_shards_of_a_process_are_removed_together() -> None:
    members = group("10.0.0.1:8082/0", "10.0.0.2:8082/0", "10.0.0.2:8082/1")
    (watched,) = watched_by("10.0.0.1:8082", members, 4)
    assert sorted(watched.members.values()) == ["member at 10.0.0.2:8082/0", "member at 10.0.0.2:8082/1"]


def test_a_process_that_is_no_member_itself_watches_nobody() -> None:
    assert watched_by("10.0.0.9:8082", group("10.0.0.1:8082/0", "10.0.0.2:8082/0"), 4) == []


def test_members_of_another_version_are_let_be() -> None:
    members = {**group("10.0.0.1:8082/0"), "aiokafka-0.14.0": "a member"}
    assert watched_by("10.0.0.1:8082", members, 4) == []


def test_names_tell_where_a_process_is_reached_and_which_one_was_there_before() -> None:
    assert process_of(name_of("[::1]:8082/0", "5f3a")) == "[::1]:8082"
    assert process_of("aiokafka-0.14.0") is None
    now = name_of("10.0.0.7:8082/0", "77b1")
    assert precedes(OWNER, now)
    assert not precedes(now, now)
    assert not precedes(name_of("10.0.0.7:8082/1", "5f3a"), now)
    assert not precedes("aiokafka-0.14.0", now)
    assert not precedes("aiokafka-0.14.0", "aiokafka-0.15.0")
