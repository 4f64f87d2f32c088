"""The rules of threads."""

from typing import Any

import pytest

from falcon.domain.answers import Done
from falcon.domain.rejections import Invalid, NotYetReadable, RoomNotFound
from falcon.features.catalogue import Event
from falcon.features.messages.rules import EditMessage, ImportMessages, MessageAnswer, MessagePosted, PostMessage
from falcon.features.read_marks.rules import MoveRead, ReadAnswer
from falcon.features.rooms.rules import RoomCreated
from falcon.features.threads.rules import (
    FOLLOWERS_MAX,
    QUIET_MILLIS,
    STARTS_REMEMBERED,
    FollowThread,
    ImportThread,
    StartThread,
    ThreadAnswer,
    ThreadChanged,
    ThreadFollowed,
    ThreadMessageAnswer,
    ThreadStarted,
    ThreadUnfollowed,
    UnfollowThread,
)
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    LATER,
    NEW,
    NOW,
    ROOM,
    a_conversation,
    a_group,
    a_message,
    an_imported_group,
    gone,
    left,
    nth_id,
)
from tests.support.given import given

THREAD = nth_id(20)
QUIET = LATER + QUIET_MILLIS + 1
# Ann has written message 1, whose thread Bob has started.
TEA: tuple[Event, ...] = (a_group(members=[BOB, CAT]), *a_conversation(2))


def started(seq: int = 1, thread_id: int = THREAD, number: int = 1) -> tuple[Event, ...]:
    return (
        RoomCreated(thread_id, "thread", "", "", NOW, (), parent=(ROOM, seq)),
        ThreadStarted(ROOM, seq, thread_id, number),
    )


def follows(account_id: int, read_seq: int = 0, woke_at: int | None = None) -> ThreadFollowed:
    return ThreadFollowed(THREAD, ROOM, account_id, read_seq, woke_at)


def ended(account_id: int, *, muted: bool = False) -> ThreadUnfollowed:
    return ThreadUnfollowed(THREAD, ROOM, account_id, muted)


def said(seq: int, by: int = BOB, *, author_read_seq: int | None = None, mentions: tuple[int, ...] = ()) -> Any:
    return MessagePosted(a_message(seq, by=by, room_id=THREAD, at=LATER, mentions=mentions), author_read_seq, ROOM)


def changed(seq: int, by: int = BOB, *participants: int, at: int = LATER) -> ThreadChanged:
    return ThreadChanged(ROOM, 1, THREAD, seq, at, by, participants or (by,))


def start(by: int = BOB, seq: int = 1, *, thread_id: int | None = None, number: int = 0) -> StartThread:
    return StartThread(by, ROOM, seq, a_message(seq), 0, thread_id, number)


def post(by: int = BOB, *mentions: int, text: str = "Who wants tea?", also_in_room: bool = False) -> PostMessage:
    return PostMessage(by, THREAD, text, None, mentions, also_in_room)


def test_a_thread_is_followed_by_the_author_of_its_message_if_it_is_still_a_member() -> None:
    answer = ThreadAnswer(NEW, "member", 0, NOW, follows=False, created=True)
    given(*TEA).when(start()).then(*started(thread_id=NEW), ThreadFollowed(NEW, ROOM, ANN, 0)).answered(answer)
    bob_wrote = StartThread(ANN, ROOM, 1, a_message(1, by=BOB))
    given(*TEA, left(BOB)).when(bob_wrote).then(*started(thread_id=NEW))


def test_whether_a_message_has_a_thread_is_decided_on_a_view_and_what_came_since() -> None:
    history = (*TEA, *(each for n in range(1, STARTS_REMEMBERED + 3) for each in started(n, nth_id(100 + n), n)))
    messages = a_conversation(STARTS_REMEMBERED + 3)
    there = given(a_group(members=[BOB]), *messages, *history[len(TEA) :])
    remembered = ThreadAnswer(nth_id(103), "member", 0, NOW, follows=False, created=False)
    there.when(start(seq=3)).then_nothing_happened().answered(remembered)
    # The first two are forgotten. A view that has applied them shows their threads, and an older one is too old.
    there.when(start(seq=2, number=1)).then_rejected(NotYetReadable(ROOM, 2))
    seen = ThreadAnswer(nth_id(102), "member", 0, NOW, follows=False, created=False)
    there.when(start(seq=2, thread_id=nth_id(102), number=2)).then_nothing_happened().answered(seen)
    last = STARTS_REMEMBERED + 3
    new = started(last, NEW, last)
    there.when(start(seq=last, number=2)).then(*new, ThreadFollowed(NEW, ROOM, ANN, 0))


def test_one_who_writes_follows_first_and_has_read_what_was_there() -> None:
    there = given(*TEA, *started(), said(1, by=ANN))
    answer = ThreadMessageAnswer(said(2).message, None)
    there.when(post(), at=LATER).then(follows(BOB, 1), said(2, author_read_seq=2), changed(2, BOB, ANN, BOB)).answered(
        answer
    )
    again = given(*TEA, *started(), follows(BOB)).when(post(), at=LATER)
    again.then(said(1, author_read_seq=1), changed(1)).answered(MessageAnswer(said(1).message))


def test_one_who_is_mentioned_follows_and_has_the_message_unread() -> None:
    there = given(*TEA, *started(), follows(BOB))
    message = said(1, mentions=(CAT, BOB), author_read_seq=1)
    there.when(post(BOB, CAT, BOB), at=LATER).then(follows(CAT), message, changed(1))
    edit = EditMessage(BOB, THREAD, 1, "Cat?", (CAT,), said(1).message, 0)
    events = given(*TEA, *started(), follows(BOB), said(1)).when(edit, at=LATER)._decided().events
    assert events[0] == follows(CAT, 1) and len(events) == 2


def test_an_unfollow_holds_until_one_is_mentioned() -> None:
    muted = given(*TEA, *started(), follows(BOB), ended(BOB, muted=True))
    given(*TEA, *started(), follows(BOB)).when(UnfollowThread(BOB, THREAD)).then(ended(BOB, muted=True))
    muted.when(UnfollowThread(BOB, THREAD)).then_nothing_happened().answered(Done())
    muted.when(post(), at=LATER).then(said(1), changed(1))
    muted.when(post(ANN, BOB), at=LATER).then(
        follows(ANN), follows(BOB), said(1, by=ANN, mentions=(BOB,), author_read_seq=1), changed(1, ANN)
    )
    back = given(*TEA, *started(), follows(BOB), ended(BOB, muted=True), follows(BOB), ended(BOB))
    back.when(post(), at=LATER).then(follows(BOB), said(1, author_read_seq=1), changed(1))


def test_a_thread_has_so_many_followers() -> None:
    many = [nth_id(1_000 + n) for n in range(FOLLOWERS_MAX)]
    full = given(a_group(members=[BOB, CAT, *many]), *a_conversation(2), *started(), *map(follows, many))
    full.when(post(BOB, CAT), at=LATER).then(said(1, mentions=(CAT,)), changed(1))
    refused = Invalid("room_id", f"must be a thread with fewer than {FOLLOWERS_MAX:,} followers")
    full.when(FollowThread(BOB, THREAD)).then_rejected(refused)


def test_a_full_thread_has_room_for_others_once_followers_have_left_its_room() -> None:
    strangers = [nth_id(1_000 + n) for n in range(FOLLOWERS_MAX - 1)]
    full = given(*TEA, *started(), *map(follows, strangers), follows(ANN))
    events = full.when(FollowThread(BOB, THREAD))._decided().events
    assert (set(events[:-1]), events[-1]) == ({*map(ended, strangers)}, follows(BOB))
    full.when(MoveRead(ANN, THREAD, 0)).then_nothing_happened()


@pytest.mark.parametrize("command", [post(), FollowThread(BOB, THREAD)], ids=["a message", "a follow"])
def test_after_ninety_quiet_days_all_follows_end_with_what_comes_next(command: Any) -> None:
    quiet = given(*TEA, *started(), follows(ANN), follows(BOB), said(1))
    events = quiet.when(command, at=QUIET)._decided().events
    assert events[:2] == (ended(ANN), ended(BOB))
    woke = QUIET if isinstance(command, FollowThread) else None
    assert events[2] == follows(BOB, 1, woke)
    awake = given(*TEA, *started(), follows(ANN), follows(BOB), said(1), *events)
    assert not isinstance(awake.when(post(), at=QUIET + 1)._decided().events[0], ThreadUnfollowed)
    # A mark may be moved on meanwhile, and a follow of a thread that is not quiet changes nothing.
    quiet.when(MoveRead(ANN, THREAD, 1), at=QUIET).answered(ReadAnswer(THREAD, 1, 0, 0))
    quiet.when(FollowThread(BOB, THREAD), at=QUIET - 1).then_nothing_happened()


def test_a_message_of_a_clock_that_was_wrong_ends_no_follows_once_it_is_right() -> None:
    year = 365 * 86_400_000
    long_ago = MessagePosted(a_message(2, by=BOB, room_id=THREAD, at=LATER - year), None, ROOM)
    there = given(*TEA, *started(), follows(ANN), follows(BOB), said(1), long_ago)
    there.when(post(), at=LATER + 1).then(
        MessagePosted(a_message(3, by=BOB, room_id=THREAD, at=LATER + 1), None, ROOM), changed(3, at=LATER + 1)
    )
    # The clock is a year behind.
    assert not isinstance(there.when(post(), at=LATER - year)._decided().events[0], ThreadUnfollowed)


def test_one_who_does_not_follow_has_read_everything() -> None:
    there = given(*TEA, *started(), said(1))
    for mark in (MoveRead(CAT, THREAD, 0, force=True), MoveRead(CAT, THREAD, 1)):
        there.when(mark).then_nothing_happened().answered(ReadAnswer(THREAD, 1, 0, 0))


def test_a_line_in_the_room_is_of_the_same_append() -> None:
    there = given(*TEA, *started(), follows(BOB))
    line = MessagePosted(a_message(3, by=BOB, at=LATER, reply_to=1))  # which it has not read up to
    there.when(post(also_in_room=True), at=LATER).then(said(1, author_read_seq=1), changed(1), line).answered(
        ThreadMessageAnswer(said(1).message, 3)
    )


def test_one_who_has_left_the_room_can_do_nothing_in_its_threads() -> None:
    history = (*TEA, *started(), follows(BOB), said(1))
    commands: list[Any] = [post(), FollowThread(BOB, THREAD), UnfollowThread(BOB, THREAD), MoveRead(BOB, THREAD, 1)]
    for command in commands:
        outcome = given(*history, left(BOB)).when(command)
        assert type(outcome.decision).__name__ == "NotAMember", command
        given(*history, gone(ANN, BOB, CAT)).when(command).then_rejected(RoomNotFound(THREAD))
    # An account that follows without having been let in is no better off.
    stranger = nth_id(50)
    outcome = given(*history, follows(stranger)).when(post(stranger))
    assert type(outcome.decision).__name__ == "NotAMember"


def test_an_imported_thread_takes_imported_messages() -> None:
    old = (an_imported_group(members=[BOB]),)
    command = ImportThread("a thread", ROOM, 1, NOW, (BOB,))
    answer = ThreadAnswer(NEW, "member", 0, NOW, follows=False, created=False)
    made = (
        RoomCreated(NEW, "thread", "", "", NOW, (), "a thread", parent=(ROOM, 1)),
        ThreadStarted(ROOM, 1, NEW, 1),
        ThreadFollowed(NEW, ROOM, BOB, 0),
    )
    given(*old).when(command).then(*made).answered(answer)
    messages = tuple(a_message(seq, by=BOB, room_id=NEW) for seq in (1, 2))
    events = given(*old, *made).when(ImportMessages(NEW, messages))._decided().events
    assert [type(event).__name__ for event in events] == ["MessagePosted", "MessagePosted", "ThreadChanged"]
