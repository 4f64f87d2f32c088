"""Owners that end, freeze and stumble, in a cluster whose sessions are far too long to wait for."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from falcon.base.process import descendants
from tests.cluster.conftest import PARTITIONS
from tests.cluster.shared.test_cluster import Caller
from tools.harness.scraped import scrape
from tools.harness.waiting import eventually
from tools.servers.cluster import Cluster
from tools.servers.daemon import Daemon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

SESSION_SECONDS: Final = 60
SOON_SECONDS: Final = 30.0  # for a machine full of other work; without watchers it would be the session


@pytest.fixture(scope="module")
def owners(make_cluster: Callable[..., Cluster]) -> Iterator[tuple[Cluster, dict[str, Any]]]:
    """One edge, two owners."""
    cluster = make_cluster("heirs", session_seconds=SESSION_SECONDS, hbase_create_command="")
    described = cluster.up(counts={"api": 1, "write": 2, "project": 1})
    yield cluster, described
    cluster.down()


class Rooms:
    """One in each partition, or nearly, and everything that was acknowledged in them."""

    def __init__(self, ann: Caller, rooms: list[int]) -> None:
        self._ann = ann
        self._numbers = itertools.count()
        self.acknowledged: dict[int, list[str]] = {room: [] for room in rooms}
        self._last: dict[int, httpx.Response] = {}

    @classmethod
    async def make(cls, ann: Caller) -> "Rooms":
        made = cls(ann, [await ann.room() for _ in range(2 * PARTITIONS)])
        await made.chat()
        return made

    async def chat(self) -> float:
        """A message to each, until all are accepted; gives the seconds that it took."""
        began = time.monotonic()
        await asyncio.gather(*(self._post(room) for room in self.acknowledged))
        return time.monotonic() - began

    async def _post(self, room: int) -> None:
        text = f"{time.monotonic_ns()} {next(self._numbers)}"
        self._last[room] = await self._ann.post_until_done(room, text, text)
        self.acknowledged[room].append(text)

    async def assert_whole(self) -> None:
        for room, texts in self.acknowledged.items():
            assert await self._ann.texts(room, position=self._last[room].headers["Falcon-Position"]) == texts


def scenario(owners: tuple[Cluster, dict[str, Any]], run: Callable[[Cluster, Rooms], Any]) -> None:
    cluster, described = owners

    async def running() -> None:
        ann = Caller(described["urls"], described["token"])
        try:
            rooms = await Rooms.make(ann)
            await run(cluster, rooms)
            await rooms.assert_whole()
        finally:
            for edge in ann.edges:
                await edge.aclose()

    asyncio.run(running())


async def both_own(cluster: Cluster) -> list[Daemon]:
    """Each has partitions, and has heard of the other."""

    def share() -> bool:
        seen = [scrape(cluster.ops_url(each)) for each in cluster.processes("write")]
        owned = [each.total("falcon_partitions_owned") for each in seen]
        heard = [each.total("falcon_owners_heard") for each in seen]
        return heard == [1, 1] and all(owned) and sum(owned) == PARTITIONS

    await eventually(share, "both own partitions and hear each other", every=0.1)
    return cluster.processes("write")


async def start_again(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.scale, "write", 2)
    for process in cluster.processes("write"):
        await asyncio.to_thread(cluster.await_ready, process)
    await both_own(cluster)


def serving_child(owner: Daemon) -> int:
    """The process below the launcher that owns the partitions."""
    pid = owner.pid()
    assert pid is not None
    (child,) = [p for p in descendants(pid) if b"falcon: write" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return child


@contextmanager
def frozen(owner: Daemon) -> Iterator[None]:
    pid = owner.pid()
    assert pid is not None
    tree = [pid, *descendants(pid)]
    for each in tree:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in tree:
            os.kill(each, signal.SIGCONT)


def test_the_rooms_of_an_owner_that_is_killed_are_taken_over_long_before_its_session_is_over(
    owners: tuple[Cluster, dict[str, Any]],
) -> None:
    async def run(cluster: Cluster, rooms: Rooms) -> None:
        first, _ = await both_own(cluster)
        first.kill()
        assert await rooms.chat() < SOON_SECONDS
        await start_again(cluster)
        _, second = await both_own(cluster)
        os.kill(serving_child(second), signal.SIGKILL)  # its launcher lives, and starts another one
        assert await rooms.chat() < SOON_SECONDS
        await both_own(cluster)

    scenario(owners, run)


def test_the_rooms_of_an_owner_that_is_frozen_are_taken_over_and_what_it_says_later_does_no_harm(
    owners: tuple[Cluster, dict[str, Any]],
) -> None:
    async def run(cluster: Cluster, rooms: Rooms) -> None:
        first, _ = await both_own(cluster)
        with frozen(first):
            assert await rooms.chat() < SOON_SECONDS
            await rooms.chat()
        await rooms.chat()
        await both_own(cluster)
        await rooms.chat()

    scenario(owners, run)


def test_an_owner_that_pauses_for_half_a_second_all_the_time_is_not_deposed(
    owners: tuple[Cluster, dict[str, Any]],
) -> None:
    async def run(cluster: Cluster, rooms: Rooms) -> None:
        first, second = await both_own(cluster)

        def changes() -> float:
            totals = [scrape(cluster.ops_url(each)).total("falcon_owners_removed_total") for each in (first, second)]
            return sum(totals)

        before = changes()
        for _ in range(6):
            with frozen(first):
                await asyncio.sleep(0.5)  # the pause itself
            await rooms.chat()
        assert changes() == before

    scenario(owners, run)


def test_the_only_owner_is_started_again_and_does_not_wait_for_its_own_old_session(
    owners: tuple[Cluster, dict[str, Any]],
) -> None:
    async def run(cluster: Cluster, rooms: Rooms) -> None:
        await asyncio.to_thread(cluster.scale, "write", 1)
        (only,) = cluster.processes("write")
        await rooms.chat()
        os.kill(serving_child(only), signal.SIGKILL)
        assert await rooms.chat() < SOON_SECONDS
        await start_again(cluster)

    scenario(owners, run)
