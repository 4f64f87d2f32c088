"""The window in which a retry finds its answer."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.write import answers as remembering
from falcon.write.answers import (
    ACCOUNT_BYTES,
    KEY_BYTES,
    AnswerWindow,
    KeyCounts,
    Remembered,
    UsedKeys,
    WindowTime,
    is_same_request,
)


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(10, 1_000))
def test_an_answer_is_found_for_exactly_the_window(pauses: list[int], window: int) -> None:
    answers = AnswerWindow(window)
    at = 0
    given_at: dict[str, int] = {}
    for i, pause in enumerate(pauses):
        at += pause
        answers.add(1, f"k{i}", Remembered(i, i, 1, i, at))
        given_at[f"k{i}"] = at
        for key, moment in given_at.items():
            assert (answers.find(1, key, at) is not None) == (moment >= at - window)


def test_memory_follows_the_window_and_not_the_number_of_answers() -> None:
    answers = AnswerWindow(1_000)
    for at in range(100_000):
        answers.add(1, f"k{at}", Remembered(0, at, 1, 0, at))
    assert len(answers) <= 1_200


@given(
    st.integers(1, 2**53),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**44 - 1),
    st.integers(0, 2**45),
)
def test_an_answer_is_found_as_it_was_given(
    account_id: int, fingerprint: int, offset: int, epoch: int, n: int, at: int
) -> None:
    answers, counts = AnswerWindow(600_000), KeyCounts(1 << 30, 10)
    answers.count_in(counts)
    answers.add(account_id, "k", Remembered(fingerprint, offset, epoch, n, at))
    found = answers.find(account_id, "k", at)
    assert found is not None
    assert (found.position, found.at) == (Remembered(fingerprint, offset, epoch, n, at).position, at)
    assert is_same_request(found.fingerprint, fingerprint)
    assert not is_same_request(found.fingerprint, fingerprint ^ 1)
    answers.expire(at + 1_000_000)
    assert (counts.total, counts.bytes) == (0, 0)


@pytest.mark.parametrize("count", [20_000, 29_000, 60_000, 120_000])
@pytest.mark.parametrize("accounts", [1, 1_000])
def test_a_key_takes_no_more_memory_than_is_counted_for_it(count: int, accounts: int) -> None:
    tracemalloc.start()
    try:
        answers, counts = AnswerWindow(600_000), KeyCounts(1 << 30, 20_000)
        answers.count_in(counts)
        before, _ = tracemalloc.get_traced_memory()
        for i in range(count):
            at = 1_800_000_000_000 + i * 540_000 // count
            answers.add(10**6 + i % accounts, f"key {i:055d}", Remembered(i << 40, 10**9 + i, 7, 10**8 + i, at))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(answers) == counts.total == count
    assert counts.bytes == count * KEY_BYTES + accounts * ACCOUNT_BYTES
    assert after - before < 1.05 * counts.bytes
    assert KEY_BYTES < 200


def test_keys_count_for_their_account_until_they_are_forgotten() -> None:
    counts = KeyCounts(5 * KEY_BYTES + ACCOUNT_BYTES, 3)
    answers, elsewhere = AnswerWindow(1_000), AnswerWindow(1_000)
    elsewhere.add(1, "before it counted", Remembered(0, 0, 1, 0, 0))
    for window in (answers, elsewhere):
        window.count_in(counts)
    for key in ("a", "b", "b"):
        answers.add(1, key, Remembered(0, 1, 1, 1, 150))
    assert (counts.total, counts.is_full_for(1), counts.has_room_for(1), counts.has_room_for(2)) == (
        3,
        True,
        False,
        True,
    )
    answers.add(1, "later", Remembered(0, 2, 1, 2, 1_050))
    answers.add(1, "and", Remembered(0, 3, 1, 3, 1_050))
    assert not counts.has_room_for(2)
    assert answers.seconds_to_forget(1_050) == 1.0
    answers.expire(1_250)
    assert (counts.total, counts.is_full_for(1), counts.has_room_for(2)) == (3, True, True)
    elsewhere.count_out()
    assert (counts.total, counts.is_full_for(1)) == (2, False)
    answers.count_out()
    assert counts.bytes == 0


def test_where_accounts_are_not_counted_none_has_too_many() -> None:
    counts = KeyCounts(1 << 30)
    counts.add([1] * 100_000)
    assert not counts.is_full_for(1)


def test_a_name_that_has_the_hash_of_another_is_found_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the log tells: see the retries' tests."""
    monkeypatch.setattr(remembering, "_name", lambda account_id, key: 7)
    answers = AnswerWindow(1_000)
    answers.add(1, "a", Remembered(5, 0, 1, 0, 0))
    assert answers.find(2, "b", 0) == Remembered(5, 0, 1, 0, 0)


def test_a_key_is_one_requests_for_as_long_as_it_is_remembered() -> None:
    keys = UsedKeys(3, 10.0)
    assert keys.use(1, "a", 5, 100.0) and keys.use(1, "a", 5, 109.0)
    assert not keys.use(1, "a", 6, 109.9)
    assert keys.use(2, "a", 6, 109.9), "another account's"
    assert keys.use(1, "a", 6, 110.0), "its window is over"
    assert not keys.use(1, "a", 5, 119.0)


def test_of_the_keys_that_were_used_last_none_is_forgotten_and_there_are_never_many_more() -> None:
    keys = UsedKeys(100, 10.0)
    for number in range(1_000):
        assert keys.use(1, f"{number}", 1, 100.0)
        for older in range(max(0, number - 99), number):
            assert not keys.use(1, f"{older}", 2, 100.0)
        assert len(keys) < 200


class Steady:
    """A clock that never goes back."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


def test_the_windows_time_is_that_of_the_events() -> None:
    time = WindowTime(Steady().monotonic)
    assert [time.reach(at) for at in (5_000, 7_000, 6_000)] == [5_000, 7_000, 7_000]
    time.start()
    assert [time.now(at) for at in (7_000, 7_500)] == [7_000, 7_500]


def test_the_windows_time_goes_on_while_that_of_the_events_stands_still() -> None:
    steady = Steady()
    time = WindowTime(steady.monotonic)
    time.reach(7_000)
    time.start()
    steady.seconds += 60
    assert time.now(7_000) == 67_000
    steady.seconds += 3_540
    assert time.now(7_001) == 3_607_000, "and does not wait for it"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=100))
def test_the_windows_time_is_never_behind_either_and_small_steps_of_both_do_not_add_up(
    steps: list[tuple[int, int]],
) -> None:
    steady = Steady()
    time = WindowTime(steady.monotonic)
    time.reach(1_000)
    time.start()
    at = seconds = lead = 0
    for events, clock in steps:
        at, seconds = at + events, seconds + clock
        lead = max(lead, at - seconds)
        steady.seconds = 100.0 + seconds
        assert time.now(1_000 + at * 1_000) == 1_000 + (seconds + lead) * 1_000
