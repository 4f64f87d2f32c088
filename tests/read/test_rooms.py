from falcon.features.rooms import table as rooms
from falcon.features.rooms.table import RoomRow, SetRoomName, UpsertRoom
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
    deleted,
    edited,
    gone,
    posted,
    recorded,
    renamed,
)


def test_a_direct_room_knows_its_two_the_smaller_id_first() -> None:
    room = a_direct_room(ANN, BOB)
    turned = type(room)(DIRECT, "direct", "", "", NOW, room.members[::-1])
    for created in (room, turned):
        assert rooms.project(recorded(created))[0] == UpsertRoom(DIRECT, "direct", "", "", NOW_TEXT, ANN, BOB)


def test_a_new_name_counts_as_activity() -> None:
    assert rooms.project(recorded(renamed(), at=LATER)) == (SetRoomName(ROOM, "Coffee", "", LATER_TEXT),)


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
