"""A run of chaos tells acts of operators apart from messages of the sessions."""

from tools.chaos.operators import texts_of
from tools.people.history import name_of, token_of


def test_messages_of_an_operator_are_different_ones() -> None:
    assert len({name_of(token_of(text)) for room in (7, 8) for text in texts_of(room)}) == 6
