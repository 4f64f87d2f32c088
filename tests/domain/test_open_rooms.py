"""Open rooms: everybody but guests may find, read and join them. New accounts join default rooms by themselves."""

import pytest

from falcon.domain.answers import Done
from falcon.domain.rejections import Invalid, NotAllowed, NotAMember, NotJoined
from falcon.features.accounts.rules import DirectRoomOpened
from falcon.features.catalogue import Command
from falcon.features.messages.rules import PostMessage
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    DeleteRoom,
    ImportMembers,
    ImportRoom,
    Invitation,
    JoinDefault,
    MemberAnswer,
    MemberJoined,
    MemberLeft,
    Membership,
    OpenDirect,
    PutMember,
    RemoveMember,
    RoomAnswer,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from tests.support.builders import ANN, BOB, CAT, DAN, NEW, NOW, ROOM, a_conversation, a_group, an_account
from tests.support.given import given

OPEN = a_group(members=[BOB], is_open=True)
DEFAULT = a_group(members=[BOB], is_open=True, default=True)
EVERYBODY_JOINS = NotAllowed("only an owner or admin of Falcon may say which rooms new accounts join", "default")


def test_an_admin_opens_the_room() -> None:
    outcome = given(a_group(members=[BOB]), a_conversation(3)).when(ChangeRoom(ANN, ROOM, open=True))
    outcome.then(RoomChanged(ROOM, "Tea", "", NOW, 3, open=True, members=2))
    outcome.answered(RoomAnswer(ROOM, "group", "Tea", "", "admin", 3, NOW, open=True))


def test_a_change_of_an_open_room_says_what_it_was_called_and_how_many_it_has() -> None:
    given(OPEN).when(ChangeRoom(ANN, ROOM, name="Coffee")).then(
        RoomChanged(ROOM, "Coffee", "", NOW, 0, True, was_name="Tea", was_open=True, members=2)
    )


def test_a_room_that_is_closed_is_no_default_room_any_more() -> None:
    given(DEFAULT).when(ChangeRoom(ANN, ROOM, open=False)).then(
        RoomChanged(ROOM, "Tea", "", NOW, 0, was_name="Tea", was_open=True)
    ).answered(RoomAnswer(ROOM, "group", "Tea", "", "admin", 0, NOW))


def test_a_room_that_is_open_already_does_not_change() -> None:
    given(OPEN).when(ChangeRoom(ANN, ROOM, open=True)).then_nothing_happened()


def test_only_an_admin_of_the_room_opens_or_closes_it() -> None:
    refusal = NotAllowed("only an admin of the room may change the room")
    given(OPEN).when(ChangeRoom(BOB, ROOM, open=False)).then_rejected(refusal)
    given(OPEN).when(ChangeRoom(BOB, ROOM, open=False, by_manager=True)).then_rejected(refusal)
    given(a_group(members=[BOB])).when(ChangeRoom(BOB, ROOM, open=True)).then_rejected(refusal)


def test_a_manager_makes_an_open_room_a_default_room_without_joining_it() -> None:
    given(OPEN).when(ChangeRoom(DAN, ROOM, default=True, by_manager=True)).then(
        RoomChanged(ROOM, "Tea", "", NOW, 0, True, True, "Tea", True, 2)
    ).answered(RoomAnswer(ROOM, "group", "Tea", "", None, 0, NOW, open=True, default=True))


def test_an_admin_of_the_room_alone_makes_it_no_default_room() -> None:
    given(OPEN).when(ChangeRoom(ANN, ROOM, default=True)).then_rejected(EVERYBODY_JOINS)


def test_a_manager_opens_a_room_of_theirs_and_makes_it_a_default_room_at_once() -> None:
    given(a_group()).when(ChangeRoom(ANN, ROOM, open=True, default=True, by_manager=True)).then(
        RoomChanged(ROOM, "Tea", "", NOW, 0, True, True, members=1)
    )


def test_a_closed_room_is_no_default_room() -> None:
    refusal = Invalid("default", "must be false unless the room is open")
    given(a_group()).when(ChangeRoom(ANN, ROOM, default=True, by_manager=True)).then_rejected(refusal)
    given(OPEN).when(ChangeRoom(ANN, ROOM, open=False, default=True, by_manager=True)).then_rejected(refusal)


def test_a_manager_learns_nothing_of_a_closed_room() -> None:
    given(a_group()).when(ChangeRoom(DAN, ROOM, default=True, by_manager=True)).then_rejected(NotAMember(ROOM, DAN))


# --- joining and leaving ----------------------------------------------------------------------------------------------


def test_an_account_joins_an_open_room_by_itself() -> None:
    given(OPEN, a_conversation(4)).when(PutMember(CAT, ROOM, CAT, "member")).then(
        MemberJoined(ROOM, CAT, "member", 4, members=3)
    ).answered(MemberAnswer(CAT, "member", 4))


def test_joining_again_is_joining_once() -> None:
    given(OPEN).when(PutMember(BOB, ROOM, BOB, "member")).then_nothing_happened().answered(
        MemberAnswer(BOB, "member", 0)
    )


def test_an_account_joins_as_a_member_and_as_nothing_else() -> None:
    given(OPEN).when(PutMember(CAT, ROOM, CAT, "admin")).then_rejected(NotJoined(ROOM, CAT))


def test_an_account_brings_no_other_into_an_open_room() -> None:
    given(OPEN).when(PutMember(CAT, ROOM, DAN, "member")).then_rejected(NotJoined(ROOM, CAT))


def test_a_reader_that_an_admin_made_one_does_not_make_itself_a_member() -> None:
    given(a_group(readers=[CAT], is_open=True)).when(PutMember(CAT, ROOM, CAT, "member")).then_rejected(
        NotAllowed("only an admin of the room may change members")
    )


def test_a_guest_joins_no_room() -> None:
    given(OPEN).when(PutMember(CAT, ROOM, CAT, "member", by_guest=True)).then_rejected(NotJoined(ROOM, CAT))


def test_a_member_leaves_an_open_room() -> None:
    given(OPEN).when(RemoveMember(BOB, ROOM, BOB)).then(MemberLeft(ROOM, BOB, "member", members=1)).answered(Done())


@pytest.mark.parametrize(
    "command", [PostMessage(CAT, ROOM, "Hi"), MoveRead(CAT, ROOM, 0), RemoveMember(CAT, ROOM, CAT)]
)
def test_an_account_that_has_not_joined_only_reads(command: Command) -> None:
    given(OPEN).when(command).then_rejected(NotJoined(ROOM, CAT))


def test_a_deletion_says_that_the_room_was_open() -> None:
    given(DEFAULT).when(DeleteRoom(ANN, ROOM)).then(
        RoomDeleted(ROOM, (Membership(ANN, "admin"), Membership(BOB, "member")), "Tea", "", NOW, 0, True, True)
    )


# --- default rooms ----------------------------------------------------------------------------------------------------


def test_a_new_account_joins_a_default_room() -> None:
    given(DEFAULT).when(JoinDefault(ROOM, CAT)).then(MemberJoined(ROOM, CAT, "member", 0, members=3))


def test_the_step_may_be_repeated() -> None:
    given(DEFAULT).when(JoinDefault(ROOM, BOB)).then_nothing_happened().answered(MemberAnswer(BOB, "member", 0))


def test_a_new_account_does_not_join_a_room_that_is_no_default_room_any_more() -> None:
    given(OPEN).when(JoinDefault(ROOM, CAT)).then_rejected(NotAllowed("new accounts do not join this room"))


# --- imports and direct rooms -----------------------------------------------------------------------------------------


def test_an_imported_room_is_open_as_it_was() -> None:
    command = ImportRoom("room/1", "group", "Tea", "", NOW, (Invitation(ANN, "admin"),), open=True, default=True)
    given().when(command).then(
        RoomCreated(NEW, "group", "Tea", "", NOW, (Membership(ANN, "admin"),), "room/1", open=True, default=True)
    )


def test_imported_members_of_an_open_room_are_counted() -> None:
    room = a_group(imported_as="room/1", is_open=True)
    given(room).when(ImportMembers(ROOM, (Invitation(BOB), Invitation(CAT)))).then(
        MemberJoined(ROOM, BOB, "member", 0, members=2), MemberJoined(ROOM, CAT, "member", 0, members=3)
    )


@pytest.mark.parametrize(("by", "peer", "names"), [(ANN, BOB, ("Ann", "Bob")), (BOB, ANN, ("Bob", "Ann"))])
def test_a_direct_room_keeps_the_names_of_then(by: int, peer: int, names: tuple[str, str]) -> None:
    members = (Membership(ANN, "member"), Membership(BOB, "member"))
    given(an_account(ANN, "Ann"), an_account(BOB, "Bob")).when(OpenDirect(by, peer, names)).then(
        RoomCreated(NEW, "direct", "", "", NOW, members, names=("Ann", "Bob")), DirectRoomOpened(ANN, BOB, NEW)
    )
