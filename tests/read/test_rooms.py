import pytest

from falcon.domain.events import CommandAnswered
from falcon.features.rooms import table as rooms
from falcon.features.rooms.rules import MemberChanged
from falcon.features.rooms.table import DropRoom, RoomRow, SetRoomActivity, SetRoomName, UpsertRoom
from tests.projections.embedded import Embedded, asked
from tests.support.builders import (
    ANN,
    BOB,
    DIRECT,
    LATER,
    LATER_TEXT,
    NOW,
    NOW_TEXT,
    ROOM,
    a_direct_room,
    a_group,
    a_message,
    an_account,
    deleted,
    edited,
    gone,
    has_read,
    in_the_log,
    joined,
    left,
    posted,
    renamed,
)


def test_a_new_room_is_listed_as_active_since_it_was_made() -> None:
    assert rooms.project(in_the_log(a_group(description="All about it"))) == (
        UpsertRoom(ROOM, "group", "Tea", "All about it", NOW_TEXT, None, None),
        SetRoomActivity(ROOM, 0, NOW_TEXT),
    )


def test_a_direct_room_knows_its_two_the_smaller_id_first() -> None:
    room = a_direct_room(ANN, BOB)
    turned = type(room)(DIRECT, "direct", "", "", NOW, room.members[::-1])
    for created in (room, turned):
        assert rooms.project(in_the_log(created))[0] == UpsertRoom(DIRECT, "direct", "", "", NOW_TEXT, ANN, BOB)


def test_a_message_moves_the_room_up() -> None:
    assert rooms.project(in_the_log(posted(7, at=LATER))) == (SetRoomActivity(ROOM, 7, LATER_TEXT),)


def test_an_edit_or_a_deletion_does_not_move_the_room() -> None:
    assert rooms.project(in_the_log(edited(a_message(7), 3))) == ()
    assert rooms.project(in_the_log(deleted(a_message(7), 4))) == ()


def test_a_new_name_counts_as_activity() -> None:
    assert rooms.project(in_the_log(renamed(), at=LATER)) == (SetRoomName(ROOM, "Coffee", "", LATER_TEXT),)


def test_a_deleted_room_is_dropped() -> None:
    assert rooms.project(in_the_log(gone(ANN))) == (DropRoom(ROOM),)


@pytest.mark.parametrize(
    "event",
    [
        an_account(),
        joined(BOB),
        left(BOB),
        MemberChanged(ROOM, BOB, "admin", "member"),
        has_read(BOB, 1),
        CommandAnswered(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_other_events_are_nothing_to_the_list_of_rooms(event: object) -> None:
    assert rooms.project(in_the_log(event)) == ()


# --- on the tables ----------------------------------------------------------------------------------------------------


def test_a_room_shows_how_far_its_messages_go(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1), posted(2, at=LATER), edited(a_message(1), 1), deleted(a_message(2), 2))
    assert asked(falcon.store.room(ROOM)) == RoomRow(ROOM, "group", "Tea", "", NOW_TEXT, 2, LATER_TEXT, False, None)


def test_a_deleted_room_is_not_found(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.append(gone(ANN))
    assert asked(falcon.store.room(ROOM)) is None
    assert asked(falcon.store.rooms_of(ANN, None, 50)) == []
    assert asked(falcon.store.access(ROOM, ANN)) is None


def test_the_room_with_the_newest_activity_comes_first(falcon: Embedded) -> None:
    falcon.append(a_group(64), a_group(128), a_group(192), posted(1, room_id=128, at=LATER))
    summaries = asked(falcon.store.rooms_of(ANN, None, 50))
    assert [summary.room.room_id for summary in summaries] == [128, 192, 64]
