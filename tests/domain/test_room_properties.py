"""Properties of a room after any requests, in any order, by any account.

A sequence of random requests is played against a room. Beside it stands a model that keeps the whole history: each
message as it was at each revision of the room. So it knows what an author with a view of some age would have seen,
which the room has to judge rightly, though it forgets all but the last changes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from falcon.domain.decision import Decided, Decision
from falcon.domain.limits import CHANGES_REMEMBERED
from falcon.domain.rejections import NotYetReadable, Rejection
from falcon.features.catalogue import RoomCommand
from falcon.features.decider import decide_room, evolve_room
from falcon.features.messages import rules as messages
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    ImportMessages,
    Message,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PostMessage,
)
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    DeleteRoom,
    PutMember,
    RemoveMember,
    Role,
    Room,
    RoomCreated,
)
from falcon.write.snapshots import encode_aggregate
from tests.support.builders import (
    ANN,
    AWKWARD_TEXTS,
    BOB,
    CAT,
    DAN,
    NOW,
    a_direct_room,
    a_group,
    a_message,
    an_imported_group,
    edited,
    has_read,
    posted,
    tried,
)
from tests.support.given import World, plain

REMEMBERED = 3  # so few that short sequences reach what the room has forgotten


@pytest.fixture(autouse=True, scope="module")
def _forgetful_rooms() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "CHANGES_REMEMBERED", REMEMBERED)
        yield


class Chat:
    """A room and everything that ever was in it."""

    def __init__(self, created: RoomCreated) -> None:
        self.room = evolve_room(None, created)
        self.messages: dict[int, Message] = {}
        self.as_it_was: list[dict[int, Message]] = [{}]  # by revision, the newest last
        self.changed: dict[int, int] = {}  # the revision of each message's last change

    def ask(self, command: RoomCommand) -> Decision:
        """Decide, and let happen what was decided."""
        before = plain(self.room)
        decision = decide_room(self.room, command, NOW + self.room.last_seq)
        assert plain(self.room) == before, "deciding changes nothing"
        if isinstance(decision, Decided):
            for event in decision.events:
                self._happen(event)
        return decision

    def _happen(self, event: Any) -> None:
        old, before = self.room, plain(self.room)
        self.room = evolve_room(old, event)
        assert plain(old) == before, "the state of before is as it was"
        match event:
            case MessagePosted(message=message):
                assert message.seq == len(self.messages) + 1, "the next message has the next number"
                self.messages[message.seq] = message
            case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
                assert revision == len(self.as_it_was), "the next change has the next revision"
                was = self.messages[message.seq]
                assert (message.author_id, message.posted_at) == (was.author_id, was.posted_at)
                assert not was.deleted, "a deleted message stays as it is"
                self.messages[message.seq] = message
                self.changed[message.seq] = revision
                self.as_it_was.append({})
        self.as_it_was[-1] = dict(self.messages)

    def seen(self, seq: int, age: int, newer: int) -> tuple[Message | None, int]:
        """A message with a revision that is ``age`` changes old, while the message may be ``newer``.

        A reader gets that who asks for the room's revision first, and then for the message.
        """
        revision = max(0, len(self.as_it_was) - 1 - age)
        view = self.as_it_was[min(len(self.as_it_was) - 1, revision + newer)]
        return view.get(seq), revision


# A request is a function of the chat, so that it can name what is there by then.
Request = Callable[[Chat], RoomCommand]

people = st.sampled_from([ANN, BOB, CAT, DAN])
seqs = st.integers(0, 12)
texts = st.sampled_from(["Hi", "Ho", *AWKWARD_TEXTS])
mentions = st.lists(people, max_size=2).map(tuple)
roles: st.SearchStrategy[Role] = st.sampled_from(["admin", "member", "readonly"])
ages = st.integers(0, 2 * REMEMBERED)


def posting(room_id: int) -> st.SearchStrategy[Request]:
    def request(by: int, text: str, reply_to: int | None, mentioned: tuple[int, ...]) -> Request:
        return lambda chat: PostMessage(by, room_id, text, reply_to, mentioned)

    return st.builds(request, people, texts, st.none() | st.integers(1, 12), mentions)


def editing(room_id: int) -> st.SearchStrategy[Request]:
    def request(by: int, seq: int, text: str, mentioned: tuple[int, ...] | None, age: int, newer: int) -> Request:
        return lambda chat: EditMessage(by, room_id, seq, text, mentioned, *chat.seen(seq, age, newer))

    return st.builds(request, people, seqs, texts, st.none() | mentions, ages, ages)


def deleting(room_id: int) -> st.SearchStrategy[Request]:
    def request(by: int, seq: int, age: int, newer: int) -> Request:
        return lambda chat: DeleteMessage(by, room_id, seq, *chat.seen(seq, age, newer))

    return st.builds(request, people, seqs, ages, ages)


def importing(room_id: int) -> st.SearchStrategy[Request]:
    def request(start: int, length: int, gap: int) -> Request:
        def command(chat: Chat) -> RoomCommand:
            first = max(0, chat.room.last_seq + start)
            seqs = [*range(first, first + length), *([first + length + gap] if gap else [])]
            return ImportMessages(room_id, tuple(a_message(seq, by=DAN, room_id=room_id) for seq in seqs))

        return command

    return st.builds(request, st.integers(-3, 2), st.integers(0, 4), st.integers(0, 2))


def requests(room_id: int, *, quiet: bool = False) -> st.SearchStrategy[Request]:
    """``quiet``: nothing but messages and their changes."""

    def asked(command: st.SearchStrategy[RoomCommand]) -> st.SearchStrategy[Request]:
        return command.map(lambda command: lambda chat: command)

    about_messages = [posting(room_id), posting(room_id), editing(room_id), editing(room_id), deleting(room_id)]
    if quiet:
        return st.one_of(about_messages)
    here = st.just(room_id)
    return st.one_of(
        *about_messages,
        importing(room_id),
        asked(st.builds(MoveRead, people, here, seqs, st.booleans())),
        asked(st.builds(PutMember, people, here, people, roles)),
        asked(st.builds(RemoveMember, people, here, people)),
        asked(st.builds(ChangeRoom, people, here, st.none() | texts, st.none() | texts)),
        asked(st.sampled_from([DeleteRoom(by, room_id) for by in (ANN, BOB, CAT, DAN)])),
    )


def conversations(*, quiet: bool = False, longest: int = 40) -> st.SearchStrategy[tuple[RoomCreated, list[Request]]]:
    group = a_group(admins=[ANN], members=[BOB], readers=[] if quiet else [CAT])
    created = [group] if quiet else [group, an_imported_group(members=[BOB]), a_direct_room(ANN, BOB)]
    return st.sampled_from(created).flatmap(
        lambda room: st.tuples(
            st.just(room), st.lists(requests(room.room_id, quiet=quiet), min_size=1, max_size=longest)
        )
    )


def holds(room: Room) -> None:
    """The rules that every room keeps at every moment."""
    assert room.admins == sum(member.role == "admin" for member in room.members.values())
    if room.deleted:
        assert not room.members
    elif room.kind == "group":
        assert room.admins >= 1, "a group room keeps an admin"
    else:
        assert sorted(room.members) == [ANN, BOB], "a direct room keeps its two"
    assert all(0 <= member.read_seq <= room.last_seq for member in room.members.values())
    assert len(room.changes) <= REMEMBERED
    revisions = [revision for _, revision in room.changes]
    assert revisions == sorted(set(revisions)), "changes are remembered in their order, one a message"
    assert all(room.forgotten < revision <= room.revision for revision in revisions)


@tried(120)
@given(conversations())
def test_whatever_is_asked_a_room_answers_and_stays_sound(told: tuple[RoomCreated, list[Request]]) -> None:
    created, asked = told
    chat = Chat(created)
    for request in asked:
        command = request(chat)
        note(str(command))
        decision = chat.ask(command)
        assert isinstance(decision, Decided | Rejection)
        holds(chat.room)
        assert chat.room.last_seq == (0 if chat.room.deleted else len(chat.messages))
        assert list(chat.messages) == list(range(1, len(chat.messages) + 1)), "no gaps"


@tried(60)
@given(conversations())
def test_read_marks_go_back_only_when_forced(told: tuple[RoomCreated, list[Request]]) -> None:
    created, asked = told
    chat = Chat(created)
    for request in asked:
        before = chat.room.members
        command = request(chat)
        chat.ask(command)
        for account_id, member in chat.room.members.items():
            was = before.get(account_id)
            if was is not None and member.read_seq < was.read_seq:
                assert isinstance(command, MoveRead) and command.force and command.by == account_id


@tried(120)
@given(conversations(quiet=True, longest=60))
def test_an_outdated_view_is_always_noticed_and_a_current_one_never_refused_for_its_age(
    told: tuple[RoomCreated, list[Request]],
) -> None:
    created, asked = told
    chat = Chat(created)
    for request in asked:
        command = request(chat)
        note(str(command))
        newest_change = chat.changed.copy()
        revision = chat.room.revision
        there = isinstance(command, EditMessage | DeleteMessage) and 1 <= command.seq <= chat.room.last_seq
        truth = chat.messages.get(command.seq) if isinstance(command, EditMessage | DeleteMessage) else None
        member = getattr(command, "by", 0) in chat.room.members
        decision = chat.ask(command)
        if not (there and member):
            assert not isinstance(decision, NotYetReadable)
            continue
        assert isinstance(command, EditMessage | DeleteMessage)
        if command.known is None or newest_change.get(command.seq, 0) > command.known_revision:
            assert decision == NotYetReadable(command.room_id, command.seq)
        elif command.known_revision == revision:
            assert not isinstance(decision, NotYetReadable)
        if not isinstance(decision, NotYetReadable):
            assert command.known == truth, "what was decided on is the message as it stood"


@tried(60)
@given(conversations(quiet=True, longest=60))
def test_a_room_never_thinks_a_message_older_than_it_is(told: tuple[RoomCreated, list[Request]]) -> None:
    created, asked = told
    chat = Chat(created)
    for request in asked:
        chat.ask(request(chat))
        for seq in chat.messages:
            assert chat.changed.get(seq, 0) <= chat.room.changed_at(seq) <= chat.room.revision


@tried(50)
@given(conversations())
def test_a_room_told_its_history_again_is_the_same_room(told: tuple[RoomCreated, list[Request]]) -> None:
    created, asked = told
    chat, history = Chat(created), World().after(created)
    for request in asked:
        decision = chat.ask(request(chat))
        if isinstance(decision, Decided):
            history = history.after(*decision.events)
    assert plain(history.rooms[created.room_id]) == plain(chat.room)


@tried(50)
@given(conversations())
def test_a_retry_of_what_sets_something_changes_nothing(told: tuple[RoomCreated, list[Request]]) -> None:
    created, asked = told
    chat = Chat(created)
    for request in asked:
        command = request(chat)
        decision = chat.ask(command)
        if isinstance(decision, Decided) and isinstance(command, MoveRead | PutMember | ChangeRoom | ImportMessages):
            again = chat.ask(command)
            # One who has taken the right from themselves may not ask again; else it is so already.
            assert isinstance(again, Rejection) or not again.events


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_room_does_not_grow_with_its_messages() -> None:
    room = evolve_room(None, a_group(members=[BOB]))
    sizes = set()
    for seq in range(1, 3_001):
        room = evolve_room(room, posted(seq, text="x" * 100))
        sizes.add(len(encode_aggregate(room)))
    assert max(sizes) - min(sizes) <= 8, "a few digits more is all"


def test_a_room_does_not_grow_with_the_changes_of_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "CHANGES_REMEMBERED", CHANGES_REMEMBERED)
    room = evolve_room(None, a_group())
    for seq in range(1, 1_001):
        room = evolve_room(room, posted(seq))
    for revision in range(1, 1_001):
        room = evolve_room(room, edited(a_message(revision), revision))
        assert len(room.changes) == min(revision, CHANGES_REMEMBERED)
    assert room.forgotten == 1_000 - CHANGES_REMEMBERED
    assert len(encode_aggregate(room)) < 1_000


def test_changing_one_message_many_times_forgets_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "CHANGES_REMEMBERED", CHANGES_REMEMBERED)
    room = evolve_room(None, a_group())
    for seq in (1, 2):
        room = evolve_room(room, posted(seq))
    room = evolve_room(room, edited(a_message(1), 1))
    for revision in range(2, 502):
        room = evolve_room(room, edited(a_message(2), revision))
    assert room.changes == ((1, 1), (2, 501))
    assert room.forgotten == 0


# --- purity -----------------------------------------------------------------------------------------------------------


def test_two_futures_of_one_room_do_not_meet() -> None:
    fork = evolve_room(None, a_group(members=[BOB]))
    ann_reads = evolve_room(evolve_room(fork, posted(1, by=ANN)), has_read(BOB, 1))
    bob_posts = evolve_room(fork, posted(1, by=BOB))
    assert (fork.last_seq, fork.members[BOB].read_seq) == (0, 0)
    assert (ann_reads.members[ANN].read_seq, ann_reads.members[BOB].read_seq) == (1, 1)
    assert (bob_posts.members[ANN].read_seq, bob_posts.members[BOB].read_seq) == (0, 1)
