import msgspec
import pytest

from falcon.domain.answers import Done
from falcon.domain.ids import NOBODY
from falcon.domain.limits import CHANGES_REMEMBERED
from falcon.domain.rejections import (
    Invalid,
    MessageIsDeleted,
    MessageNotFound,
    NotAMember,
    NotTheAuthor,
    NotYetReadable,
    ReadOnly,
    RoomNotFound,
)
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    Message,
    MessageAnswer,
    MessageDeleted,
    MessageEdited,
)
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
    deleted,
    edited,
    gone,
    left,
    posted,
    without_text,
)
from tests.support.given import given

# Bob's message, with Ann and Cat in the room; a reader's view of it, at revision 0: nothing has been changed yet.
BOBS = a_message(1, by=BOB, mentions=(ANN, CAT))
TEA = (a_group(members=[BOB, CAT]), posted(1, by=BOB, mentions=(ANN, CAT)))


def edit(by: int, known: Message | None = BOBS, revision: int = 0, text: str = "Coffee?") -> EditMessage:
    return EditMessage(by, ROOM, 1, text, None, known, revision)


def delete(by: int, known: Message | None = BOBS, revision: int = 0) -> DeleteMessage:
    return DeleteMessage(by, ROOM, 1, known, revision)


# A view of it where its row was lost.
MISSING = Message(ROOM, 1, NOBODY, "", 0, deleted=True)  # as an edge finds one that its tables have lost


# --- editing ----------------------------------------------------------------------------------------------------------


def test_the_author_edits_a_message() -> None:
    after = msgspec.structs.replace(BOBS, text="Coffee?", edited_at=LATER)
    given(*TEA).when(edit(BOB), at=LATER).then(MessageEdited(after, revision=1)).answered(MessageAnswer(after))


def test_each_edit_or_deletion_of_the_room_has_the_next_revision() -> None:
    second = a_message(2)
    given(*TEA, posted(2), edited(second, 1), deleted(second, 2)).when(edit(BOB, revision=2), at=LATER).then(
        edited(BOBS, 3, "Coffee?")
    )


def test_an_edit_says_who_is_mentioned_no_longer() -> None:
    command = EditMessage(BOB, ROOM, 1, "Coffee?", mentions=(CAT, BOB), known=BOBS)
    after = msgspec.structs.replace(BOBS, text="Coffee?", edited_at=LATER, mentions=(CAT, BOB))
    given(*TEA).when(command, at=LATER).then(MessageEdited(after, 1, unmentioned=(ANN,)))


def test_an_edit_can_drop_all_mentions() -> None:
    command = EditMessage(BOB, ROOM, 1, "Coffee?", mentions=(), known=BOBS)
    after = msgspec.structs.replace(BOBS, text="Coffee?", edited_at=LATER, mentions=())
    given(*TEA).when(command, at=LATER).then(MessageEdited(after, 1, unmentioned=(ANN, CAT)))


def test_an_edit_that_leaves_the_mentions_alone_keeps_also_one_of_somebody_who_has_left() -> None:
    given(*TEA, left(CAT)).when(edit(BOB), at=LATER).then(edited(BOBS, 1, "Coffee?"))


def test_an_edit_cannot_mention_who_is_not_in_the_room() -> None:
    given(*TEA, left(CAT)).when(EditMessage(BOB, ROOM, 1, "Coffee?", mentions=(CAT,), known=BOBS)).then_rejected(
        Invalid("mentions", f"account {CAT} is not a member of this room")
    )


@pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=ascii)
def test_an_edited_text_is_kept_byte_for_byte(text: str) -> None:
    given(*TEA).when(edit(BOB, text=text), at=LATER).then(edited(BOBS, 1, text))


@pytest.mark.parametrize("other", [ANN, CAT])
def test_nobody_but_the_author_edits_a_message_not_even_an_admin(other: int) -> None:
    given(*TEA).when(edit(other)).then_rejected(NotTheAuthor(ROOM, 1))


def test_an_author_who_may_only_read_now_cannot_edit() -> None:
    given(a_group(readers=[BOB]), posted(1, by=BOB)).when(edit(BOB)).then_rejected(ReadOnly(ROOM))


def test_an_author_who_has_left_cannot_edit() -> None:
    given(*TEA, left(BOB)).when(edit(BOB)).then_rejected(NotAMember(ROOM, BOB))


def test_a_deleted_message_cannot_be_edited() -> None:
    given(*TEA, deleted(BOBS, 1)).when(edit(BOB, without_text(BOBS), 1)).then_rejected(MessageIsDeleted(ROOM, 1))


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_the_author_deletes_a_message_and_its_text_and_mentions_are_gone() -> None:
    gone_text = Message(ROOM, 1, BOB, "", BOBS.posted_at, deleted=True)
    given(*TEA).when(delete(BOB)).then(MessageDeleted(gone_text, 1, unmentioned=(ANN, CAT))).answered(Done())


def test_a_deleted_message_still_says_what_it_replied_to_and_when_it_was_edited() -> None:
    reply = a_message(2, by=BOB, reply_to=1, edited_at=LATER)
    outcome = given(*TEA, posted(2, by=BOB, reply_to=1)).when(DeleteMessage(BOB, ROOM, 2, reply, 0))
    outcome.then(MessageDeleted(Message(ROOM, 2, BOB, "", reply.posted_at, LATER, True, 1), 1))


def test_an_admin_deletes_anybodys_message() -> None:
    given(*TEA).when(delete(ANN)).then(deleted(BOBS, 1))


def test_an_admin_deletes_the_message_of_one_who_has_left() -> None:
    given(*TEA, left(BOB)).when(delete(ANN)).then(deleted(BOBS, 1))


def test_another_member_cannot_delete_a_message() -> None:
    given(*TEA).when(delete(CAT)).then_rejected(NotTheAuthor(ROOM, 1))


def test_in_a_direct_room_each_deletes_only_their_own() -> None:
    bobs = a_message(1, by=BOB, room_id=DIRECT)
    room = (a_direct_room(ANN, BOB), posted(1, by=BOB, room_id=DIRECT))
    given(*room).when(DeleteMessage(ANN, DIRECT, 1, bobs)).then_rejected(NotTheAuthor(DIRECT, 1))
    given(*room).when(DeleteMessage(BOB, DIRECT, 1, bobs)).then(deleted(bobs, 1))


def test_an_author_who_may_only_read_now_cannot_delete() -> None:
    given(a_group(readers=[BOB]), posted(1, by=BOB)).when(delete(BOB)).then_rejected(ReadOnly(ROOM))


def test_a_reader_cannot_delete_what_others_wrote() -> None:
    given(a_group(members=[BOB], readers=[CAT]), posted(1, by=BOB)).when(delete(CAT)).then_rejected(
        NotTheAuthor(ROOM, 1)
    )


@pytest.mark.parametrize("who", [ANN, BOB])
def test_deleting_twice_is_deleting_once(who: int) -> None:
    given(*TEA, deleted(BOBS, 1)).when(delete(who, without_text(BOBS), 1)).then_nothing_happened().answered(Done())


# --- what is not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [0, -1, 2, 4_294_967_297])
def test_a_message_that_was_never_posted_can_neither_be_edited_nor_deleted(seq: int) -> None:
    given(*TEA).when(EditMessage(BOB, ROOM, seq, "Hi", None, BOBS)).then_rejected(MessageNotFound(ROOM, seq))
    given(*TEA).when(DeleteMessage(BOB, ROOM, seq, BOBS)).then_rejected(MessageNotFound(ROOM, seq))


def test_a_stranger_can_neither_edit_nor_delete() -> None:
    given(*TEA).when(edit(DAN)).then_rejected(NotAMember(ROOM, DAN))
    given(*TEA).when(delete(DAN)).then_rejected(NotAMember(ROOM, DAN))


def test_in_a_deleted_room_nothing_is_edited_or_deleted() -> None:
    given(*TEA, gone(ANN, BOB, CAT)).when(edit(BOB)).then_rejected(RoomNotFound(ROOM))
    given(*TEA, gone(ANN, BOB, CAT)).when(delete(BOB)).then_rejected(RoomNotFound(ROOM))


# --- views that are too old to decide on ------------------------------------------------------------------------------


def test_who_has_not_seen_the_message_has_to_look_first() -> None:
    given(*TEA).when(edit(BOB, known=None)).then_rejected(NotYetReadable(ROOM, 1))
    given(*TEA).when(delete(BOB, known=None)).then_rejected(NotYetReadable(ROOM, 1))


def test_who_saw_the_message_before_its_last_change_has_to_look_again() -> None:
    given(*TEA, edited(BOBS, 1)).when(edit(BOB)).then_rejected(NotYetReadable(ROOM, 1))
    given(*TEA, edited(BOBS, 1)).when(delete(ANN)).then_rejected(NotYetReadable(ROOM, 1))


def test_an_outdated_view_cannot_bring_a_deleted_text_back() -> None:
    given(*TEA, deleted(BOBS, 1)).when(edit(BOB)).then_rejected(NotYetReadable(ROOM, 1))


def test_changes_of_other_messages_make_no_view_outdated() -> None:
    others = [edited(a_message(2), revision) for revision in range(1, CHANGES_REMEMBERED + 1)]
    given(*TEA, posted(2), others).when(edit(BOB), at=LATER).then(edited(BOBS, CHANGES_REMEMBERED + 1, "Coffee?"))


def test_what_the_room_has_forgotten_may_have_changed_so_an_old_view_does_not_do() -> None:
    last = CHANGES_REMEMBERED + 1
    changed = [edited(a_message(revision + 1), revision) for revision in range(1, last + 1)]
    room = (*TEA, a_conversation(last, first=2), changed)
    given(*room).when(edit(BOB, revision=0)).then_rejected(NotYetReadable(ROOM, 1))
    given(*room).when(edit(BOB, revision=1), at=LATER).then(edited(BOBS, last + 1, "Coffee?"))


def test_a_missing_message_can_be_neither_edited_nor_deleted() -> None:
    given(*TEA).when(edit(BOB, MISSING)).then_rejected(MessageIsDeleted(ROOM, 1))
    given(*TEA).when(delete(BOB, MISSING)).then_rejected(MessageIsDeleted(ROOM, 1))
    given(*TEA).when(edit(DAN, MISSING)).then_rejected(NotAMember(ROOM, DAN))
