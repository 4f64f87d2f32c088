"""The checker must be able to fail: histories in which something is wrong, and what it says of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tools.people.checker import Checker
from tools.people.history import DELETED, History, Operation, Seen, operations, spoken, token_of

ROOM = 30
FIRST, SECOND, THIRD = "1.1/0", "2.1/0", "1.2/0"
ALL = [(1, FIRST), (2, SECOND), (3, THIRD)]


def post(token: str, seq: int, **fields: Any) -> Operation:
    usual: dict[str, Any] = {
        "kind": "post",
        "session": int(token[0]),
        "room": ROOM,
        "key": token,
        "token": token,
        "seq": seq,
        "outcome": "acknowledged",
        "status": 201,
        "answer": f"answer {seq}",
        "position": f"6:{seq + 10}",
    }
    return Operation(**(usual | fields))


def change(token: str, seq: int) -> Operation:
    """A change by session 1: an edit, or a deletion."""
    kind = "edit" if token else "delete"
    return Operation(
        kind=kind, session=1, room=ROOM, key=f"{kind} {token}", token=token, seq=seq, outcome="acknowledged"
    )


def read(session: int, seen: list[Seen], query: str = "latest", at: int = 0) -> Operation:
    return Operation(
        kind="read", session=session, room=ROOM, query=query, at=at, limit=20, seen=seen, outcome="acknowledged"
    )


def logged(token: str, seq: int, name: str = "MessagePosted", key: str = "") -> Operation:
    return Operation(
        kind="logged", room=ROOM, name=name, seq=seq, token=token, key=key or token, position=f"6:{seq + 10}"
    )


def log_of(messages: Iterable[Seen]) -> list[Operation]:
    return [logged(token, seq) for seq, token in messages]


def shown(messages: list[Seen], api: int = 0) -> Operation:
    return Operation(kind="final", room=ROOM, api=api, seen=messages)


def found(messages: list[Seen]) -> list[Operation]:
    """The log and both APIs agree."""
    return [*log_of(messages), shown(messages, 0), shown(messages, 1)]


SENT = [post(FIRST, 1), post(SECOND, 2), post(THIRD, 3)]


def violations(*history: Operation | list[Operation]) -> list[str]:
    flat = [op for each in history for op in (each if isinstance(each, list) else [each])]
    return Checker().check(flat)


def test_a_history_in_which_all_is_well_has_no_violations() -> None:
    edited = [(1, "1.1/1"), (2, SECOND), (3, DELETED)]
    log = [
        *log_of(ALL),
        logged("1.1/1", 1, "MessageEdited", "edit 1.1/1"),
        logged(DELETED, 3, "MessageDeleted", "delete "),
    ]
    history = [
        *SENT,
        read(1, ALL),
        change("1.1/1", 1),
        change(DELETED, 3),
        read(1, edited),
        read(2, edited[:1], "before", 2),
        read(2, edited[1:], "after", 1),
    ]
    assert violations(history, log, shown(edited, 0), shown(edited, 1)) == []


@pytest.mark.parametrize("outcome", ["refused", "unknown"])
def test_a_retry_that_finds_the_message_sent_is_well(outcome: Any) -> None:
    tried = post(FIRST, 0, outcome=outcome, status=503, answer="")
    assert violations(tried, post(FIRST, 1, replayed=True), found([(1, FIRST)])) == []


@pytest.mark.parametrize(
    ("attempts", "count"),
    [
        ([{"outcome": "refused", "status": 503}, {"replayed": True}], 1),
        ([{"outcome": "refused", "status": 503}, {}], 0),
        ([{"replayed": True}], 0),  # the edge asked twice, and the client once
        ([{"outcome": "unknown", "status": 503}, {"replayed": True}], 0),
    ],
)
def test_refused_though_done_is_what_was_refused_before(attempts: list[dict[str, Any]], count: int) -> None:
    checker = Checker()
    for attempt in attempts:
        checker.take(post(FIRST, 1, **attempt))
    assert checker.counts.refused_though_done == count


def test_an_unkeyed_message_of_unknown_outcome_may_be_there_or_not() -> None:
    sent = post(FIRST, 0, key="", outcome="unknown", status=0, position="")
    assert violations(sent, logged(FIRST, 1, key=" "), shown([(1, FIRST)])) == []
    assert violations(sent, shown([])) == []


def test_a_lost_message_is_noticed() -> None:
    assert any("lost: 1.2/0" in each for each in violations(SENT, found(ALL[:2])))


def test_a_lost_room_is_noticed() -> None:
    assert any("lost: room 30" in each for each in violations(SENT))


def test_a_message_that_is_in_the_log_and_not_in_the_tables_is_noticed() -> None:
    assert any("is not as the log says" in each for each in violations(SENT, log_of(ALL), shown(ALL[:2])))


def test_a_doubled_message_is_noticed() -> None:
    doubled = [*ALL, (4, FIRST)]
    assert any("1.1 is there 2 times" in each for each in violations(SENT, found(doubled)))


def test_a_key_that_is_twice_in_the_log_is_noticed() -> None:
    assert any("key 1.1/0 is in the log 2 times" in each for each in violations(SENT, found(ALL), logged(FIRST, 4)))


def test_messages_in_another_order_are_noticed() -> None:
    swapped = [(1, SECOND), (2, FIRST), (3, THIRD)]
    assert any("2.1 stands at" in each for each in violations(SENT, found(swapped)))


def test_two_readers_that_see_another_order_are_noticed() -> None:
    one, other = [(1, FIRST), (2, SECOND)], [(1, SECOND), (2, FIRST)]
    assert any("where 1.1 stood before" in each for each in violations(read(3, one), read(4, other)))


def test_a_gap_in_the_seqs_is_noticed() -> None:
    gap = [(1, FIRST), (3, THIRD)]
    assert any("the seqs are not 1 to 2" in each for each in violations(shown(gap)))
    assert any("a page with a gap" in each for each in violations(read(1, gap)))
    assert any("seq 3 follows 1 in the log" in each for each in violations(log_of(gap)))


def test_a_changed_text_is_noticed() -> None:
    changed = [(1, token_of(spoken(FIRST) + "!")), *ALL[1:]]
    assert any("damaged" in each for each in violations(SENT, found(changed)))


def test_an_edit_that_was_acknowledged_and_is_not_there_is_noticed() -> None:
    assert any("version 1 was acknowledged" in each for each in violations(SENT, change("1.1/1", 1), found(ALL)))


def test_an_old_text_that_comes_back_is_noticed() -> None:
    back = [(1, "1.1/1"), *ALL[1:]]
    assert any(
        "version 2 was acknowledged" in each
        for each in violations(SENT, change("1.1/1", 1), change("1.1/2", 1), found(back))
    )


def test_a_deleted_message_that_comes_back_is_noticed() -> None:
    assert any("and version" in each for each in violations(SENT, change(DELETED, 3), found(ALL)))


def test_a_message_that_no_session_sent_is_noticed() -> None:
    assert any("9.9 was sent by no session" in each for each in violations(SENT, found([*ALL, (4, "9.9/0")])))


def test_a_key_with_two_answers_is_noticed() -> None:
    again = post(FIRST, 4, answer="answer 4", replayed=True)
    assert any("had two answers" in each for each in violations(SENT, again, found(ALL)))


def test_a_key_that_is_refused_after_it_was_acknowledged_is_noticed() -> None:
    again = post(FIRST, 0, outcome="rejected", status=404, answer="", code="room_not_found")
    assert any("had two answers" in each for each in violations(SENT, again, found(ALL)))


def test_a_command_that_is_executed_a_second_time_is_noticed() -> None:
    assert any("was done a second time" in each for each in violations(SENT, SENT[0], found(ALL)))


def test_a_key_that_was_never_answered_is_noticed() -> None:
    unknown = post("1.3/0", 0, outcome="unknown", status=0)
    assert any("was never answered" in each for each in violations(SENT, unknown, found(ALL)))


def test_a_message_without_a_key_that_was_refused_and_is_there_is_noticed() -> None:
    refused = post(FIRST, 0, key="", outcome="refused", status=503)
    assert any("was refused, without a key" in each for each in violations(refused, log_of(ALL[:1])))


def test_a_read_that_goes_backwards_is_noticed() -> None:
    assert any("went backwards: knew of 3" in each for each in violations(read(1, ALL), read(1, ALL[:2])))


def test_another_session_may_see_less() -> None:
    assert violations(read(1, ALL), read(2, ALL[:2])) == []


def test_a_read_that_does_not_show_what_its_session_wrote_is_noticed() -> None:
    assert any("went backwards" in each for each in violations(SENT, read(1, ALL[:2]), found(ALL)))


@pytest.mark.parametrize(("seen", "query", "at"), [(ALL[:1], "after", 0), ([], "after", 1), (ALL[:1], "before", 3)])
def test_a_page_that_lacks_what_its_session_has_seen_is_noticed(seen: list[Seen], query: str, at: int) -> None:
    assert any("went backwards" in each for each in violations(read(1, ALL), read(1, seen, query, at)))


def test_a_read_that_shows_an_older_text_is_noticed() -> None:
    newer = [(1, "1.1/1"), *ALL[1:]]
    assert any("in version 0 after 1" in each for each in violations(read(2, newer), read(2, ALL)))


def test_a_read_that_does_not_show_the_sessions_own_edit_is_noticed() -> None:
    assert any("in version 0 after 1" in each for each in violations(SENT, change("1.1/1", 1), read(1, ALL)))


def test_apis_that_do_not_agree_are_noticed() -> None:
    assert any("the APIs do not agree" in each for each in violations(SENT, shown(ALL, 0), shown(ALL[:2], 1)))


def test_an_acknowledgement_at_a_position_below_its_message_is_noticed() -> None:
    early = post(FIRST, 1, position="6:3")
    assert any("was acknowledged at 6:3 and stands at 6:11" in each for each in violations(early, log_of(ALL[:1])))


def test_two_direct_rooms_for_one_pair_are_noticed() -> None:
    one = Operation(kind="direct", session=1, room=30, key="a", who=5, name="7", outcome="acknowledged")
    other = Operation(kind="direct", session=2, room=31, key="b", who=7, name="5", outcome="acknowledged")
    assert any("two direct rooms" in each for each in violations(one, other))


def test_a_read_mark_that_goes_back_is_noticed() -> None:
    marks = [
        Operation(kind="mark", session=1, room=ROOM, key=f"{at}", at=at, outcome="acknowledged", answer=f"{at}")
        for at in (3, 2)
    ]
    assert any("read mark went back from 3 to 2" in each for each in violations(marks))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seq": 2, "at": 2, "unread": 0}, "the room list says 2 messages"),
        ({"seq": 3, "at": 1, "unread": 1}, "1 unread, with 3 messages"),
        ({"seq": 3, "at": 1, "unread": 2}, "which was acknowledged at 2"),
    ],
)
def test_a_summary_that_does_not_add_up_is_noticed(fields: dict[str, int], words: str) -> None:
    mark = Operation(kind="mark", session=1, room=ROOM, key="m", at=2, outcome="acknowledged")
    summary = Operation(kind="summary", session=1, room=ROOM, **fields)  # type: ignore[arg-type]
    assert any(words in each for each in violations(SENT, mark, found(ALL), summary))


def test_a_guest_with_another_role_than_was_acknowledged_is_noticed() -> None:
    put = Operation(kind="member", session=1, room=ROOM, key="m", who=9, role="member", outcome="acknowledged")
    right = Operation(kind="members", room=ROOM, answer="9:member")
    assert violations(put, right) == []
    assert any("guest 9 is admin" in e for e in violations(put, Operation(kind="members", room=ROOM, answer="9:admin")))
    assert any("guest 9 is away" in e for e in violations(put, Operation(kind="members", room=ROOM)))


def test_a_request_that_nobody_answers_is_noticed_unless_its_edge_was_away() -> None:
    hanging = post(FIRST, 0, outcome="unknown", status=0, started=10.0, ended=30.0)
    answered = post(FIRST, 1, started=31.0, ended=31.1)
    away = Operation(kind="fault", name="kill api", started=9.0, ended=20.0)
    other = Operation(kind="fault", name="kill write", started=9.0, ended=20.0)
    assert any("had no answer for 20.0 s" in e for e in violations(hanging, answered, found(ALL[:1]), other))
    assert violations(hanging, answered, found(ALL[:1]), away) == []


def test_an_unexpected_refusal_is_noticed() -> None:
    gone = post(FIRST, 0, outcome="rejected", status=401, code="unauthenticated")
    assert any("401 unauthenticated" in each for each in violations(gone))


def test_a_history_comes_back_from_disk_as_it_was_noted(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    noted = [*SENT, read(1, ALL), *found(ALL)]
    for op in noted:
        history.note(op)
    history.close()
    assert list(operations(history.path)) == noted


@pytest.mark.parametrize("number", range(0, 400, 7))
def test_a_text_tells_its_token_and_whether_it_is_whole(number: int) -> None:
    token = f"3.{number}/2"
    assert token_of(spoken(token)) == token
    assert token_of(spoken(token)[:-1]) != token


# --- in a thread and in its room --------------------------------------------------------------------------------------

THREAD, BOTH = 94, "1.7+/0"
SAID = post(BOTH, 1, room=THREAD, parent=ROOM, in_room=2, position="6:14")


def appended(*messages: tuple[int, int, str], at: int = 11) -> list[Operation]:
    """Messages with their rooms and seqs in the log, of which only those of the thread have a room."""
    log = [post(FIRST, 1, kind="logged", name="MessagePosted", position="6:10", key=FIRST)]
    for offset, (room, seq, token) in enumerate(messages, at):
        key = token if room == THREAD else ""
        fields = {"kind": "logged", "name": "MessagePosted", "position": f"6:{offset}", "key": key}
        log.append(post(token, seq, room=room, parent=ROOM if room == THREAD else 0, **fields))
    changed = Operation(kind="logged", room=ROOM, name="ThreadChanged", position="6:12")
    return [*log[:2], changed, *log[2:]]


BOTH_LOGGED = appended((THREAD, 1, BOTH), (ROOM, 2, BOTH))
LINE_SHOWN = [(1, FIRST), (2, BOTH)]


def in_both(log: list[Operation], room: list[Seen], thread: list[Seen]) -> list[str]:
    """What two APIs show in the room and in the thread."""
    finals = [
        Operation(kind="final", room=where, api=api, seen=seen)
        for where, seen in ((ROOM, room), (THREAD, thread))
        for api in (0, 1)
    ]
    return violations(post(FIRST, 1, position="6:10"), SAID, log, finals)


def test_a_message_of_a_thread_that_is_also_in_the_room_is_well() -> None:
    assert in_both(BOTH_LOGGED, LINE_SHOWN, [(1, BOTH)]) == []


@pytest.mark.parametrize(
    ("log", "room", "words"),
    [
        (appended((THREAD, 1, BOTH)), [(1, FIRST)], "has no line in the thread's room"),
        (
            appended((THREAD, 1, BOTH), (ROOM, 2, SECOND), (ROOM, 3, BOTH)),
            LINE_SHOWN,
            "has no line in the thread's room",
        ),
        (appended((THREAD, 1, BOTH), (ROOM, 2, BOTH), (ROOM, 3, BOTH)), [*LINE_SHOWN, (3, BOTH)], "is there 2 times"),
        (appended((THREAD, 1, BOTH), (ROOM, 2, BOTH), (ROOM, 3, BOTH)), LINE_SHOWN, "follows no message of a thread"),
        (BOTH_LOGGED, [(1, FIRST)], "lost: 1.7+/0 was acknowledged as 2"),
    ],
)
def test_a_line_in_the_room_that_is_missing_late_or_doubled_is_noticed(
    log: list[Operation], room: list[Seen], words: str
) -> None:
    assert any(words in each for each in in_both(log, room, [(1, BOTH)]))


def test_a_read_without_the_line_of_its_sessions_own_message_is_noticed() -> None:
    assert any("went backwards" in each for each in violations(SAID, read(1, [(1, FIRST)])))


# --- beside others ----------------------------------------------------------------------------------------------------


def beside_others(*ops: Operation, reread: list[Seen] | None = None) -> list[str]:
    """The violations where other clients write as well, and there is no log."""
    checker = Checker(alone=False)
    more = [] if reread is None else [Operation(kind="final", room=ROOM, seen=reread)]
    return checker.check([*ops, *more])


MINE = post("1.1/0", 5)
EDIT = change("1.1/1", 5)


def test_beside_others_what_was_acknowledged_is_read_back_from_there_on() -> None:
    assert beside_others(MINE, reread=[(5, "1.1/0"), (6, DELETED), (7, "9.9/0")]) == []
    assert beside_others(MINE) == []


@pytest.mark.parametrize(
    ("ops", "reread"),
    [
        ((MINE,), [(5, "9.9/0")]),
        ((MINE,), [(6, "9.9/0")]),
        ((MINE,), [(5, DELETED)]),
        ((MINE,), [(5, "1.1/0"), (7, "9.9/0")]),
        ((MINE,), [(5, "1.1/0"), (6, "1.1/0")]),
        ((MINE, EDIT), [(5, "1.1/0")]),
    ],
    ids=["another", "lost", "without its text", "a gap", "twice", "an edit is lost"],
)
def test_beside_others_what_is_read_back_otherwise_is_noticed(ops: tuple[Operation, ...], reread: list[Seen]) -> None:
    assert beside_others(*ops, reread=reread)


def test_a_stream_that_shows_another_message_at_a_place_is_noticed() -> None:
    heard = Operation(kind="heard", room=ROOM, seen=[(5, "9.9/0")])
    assert any("where 1.1 stood before" in each for each in beside_others(MINE, heard))
    elsewhere = Operation(kind="heard", room=ROOM + 1, seen=[(5, "1.1/0")])
    assert any("stands at" in each for each in beside_others(MINE, elsewhere))


def test_a_list_of_rooms_that_falls_back_or_does_not_add_up_is_noticed() -> None:
    def listed(seq: int, at: int = 0, unread: int | None = None) -> Operation:
        left = seq - at if unread is None else unread
        return Operation(kind="listed", session=1, room=ROOM, seq=seq, at=at, unread=left)

    assert beside_others(MINE, listed(5), listed(6)) == []
    assert any("the list of rooms says 4" in each for each in beside_others(MINE, listed(4)))
    assert any("the list of rooms says 5" in each for each in beside_others(listed(6), listed(5)))
    assert any("4 unread" in each for each in beside_others(listed(5, at=2, unread=4)))


def test_news_are_told_once() -> None:
    checker = Checker(alone=False)
    checker.take(MINE)
    checker.take(read(MINE.session, [(1, DELETED)]))
    assert len(checker.news()) == 1 and checker.news() == []
    assert (checker.reach(ROOM), checker.acknowledged()) == (5, {ROOM: (5, 5)})
