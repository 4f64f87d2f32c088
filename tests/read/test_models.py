"""Answers from several tables belong to one place in the log; comparisons add up."""

from falcon.features.read_marks.table import room_summary
from falcon.features.rooms.table import RoomRow
from falcon.read.store import Comparison

NOON = "2026-11-25T12:00:00.000Z"


def a_room(last_seq: int) -> RoomRow:
    return RoomRow(64, "group", "Tea", "", NOON, last_seq, NOON, False, None)


def test_a_room_that_is_shown_whole_is_as_its_row_says() -> None:
    row = room_summary(a_room(4), "member", 3, 1, (4, b"four"))
    assert (row.room, row.read_seq, row.unread, row.mentions, row.last_message) == (a_room(4), 3, 1, 1, b"four")


def test_a_room_goes_as_far_as_its_timeline_does() -> None:
    row = room_summary(a_room(4), "member", 1, 0, (2, b"two"))
    assert (row.room, row.unread, row.last_message) == (a_room(2), 1, b"two")


def test_a_member_has_read_no_further_than_the_room_goes() -> None:
    row = room_summary(a_room(1), "member", 4, 0, (1, b"one"))
    assert (row.room.last_seq, row.read_seq, row.unread) == (1, 1, 0)


def test_a_room_without_a_message_to_show_is_empty() -> None:
    for last_seq in (0, 4):
        row = room_summary(a_room(last_seq), "member", last_seq, 0, None)
        assert (row.room, row.read_seq, row.unread, row.last_message) == (a_room(0), 0, 0, None)


def test_what_was_compared_in_several_partitions_adds_up() -> None:
    assert Comparison(1, 2, 3).plus(Comparison(10, 20, 30)) == Comparison(11, 22, 33)
