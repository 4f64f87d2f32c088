"""The window in which a retry finds its answer."""

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.write.answers import (
    ACCOUNT_BYTES,
    KEY_BYTES,
    AnswerWindow,
    KeyCounts,
    Remembered,
    UsedKeys,
    WindowTime,
)


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(10, 1_000))
def test_an_answer_is_found_for_exactly_the_window(pauses: list[int], window: int) -> None:
    answers = AnswerWindow(window)
    at = 0
    given_at: dict[str, int] = {}
    for i, pause in enumerate(pauses):
        at += pause
        answers.add(1, f"k{i}", Remembered(i, 1, i, at))
        given_at[f"k{i}"] = at
        for key, moment in given_at.items():
            assert bool(answers.find(1, key, at)) == (moment >= at - window)


def test_memory_follows_the_window_and_not_the_number_of_answers() -> None:
    answers = AnswerWindow(1_000)
    for at in range(100_000):
        answers.add(1, f"k{at}", Remembered(at, 1, 0, at))
    assert len(answers) <= 1_200


PLACES = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), st.integers(0, 9))


@given(st.lists(PLACES, min_size=1, max_size=20), st.integers(1, 2**53))
def test_an_answer_is_found_as_it_was_given(places: list[tuple[int, int, int, int]], account_id: int) -> None:
    """Also one of another epoch, or of a place before the last."""
    answers, counts = AnswerWindow(600_000), KeyCounts(1 << 30, 10)
    answers.count_in(counts)
    given = [Remembered(*place) for place in places]
    for number, remembered in enumerate(given):
        answers.add(account_id, f"{number}", remembered)
    for number, remembered in enumerate(given):
        assert answers.find(account_id, f"{number}", 9) == remembered
        assert answers.find(account_id + 1, f"{number}", 9) is None
    assert answers.forget(1_000_000, 1_000) == len(given)
    assert (len(answers), counts.total, counts.bytes) == (0, 0, 0)


def test_a_key_that_is_used_again_after_its_window_is_remembered_once_and_in_its_new_place() -> None:
    answers, counts = AnswerWindow(1_000), KeyCounts(1 << 30, 10)
    answers.count_in(counts)
    for number in range(9):
        answers.add(1, f"{number}", Remembered(number, 1, number, 0))
    answers.add(1, "8", Remembered(100, 1, 100, 1_001))
    assert answers.find(1, "8", 1_001) == Remembered(100, 1, 100, 1_001)
    assert (answers.forget(1_001, 100), len(answers), counts.total) == (6, 1, 1)
    assert (answers.forget(2_002, 100), len(answers), counts.total) == (1, 0, 0)


@pytest.mark.parametrize("count", [5_000, 20_000, 33_000])
@pytest.mark.parametrize("accounts", [1, 1_000, 33_000])
def test_a_key_takes_no_more_memory_than_is_counted_for_it(count: int, accounts: int) -> None:
    accounts = min(accounts, count)
    tracemalloc.start()
    try:
        answers, counts = AnswerWindow(600_000), KeyCounts(1 << 30, 20_000)
        answers.count_in(counts)
        before, _ = tracemalloc.get_traced_memory()
        for i in range(count):
            at = 1_800_000_000_000 + i * 540_000 // count
            answers.add(10**6 + i % accounts, f"{i:064d}", Remembered(10**9 + i, 7, 10**8 + i, at))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(answers) == counts.total == count
    assert counts.bytes == count * KEY_BYTES + accounts * ACCOUNT_BYTES
    assert 0.6 * counts.bytes < after - before < counts.bytes


def test_memory_is_given_back_when_keys_are_forgotten_and_others_come() -> None:
    tracemalloc.start()
    try:
        answers, counts = AnswerWindow(600_000), KeyCounts(1 << 30, 20_000)
        answers.count_in(counts)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for i in range(20_000):
            answers.add(i, f"{i}", Remembered(i, 7, i, i))
        answers.forget(1_000_000, 19_000)
        for i in range(20_000, 23_000):
            answers.add(i, f"{i}", Remembered(i, 7, i, i))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts.total == 4_000
    assert after - before < counts.bytes


def test_an_answer_that_comes_late_is_forgotten_after_those_that_came_before_it() -> None:
    """As from the last checkpoint of a deposed owner, whose answers another one has as well."""
    answers = AnswerWindow(1_000)
    for number, at in enumerate((100, 300, 200, 50)):
        answers.add(1, f"{number}", Remembered(number, 1, number, at))
    assert [bool(answers.find(1, f"{number}", 1_201)) for number in range(4)] == [False, True, False, False]
    assert [answers.forget(at, 10) for at in (1_201, 1_301, 1_301)] == [1, 3, 0]


def test_no_more_keys_are_forgotten_at_once_than_there_is_time_for() -> None:
    answers = AnswerWindow(1_000)
    for number in range(5_000):
        answers.add(1, f"{number}", Remembered(number, 1, number, 0))
    assert [answers.forget(1_001, 2_000) for _ in range(4)] == [2_000, 2_000, 1_000, 0]
    assert len(answers) == 0


def test_keys_that_have_expired_do_not_pile_up_while_others_come() -> None:
    answers = AnswerWindow(1_000)
    for number in range(20_000):
        answers.add(1, f"{number}", Remembered(number, 1, number, 0))
    for number in range(20_000):
        answers.add(2, f"{number}", Remembered(20_000 + number, 1, number, 1_001))
        assert len(answers) <= 20_000 + 128
    assert len(answers) <= 20_000


def test_keys_count_for_their_account_until_they_are_forgotten() -> None:
    counts = KeyCounts(5 * KEY_BYTES + ACCOUNT_BYTES, 3)
    answers, elsewhere = AnswerWindow(1_000), AnswerWindow(1_000)
    elsewhere.add(1, "before it counted", Remembered(0, 1, 0, 0))
    for window in (answers, elsewhere):
        window.count_in(counts)
    for key in ("a", "b"):
        answers.add(1, key, Remembered(1, 1, 1, 150))
    assert (counts.total, counts.is_full_for(1), counts.has_room_for(1), counts.has_room_for(2)) == (
        3,
        True,
        False,
        True,
    )
    answers.add(1, "later", Remembered(2, 1, 2, 1_050))
    answers.add(1, "and", Remembered(3, 1, 3, 1_050))
    assert not counts.has_room_for(2)
    assert answers.seconds_to_forget(150) == 1.001
    assert answers.forget(1_150, 10) == 0
    assert answers.forget(1_151, 10) == 2
    assert (counts.total, counts.is_full_for(1), counts.has_room_for(2)) == (3, True, True)
    elsewhere.count_out()
    assert (counts.total, counts.is_full_for(1)) == (2, False)
    answers.count_out()
    assert counts.bytes == 0


def test_keys_of_a_partition_that_comes_or_goes_are_counted_a_part_at_a_time() -> None:
    """The window continues meanwhile."""
    counts, answers = KeyCounts(1 << 30, 5_000), AnswerWindow(1_000)
    for number in range(3_000):
        answers.add(1, f"{number}", Remembered(number, 1, number, number // 10))
    answers.count_in(counts)
    assert counts.total == 3_000, "at once"
    changed: list[int] = []
    for number in range(3_000, 3_100):
        answers.add(1, f"{number}", Remembered(number, 1, number, 400))
    answers.forget(1_250, 10_000)
    while counts._uncounted:
        before = counts._keys_by_account.get(1, 0)
        counts.settle_key_counts(1_000)
        changed.append(counts._keys_by_account.get(1, 0) - before)
    assert changed == [1_000, 1_000, 744], "beside the first, which were counted with the partition"
    assert counts._keys_by_account.get(1, 0) == counts.total == len(answers)
    answers.count_out()
    counts.settle_key_counts(10_000)
    assert (counts.total, counts.bytes) == (0, 0)


def test_where_accounts_are_not_counted_none_has_too_many() -> None:
    counts = KeyCounts(1 << 30)
    for _ in range(30_000):
        counts.add(1, 1)
    assert (counts.is_full_for(1), counts.bytes) == (False, 30_000 * KEY_BYTES)


def test_a_key_is_one_requests_for_as_long_as_it_is_remembered() -> None:
    keys = UsedKeys(3, 10.0)
    assert keys.is_free(1, "a", 5, 99.0)
    keys.note(1, "a", 5, 100.0)
    keys.note(1, "a", 5, 109.0)
    assert keys.is_free(1, "a", 5, 109.9) and not keys.is_free(1, "a", 6, 109.9)
    assert keys.is_free(2, "a", 6, 109.9), "another account's"
    assert keys.is_free(1, "a", 6, 110.0), "its window is over, and a retry made it no longer"
    keys.note(1, "a", 6, 110.0)
    assert not keys.is_free(1, "a", 5, 119.0)


def test_of_the_keys_that_were_used_last_none_is_forgotten_and_there_are_never_many_more() -> None:
    keys = UsedKeys(100, 10.0)
    for number in range(1_000):
        keys.note(1, f"{number}", 1, 100.0)
        for older in range(max(0, number - 99), number):
            assert not keys.is_free(1, f"{older}", 2, 100.0)
        assert len(keys) < 200


class Steady:
    """A clock that never goes back."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


def test_the_windows_time_is_that_of_events_of_one_clock_and_then_that_of_a_steady_one() -> None:
    steady = Steady()
    time = WindowTime(steady.monotonic)
    time.resume(1_000)
    assert [time.read(at, 3) for at in (50_000, 52_000, 51_000, 51_500)] == [1_000, 3_000, 3_000, 3_500]
    time.start(90_000)
    assert time.now() == 3_500
    steady.seconds += 60
    assert time.now() == 63_500


def test_the_windows_time_begins_with_the_time_of_day() -> None:
    time = WindowTime(Steady().monotonic)
    time.start(90_000)
    assert time.now() == 90_000
    time = WindowTime(Steady().monotonic)
    assert [time.read(50_000, 1), time.read(70_000, 2)] == [50_000, 50_000]
    time.start(90_000)
    assert time.now() == 50_000


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_the_windows_time_does_not_move_from_one_start_to_the_next(times: list[int]) -> None:
    time = WindowTime(Steady().monotonic)
    time.resume(7)
    assert [time.read(at, epoch) for epoch, at in enumerate(times)] == [7] * len(times)
