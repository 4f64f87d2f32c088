import msgspec
import pytest

from falcon.domain import limits
from falcon.domain.answers import ImportAnswer
from falcon.domain.rejections import AccountNotFound, Invalid, NotAllowed, RoomNotFound
from falcon.features.accounts.rules import DirectRoomOpened
from falcon.features.messages.rules import ImportMessages, Message, MessagePosted
from falcon.features.rooms.rules import (
    ImportMembers,
    ImportRoom,
    Invitation,
    ListedRoomKind,
    MemberJoined,
    MemberLeft,
    Membership,
    RoomAnswer,
    RoomCreated,
)
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    DIRECT,
    NEW,
    ROOM,
    a_conversation,
    a_direct_room,
    a_group,
    a_message,
    an_account,
    an_imported_group,
    invited,
    without_text,
)
from tests.support.given import given

LONG_AGO = 1_554_120_000_000  # 2019-04-01T12:00:00Z
REFERENCE = "room/elsewhere/1"


def import_room(*members: Invitation, kind: ListedRoomKind = "group", name: str = "Old tea") -> ImportRoom:
    return ImportRoom(REFERENCE, kind, name, "", LONG_AGO, members)


def imported(seq: int, *, by: int = ANN) -> Message:
    return a_message(seq, by=by, text=f"old text {seq}")


def import_messages(*seqs: int) -> ImportMessages:
    return ImportMessages(ROOM, tuple(imported(seq) for seq in seqs))


# --- members ----------------------------------------------------------------------------------------------------------


def test_a_large_room_gets_its_further_members_with_nothing_read() -> None:
    further = ImportMembers(ROOM, (*invited(BOB), *invited(CAT, role="readonly"), *invited(DAN), *invited(DAN)))
    given(an_imported_group(members=[BOB])).when(further).then(
        MemberJoined(ROOM, CAT, "readonly", 0), MemberJoined(ROOM, DAN, "member", 0)
    ).answered(ImportAnswer(2, 2))


def test_an_import_that_is_repeated_brings_back_no_member_who_has_left() -> None:
    room = an_imported_group(members=[BOB, CAT]), MemberLeft(ROOM, BOB, "member")
    given(*room).when(ImportMembers(ROOM, invited(BOB, CAT))).then_nothing_happened().answered(ImportAnswer(0, 1))


def test_an_import_that_goes_on_brings_further_members_into_a_room_that_is_in_use() -> None:
    room = an_imported_group(members=[BOB]), MessagePosted(a_message(1, by=BOB), 1)
    further = MemberJoined(ROOM, CAT, "member", 0)
    given(*room).when(ImportMembers(ROOM, invited(BOB, CAT))).then(further).answered(ImportAnswer(1, 1))


def test_whom_an_import_leaves_out_of_a_room_that_members_have_left_is_not_counted_as_there() -> None:
    room = an_imported_group(members=[BOB]), MemberLeft(ROOM, BOB, "member")
    given(*room).when(ImportMembers(ROOM, invited(ANN, BOB, CAT))).then_nothing_happened().answered(ImportAnswer(0, 1))


@pytest.mark.parametrize("room", [a_group(), a_direct_room(ANN, BOB)])
def test_members_are_imported_into_group_rooms_that_were_imported(room: RoomCreated) -> None:
    rule = NotAllowed("members can only be imported into a group room that was imported")
    given(room).when(ImportMembers(room.room_id, invited(DAN))).then_rejected(rule)


def test_an_imported_room_has_no_more_members_than_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 3)
    room = given(an_imported_group(members=[BOB]))
    room.when(ImportMembers(ROOM, invited(BOB, CAT))).then(MemberJoined(ROOM, CAT, "member", 0))
    full = Invalid("members", "a room has at most 3 members")
    room.when(ImportMembers(ROOM, invited(CAT, DAN))).then_rejected(full)


# --- rooms ------------------------------------------------------------------------------------------------------------


def test_a_room_comes_with_its_members_and_its_age() -> None:
    given().when(import_room(*invited(ANN, role="admin"), *invited(BOB))).then(
        RoomCreated(
            NEW,
            "group",
            "Old tea",
            "",
            LONG_AGO,
            (Membership(ANN, "admin"), Membership(BOB, "member")),
            imported_as=REFERENCE,
        )
    ).answered(RoomAnswer(NEW, "group", "Old tea", "", "admin", 0, LONG_AGO))


@pytest.mark.parametrize("members", [(), invited(ANN, BOB), invited(ANN, role="readonly")])
def test_a_group_room_without_an_admin_does_not_come_in(members: tuple[Invitation, ...]) -> None:
    given().when(import_room(*members)).then_rejected(Invalid("members", "a group room needs at least one admin"))


def test_an_admin_who_is_listed_again_as_less_is_less() -> None:
    given().when(import_room(*invited(ANN, role="admin"), *invited(ANN))).then_rejected(
        Invalid("members", "a group room needs at least one admin")
    )


def test_a_direct_room_comes_in_as_the_one_room_of_its_two() -> None:
    members = (Membership(BOB, "member"), Membership(ANN, "member"))
    given(an_account(ANN)).when(import_room(*invited(BOB, ANN), kind="direct", name="")).then(
        RoomCreated(NEW, "direct", "", "", LONG_AGO, members, REFERENCE), DirectRoomOpened(ANN, BOB, NEW)
    )


@pytest.mark.parametrize("members", [(), invited(ANN), invited(ANN, ANN), invited(ANN, BOB, CAT)])
def test_a_direct_room_of_other_than_two_does_not_come_in(members: tuple[Invitation, ...]) -> None:
    given(an_account(ANN)).when(import_room(*members, kind="direct")).then_rejected(
        Invalid("members", "a direct room has exactly two members")
    )


def test_a_direct_room_of_an_unknown_account_does_not_come_in() -> None:
    given(an_account(BOB)).when(import_room(*invited(ANN, BOB), kind="direct")).then_rejected(AccountNotFound(ANN))


def test_two_who_have_a_direct_room_get_no_second_one() -> None:
    given(an_account(ANN), a_direct_room(ANN, BOB), DirectRoomOpened(ANN, BOB, DIRECT)).when(
        import_room(*invited(ANN, BOB), kind="direct")
    ).then_rejected(NotAllowed(f"accounts {ANN} and {BOB} have a direct room already"))


# --- messages ---------------------------------------------------------------------------------------------------------


def test_messages_come_in_as_they_were() -> None:
    edited = msgspec.structs.replace(imported(2, by=BOB), edited_at=LONG_AGO, reply_to=1, mentions=(ANN,))
    messages = (imported(1), edited, without_text(imported(3)))
    given(an_imported_group(members=[BOB])).when(ImportMessages(ROOM, messages)).then(
        *map(MessagePosted, messages)
    ).answered(ImportAnswer(imported=3, skipped=0))


def test_messages_go_on_where_the_room_stands() -> None:
    given(an_imported_group(), a_conversation(2)).when(import_messages(3, 4)).then(
        MessagePosted(imported(3)), MessagePosted(imported(4))
    ).answered(ImportAnswer(2, 0))


def test_messages_that_are_there_are_passed_over() -> None:
    given(an_imported_group(), a_conversation(2)).when(import_messages(1, 2, 3)).then(
        MessagePosted(imported(3))
    ).answered(ImportAnswer(imported=1, skipped=2))


def test_importing_twice_changes_nothing() -> None:
    first = given(an_imported_group()).when(import_messages(1, 2, 3)).world
    again = first.decide(import_messages(1, 2, 3))
    assert (again.events, again.answer) == ((), ImportAnswer(0, 3))  # type: ignore[union-attr]


def test_importing_no_messages_changes_nothing() -> None:
    given(an_imported_group()).when(import_messages()).then_nothing_happened().answered(ImportAnswer(0, 0))


@pytest.mark.parametrize(("seqs", "expected", "got"), [((2,), 1, 2), ((1, 3), 2, 3), ((2, 1), 1, 2), ((1, 1, 3), 2, 3)])
def test_a_gap_is_refused_and_nothing_comes_in(seqs: tuple[int, ...], expected: int, got: int) -> None:
    given(an_imported_group()).when(import_messages(*seqs)).then_rejected(
        Invalid("seq", f"must go on without a gap: expected {expected}, got {got}")
    )


@pytest.mark.parametrize("seqs", [(1, 1), (1, 2, 2), (1, 2, 1)])
def test_a_message_that_comes_again_in_the_same_command_is_passed_over(seqs: tuple[int, ...]) -> None:
    new = sorted(set(seqs))
    given(an_imported_group()).when(import_messages(*seqs)).then(
        *(MessagePosted(imported(seq)) for seq in new)
    ).answered(ImportAnswer(len(new), len(seqs) - len(new)))


def test_an_imported_author_need_not_be_in_the_room_any_more() -> None:
    stranger = msgspec.structs.replace(imported(1, by=DAN), mentions=(CAT,))
    given(an_imported_group()).when(ImportMessages(ROOM, (stranger,))).then(MessagePosted(stranger))


def test_importing_moves_nobodys_read_mark() -> None:
    room = given(an_imported_group(members=[BOB])).when(import_messages(1, 2, 3)).world.rooms[ROOM]
    assert (room.last_seq, {member.read_seq for member in room.members.values()}) == (3, {0})


def test_messages_are_not_smuggled_into_a_room_that_was_made_here() -> None:
    given(a_group()).when(import_messages(1)).then_rejected(
        NotAllowed("messages can only be imported into a room that was imported")
    )


def test_messages_of_a_room_that_is_not_there_do_not_come_in() -> None:
    given().when(import_messages(1)).then_rejected(RoomNotFound(ROOM))
