"""People find messages at any edge, and chat on while the index is away."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tools.harness.waiting import until
from tools.servers.cluster import Cluster
from tools.servers.daemon import ServerFault
from tools.servers.opensearch import OpenSearch

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

Edges = Callable[[str], tuple[httpx.Client, httpx.Client]]


@pytest.fixture
def edges(cluster: Cluster, described: dict[str, Any]) -> Iterator[Edges]:
    """Clients of both edges with a token."""
    opened: list[httpx.Client] = []

    def of(token: str) -> tuple[httpx.Client, httpx.Client]:
        headers = {"Authorization": f"Bearer {token}"}
        one, other = (httpx.Client(base_url=url, headers=headers, timeout=60) for url in described["urls"][:2])
        opened.extend((one, other))
        return one, other

    yield of
    for client in opened:
        client.close()


def _found(edge: httpx.Client, q: str, room: int, after: httpx.Response) -> list[int]:
    """The seqs of the hits, once the index shows what ``after`` has done."""
    headers = {"Falcon-Position": after.headers["Falcon-Position"], "Falcon-Wait": "10"}
    query: dict[str, Any] = {"q": q, "room": room}
    answer = edge.get("/v1/search", params=query, headers=headers).raise_for_status().json()
    return [hit["message"]["seq"] for hit in answer["hits"]]


def _room(edge: httpx.Client, *members: int) -> int:
    added = [{"account_id": member, "role": "member"} for member in members]
    made = edge.post("/v1/rooms", json={"name": "Tea kitchen", "members": added})
    return int(made.raise_for_status().json()["room_id"])


def _sent(edge: httpx.Client, room: int, text: str) -> httpx.Response:
    return edge.post(f"/v1/rooms/{room}/messages", json={"text": text}).raise_for_status()


def test_people_find_what_was_just_sent_at_another_edge_and_nothing_that_is_gone(
    described: dict[str, Any], edges: Edges
) -> None:
    here, there = edges(described["token"])
    made = here.post("/v1/accounts", json={"name": "Bob"}).raise_for_status().json()
    bob, _ = edges(made["token"])
    room = _room(here, made["account_id"])
    sent = _sent(here, room, "次の会議は15時")
    assert _found(there, "会議", room, sent) == [1]
    edited = here.patch(f"/v1/rooms/{room}/messages/1", json={"text": "次の会食は16時"}).raise_for_status()
    assert _found(there, "会議", room, edited) == []
    assert _found(there, "会食", room, edited) == [1]
    other = _sent(here, room, "16時 by the kettle")
    assert _found(bob, "16時", room, other) == [2, 1]
    deleted = here.delete(f"/v1/rooms/{room}/messages/1").raise_for_status()
    assert _found(there, "16時", room, deleted) == [2]
    left = here.delete(f"/v1/rooms/{room}/members/{made['account_id']}").raise_for_status()
    position = {"Falcon-Position": left.headers["Falcon-Position"]}
    answer = bob.get("/v1/search", params={"q": "kettle"}, headers=position).raise_for_status()
    assert answer.json()["hits"] == []


def _said_by_the_doctor(cluster: Cluster) -> str:
    """The doctor's table, each finding in one line. Other things on this machine may not be as the doctor wants them,
    and then the command fails."""
    try:
        return cluster.falcon_with({"COLUMNS": "500"}, "doctor")
    except ServerFault as found:
        return str(found)


def test_without_the_index_people_chat_on_and_afterwards_all_is_found(
    cluster: Cluster, described: dict[str, Any], edges: Edges, opensearch: OpenSearch
) -> None:
    here, there = edges(described["token"])
    room = _room(here)
    _sent(here, room, "before the outage")
    opensearch.kill()
    try:
        away = [_sent(here, room, f"outage {n}") for n in range(10)]
        refused = there.get("/v1/search", params={"q": "outage", "room": room})
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        page = there.get(f"/v1/rooms/{room}/messages", headers={"Falcon-Position": away[-1].headers["Falcon-Position"]})
        assert len(page.raise_for_status().json()["messages"]) == 11
        assert re.search(r"OpenSearch +fail +OpenSearch at \S+ does not answer", _said_by_the_doctor(cluster))
    finally:
        opensearch.start()
    query: dict[str, Any] = {"q": "outage", "room": room}

    def all_are_found() -> bool:
        answer = there.get("/v1/search", params=query)
        return answer.is_success and len(answer.json()["hits"]) == 11

    until(all_are_found, "all messages are found")
    until(
        lambda: re.search(r"OpenSearch +ok +2\.19\.\d+, 0 records behind", _said_by_the_doctor(cluster)), "it is well"
    )
    assert "Threw search away" in cluster.falcon("rebuild", "search")
    until(all_are_found, "all messages are found again")
    assert _found(there, "outage", room, _sent(here, room, "tea")) == list(range(11, 0, -1))
