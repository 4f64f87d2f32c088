"""Many read marks of one account in a room cost the owner few commands, and each request has its own right answer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from falcon.domain.commands import MoveRead
from falcon.write.answers import UsedKeys
from falcon.write.protocol import CommandEnvelope, Reply, Unavailable
from tests.support.http import Falcon, Json, Person, Room, problem

_MESSAGES = 5


@pytest.fixture
def five(anna: Person, ben: Person, room: Room) -> Room:
    """Five messages by Anna; the second and the fourth mention Ben."""
    for seq in range(1, _MESSAGES + 1):
        anna.says(room, str(seq), mentions=[ben.account_id] if seq in (2, 4) else [])
    return room


@pytest.fixture
def asked(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> list[CommandEnvelope]:
    """The commands that owners are asked for read marks."""
    return watched(falcon, monkeypatch)


def watched(
    falcon: Falcon, monkeypatch: pytest.MonkeyPatch, answers: Mapping[int, Reply] = MappingProxyType({})
) -> list[CommandEnvelope]:
    """``answers``: what is answered to some of the commands, by their number from 1 on, in place of the owner."""
    found: list[CommandEnvelope] = []
    ask = falcon.edge.gateway.ask

    async def watching(envelope: CommandEnvelope) -> Reply:
        if isinstance(envelope.command, MoveRead):
            found.append(envelope)
            if len(found) in answers:
                return answers[len(found)]
        return await ask(envelope)

    monkeypatch.setattr(falcon.edge.gateway, "ask", watching)
    return found


def mark(by: Person, room: Room, seq: int, **more: Any) -> httpx.Request:
    """``key``, ``position``, ``wait``: the headers."""
    headers = {name: more.pop(name, None) for name in ("key", "position", "wait")}
    return by.request("PUT", f"{room}/read", {"seq": seq, **more}, **headers)


def moved(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_of_marks_that_come_while_one_is_on_its_way_the_farthest_goes_for_all(
    falcon: Falcon, ben: Person, five: Room, asked: list[CommandEnvelope]
) -> None:
    before = falcon.log_length()
    answers = falcon.together(mark(ben, five, 5), *(mark(ben, five, 1 + i % 5) for i in range(40)))
    assert [moved(answer)["read_seq"] for answer in answers] == [5] * 41
    assert len(asked) == 2
    assert falcon.log_length() == before + 1  # the second one finds the mark where it is


def test_each_is_answered_with_the_position_at_which_its_mark_is_durable(
    falcon: Falcon, anna: Person, ben: Person, five: Room
) -> None:
    first, *others = falcon.together(mark(ben, five, 1), *(mark(ben, five, seq) for seq in (2, 4, 3)))
    assert moved(first) == {"room_id": five.room_id, "read_seq": 1, "unread": 4, "mentions": 2}
    for answer in others:
        assert moved(answer) == {"room_id": five.room_id, "read_seq": 4, "unread": 1, "mentions": 0}
    (position,) = {answer.headers["falcon-position"] for answer in others}
    assert int(position.split(":")[1]) > int(first.headers["falcon-position"].split(":")[1])
    members = ben.get(f"{five}/members", position=position).json()["members"]
    assert {each["account_id"]: each["read_seq"] for each in members}[ben.account_id] == 4


def test_marks_in_other_rooms_and_of_others_do_not_wait(
    falcon: Falcon, anna: Person, ben: Person, five: Room, asked: list[CommandEnvelope]
) -> None:
    other = anna.makes_room("Other", ben)
    falcon.together(mark(ben, five, 5), mark(anna, five, 5), mark(ben, other, 0), mark(anna, other, 0))
    assert len(asked) == 4


def test_a_mark_at_the_newest_message_asks_no_table(
    falcon: Falcon, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    kind = type(falcon.edge.store)
    for name in ("access", "mentions"):
        query = getattr(kind, name)

        async def counting(*arguments: Any, name: str = name, query: Any = query) -> Any:
            called.append(name)
            return await query(*arguments)

        monkeypatch.setattr(kind, name, counting)
    assert moved(ben.put(f"{five}/read", {"seq": 5}))["mentions"] == 0
    assert called == []
    assert moved(ben.put(f"{five}/read", {"seq": 1, "force": True}))["mentions"] == 2
    assert called == ["mentions"]


def test_forced_marks_go_by_themselves_in_their_place(
    falcon: Falcon, ben: Person, five: Room, asked: list[CommandEnvelope]
) -> None:
    marks = [(5, False), (4, False), (5, False), (1, True), (2, False), (3, False), (2, True)]
    answers = falcon.together(*(mark(ben, five, seq, force=force) for seq, force in marks))
    assert [moved(answer)["read_seq"] for answer in answers] == [5, 5, 5, 1, 3, 3, 2]
    sent = [(each.command.seq, each.command.force) for each in asked if isinstance(each.command, MoveRead)]
    assert list(dict.fromkeys(sent)) == [(5, False), (1, True), (3, False), (2, True)]


def test_a_retry_of_each_gets_the_same_answer(falcon: Falcon, anna: Person, ben: Person, five: Room) -> None:
    keys = [f"mark-{seq}-{five.room_id}" for seq in range(1, 6)]
    answers = falcon.together(*(mark(ben, five, seq, key=key) for seq, key in enumerate(keys, 1)))
    assert [moved(answer)["read_seq"] for answer in answers] == [1, 5, 5, 5, 5]
    anna.says(five, "Six")
    ben.marks_read(five, 2, force=True)
    for seq, (key, first) in enumerate(zip(keys, answers, strict=True), 1):
        again = ben.put(f"{five}/read", {"seq": seq}, key=key)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
    assert ben.summary(five)["read_seq"] == 2


def test_a_request_that_comes_twice_at_once_is_answered_twice(falcon: Falcon, ben: Person, five: Room) -> None:
    key = f"twice-{five.room_id}"
    answers = falcon.together(mark(ben, five, 1), *(mark(ben, five, 5, key=key) for _ in range(3)))
    assert [moved(answer)["read_seq"] for answer in answers] == [1, 5, 5, 5]
    again = ben.put(f"{five}/read", {"seq": 5}, key=key)
    assert again.content == answers[1].content


def test_a_key_of_another_request_is_refused_and_the_other_marks_are_not(
    falcon: Falcon, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = f"used-{five.room_id}"
    assert ben.put(f"{five}/read", {"seq": 1}, key=used).is_success
    monkeypatch.setattr(falcon.edge.commands, "_keys", UsedKeys(100, 600.0))  # as in another process
    first, refused, other = falcon.together(
        mark(ben, five, 2), mark(ben, five, 3, key=used), mark(ben, five, 4, key=f"other-{five.room_id}")
    )
    assert moved(first)["read_seq"] == 2
    problem(refused, 422, "idempotency_key_reused")
    assert moved(other)["read_seq"] == 4


def test_a_retry_among_marks_that_wait_gets_the_answer_that_it_had(falcon: Falcon, ben: Person, five: Room) -> None:
    key = f"retry-{five.room_id}"
    had = ben.put(f"{five}/read", {"seq": 1}, key=key)
    _, retried, other = falcon.together(mark(ben, five, 2), mark(ben, five, 1, key=key), mark(ben, five, 4))
    assert retried.content == had.content
    assert retried.headers["idempotency-replayed"] == "true"
    assert moved(other)["read_seq"] == 4


def test_a_key_that_cannot_be_one_is_refused_while_it_waits(falcon: Falcon, ben: Person, five: Room) -> None:
    first, refused = falcon.together(mark(ben, five, 1), mark(ben, five, 5, key="x" * 65))
    assert moved(first)["read_seq"] == 1
    problem(refused, 422, "invalid", "Idempotency-Key")


def test_a_mark_beyond_the_newest_message_is_refused_and_the_others_are_not(
    falcon: Falcon, ben: Person, five: Room
) -> None:
    first, *others = falcon.together(*(mark(ben, five, seq) for seq in (1, 3, 99, 4)))
    assert moved(first)["read_seq"] == 1
    problem(others[1], 422, "invalid", "seq")
    assert [moved(others[i])["read_seq"] for i in (0, 2)] == [3, 4]


def test_each_of_a_stranger_is_refused(falcon: Falcon, cleo: Person, five: Room) -> None:
    for answer in falcon.together(*(mark(cleo, five, seq) for seq in range(4))):
        problem(answer, 404, "room_not_found")


def test_mentions_are_counted_in_tables_that_show_what_each_client_knows_of(
    falcon: Falcon, ben: Person, five: Room
) -> None:
    unread = "0:999999999"
    first, behind, other = falcon.together(
        mark(ben, five, 1), mark(ben, five, 2, position=unread, wait="0"), mark(ben, five, 3)
    )
    assert moved(first)["read_seq"] == 1
    problem(behind, 503, "unavailable")
    assert moved(other) == {"room_id": five.room_id, "read_seq": 3, "unread": 2, "mentions": 1}


def test_where_the_owner_cannot_decide_all_that_wait_are_told_so(
    falcon: Falcon, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = watched(falcon, monkeypatch, {2: Unavailable("overloaded")})
    first, *others = falcon.together(*(mark(ben, five, 5) for _ in range(10)))
    assert moved(first)["read_seq"] == 5
    for answer in others:
        problem(answer, 503, "overloaded")
    assert len(asked) == 2
    assert moved(ben.put(f"{five}/read", {"seq": 5}))["read_seq"] == 5


def test_marks_that_came_later_are_not_refused_because_the_time_of_the_oldest_is_over(
    falcon: Falcon, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: dict[float, bool] = {}
    monkeypatch.setattr(falcon.edge.commands, "is_late", lambda began: late.setdefault(began, not late))
    asked = watched(falcon, monkeypatch, {2: Unavailable("expired")})
    first, oldest, *others = falcon.together(*(mark(ben, five, 5) for _ in range(4)))
    assert moved(first)["read_seq"] == 5
    problem(oldest, 503, "overloaded")
    assert [moved(answer)["read_seq"] for answer in others] == [5, 5]
    assert asked[2].deadline > asked[1].deadline


def test_a_limit_that_one_of_them_has_reached_holds_for_that_one(
    falcon: Falcon, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of an account are full: requests without one are not refused for that."""
    full = Unavailable("overloaded", 9.0, "account-keys")
    watched(falcon, monkeypatch, {2: full, 4: full})
    first, other, keyed = falcon.together(
        mark(ben, five, 5), mark(ben, five, 3), mark(ben, five, 5, key=f"full-{five.room_id}")
    )
    assert moved(first)["read_seq"] == moved(other)["read_seq"] == 5
    problem(keyed, 429, "rate_limited")
