import pytest

from falcon.domain.rejections import Invalid, NotAMember, NotYetReadable, RoomNotFound
from falcon.features.messages.rules import MessagePosted
from falcon.features.read_marks.rules import MoveRead, ReadAnswer
from tests.support.builders import ANN, BOB, DAN, ROOM, a_conversation, a_group, edited, gone, has_read, posted
from tests.support.given import given

# Ann has written five messages; Bob has read three of them.
FIVE = (a_group(members=[BOB]), a_conversation(5, by=ANN), has_read(BOB, 3))


def test_a_read_mark_moves_on() -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, 4)).then(has_read(BOB, 4, unread=1)).answered(ReadAnswer(ROOM, 4, 1, 0))


def test_a_read_mark_moves_on_to_the_newest_message() -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, 5)).then(has_read(BOB, 5, unread=0)).answered(ReadAnswer(ROOM, 5, 0, 0))


def test_a_reader_has_a_read_mark_too() -> None:
    given(a_group(readers=[BOB]), a_conversation(1)).when(MoveRead(BOB, ROOM, 1)).then(has_read(BOB, 1, unread=0))


def test_a_read_mark_stays_where_it_is() -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, 3)).then_nothing_happened().answered(ReadAnswer(ROOM, 3, 2, 0))
    given(*FIVE).when(MoveRead(BOB, ROOM, 3, force=True)).then_nothing_happened().answered(ReadAnswer(ROOM, 3, 2, 0))


@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_a_read_mark_does_not_go_back_by_accident(earlier: int) -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, earlier)).then_nothing_happened().answered(ReadAnswer(ROOM, 3, 2, 0))


@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_a_read_mark_goes_back_when_forced_down_to_all_unread(earlier: int) -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, earlier, force=True)).then(
        has_read(BOB, earlier, unread=5 - earlier)
    ).answered(ReadAnswer(ROOM, earlier, 5 - earlier, 0))


@pytest.mark.parametrize("force", [False, True])
def test_what_has_not_been_posted_has_not_been_read(force: bool) -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, 6, force)).then_rejected(
        Invalid("seq", "must be at most 5, the room's newest message")
    )


@pytest.mark.parametrize(("seq", "force"), [(4, False), (1, False), (1, True)])
def test_the_reader_is_told_what_is_unread_and_how_many_mentions_wait_there(seq: int, force: bool) -> None:
    read_seq = seq if force else max(3, seq)
    outcome = given(*FIVE).when(MoveRead(BOB, ROOM, seq, force, mentions=2))
    outcome.answered(ReadAnswer(ROOM, read_seq, unread=5 - read_seq, mentions=2))
    if read_seq != 3:
        outcome.then(has_read(BOB, read_seq, unread=5 - read_seq, mentions=2))


@pytest.mark.parametrize(("seq", "force"), [(4, False), (1, False), (1, True)])
def test_mentions_must_be_counted_where_one_may_stay_unread(seq: int, force: bool) -> None:
    read_seq = seq if force else max(3, seq)
    mentioned = (*FIVE, posted(6, mentions=(ANN,)), posted(7))
    given(*mentioned).when(MoveRead(BOB, ROOM, seq, force, mentions=None)).then_rejected(
        NotYetReadable(ROOM, read_seq, mentions_to=6)
    )


@pytest.mark.parametrize(("sixth", "is_counted"), [(posted(6), True), (posted(6, mentions=(BOB,)), False)])
def test_a_mention_that_came_after_the_count_is_counted_too(sixth: MessagePosted, is_counted: bool) -> None:
    counted = MoveRead(BOB, ROOM, 4, mentions=0, counted_to=5)
    outcome = given(*FIVE, sixth).when(counted)
    if is_counted:
        outcome.answered(ReadAnswer(ROOM, 4, unread=2, mentions=0))
    else:
        outcome.then_rejected(NotYetReadable(ROOM, 4, mentions_to=6))


def test_an_edit_may_mention_a_reader_too() -> None:
    mentioned = edited(posted(5, mentions=(BOB,)).message, 1)
    given(*FIVE, mentioned).when(MoveRead(BOB, ROOM, 4, mentions=None)).then_rejected(
        NotYetReadable(ROOM, 4, mentions_to=5)
    )


def test_without_mentions_nothing_needs_to_be_counted() -> None:
    given(*FIVE).when(MoveRead(BOB, ROOM, 4, mentions=None)).answered(ReadAnswer(ROOM, 4, unread=1, mentions=0))


@pytest.mark.parametrize("mentions", [None, 0, 2])
def test_who_has_read_all_has_no_mention_left(mentions: int | None) -> None:
    outcome = given(*FIVE).when(MoveRead(BOB, ROOM, 5, mentions=mentions))
    outcome.then(has_read(BOB, 5, unread=0)).answered(ReadAnswer(ROOM, 5, 0, 0))


def test_one_read_mark_moves_and_no_other() -> None:
    members = given(*FIVE).when(MoveRead(BOB, ROOM, 1, force=True)).world.rooms[ROOM].members
    assert {account: member.read_seq for account, member in members.items()} == {ANN: 5, BOB: 1}


def test_in_an_empty_room_there_is_nothing_to_read() -> None:
    given(a_group()).when(MoveRead(ANN, ROOM, 0)).then_nothing_happened().answered(ReadAnswer(ROOM, 0, 0, 0))


def test_a_stranger_has_no_read_mark() -> None:
    given(*FIVE).when(MoveRead(DAN, ROOM, 1)).then_rejected(NotAMember(ROOM, DAN))


def test_no_room_no_read_mark() -> None:
    given().when(MoveRead(BOB, ROOM, 1)).then_rejected(RoomNotFound(ROOM))
    given(*FIVE, gone(ANN, BOB)).when(MoveRead(BOB, ROOM, 5)).then_rejected(RoomNotFound(ROOM))
