import msgspec
import pytest

from falcon.domain.events import CommandAnswered
from falcon.features.messages.rules import MessageEdited, MessagePosted
from falcon.features.read_marks import table as memberships
from falcon.features.read_marks.table import Access, DropMember, SetMention, SetReadMark, SetRole, UpsertMember
from falcon.features.rooms.rules import MemberChanged
from tests.projections.embedded import Embedded, asked
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    ROOM,
    a_conversation,
    a_group,
    a_message,
    an_account,
    deleted,
    gone,
    has_read,
    in_the_log,
    joined,
    left,
    posted,
    renamed,
)


def test_a_new_room_has_its_members_who_have_read_nothing() -> None:
    assert memberships.project(in_the_log(a_group(members=[BOB], readers=[CAT]))) == (
        UpsertMember(ROOM, ANN, "admin", 0),
        UpsertMember(ROOM, BOB, "member", 0),
        UpsertMember(ROOM, CAT, "readonly", 0),
    )


def test_one_who_joins_has_read_what_was_there() -> None:
    assert memberships.project(in_the_log(joined(BOB, role="readonly", read_seq=7))) == (
        UpsertMember(ROOM, BOB, "readonly", 7),
    )


def test_a_new_role_leaves_the_read_mark_alone() -> None:
    assert memberships.project(in_the_log(MemberChanged(ROOM, BOB, "admin", "member"))) == (
        SetRole(ROOM, BOB, "admin"),
    )


def test_one_who_leaves_is_dropped() -> None:
    assert memberships.project(in_the_log(left(BOB))) == (DropMember(ROOM, BOB),)


def test_with_the_room_all_its_members_are_dropped() -> None:
    assert memberships.project(in_the_log(gone(ANN, BOB))) == (DropMember(ROOM, ANN), DropMember(ROOM, BOB))


def test_a_read_mark_is_set_forward_or_back() -> None:
    assert memberships.project(in_the_log(has_read(BOB, 3))) == (SetReadMark(ROOM, BOB, 3),)


def test_a_post_moves_its_authors_mark_if_the_event_says_so() -> None:
    assert memberships.project(in_the_log(posted(4))) == (SetReadMark(ROOM, ANN, 4),)
    assert memberships.project(in_the_log(MessagePosted(a_message(4)))) == ()


def test_a_post_is_noted_for_those_whom_it_mentions() -> None:
    assert memberships.project(in_the_log(posted(4, mentions=(BOB, CAT)))) == (
        SetReadMark(ROOM, ANN, 4),
        SetMention(BOB, ROOM, 4, True),
        SetMention(CAT, ROOM, 4, True),
    )


def test_an_edit_notes_new_mentions_and_strikes_those_that_are_gone() -> None:
    event = MessageEdited(a_message(4, mentions=(CAT,)), 1, unmentioned=(BOB,))
    assert memberships.project(in_the_log(event)) == (
        SetMention(BOB, ROOM, 4, False),
        SetMention(CAT, ROOM, 4, True),
    )


def test_a_deleted_message_mentions_nobody_any_more() -> None:
    assert memberships.project(in_the_log(deleted(a_message(4, mentions=(BOB,)), 1))) == (
        SetMention(BOB, ROOM, 4, False),
    )


@pytest.mark.parametrize(
    "event",
    [an_account(), renamed(), CommandAnswered()],
    ids=lambda event: type(event).__name__,
)
def test_other_events_are_nothing_to_memberships(event: object) -> None:
    assert memberships.project(in_the_log(event)) == ()


# --- on the tables ----------------------------------------------------------------------------------------------------


def test_what_is_unread_is_the_newest_seq_less_the_read_mark(falcon: Embedded) -> None:
    falcon.append(a_group(members=[BOB]), *a_conversation(5), has_read(BOB, 3))
    assert asked(falcon.store.access(ROOM, BOB)) == Access("member", 3, 5, 0, reactions=0)
    assert asked(falcon.store.access(ROOM, ANN)) == Access("admin", 5, 5, 0, reactions=0)
    assert asked(falcon.store.access(ROOM, CAT)) is None


def test_of_many_moves_of_a_mark_in_one_commit_the_last_counts(falcon: Embedded) -> None:
    falcon.append(a_group(members=[BOB]), *a_conversation(5), has_read(BOB, 5), has_read(BOB, 2), has_read(BOB, 4))
    assert asked(falcon.store.access(ROOM, BOB)) == Access("member", 4, 5, 0, reactions=0)


def test_unread_mentions_are_counted_once_a_message(falcon: Embedded) -> None:
    falcon.append(a_group(members=[BOB]))
    falcon.append(*(posted(seq, mentions=(BOB, BOB)) for seq in range(1, 5)), has_read(BOB, 1))
    (summary,) = asked(falcon.store.rooms_of(BOB, None, 50))
    assert (summary.read_seq, summary.mentions) == (1, 3)
    assert asked(falcon.store.mentions(BOB, ROOM, 1, 3)) == 2


def test_an_edit_and_a_deletion_take_mentions_back(falcon: Embedded) -> None:
    first, second = a_message(1, mentions=(BOB,)), a_message(2, mentions=(BOB,))
    falcon.append(a_group(members=[BOB, CAT]), *(posted(seq, mentions=(BOB,)) for seq in (1, 2)))
    falcon.append(MessageEdited(msgspec.structs.replace(first, mentions=(CAT,)), 1, (BOB,)), deleted(second, 2))
    (of_bob,) = asked(falcon.store.rooms_of(BOB, None, 50))
    (of_cat,) = asked(falcon.store.rooms_of(CAT, None, 50))
    assert (of_bob.mentions, of_cat.mentions) == (0, 1)


def test_one_who_comes_back_has_nothing_unread(falcon: Embedded) -> None:
    falcon.append(a_group(members=[BOB]), posted(1, mentions=(BOB,)), left(BOB), posted(2))
    assert asked(falcon.store.rooms_of(BOB, None, 50)) == []
    falcon.append(joined(BOB, read_seq=2))
    (summary,) = asked(falcon.store.rooms_of(BOB, None, 50))
    assert (summary.read_seq, summary.room.last_seq, summary.mentions) == (2, 2, 0)
