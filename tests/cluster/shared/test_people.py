"""A person on a cluster: invited and found at one edge, at work at the other, and soon gone from both."""

import asyncio
import time
from typing import Any

import pytest

from tests.cluster.shared.test_cluster import Caller, Run, run
from tests.cluster.shared.test_streams import listening

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
__all__ = ["run"]

TEA = "tea at four o'clock"
SOON_SECONDS = 60.0  # two, and what a busy machine adds


def test_a_newcomer_signs_in_at_one_edge_and_works_at_the_other_until_deactivated(
    run: Run, described: dict[str, Any]
) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        await ann.done(0, "PATCH", f"/v1/rooms/{room}", json={"open": True})
        url = (await ann.done(0, "POST", "/v1/invitations", json={}))["url"]
        code = f"/v1/invitations/by-code/{url.partition('=')[2]}"
        person = {"name": "Hana ハナコ", "handle": "hana.k", "password": TEA, "bearer": True}
        account_id = (await ann.done(1, "POST", code, json=person))["account"]["account_id"]
        signed_in = await ann.done(0, "POST", "/v1/sign-in", json={"login": "hana.k", "password": TEA, "bearer": True})
        hana = Caller(described["urls"], signed_in["token"])
        try:
            await works_at_the_other_edge(hana, room, account_id)
            await is_found(ann, account_id)
            await leaves(ann, hana, account_id)
        finally:
            await hana.close()

    run(scenario)


async def works_at_the_other_edge(hana: Caller, room: int, account_id: int) -> None:
    """At once, and the first edge shows it with its position."""
    found = await hana.done(1, "GET", "/v1/rooms/directory?q=tea%20kit")
    while room not in [each["room_id"] for each in found["rooms"]]:  # more rooms have that name
        found = await hana.done(1, "GET", f"/v1/rooms/directory?q=tea%20kit&cursor={found['next_cursor']}")
    await hana.done(1, "PUT", f"/v1/rooms/{room}/members/{account_id}", json={"role": "member"})
    said = await hana.post_until_done(room, "I am here", f"hana in {room}", edge=1)
    assert await hana.texts(room, edge=0, position=said.headers["Falcon-Position"]) == ["I am here"]


async def is_found(ann: Caller, account_id: int) -> None:
    """By two kana, of either kind."""
    async with asyncio.timeout(60):
        for kana in ("はな", "ハナ"):
            found: list[int] = []
            while account_id not in found:
                answer = await ann.done(1, "GET", "/v1/accounts/search", params={"q": kana})
                found = [each["account_id"] for each in answer["accounts"]]


async def leaves(ann: Caller, hana: Caller, account_id: int) -> None:
    async with listening(hana, 1) as heard:
        assert (await anext(heard)).name == "hello"
        await ann.done(0, "PATCH", f"/v1/accounts/{account_id}", json={"deactivated": True})
        since = time.monotonic()
        async with asyncio.timeout(60):
            names = [event.name async for event in heard]
        assert time.monotonic() - since < SOON_SECONDS and names[-1] == "bye"
    for edge in hana.edges:
        assert (await edge.get("/v1/me")).status_code == 401
