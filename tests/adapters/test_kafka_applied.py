"""Edges hear by the topic where the tables stand, and know when they do not hear."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from falcon.adapters.kafka.applied import AppliedFollower, AppliedPublisher
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.journal.envelope import Position
from falcon.read.store import Moves, Reached
from tests.adapters.test_kafka import KafkaLog
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


def moves(offset: int, partition: int = 0) -> Moves:
    return Moves("timeline", 1, {partition: Reached(Position(offset, 1, offset), {"rooms": 3})})


@pytest.fixture
def clusters(kafka_servers: str, tmp_path: Path) -> Iterator[Callable[[str], KafkaCluster]]:
    """The cluster, as the client of that name reaches it."""
    log = KafkaLog(kafka_servers, tmp_path)
    yield lambda client: log.cluster
    log.close()


class Edge:
    def __init__(self, cluster: KafkaCluster) -> None:
        self.heard: list[Moves] = []
        self.beginnings = 0
        self.follower = AppliedFollower(cluster, self.heard.append, self._began)

    def _began(self) -> None:
        self.beginnings += 1

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        self.follower.start()
        await eventually(self.follower.hears)
        yield
        await self.follower.stop()


@pytest.fixture
def publisher(clusters: Callable[[str], KafkaCluster]) -> Iterator[AppliedPublisher]:
    loop = LoopThread()
    publishing = AppliedPublisher(clusters("project"), loop)
    yield publishing
    publishing.close()
    loop.close()


def test_what_a_projector_tells_is_heard_at_every_edge(
    clusters: Callable[[str], KafkaCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        first, second = Edge(clusters("api-0")), Edge(clusters("api-1"))
        async with first.following(), second.following():
            publisher.publish(moves(7))
            await eventually(lambda: first.heard == second.heard == [moves(7)])

    asyncio.run(run())


def test_an_edge_that_has_missed_what_was_told_begins_again(
    clusters: Callable[[str], KafkaCluster], publisher: AppliedPublisher
) -> None:
    """The topic does not have any more what the edge would read next."""

    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            assert edge.beginnings == 1
            edge.follower._offset = 99
            await eventually(lambda: edge.beginnings == 2 and edge.follower.hears())
            publisher.publish(moves(9))
            await eventually(lambda: edge.heard == [moves(9)])

    asyncio.run(run())


def test_what_is_not_as_falcon_tells_it_is_passed_over(
    clusters: Callable[[str], KafkaCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            strange = publisher._producer.write(publisher._cluster.applied, 0, [(None, b"hello"), (None, None)])
            await asyncio.wrap_future(publisher._loop.start(strange))
            publisher.publish(moves(3))
            await eventually(lambda: edge.heard == [moves(3)])

    asyncio.run(run())
