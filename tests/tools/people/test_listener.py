"""A listener gets everything that is for it, once and in order: the judge notices each event that it gets otherwise."""

from typing import Any

import msgspec
import pytest

from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberJoined, MemberLeft, Membership, RoomChanged, RoomCreated
from falcon.features.threads.rules import ThreadChanged, ThreadFollowed, ThreadStarted, ThreadUnfollowed
from falcon.journal.envelope import Envelope, Recorded
from tools.people.listener import Heard, Listener, Log, Visible, _data
from tools.people.sessions import Account

ROOM, ME, OTHER, NOW = 30, 64, 128, 1_795_000_000_000


def message(seq: int, text: str = "Tea?", **fields: Any) -> Message:
    return Message(ROOM, seq, OTHER, text, NOW, **fields)


CREATED = RoomCreated(ROOM, "group", "Tea", "", NOW, (Membership(OTHER, "admin"), Membership(ME, "member")))
ONE, TWO, THREE = (MessagePosted(message(seq)) for seq in (1, 2, 3))
EDITED = MessageEdited(message(1, "Coffee?", edited_at=NOW), 2)
RENAMED = RoomChanged(ROOM, "Coffee", "", 2, NOW)
READ = ReadMoved(ROOM, ME, 2, 0, 0)
THEIRS = ReadMoved(ROOM, OTHER, 2, 0, 0)
EVENTS: list[Event] = [CREATED, ONE, TWO, EDITED, RENAMED, THEIRS, READ, THREE]
MINE: list[Event] = [each for each in EVENTS if each is not THEIRS]
NAMES = {
    RoomCreated: "room.created",
    RoomChanged: "room.changed",
    MessagePosted: "message.posted",
    MessageEdited: "message.edited",
    MessageDeleted: "message.deleted",
    ReadMoved: "read.moved",
    MemberJoined: "member.joined",
    MemberLeft: "member.left",
    ThreadStarted: "thread.started",
    ThreadChanged: "thread.changed",
}


def log_of(events: list[Event]) -> Log:
    log = Log()
    for offset, event in enumerate(events):
        log.take(Recorded(offset, Envelope(0, 1, offset, NOW, event)))
    return log


def told(*events: Event | dict[int, int] | str, log: list[Event] = EVENTS, places: bool = False) -> list[str]:
    """The violations for a listener that was told this: events, or the last seqs of a state, or nothing but a name."""
    listener = Listener(0, ["http://falcon"], Account(ME, "token"), Heard(), 1, lambda id: int(id) if places else 0)
    place = 0
    for event in events:
        if isinstance(event, dict):
            rooms = [{"room_id": room, "last_seq": seq} for room, seq in event.items()]
            listener.take(f"{place}", "hello", {"rooms": rooms})
        elif isinstance(event, str):
            listener.take(f"{place}", event, {"reason": "slow"})
        else:
            place = log.index(event) + 1 if event in log else place
            listener.take(f"{place}", NAMES[type(event)], _data(Visible(place, event, "member"), ""))
    return list(listener.judge(log_of(log)))


@pytest.mark.parametrize("places", [False, True])
def test_all_that_is_for_it_once_and_in_order_is_right(places: bool) -> None:
    assert told({}, *MINE, places=places) == []
    assert told({}, *MINE[:3], "caught_up", *MINE[3:], places=places) == []


def test_a_stream_that_begins_later_continues_its_state() -> None:
    assert told({ROOM: 2}, *MINE[3:]) == []
    assert told({ROOM: 3}) == []
    assert told({}, *MINE[:2], {ROOM: 2}, *MINE[3:]) == []


@pytest.mark.parametrize("places", [False, True])
@pytest.mark.parametrize("missing", range(len(MINE)))
def test_an_event_that_did_not_come_is_noticed(missing: int, places: bool) -> None:
    assert told({}, *MINE[:missing], *MINE[missing + 1 :], places=places)


@pytest.mark.parametrize("twice", range(len(MINE)))
def test_an_event_that_came_twice_is_noticed(twice: int) -> None:
    assert told({}, *MINE[: twice + 1], *MINE[twice:])


def test_a_message_that_came_again_after_a_reconnection_is_noticed() -> None:
    assert any("2 times" in wrong for wrong in told({}, *MINE, "caught_up", ONE))


@pytest.mark.parametrize("at", range(len(MINE) - 1))
def test_two_events_in_another_order_are_noticed(at: int) -> None:
    assert told({}, *MINE[:at], MINE[at + 1], MINE[at], *MINE[at + 2 :])


def test_an_event_that_is_not_for_it_is_noticed() -> None:
    assert told({}, *MINE[:6], THEIRS, *MINE[6:])
    assert told({}, CREATED, MessagePosted(message(9)), log=[CREATED])


def test_another_text_than_the_logs_is_noticed_but_not_one_that_is_withheld() -> None:
    other = MessagePosted(message(2, "Beer?"))
    assert told({}, CREATED, ONE, other, log=[CREATED, ONE, TWO])
    blank = MessagePosted(message(2, "", deleted=True))
    gone = MessageDeleted(message(2, "", deleted=True), 3)
    assert told({}, CREATED, ONE, blank, gone, log=[CREATED, ONE, TWO, gone]) == []
    assert told({}, CREATED, ONE, blank, log=[CREATED, ONE, TWO])


def test_a_message_between_a_state_and_the_first_event_after_it_is_missed() -> None:
    assert any("lost" in wrong for wrong in told({ROOM: 2}, log=[CREATED, ONE, TWO, THREE]))
    assert any("lost" in wrong for wrong in told({ROOM: 1}, THREE, log=[CREATED, ONE, TWO, THREE]))


def test_where_tokens_tell_a_place_a_change_after_the_state_is_missed_too() -> None:
    assert told({}, CREATED, {ROOM: 2}, EDITED, THREE, places=True)


def test_a_room_is_followed_from_joining_to_leaving() -> None:
    made = RoomCreated(ROOM, "group", "Tea", "", NOW, (Membership(OTHER, "admin"),))
    joined, left = MemberJoined(ROOM, ME, "member", 1), MemberLeft(ROOM, ME, "member")
    log: list[Event] = [made, ONE, joined, TWO, left, THREE]
    assert told({}, joined, TWO, left, log=log) == []
    assert told({}, log=log[:2]) == []
    assert told({}, joined, TWO, left, THREE, log=log)
    assert told({}, log=log[:4])


THREAD = 94
STARTED = ThreadStarted(ROOM, 1, THREAD, 1)
SAID = [MessagePosted(msgspec.structs.replace(message(seq), room_id=THREAD), parent=ROOM) for seq in (1, 2, 3)]
CHANGED = [ThreadChanged(ROOM, 1, THREAD, seq, NOW, OTHER, (OTHER,)) for seq in (1, 2, 3)]
FOLLOWED = ThreadFollowed(THREAD, ROOM, ME, 1)
UNFOLLOWED = ThreadUnfollowed(THREAD, ROOM, ME, muted=True)
THREADED: list[Event] = [
    *(CREATED, ONE, RoomCreated(THREAD, "thread", "", "", NOW, (), parent=(ROOM, 1)), STARTED, SAID[0], CHANGED[0]),
    *(FOLLOWED, SAID[1], CHANGED[1], UNFOLLOWED, SAID[2], CHANGED[2]),
]


@pytest.mark.parametrize("places", [False, True])
def test_a_thread_is_followed_until_it_is_unfollowed_and_else_only_changes(places: bool) -> None:
    due: list[Event] = [CREATED, ONE, STARTED, CHANGED[0], SAID[1], CHANGED[2]]
    assert told({}, *due, log=THREADED, places=places) == []
    assert told({ROOM: 1}, SAID[1], CHANGED[2], log=THREADED) == []
    assert told({}, *due[:-1], SAID[2], CHANGED[2], log=THREADED, places=places)
    assert told({}, *due[:4], CHANGED[1], *due[4:], log=THREADED, places=places)


def test_a_message_of_a_followed_thread_that_did_not_come_is_noticed() -> None:
    log: list[Event] = [*THREADED[:9], SAID[2], CHANGED[2]]
    assert told({}, CREATED, ONE, STARTED, CHANGED[0], SAID[1], SAID[2], log=log, places=True) == []
    for missing in (SAID[1], SAID[2]):
        (other,) = {SAID[1], SAID[2]} - {missing}
        assert told({}, CREATED, ONE, STARTED, CHANGED[0], other, log=log, places=True)


def test_what_a_thread_lacks_after_its_rooms_state_is_noticed_without_places() -> None:
    """In each part: a message of the room that its state lacks comes after the state."""
    log: list[Event] = [*THREADED[:7], TWO, SAID[1], CHANGED[1], SAID[2], CHANGED[2]]
    assert told({ROOM: 1}, TWO, SAID[1], SAID[2], {ROOM: 2}, log=log) == []
    assert told({ROOM: 2}, SAID[2], {ROOM: 2}, log=log) == []
    (wrong,) = told({ROOM: 1}, TWO, SAID[2], {ROOM: 2}, log=log)
    assert f"thread {THREAD}: lost" in wrong
    # A catch-up lists threads.
    assert told({ROOM: 2, THREAD: 2}, SAID[2], log=log) == []
    (wrong,) = told({ROOM: 2, THREAD: 1}, SAID[2], log=log)
    assert "lost" in wrong


def test_a_member_who_has_left_hears_nothing_of_threads() -> None:
    log: list[Event] = [*THREADED[:9], MemberLeft(ROOM, ME, "member"), SAID[2], CHANGED[2]]
    due: list[Event] = [CREATED, ONE, STARTED, CHANGED[0], SAID[1], log[9]]
    assert told({}, *due, log=log, places=True) == []
    assert told({}, *due, SAID[2], log=log, places=True)


def test_to_be_sent_away_with_another_token_than_that_of_the_last_event_is_noticed() -> None:
    listener = Listener(0, [""], Account(ME, "token"), Heard(), 1, int)
    listener.take("0", "hello", {"rooms": []})
    assert not listener.take("7", "bye", {"reason": "slow"})
    assert "bye" in listener.wrong[0]


def test_it_has_all_once_the_last_event_of_each_room_has_come() -> None:
    listener = Listener(0, [""], Account(ME, "token"), Heard(), 1)
    listener.take("", "hello", {"rooms": []})
    log = log_of([CREATED, ONE])
    assert not listener.has_all(log)
    listener.take("", "room.created", _data(Visible(1, CREATED, "member"), ""))
    assert not listener.has_all(log)
    listener.take("", "message.posted", _data(Visible(2, ONE, "member"), ""))
    assert listener.has_all(log)
