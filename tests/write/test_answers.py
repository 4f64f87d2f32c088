"""The window in which a retry finds its answer."""

from hypothesis import given
from hypothesis import strategies as st

from falcon.write.answers import AnswerWindow, Remembered, WindowTime


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
