import msgspec

from falcon.features.messages.rules import MessageEdited
from falcon.features.read_marks.table import Access
from tests.projections.embedded import Embedded, asked
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    ROOM,
    a_conversation,
    a_group,
    a_message,
    deleted,
    has_read,
    joined,
    left,
    posted,
)


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
