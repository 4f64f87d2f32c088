"""What users note of answers, and faults of a page that show by themselves."""

from datetime import UTC, datetime

from falcon_chat import Message, Messages
from load_tests.users.checks import seen, sound
from tools.people.history import DELETED, spoken

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROOM, ANN = 640, 128


def message(seq: int, text: str = "long ago", *, room: int = ROOM, deleted: bool = False) -> Message:
    return Message(room, seq, ANN, text, NOW, deleted=deleted)


def test_a_users_message_is_told_from_one_of_before_the_run() -> None:
    page = [message(1), message(2, spoken("a1/0")), message(3, spoken("a2/0") + "!"), message(4, "", deleted=True)]
    assert seen(page) == [(1, DELETED), (2, "a1/0"), (3, DELETED), (4, DELETED)]


def test_a_page_that_denies_what_is_before_it() -> None:
    assert sound(ROOM, Messages((message(4),), has_before=False, has_after=False)) != []
    assert sound(ROOM, Messages((message(4),), has_before=True, has_after=False)) == []


def test_a_page_with_another_rooms_message() -> None:
    page = Messages((message(1, room=704),), has_before=False, has_after=False)
    assert "other rooms" in sound(ROOM, page)[0]
