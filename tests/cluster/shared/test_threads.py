"""A thread on a cluster: started at one edge, answered and followed at the other, and gone with its room."""

import asyncio
from typing import Any

import pytest

from tests.cluster.shared.test_cluster import Caller, Run, newcomer, run
from tests.cluster.shared.test_streams import Event, listening
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
__all__ = ["run"]

_SHOWN_SECONDS = 60.0  # a second, and what a busy machine adds


async def heard_until(bob: Caller, edge: int, since: str, text: str) -> list[Event]:
    """The events of a stream up to a message, which may come later."""
    heard: list[Event] = []
    async with listening(bob, edge, since) as events, asyncio.timeout(60):
        while not heard or heard[-1].data.get("text") != text:
            heard.append(await anext(events))
    return heard


def test_a_thread_is_started_at_one_edge_answered_at_the_other_and_lost_with_its_room(
    run: Run, described: dict[str, Any]
) -> None:
    async def scenario(ann: Caller) -> None:
        admin = Caller(described["urls"], described["admin_token"])
        bob = await newcomer(admin, described["urls"], 0)
        room = await ann.room()
        member = f"/v1/rooms/{room}/members/{bob.account_id}"
        await ann.done(0, "PUT", member, json={"role": "member"})
        await ann.post_until_done(room, "Tea?", f"asks in {room}")
        async with listening(bob, 0) as heard:
            began = (await anext(heard)).id
        start = f"/v1/rooms/{room}/messages/1/thread"
        made = [await who.done(edge, "PUT", start) for who, edge in ((ann, 0), (bob, 1), (ann, 1))]
        (thread,) = {each["room_id"] for each in made}
        answer = {"text": "Green", "also_in_room": True}
        answered = await bob.done(1, "POST", f"/v1/rooms/{thread}/messages", json=answer)
        assert (answered["seq"], answered["in_room"]) == (1, 2)
        await shows(ann, room, thread)
        await says(ann, thread, "Black")
        removed = await ann.edges[1].delete(member)
        assert removed.status_code == 204, removed.text
        await says(ann, thread, "Between us")
        await sees_nothing(bob, thread)
        await ann.done(0, "PUT", member, json={"role": "member"})
        await says(ann, room, "Welcome back")
        for edge in (0, 1):
            events = await heard_until(bob, edge, began, "Welcome back")  # the state may lack the question
            shown = [(event.name, event.data.get("text")) for event in events if event.data]
            assert shown[-7:] == [
                ("thread.started", None),
                ("message.posted", "Green"),
                ("message.posted", "Green"),
                ("message.posted", "Black"),
                ("member.left", None),
                ("member.joined", None),
                ("message.posted", "Welcome back"),
            ]
        assert await ann.texts(thread, 1) == ["Green", "Black", "Between us"]
        for each in (admin, bob):
            await each.close()

    run(scenario)


async def says(caller: Caller, room: int, text: str) -> None:
    await caller.post_until_done(room, text, f"{text} in {room}", edge=1)


async def shows(ann: Caller, room: int, thread: int) -> None:
    """Soon a page of the room has the message with its thread, and the line, and the list of threads has this one."""

    async def shown(edge: int) -> Any:
        messages = (await ann.done(edge, "GET", f"/v1/rooms/{room}/messages"))["messages"]
        listed = (await ann.done(edge, "GET", "/v1/threads"))["threads"]
        threads = [each["thread"] and (each["thread"]["room_id"], each["thread"]["last_seq"]) for each in messages]
        return (
            threads,
            messages[-1]["text"],
            messages[-1]["reply_to"],
            [(t["room_id"], t["unread"]) for t in listed[:1]],
        )

    for edge in (0, 1):

        async def is_shown(edge: int = edge) -> bool:
            return bool(await shown(edge) == ([(thread, 1), None], "Green", 1, [(thread, 1)]))

        await eventually(is_shown, f"edge {edge} shows the thread", _SHOWN_SECONDS)


async def sees_nothing(bob: Caller, thread: int) -> None:
    paths = [
        f"/v1/rooms/{thread}{path}" for path in ("", "/messages", "/messages/1", "/members", "/messages/1/readers")
    ]
    for edge in bob.edges:

        async def is_denied(edge: Any = edge) -> bool:
            answers = [await edge.get(path) for path in paths]
            listed = await edge.get("/v1/threads")
            return {each.status_code for each in answers} == {404} and listed.json() == {
                "threads": [],
                "next_cursor": None,
            }

        await eventually(is_denied, "the thread cannot be found", _SHOWN_SECONDS)
