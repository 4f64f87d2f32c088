"""An edge keeps who may read a room, and asks no table. What happens at the other edge ends that."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.cluster.shared.test_cluster import Caller, Run, newcomer, run
from tools.harness.scraped import scrape
from tools.servers.cluster import Cluster

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]
__all__ = ["run"]


def test_who_is_removed_or_deactivated_at_one_edge_reads_no_more_at_the_other_that_has_kept_the_access(
    run: Run, cluster: Cluster, described: dict[str, Any]
) -> None:
    there = cluster.ops_url(cluster.process("api", 2))

    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        bob, eve = [await newcomer(ann, described["urls"], 0) for _ in range(2)]
        for each in (bob, eve):
            await ann.done(0, "PUT", _member(room, each), json={"role": "member"})
        said = await ann.post_until_done(room, "Between us", f"kept {room}")
        for each in (ann, bob, eve):
            assert await each.texts(room, 1, said.headers["Falcon-Position"]) == ["Between us"]
            await is_kept(each, room, there)

        removed = await ann.edges[0].delete(_member(room, bob))
        assert removed.status_code == 204, removed.text
        for headers in (_position(removed), {}):
            assert _refusal(await bob.edges[1].get(_page(room), headers=headers)) == (404, "room_not_found")

        deactivated = await ann.edges[0].patch(f"/v1/accounts/{eve.account_id}", json={"deactivated": True})
        assert deactivated.status_code == 200, deactivated.text
        for headers in (_position(deactivated), {}):
            assert _refusal(await eve.edges[1].get(_page(room), headers=headers)) == (401, "unauthenticated")

        assert await ann.texts(room, 1) == ["Between us"]
        for each in (bob, eve):
            await each.close()

    run(scenario)


async def is_kept(reader: Caller, room: int, ops_url: str) -> None:
    """Read until that takes no look at who may. One look a second goes to the tables in any case."""
    async with asyncio.timeout(60):
        while True:
            before = await _looks(ops_url)
            assert await reader.texts(room, 1) == ["Between us"]
            if await _looks(ops_url) == before > 0:
                return


async def _looks(ops_url: str) -> float:
    return (await asyncio.to_thread(scrape, ops_url)).total("falcon_read_seconds_count", call="access")


def _page(room: int) -> str:
    return f"/v1/rooms/{room}/messages"


def _member(room: int, caller: Caller) -> str:
    return f"/v1/rooms/{room}/members/{caller.account_id}"


def _position(answer: httpx.Response) -> dict[str, str]:
    return {"Falcon-Position": answer.headers["Falcon-Position"], "Falcon-Wait": "10"}


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")
