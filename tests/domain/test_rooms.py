from falcon.domain.answers import Done
from falcon.domain.rejections import NotAllowed, NotAMember, RoomNotFound
from falcon.features.rooms.rules import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Invitation,
    Membership,
    RoomAnswer,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.write.snapshots import encode_aggregate
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    DIRECT,
    NEW,
    NOW,
    ROOM,
    a_conversation,
    a_direct_room,
    a_group,
    gone,
    invited,
)
from tests.support.given import World, given

FOR_EVER = NotAllowed("a direct room cannot be changed: it is the one room of its two accounts")


# --- making -----------------------------------------------------------------------------------------------------------


def test_who_makes_a_room_is_its_admin() -> None:
    given().when(CreateRoom(ANN, "Tea", "All about it")).then(
        RoomCreated(NEW, "group", "Tea", "All about it", NOW, (Membership(ANN, "admin"),))
    ).answered(RoomAnswer(NEW, "group", "Tea", "All about it", "admin", 0, NOW, created=True))


def test_a_room_is_made_with_its_members() -> None:
    given().when(CreateRoom(ANN, "Tea", members=invited(BOB) + invited(CAT, role="readonly"))).then(
        RoomCreated(
            NEW,
            "group",
            "Tea",
            "",
            NOW,
            (Membership(BOB, "member"), Membership(CAT, "readonly"), Membership(ANN, "admin")),
        )
    )


def test_who_makes_a_room_is_its_admin_also_when_invited_as_less() -> None:
    given().when(CreateRoom(ANN, "Tea", members=invited(ANN, role="readonly"))).then(
        RoomCreated(NEW, "group", "Tea", "", NOW, (Membership(ANN, "admin"),))
    )


def test_of_two_invitations_of_one_account_the_last_counts() -> None:
    given().when(CreateRoom(ANN, "Tea", members=(Invitation(BOB, "admin"), Invitation(BOB, "readonly")))).then(
        RoomCreated(NEW, "group", "Tea", "", NOW, (Membership(BOB, "readonly"), Membership(ANN, "admin")))
    )


# --- changing ---------------------------------------------------------------------------------------------------------


def test_an_admin_renames_the_room_and_its_description_stays() -> None:
    given(a_group(description="All about it"), a_conversation(3)).when(ChangeRoom(ANN, ROOM, name="Coffee")).then(
        RoomChanged(ROOM, "Coffee", "All about it", NOW, last_seq=3)
    ).answered(RoomAnswer(ROOM, "group", "Coffee", "All about it", "admin", 3, NOW))


def test_an_admin_clears_the_description() -> None:
    given(a_group(description="All about it")).when(ChangeRoom(ANN, ROOM, description="")).then(
        RoomChanged(ROOM, "Tea", "", NOW, last_seq=0)
    )


def test_a_room_that_is_called_so_already_does_not_change() -> None:
    given(a_group()).when(ChangeRoom(ANN, ROOM, name="Tea")).then_nothing_happened().answered(
        RoomAnswer(ROOM, "group", "Tea", "", "admin", 0, NOW)
    )


def test_only_an_admin_changes_the_room() -> None:
    given(a_group(members=[BOB])).when(ChangeRoom(BOB, ROOM, name="Mine")).then_rejected(
        NotAllowed("only an admin of the room may change the room")
    )


def test_a_stranger_does_not_change_the_room() -> None:
    given(a_group()).when(ChangeRoom(DAN, ROOM, name="Mine")).then_rejected(NotAMember(ROOM, DAN))


def test_a_direct_room_has_no_name_to_change() -> None:
    given(a_direct_room()).when(ChangeRoom(ANN, DIRECT, name="Us")).then_rejected(FOR_EVER)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_an_admin_deletes_the_room_for_everybody_in_it() -> None:
    room = given(a_group(members=[BOB], description="All about it"), a_conversation(3))
    room.when(DeleteRoom(ANN, ROOM)).answered(Done()).then(
        RoomDeleted(ROOM, (Membership(ANN, "admin"), Membership(BOB, "member")), "Tea", "All about it", NOW, last_seq=3)
    )


def test_a_deletion_names_each_member_once() -> None:
    everybody = range(1_000, 1_100)
    decided = given(a_group(members=everybody)).when(DeleteRoom(ANN, ROOM)).decision
    (event,) = decided.events  # type: ignore[union-attr]
    assert isinstance(event, RoomDeleted)
    assert sorted(member.account_id for member in event.members) == [ANN, *everybody]


def test_only_an_admin_deletes_the_room() -> None:
    given(a_group(members=[BOB])).when(DeleteRoom(BOB, ROOM)).then_rejected(
        NotAllowed("only an admin of the room may delete the room")
    )


def test_a_stranger_does_not_delete_the_room() -> None:
    given(a_group()).when(DeleteRoom(DAN, ROOM)).then_rejected(NotAMember(ROOM, DAN))


def test_a_deleted_room_is_not_found_any_more() -> None:
    deleted = given(a_group(), gone(ANN))
    deleted.when(DeleteRoom(ANN, ROOM)).then_rejected(RoomNotFound(ROOM))
    deleted.when(ChangeRoom(ANN, ROOM, name="Coffee")).then_rejected(RoomNotFound(ROOM))


def test_of_a_deleted_room_little_is_kept() -> None:
    world = World().after(
        a_group(members=range(1_000, 1_100), description="All about it"), *a_conversation(3), gone(ANN)
    )
    assert len(encode_aggregate(world.rooms[ROOM])) < 50


def test_a_room_that_never_was_is_not_found() -> None:
    given().when(ChangeRoom(ANN, ROOM, name="Coffee")).then_rejected(RoomNotFound(ROOM))
    given().when(DeleteRoom(ANN, ROOM)).then_rejected(RoomNotFound(ROOM))


def test_nobody_deletes_a_direct_room() -> None:
    given(a_direct_room()).when(DeleteRoom(ANN, DIRECT)).then_rejected(FOR_EVER)
