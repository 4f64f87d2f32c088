"""Reactions to messages: who may react, with how many emoji, and that the log's order alone says who has."""

from typing import Any

import msgspec
import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided
from falcon.domain.rejections import (
    Invalid,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotYetReadable,
    ReadOnly,
)
from falcon.features.catalogue import Event
from falcon.features.decider import decide_room
from falcon.features.decider import evolve_room as evolve
from falcon.features.reactions.rules import (
    REACTION_ACCOUNTS_SHOWN,
    REACTION_KINDS_MAX,
    REACTIONS_REMEMBERED_LEAST,
    REACTIONS_REMEMBERED_MILLIS,
    REACTIONS_REMEMBERED_MOST,
    STATE,
    AddReaction,
    ImportedReaction,
    ImportReactions,
    KnownReactions,
    ReactionAdded,
    ReactionAnswer,
    ReactionRemoved,
    RemoveReaction,
)
from falcon.features.rooms.rules import Room
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    LATER,
    NOW,
    ROOM,
    a_group,
    a_message,
    an_imported_group,
    deleted,
    edited,
    left,
    posted,
    tried,
    without_text,
)
from tests.support.given import given
from tests.support.reactions import ReactionTables, reactions, reactions_known, shown_reactions

LIKE, HEART = "👍", "❤️"
NOTHING = KnownReactions(0)
BOBS = a_message(1, by=BOB)
TEA = (a_group(members=[BOB, CAT], readers=[DAN]), posted(1, by=BOB))


def like(by: int = ANN, known: KnownReactions = NOTHING, emoji: str = LIKE, **view: Any) -> AddReaction:
    return AddReaction(by, ROOM, 1, emoji, view.get("message", BOBS), view.get("revision", 0), known)


def unlike(by: int = ANN, known: KnownReactions = NOTHING, emoji: str = LIKE) -> RemoveReaction:
    return RemoveReaction(by, ROOM, 1, emoji, BOBS, 0, known)


def added(by: int, revision: int, *accounts: int, since: int = 1, emoji: str = LIKE, at: int = LATER) -> ReactionAdded:
    accounts = accounts or (by,)
    return ReactionAdded(ROOM, 1, emoji, by, at, revision, len(accounts), since, accounts)


def removed(by: int, reacted: int, revision: int, *accounts: int, since: int = 1) -> ReactionRemoved:
    return ReactionRemoved(ROOM, 1, LIKE, by, LATER, reacted, revision, len(accounts), since, accounts)


def answer(count: int) -> ReactionAnswer:
    return ReactionAnswer(ROOM, 1, LIKE, count)


# --- adding and removing ----------------------------------------------------------------------------------------------


def test_a_member_reacts_to_a_message() -> None:
    given(*TEA).when(like(ANN), at=LATER).then(added(ANN, 1)).answered(answer(1))


def test_reacting_again_changes_nothing() -> None:
    given(*TEA, added(ANN, 1)).when(like(ANN), at=LATER).then_nothing_happened().answered(answer(1))


def test_those_who_react_are_listed_in_the_order_in_which_they_did() -> None:
    given(*TEA, added(CAT, 1)).when(like(ANN), at=LATER).then(added(ANN, 2, CAT, ANN)).answered(answer(2))


def test_each_emoji_is_counted_by_itself() -> None:
    given(*TEA, added(ANN, 1)).when(like(ANN, emoji=HEART), at=LATER).then(added(ANN, 2, since=2, emoji=HEART))


def test_a_reaction_is_removed_by_its_account() -> None:
    history = (*TEA, added(ANN, 1), added(CAT, 2, ANN, CAT))
    given(*history).when(unlike(ANN), at=LATER).then(removed(ANN, 1, 3, CAT)).answered(Done())


def test_removing_what_is_not_there_changes_nothing() -> None:
    given(*TEA, added(CAT, 1)).when(unlike(ANN), at=LATER).then_nothing_happened().answered(Done())


def test_an_emoji_that_comes_up_again_is_the_newest() -> None:
    history = (*TEA, added(ANN, 1), removed(ANN, 1, 2))
    given(*history).when(like(CAT), at=LATER).then(added(CAT, 3, since=3)).answered(answer(1))


def test_what_the_view_shows_already_is_not_counted_twice() -> None:
    view = KnownReactions(1, (LIKE,), ((ANN, 1),), 2, 2, 1, (ANN, CAT))  # read while Cat's reaction came
    history = (*TEA, added(ANN, 1), added(CAT, 2, ANN, CAT))
    given(*history).when(like(BOB, view), at=LATER).then(added(BOB, 3, ANN, CAT, BOB)).answered(answer(3))


def test_the_accounts_shown_are_the_first_and_others_follow_when_they_are_gone() -> None:
    accounts = tuple(range(1_000, 1_000 + REACTION_ACCOUNTS_SHOWN + 5))
    view = KnownReactions(0, (LIKE,), ((accounts[0], 1), (ANN, 0)), 0, len(accounts), 1, accounts)
    room = _room(*TEA)
    add = decide_room(room, like(ANN, view), LATER)
    assert isinstance(add, Decided)
    assert [(e.count, e.accounts) for e in add.events if isinstance(e, ReactionAdded)] == [(26, accounts[:20])]
    members = room.members.set(accounts[0], room.members[ANN])
    remove = decide_room(msgspec.structs.replace(room, members=members), unlike(accounts[0], view), LATER)
    assert isinstance(remove, Decided)
    assert [(e.count, e.accounts) for e in remove.events if isinstance(e, ReactionRemoved)] == [(24, accounts[1:21])]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [like(DAN), unlike(DAN)])
def test_a_readonly_member_may_not_react(command: AddReaction | RemoveReaction) -> None:
    given(*TEA).when(command).then_rejected(ReadOnly(ROOM))


@pytest.mark.parametrize("command", [like(CAT), unlike(CAT)])
def test_who_has_left_cannot_react(command: AddReaction | RemoveReaction) -> None:
    given(*TEA, left(CAT)).when(command).then_rejected(NotAMember(ROOM, CAT))


@pytest.mark.parametrize("command", [like, unlike])
def test_a_message_that_was_deleted_takes_no_reaction(command: Any) -> None:
    gone = msgspec.structs.replace(command(ANN), known=without_text(BOBS), known_revision=1)
    given(*TEA, deleted(BOBS, 1)).when(gone).then_rejected(MessageIsDeleted(ROOM, 1))


def test_a_view_from_before_a_deletion_is_too_old() -> None:
    given(*TEA, deleted(BOBS, 1)).when(like(ANN)).then_rejected(NotYetReadable(ROOM, 1))


def test_there_is_no_reacting_to_a_message_to_come() -> None:
    given(*TEA).when(AddReaction(ANN, ROOM, 2, LIKE, BOBS)).then_rejected(MessageNotFound(ROOM, 2))


def test_a_message_has_a_bounded_number_of_emoji() -> None:
    full = KnownReactions(0, tuple(str(n) for n in range(REACTION_KINDS_MAX - 1)))
    history = (*TEA, added(CAT, 1, emoji=HEART))
    rule = f"a message has at most {REACTION_KINDS_MAX} different emoji"
    given(*history).when(like(ANN, full)).then_rejected(Invalid("emoji", rule))
    given(*history).when(like(ANN, full, HEART), at=LATER).then(added(ANN, 2, CAT, ANN, emoji=HEART))
    given(*TEA).when(like(ANN, full), at=LATER).then(added(ANN, 1))


def test_reactions_make_no_edit_stale_and_an_edit_no_reaction_wrong() -> None:
    room = _room(*TEA, added(ANN, 1), added(CAT, 2, ANN, CAT))
    assert (room.revision, room.changes, room.last_seq) == (0, (), 1)
    given(*TEA, edited(BOBS, 1)).when(like(ANN, revision=1), at=LATER).then(added(ANN, 1))


# --- importing --------------------------------------------------------------------------------------------------------


def test_reactions_are_imported_once() -> None:
    history = (an_imported_group(), posted(1))
    command = ImportReactions(
        ROOM, 1, LIKE, (ImportedReaction(BOB, NOW), ImportedReaction(DAN, LATER), ImportedReaction(BOB, LATER)), BOBS
    )
    events = (added(BOB, 1, at=NOW), added(DAN, 2, BOB, DAN))
    given(*history).when(command).then(*events).answered(ImportAnswer(2, 1))
    given(*history, *events).when(command).then_nothing_happened().answered(ImportAnswer(0, 3))


def test_reactions_are_imported_into_imported_rooms_only() -> None:
    rule = "reactions can only be imported into a room that was imported"
    given(*TEA).when(ImportReactions(ROOM, 1, LIKE, (), BOBS)).then_rejected(NotAllowed(rule))


# --- what a room remembers --------------------------------------------------------------------------------------------


def test_a_room_remembers_the_last_changes_and_all_of_the_last_minute_within_bounds() -> None:
    room = _room(*TEA)
    for revision in range(1, 1_000):
        room = evolve(room, added(ANN, revision, at=NOW + revision))
    assert len(STATE.of(room).changes) == REACTIONS_REMEMBERED_MOST
    assert STATE.of(room).forgotten == STATE.of(room).changes[0].revision - 1
    room = evolve(room, added(ANN, 1_000, at=NOW + 2 * REACTIONS_REMEMBERED_MILLIS))
    assert len(STATE.of(room).changes) == REACTIONS_REMEMBERED_LEAST
    assert STATE.of(room).forgotten == 1_000 - REACTIONS_REMEMBERED_LEAST


def test_a_view_older_than_what_the_room_remembers_is_too_old() -> None:
    room = _room(*TEA)
    for revision in range(1, 40):
        room = evolve(room, added(ANN, revision, at=NOW + revision * REACTIONS_REMEMBERED_MILLIS))
    forgotten = STATE.of(room).forgotten
    assert decide_room(room, like(BOB, KnownReactions(forgotten - 1)), LATER) == NotYetReadable(ROOM, 1)
    assert isinstance(decide_room(room, like(BOB, KnownReactions(forgotten)), LATER), Decided)


# --- any order --------------------------------------------------------------------------------------------------------

_Asked = tuple[bool, int, str, int, int]  # adds or removes, who, with what, how old the two parts of the view are
_ASKED = st.tuples(
    st.booleans(), st.integers(1, 30), st.sampled_from([LIKE, HEART]), st.integers(0, 9), st.integers(0, 9)
)


@tried(300)
@given_any(st.lists(_ASKED, max_size=60))
def test_in_any_order_of_reactions_the_log_says_who_has_reacted(asked: list[_Asked]) -> None:
    """Each command comes with a view that is some events old, and whose parts were read at different times."""
    room = _room(a_group(members=list(range(1, 31))), posted(1))
    events: list[Event] = []
    reacted: dict[str, list[int]] = {LIKE: [], HEART: []}
    for adds, who, emoji, age, younger in asked:
        old, young = len(events) - min(age, len(events)), len(events) - min(age, younger, len(events))
        view = reactions_known(events[:young], ROOM, 1, emoji, [who])
        view = msgspec.structs.replace(view, revision=old)
        command = (AddReaction if adds else RemoveReaction)(who, ROOM, 1, emoji, a_message(), 0, view)
        decision = decide_room(room, command, NOW)
        assert isinstance(decision, Decided), decision
        for event in decision.events:
            assert isinstance(event, ReactionAdded | ReactionRemoved)
            room = evolve(room, event)
            events.append(event)
        there = reacted[emoji]
        if adds and who not in there:
            there.append(who)
        elif not adds and who in there:
            there.remove(who)
        if adds:
            assert decision.answer == answer(len(there)) or emoji != LIKE
    tables = ReactionTables.after([*events, *events])
    for emoji, accounts in reacted.items():
        rows = reactions(tables, ROOM, 1, emoji, 0, 99)
        assert [row.account_id for row in rows] == accounts
    shown = msgspec.json.decode(shown_reactions(tables, ROOM, 1, 1).by_seq.get(1, b"[]"))
    assert {each["emoji"]: (each["count"], each["accounts"]) for each in shown} == {
        emoji: (len(accounts), accounts[:REACTION_ACCOUNTS_SHOWN]) for emoji, accounts in reacted.items() if accounts
    }


def _room(*events: Any) -> Room:
    room: Room | None = None
    for event in events:
        room = evolve(room, event)
    assert room is not None
    return room
