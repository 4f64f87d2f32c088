"""The window in which a retry finds its answer."""

from hypothesis import given
from hypothesis import strategies as st

from falcon.write.answers import AnswerWindow, Remembered


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
