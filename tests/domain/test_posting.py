import pytest

from falcon.domain.decision import Decided
from falcon.domain.limits import TEXT_BYTES_MAX
from falcon.domain.rejections import Invalid, NotAMember, ReadOnly, RoomNotFound
from falcon.features.messages.rules import MessageAnswer, MessagePosted, PostMessage
from tests.support.builders import (
    ANN,
    AWKWARD_TEXTS,
    BOB,
    CAT,
    DAN,
    DIRECT,
    LATER,
    ROOM,
    a_conversation,
    a_direct_room,
    a_group,
    a_message,
    an_imported_group,
    deleted,
    gone,
    has_read,
    joined,
    left,
    posted,
)
from tests.support.given import given

HELLO = PostMessage(ANN, ROOM, "Hello")


def test_the_first_message_of_a_room_is_number_one() -> None:
    given(a_group()).when(HELLO).then(posted(1, text="Hello"))


def test_messages_are_numbered_without_gaps() -> None:
    given(a_group(), a_conversation(41)).when(HELLO).then(posted(42, text="Hello"))


def test_a_deleted_message_keeps_its_number_for_ever() -> None:
    given(a_group(), posted(1), deleted(a_message(1), 1)).when(HELLO).then(posted(2, text="Hello"))


def test_the_author_gets_the_message_as_everybody_will_see_it() -> None:
    message = a_message(1, by=BOB, text="Hello", at=LATER, mentions=(ANN,))
    outcome = given(a_group(members=[BOB])).when(PostMessage(BOB, ROOM, "Hello", mentions=(ANN,)), at=LATER)
    outcome.then(MessagePosted(message, 1)).answered(MessageAnswer(message))
    assert message.posted_at == LATER


@pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=ascii)
def test_the_text_is_kept_byte_for_byte(text: str) -> None:
    decision = given(a_group()).when(PostMessage(ANN, ROOM, text)).decision
    assert isinstance(decision, Decided)
    (event,) = decision.events
    assert isinstance(event, MessagePosted)
    assert event.message.text.encode() == text.encode()


def test_the_longest_text_is_kept_whole() -> None:
    text = "x" * TEXT_BYTES_MAX
    given(a_group()).when(PostMessage(ANN, ROOM, text)).then(posted(1, text=text))


def test_a_member_posts() -> None:
    given(a_group(members=[BOB])).when(PostMessage(BOB, ROOM, "Hi")).then(posted(1, by=BOB, text="Hi"))


def test_both_post_in_a_direct_room() -> None:
    room = a_direct_room(ANN, BOB)
    for who in (ANN, BOB):
        given(room).when(PostMessage(who, DIRECT, "Hi")).then(posted(1, by=who, text="Hi", room_id=DIRECT))


def test_an_imported_room_goes_on_where_its_messages_end() -> None:
    given(an_imported_group(), MessagePosted(a_message(1))).when(HELLO).then(
        MessagePosted(a_message(2, text="Hello"))  # Ann has not read what was imported, so her mark stays
    )


# --- who may not ------------------------------------------------------------------------------------------------------


def test_a_reader_cannot_post() -> None:
    given(a_group(readers=[BOB])).when(PostMessage(BOB, ROOM, "Hi")).then_rejected(ReadOnly(ROOM))


def test_a_stranger_cannot_post() -> None:
    given(a_group()).when(PostMessage(DAN, ROOM, "Hi")).then_rejected(NotAMember(ROOM, DAN))


def test_one_who_has_left_cannot_post() -> None:
    given(a_group(members=[BOB]), left(BOB)).when(PostMessage(BOB, ROOM, "Hi")).then_rejected(NotAMember(ROOM, BOB))


def test_nobody_posts_where_there_is_no_room() -> None:
    given().when(HELLO).then_rejected(RoomNotFound(ROOM))


def test_nobody_posts_in_a_deleted_room() -> None:
    given(a_group(), gone(ANN)).when(HELLO).then_rejected(RoomNotFound(ROOM))


# --- replies ----------------------------------------------------------------------------------------------------------


def test_a_message_replies_to_an_earlier_one() -> None:
    given(a_group(), posted(1)).when(PostMessage(ANN, ROOM, "Me", reply_to=1)).then(posted(2, text="Me", reply_to=1))


def test_a_deleted_message_can_still_be_replied_to() -> None:
    given(a_group(), posted(1), deleted(a_message(1), 1)).when(PostMessage(ANN, ROOM, "Why?", reply_to=1)).then(
        posted(2, text="Why?", reply_to=1)
    )


@pytest.mark.parametrize("future", [2, 3, 1_000_000])
def test_a_message_cannot_reply_to_itself_or_to_a_later_one(future: int) -> None:
    given(a_group(), posted(1)).when(PostMessage(ANN, ROOM, "Me", reply_to=future)).then_rejected(
        Invalid("reply_to", f"there is no message {future} in this room")
    )


# --- mentions ---------------------------------------------------------------------------------------------------------


def test_members_can_be_mentioned_oneself_included() -> None:
    given(a_group(members=[BOB], readers=[CAT])).when(PostMessage(ANN, ROOM, "Tea!", mentions=(CAT, ANN, BOB))).then(
        posted(1, text="Tea!", mentions=(CAT, ANN, BOB))
    )


def test_who_is_not_in_the_room_cannot_be_mentioned() -> None:
    given(a_group(members=[BOB])).when(PostMessage(ANN, ROOM, "Tea!", mentions=(BOB, DAN))).then_rejected(
        Invalid("mentions", f"account {DAN} is not a member of this room")
    )


def test_who_has_left_the_room_cannot_be_mentioned() -> None:
    given(a_group(members=[BOB]), left(BOB)).when(PostMessage(ANN, ROOM, "Tea!", mentions=(BOB,))).then_rejected(
        Invalid("mentions", f"account {BOB} is not a member of this room")
    )


# --- the author's own read mark ---------------------------------------------------------------------------------------


def test_ones_own_message_counts_as_read_when_nothing_before_it_was_unread() -> None:
    given(a_group(members=[BOB]), posted(1, by=BOB), has_read(ANN, 1)).when(HELLO).then(
        MessagePosted(a_message(2, text="Hello"), author_read_seq=2)
    )


def test_ones_own_message_does_not_hide_unread_ones_before_it() -> None:
    given(a_group(members=[BOB]), posted(1, by=BOB)).when(HELLO).then(
        MessagePosted(a_message(2, text="Hello"), author_read_seq=None)
    )


def test_one_who_joins_has_read_what_was_there_and_their_first_message_too() -> None:
    given(a_group(), a_conversation(5), joined(BOB, read_seq=5)).when(PostMessage(BOB, ROOM, "Hi")).then(
        MessagePosted(a_message(6, by=BOB, text="Hi"), author_read_seq=6)
    )
