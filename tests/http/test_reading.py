"""Read marks, and the counts of unread messages and mentions."""

import pytest

from tests.support.http import Json, Person, Room, problem


def counts(person: Person, room: Room) -> tuple[int, int, int]:
    """The list of rooms' read mark, unread messages and mentions."""
    listed = person.summary(room)
    return listed["read_seq"], listed["unread"], listed["mentions"]


@pytest.fixture
def five(anna: Person, ben: Person, room: Room) -> Room:
    """Five messages by Anna; the second and the fourth mention Ben."""
    for i in range(1, 6):
        anna.says(room, str(i), mentions=[ben.account_id] if i in (2, 4) else [])
    return room


def test_what_others_write_is_unread(anna: Person, ben: Person, five: Room) -> None:
    assert counts(ben, five) == (0, 5, 2)
    assert counts(anna, five) == (5, 0, 0)


def test_reading_alone_marks_nothing(ben: Person, five: Room) -> None:
    ben.reads(five)
    assert counts(ben, five) == (0, 5, 2)


@pytest.mark.parametrize(("seq", "unread", "mentions"), [(1, 4, 2), (2, 3, 1), (3, 2, 1), (4, 1, 0), (5, 0, 0)])
def test_the_mark_moves_on(ben: Person, five: Room, seq: int, unread: int, mentions: int) -> None:
    expected = {"room_id": five.room_id, "read_seq": seq, "unread": unread, "mentions": mentions}
    assert ben.marks_read(five, seq) == expected
    assert counts(ben, five) == (seq, unread, mentions)


def test_the_mark_moves_back_when_told_to(ben: Person, five: Room) -> None:
    ben.marks_read(five, 5)
    assert ben.marks_read(five, 3, force=True) == {
        "room_id": five.room_id,
        "read_seq": 3,
        "unread": 2,
        "mentions": 1,
    }
    assert ben.marks_read(five, 0, force=True) == {
        "room_id": five.room_id,
        "read_seq": 0,
        "unread": 5,
        "mentions": 2,
    }
    assert ben.marks_read(five, 4, force=True)["read_seq"] == 4
    assert counts(ben, five) == (4, 1, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "seq"),
        ({"seq": -1}, "seq"),
        ({"seq": 2**53}, "seq"),
        ({"seq": "1"}, "seq"),
        ({"seq": 1.5}, "seq"),
        ({"seq": True}, "seq"),
        ({"seq": None}, "seq"),
        ({"seq": 1, "force": 1}, "force"),
        ({"seq": 1, "force": "true"}, "force"),
        ({"seq": 1, "room_id": 2}, "room_id"),
    ],
)
def test_a_mark_that_cannot_be_names_the_field(ben: Person, five: Room, body: Json, field: str) -> None:
    problem(ben.put(f"{five}/read", body), 422, "invalid", field)


def test_an_edit_brings_and_takes_mentions(anna: Person, ben: Person, room: Room) -> None:
    seq = anna.says(room, "Somebody?")
    anna.patch(f"{room}/messages/{seq}", {"text": "Ben?", "mentions": [ben.account_id]})
    assert counts(ben, room) == (0, 1, 1)
    anna.patch(f"{room}/messages/{seq}", {"text": "Ben??"})
    assert counts(ben, room) == (0, 1, 1)
    anna.patch(f"{room}/messages/{seq}", {"text": "Never mind", "mentions": []})
    assert counts(ben, room) == (0, 1, 0)


def test_an_edit_of_what_was_read_makes_nothing_unread(anna: Person, ben: Person, room: Room) -> None:
    seq = anna.says(room, "Somebody?")
    ben.marks_read(room, seq)
    anna.patch(f"{room}/messages/{seq}", {"text": "Ben?", "mentions": [ben.account_id]})
    assert counts(ben, room) == (1, 0, 0)
    assert ben.marks_read(room, 0, force=True)["mentions"] == 1
