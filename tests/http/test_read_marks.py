"""A read mark and the unread mentions behind it."""

from typing import Any

import httpx
import pytest

from tests.support.http import Falcon, Json, Person, Room, problem

_MESSAGES = 5


@pytest.fixture
def five(anna: Person, ben: Person, room: Room) -> Room:
    """Five messages by Anna; the second and the fourth mention Ben."""
    for seq in range(1, _MESSAGES + 1):
        anna.says(room, str(seq), mentions=[ben.account_id] if seq in (2, 4) else [])
    return room


def mark(by: Person, room: Room, seq: int, **more: Any) -> httpx.Request:
    """``key``, ``position``, ``wait``: the headers."""
    headers = {name: more.pop(name, None) for name in ("key", "position", "wait")}
    return by.request("PUT", f"{room}/read", {"seq": seq, **more}, **headers)


def moved(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


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


def test_each_of_many_marks_at_once_has_its_own_answer(falcon: Falcon, ben: Person, five: Room) -> None:
    answers = falcon.together(*(mark(ben, five, seq, key=f"{seq}-{five.room_id}") for seq in (5, 1, 99, 3, 5)))
    problem(answers[2], 422, "invalid", "seq")
    assert [moved(answer)["read_seq"] for answer in (*answers[:2], *answers[3:])] == [5] * 4
    again = ben.put(f"{five}/read", {"seq": 1}, key=f"1-{five.room_id}")
    assert (again.content, again.headers["idempotency-replayed"]) == (answers[1].content, "true")


def test_a_strangers_mark_is_refused(cleo: Person, five: Room) -> None:
    problem(cleo.put(f"{five}/read", {"seq": 1}), 404, "room_not_found")


def test_mentions_are_counted_in_tables_that_show_what_the_client_knows_of(ben: Person, five: Room) -> None:
    problem(ben.put(f"{five}/read", {"seq": 2}, position="0:999999999", wait="0"), 503, "unavailable")
    assert moved(ben.put(f"{five}/read", {"seq": 3}))["mentions"] == 1


def test_mentions_are_counted_in_tables_that_show_what_the_owner_knew(
    falcon: Falcon, anna: Person, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are behind, and show the newest mention only after a wait for it."""
    edge, reached = falcon.edge, dict[int, int]()
    reach, mentions = edge.reads.freshness.reach, edge.store.mentions

    async def reaching(partition: int, offset: int, seconds: float) -> None:
        await reach(partition, offset, seconds)
        reached[partition] = offset

    async def behind(account_id: int, room_id: int, after: int, up_to: int) -> int:
        shown = reached.get(room_id % edge.partitions, -1) >= newest
        return await mentions(account_id, room_id, after, up_to) if shown else 0

    sixth = anna.post(f"{five}/messages", {"text": "6", "mentions": [ben.account_id]})
    newest = int(sixth.headers["falcon-position"].split(":")[1])
    monkeypatch.setattr(edge.reads.freshness, "reach", reaching)
    monkeypatch.setattr(type(edge.store), "mentions", lambda _, *arguments: behind(*arguments))
    assert moved(ben.put(f"{five}/read", {"seq": 5}))["mentions"] == 1


def test_a_mention_between_the_count_and_the_mark_is_counted(
    falcon: Falcon, anna: Person, ben: Person, five: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, counts = falcon.edge, list[int]()
    sixth = anna.request("POST", f"{five}/messages", {"text": "6", "mentions": [ben.account_id]})
    mentions = edge.store.mentions

    async def crossed(*arguments: Any) -> int:
        counts.append(await mentions(*arguments))
        if len(counts) == 1:
            assert (await httpx.AsyncClient(transport=httpx.ASGITransport(falcon.app)).send(sixth)).status_code == 201
        return counts[-1]

    monkeypatch.setattr(type(edge.store), "mentions", lambda _, *arguments: crossed(*arguments))
    answer = moved(ben.put(f"{five}/read", {"seq": 3}))
    assert (answer["unread"], answer["mentions"]) == (3, 2)
    assert counts == [1, 2]
