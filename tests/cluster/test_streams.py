"""Streams of a cluster, whose tables are always behind a little: who moves to the other edge misses nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from tests.cluster.test_cluster import Caller, newcomer

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


class Event(NamedTuple):
    id: str
    name: str
    data: Any


@asynccontextmanager
async def listening(
    caller: Caller, edge: int, since: str | None = None, **query: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """Neither refused, nor asked to come again."""
    headers = {} if since is None else {"Last-Event-ID": since}
    async with caller.edges[edge].stream("GET", "/v1/stream", headers=headers, params=query) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield events(answer)


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["id"], fields["event"], msgspec.json.decode(fields["data"]))
            fields = {}


# The last event of each room. Rooms are in several partitions, which have no order among one another.
LAST = frozenset({"room.deleted", "direct", "The end"})


def mark(event: Event) -> str:
    return event.data.get("text") or ("direct" if event.data.get("kind") == "direct" else event.name)


async def up_to(heard: AsyncIterator[Event], last: frozenset[str]) -> list[Event]:
    """Wait until all of these have come."""
    found: list[Event] = []
    async with asyncio.timeout(60):
        while missing := last.difference(map(mark, found)):
            try:
                found.append(await anext(heard))
            except StopAsyncIteration:
                raise AssertionError(f"it ended before {missing}: {found}") from None
    return found


def by_room(heard: list[Event]) -> dict[int, list[tuple[str, Any]]]:
    rooms: dict[int, list[tuple[str, Any]]] = {}
    for event in heard:
        if event.name != "caught_up":
            rooms.setdefault(event.data["room_id"], []).append((event.name, event.data))
    return rooms


async def talk(ann: Caller, bob: Caller) -> None:
    """Make at least one of every event of a stream."""
    room = (await ann.done(0, "POST", "/v1/rooms", json={"name": "Tea"}))["room_id"]
    path, member = f"/v1/rooms/{room}", f"/v1/rooms/{room}/members/{bob.account_id}"
    for turn in range(3):
        await ann.done(turn % 2, "POST", f"{path}/messages", json={"text": f"before {turn}"})
        await ann.done(turn % 2, "PUT", member, json={"role": ("member", "readonly", "admin")[turn]})
        said = await ann.done(1, "POST", f"{path}/messages", json={"text": f"with him {turn}"})
        await ann.done(0, "PATCH", path, json={"name": f"Tea {turn}"})
        await ann.done(0, "PATCH", f"{path}/messages/{said['seq']}", json={"text": f"edited {turn}"})
        await bob.done(turn % 2, "PUT", f"{path}/read", json={"seq": said["seq"], "force": True})
        await ann.done(1, "PUT", member, json={"role": "member"})
        if turn < 2:
            answer = await ann.edges[0].delete(member)
            assert answer.status_code == 204, answer.text
    await ann.done(0, "PUT", f"/v1/direct/{bob.account_id}")
    answer = await ann.edges[0].delete(path)
    assert answer.status_code == 204, answer.text
    last = (await ann.done(0, "POST", "/v1/rooms", json={"name": "Last", "members": [{"account_id": bob.account_id}]}))[
        "room_id"
    ]
    await ann.done(0, "POST", f"/v1/rooms/{last}/messages", json={"text": "The end"})


def test_whoever_moves_to_the_other_edge_with_the_token_of_a_moment_ago_goes_on_there(
    described: dict[str, Any],
) -> None:
    """From each event, as soon as it has come, while the tables do not show it yet; and once more when they do."""

    async def moves(bob: Caller, heard: list[Event]) -> list[Event]:
        async with listening(bob, 1, heard[-1].id) as elsewhere:
            return await up_to(elsewhere, LAST.difference(map(mark, heard)))

    async def scenario() -> None:
        admin = Caller(described["urls"], described["admin_token"])
        ann, bob = [await newcomer(admin, described["urls"], edge) for edge in (0, 1)]
        heard: list[Event] = []
        moving: list[asyncio.Task[list[Event]]] = []
        async with listening(bob, 0) as here:
            talking = asyncio.create_task(talk(ann, bob))
            async with asyncio.timeout(120):
                while LAST.difference(map(mark, heard)):
                    heard.append(await anext(here))
                    moving.append(asyncio.create_task(moves(bob, heard.copy())))
            await talking
        names = {event.name for event in heard}
        assert names >= {"hello", "member.joined", "member.left", "member.changed", "room.created", "room.changed"}
        assert names >= {"message.posted", "message.edited", "read.moved", "room.deleted"}
        for place, at_once in enumerate(await asyncio.gather(*moving), 1):
            later = await moves(bob, heard[:place])
            assert by_room(at_once) == by_room(later) == by_room(heard[place:]), f"from event {place}"
        for caller in (admin, ann, bob):
            await caller.close()

    asyncio.run(scenario())


async def told(heard: AsyncIterator[Event], name: str) -> Any:
    """The data of the next event with this name."""
    async with asyncio.timeout(60):
        while (event := await anext(heard)).name != name:
            continue
    return event.data


def test_who_is_online_and_who_types_is_told_from_one_edge_to_the_other(described: dict[str, Any]) -> None:
    async def scenario() -> None:
        admin = Caller(described["urls"], described["admin_token"])
        ann, bob = [await newcomer(admin, described["urls"], edge) for edge in (0, 1)]
        invited = {"name": "Tea", "members": [{"account_id": bob.account_id}]}
        room = (await ann.done(0, "POST", "/v1/rooms", json=invited))["room_id"]
        async with listening(ann, 0, watch=str(bob.account_id), signals="typing") as hers:
            await told(hers, "hello")
            async with listening(bob, 1) as his:
                await told(his, "hello")
                assert await told(hers, "presence") == {"account_id": bob.account_id, "online": True}
                typing = asyncio.create_task(told(hers, "typing"))
                while not typing.done():  # a process that was stopped for two seconds passes typing over
                    assert (await bob.edges[1].post(f"/v1/rooms/{room}/typing")).status_code in (204, 429)
                    await asyncio.wait([typing], timeout=1)
                assert typing.result() == {"room_id": room, "account_id": bob.account_id}
            assert await told(hers, "presence") == {"account_id": bob.account_id, "online": False}
        for caller in (admin, ann, bob):
            await caller.close()

    asyncio.run(scenario())
