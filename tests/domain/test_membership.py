import pytest

from falcon.domain.answers import Done
from falcon.domain.rejections import (
    LastAdmin,
    MemberNotFound,
    NotAllowed,
    NotAMember,
    ReadOnly,
    RoomNotFound,
    UnknownAccount,
)
from falcon.features.decider import evolve_room
from falcon.features.messages.rules import PostMessage
from falcon.features.rooms.rules import (
    NOT_ACTIVE,
    Member,
    MemberAnswer,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    PutMember,
    RemoveMember,
    Role,
    members_after,
)
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    DIRECT,
    ROOM,
    a_conversation,
    a_direct_room,
    a_group,
    gone,
    has_read,
    joined,
    left,
)
from tests.support.given import given

ADMINS_ONLY = NotAllowed("only an admin of the room may change members")


# --- coming in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "member", "readonly"])
def test_an_admin_brings_somebody_in(role: Role) -> None:
    given(a_group()).when(PutMember(ANN, ROOM, BOB, role)).then(MemberJoined(ROOM, BOB, role, 0)).answered(
        MemberAnswer(BOB, role, 0)
    )


def test_who_comes_in_has_read_what_was_there_before() -> None:
    given(a_group(), a_conversation(7)).when(PutMember(ANN, ROOM, BOB, "member")).then(
        MemberJoined(ROOM, BOB, "member", 7)
    ).answered(MemberAnswer(BOB, "member", 7))


def test_who_comes_back_starts_anew() -> None:
    given(a_group(members=[BOB]), a_conversation(3), left(BOB), a_conversation(2, first=4)).when(
        PutMember(ANN, ROOM, BOB, "readonly")
    ).then(MemberJoined(ROOM, BOB, "readonly", 5))


def test_a_member_brings_nobody_in() -> None:
    given(a_group(members=[BOB])).when(PutMember(BOB, ROOM, CAT, "member")).then_rejected(ADMINS_ONLY)


def test_nobody_makes_themselves_an_admin() -> None:
    given(a_group(members=[BOB])).when(PutMember(BOB, ROOM, BOB, "admin")).then_rejected(ADMINS_ONLY)


def test_a_stranger_does_not_come_in_alone() -> None:
    given(a_group()).when(PutMember(DAN, ROOM, DAN, "member")).then_rejected(NotAMember(ROOM, DAN))


def test_nobody_comes_into_a_room_that_is_not_there() -> None:
    given().when(PutMember(ANN, ROOM, BOB, "member")).then_rejected(RoomNotFound(ROOM))
    given(a_group(), gone(ANN)).when(PutMember(ANN, ROOM, BOB, "member")).then_rejected(RoomNotFound(ROOM))


def test_an_account_that_is_not_there_does_not_come_in() -> None:
    given(a_group()).when(PutMember(ANN, ROOM, DAN, "member", account_exists=False)).then_rejected(UnknownAccount(DAN))


def test_a_deactivated_account_neither_comes_in_nor_changes_its_role() -> None:
    """An admin that left can be removed as long as there is another one."""
    for role in ("admin", "readonly"):
        command = PutMember(ANN, ROOM, BOB, role, is_active=False)
        given(a_group()).when(command).then_rejected(NOT_ACTIVE)
        given(a_group(admins=[ANN, BOB])).when(command).then_rejected(NOT_ACTIVE)
    given(a_group(members=[CAT])).when(PutMember(CAT, ROOM, BOB, "member", is_active=False)).then_rejected(ADMINS_ONLY)
    given(a_group(admins=[ANN, BOB])).when(RemoveMember(ANN, ROOM, BOB)).then(left(BOB, role="admin"))


def test_who_may_not_bring_anybody_in_does_not_learn_which_accounts_there_are() -> None:
    command = PutMember(BOB, ROOM, DAN, "member", account_exists=False)
    given(a_group(members=[BOB])).when(command).then_rejected(ADMINS_ONLY)
    given(a_group()).when(command).then_rejected(NotAMember(ROOM, BOB))


def test_nobody_joins_two_in_a_direct_room() -> None:
    given(a_direct_room()).when(PutMember(ANN, DIRECT, CAT, "member")).then_rejected(
        NotAllowed("a direct room cannot be changed: it is the one room of its two accounts")
    )


def test_how_many_a_room_has_once_it_has_happened() -> None:
    """The owner of the room compares it with the limit."""
    room = evolve_room(None, a_group(members=[BOB]))
    assert members_after(room, (joined(CAT),)) == 3
    assert members_after(None, (a_group(members=[BOB, CAT]),)) == 3
    assert members_after(room, (MemberChanged(ROOM, BOB, "readonly", was="member"),)) == 0
    assert members_after(room, ()) == 0


# --- roles ------------------------------------------------------------------------------------------------------------


def test_an_admin_changes_a_role_and_the_read_mark_stays() -> None:
    outcome = given(a_group(members=[BOB]), a_conversation(4), has_read(BOB, 3)).when(
        PutMember(ANN, ROOM, BOB, "admin")
    )
    outcome.then(MemberChanged(ROOM, BOB, "admin", was="member")).answered(MemberAnswer(BOB, "admin", 3))
    assert outcome.world.rooms[ROOM].members[BOB] == Member("admin", 3)


def test_who_has_the_role_already_keeps_it() -> None:
    given(a_group(members=[BOB])).when(PutMember(ANN, ROOM, BOB, "member")).then_nothing_happened().answered(
        MemberAnswer(BOB, "member", 0)
    )


def test_one_of_two_admins_steps_down() -> None:
    given(a_group(admins=[ANN, BOB])).when(PutMember(ANN, ROOM, ANN, "member")).then(
        MemberChanged(ROOM, ANN, "member", was="admin")
    )


@pytest.mark.parametrize("role", ["member", "readonly"])
def test_the_last_admin_does_not_step_down(role: Role) -> None:
    given(a_group(members=[BOB])).when(PutMember(ANN, ROOM, ANN, role)).then_rejected(LastAdmin(ROOM))


def test_the_last_admin_stays_one_when_told_to() -> None:
    given(a_group()).when(PutMember(ANN, ROOM, ANN, "admin")).then_nothing_happened()


def test_who_has_been_made_a_reader_posts_no_more() -> None:
    world = given(a_group(members=[BOB])).when(PutMember(ANN, ROOM, BOB, "readonly")).world
    assert world.decide(PostMessage(BOB, ROOM, "Hi")) == ReadOnly(ROOM)


# --- going out --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["member", "readonly"])
def test_a_member_leaves(role: Role) -> None:
    given(a_group(), joined(BOB, role=role)).when(RemoveMember(BOB, ROOM, BOB)).then(
        MemberLeft(ROOM, BOB, role)
    ).answered(Done())


def test_one_of_two_admins_leaves() -> None:
    given(a_group(admins=[ANN, BOB])).when(RemoveMember(ANN, ROOM, ANN)).then(MemberLeft(ROOM, ANN, "admin"))


def test_the_last_admin_does_not_leave_not_even_an_empty_room() -> None:
    given(a_group(members=[BOB])).when(RemoveMember(ANN, ROOM, ANN)).then_rejected(LastAdmin(ROOM))
    given(a_group()).when(RemoveMember(ANN, ROOM, ANN)).then_rejected(LastAdmin(ROOM))


def test_an_admin_removes_a_member() -> None:
    given(a_group(members=[BOB])).when(RemoveMember(ANN, ROOM, BOB)).then(MemberLeft(ROOM, BOB, "member"))


def test_an_admin_removes_another_admin() -> None:
    given(a_group(admins=[ANN, BOB])).when(RemoveMember(ANN, ROOM, BOB)).then(MemberLeft(ROOM, BOB, "admin"))


@pytest.mark.parametrize("who", [ANN, CAT])
def test_a_member_removes_nobody_else(who: int) -> None:
    given(a_group(members=[BOB, CAT])).when(RemoveMember(BOB, ROOM, who)).then_rejected(
        NotAllowed("only an admin of the room may remove members")
    )


def test_who_is_not_in_the_room_cannot_be_removed() -> None:
    given(a_group()).when(RemoveMember(ANN, ROOM, DAN)).then_rejected(MemberNotFound(ROOM, DAN))


def test_a_stranger_removes_nobody_and_cannot_leave() -> None:
    given(a_group()).when(RemoveMember(DAN, ROOM, ANN)).then_rejected(NotAMember(ROOM, DAN))
    given(a_group()).when(RemoveMember(DAN, ROOM, DAN)).then_rejected(NotAMember(ROOM, DAN))


def test_who_has_left_cannot_leave_again() -> None:
    given(a_group(members=[BOB]), left(BOB)).when(RemoveMember(BOB, ROOM, BOB)).then_rejected(NotAMember(ROOM, BOB))


def test_nobody_leaves_a_room_that_is_not_there() -> None:
    given().when(RemoveMember(BOB, ROOM, BOB)).then_rejected(RoomNotFound(ROOM))
    given(a_group(members=[BOB]), gone(ANN, BOB)).when(RemoveMember(BOB, ROOM, BOB)).then_rejected(RoomNotFound(ROOM))


@pytest.mark.parametrize("who", [ANN, BOB])
def test_nobody_leaves_a_direct_room(who: int) -> None:
    given(a_direct_room(ANN, BOB)).when(RemoveMember(ANN, DIRECT, who)).then_rejected(
        NotAllowed("a member cannot leave a direct room")
    )
