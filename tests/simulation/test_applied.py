"""Edges hear by the topic where the tables stand, and know when they do not hear."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from falcon.adapters.kafka import applied, topics
from falcon.adapters.kafka.applied import AppliedFollower, AppliedPublisher
from falcon.adapters.kafka.loop import LoopThread
from falcon.journal.envelope import Position
from falcon.read.store import Moves, Reached
from tests.contracts.journal import PARTITIONS
from tests.simulation.kafka.brokers import Brokers
from tests.simulation.kafka.cluster import SimulatedCluster

pytestmark = pytest.mark.simulated

_prefixes = itertools.count()


def moves(offset: int, partition: int = 0) -> Moves:
    return Moves("timeline", 1, {partition: Reached(Position(offset, 1, offset), {"rooms": 3})})


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    """On a loop of their own."""
    thread = LoopThread("brokers")
    running = Brokers(thread._loop)
    yield running
    thread.call(running.close())
    thread.close()


@pytest.fixture
def clusters(brokers: Brokers) -> Callable[[str], SimulatedCluster]:
    """The cluster, as the client of that name reaches it."""
    prefix = f"applied{next(_prefixes)}."

    def of(client: str) -> SimulatedCluster:
        return SimulatedCluster(("simulated:1",), PARTITIONS, prefix, servers=brokers, client=client)

    asyncio.run(topics.prepare(of("prepare"), 3))
    return of


class Edge:
    def __init__(self, cluster: SimulatedCluster) -> None:
        self.heard: list[Moves] = []
        self.beginnings = 0
        self.follower = AppliedFollower(cluster, self.heard.append, self._began)

    def _began(self) -> None:
        self.beginnings += 1

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        self.follower.start()
        await until(self.follower.hears)
        yield
        await self.follower.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def publisher(clusters: Callable[[str], SimulatedCluster]) -> Iterator[AppliedPublisher]:
    loop = LoopThread()
    publishing = AppliedPublisher(clusters("project"), loop)
    yield publishing
    publishing.close()
    loop.close()


def test_what_a_projector_tells_is_heard_at_every_edge(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        first, second = Edge(clusters("api-0")), Edge(clusters("api-1"))
        async with first.following(), second.following():
            publisher.publish(moves(7))
            await until(lambda: first.heard == second.heard == [moves(7)])

    asyncio.run(run())


def test_an_edge_that_is_cut_off_knows_that_it_hears_nothing(
    brokers: Brokers, clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            for node in brokers.nodes:
                brokers.loop.call_soon_threadsafe(brokers.network.cut, "api-0", node)
            await asyncio.sleep(applied._HEARD_SECONDS)
            assert not edge.follower.hears()
            publisher.publish(moves(8))
            brokers.loop.call_soon_threadsafe(brokers.heal)
            await until(lambda: edge.follower.hears() and (edge.beginnings > 1 or edge.heard == [moves(8)]))

    asyncio.run(run())


def test_an_edge_that_has_missed_what_was_told_begins_again(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    """The topic does not have any more what the edge would read next."""

    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            assert edge.beginnings == 1
            edge.follower._offset = 99
            await until(lambda: edge.beginnings == 2 and edge.follower.hears())
            publisher.publish(moves(9))
            await until(lambda: edge.heard == [moves(9)])

    asyncio.run(run())


def test_while_brokers_are_away_the_newest_position_of_each_partition_waits(
    brokers: Brokers, clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            for node in brokers.nodes:
                brokers.loop.call_soon_threadsafe(brokers.network.cut, "project", node)
            for offset in range(100):
                publisher.publish(moves(offset))
                publisher.publish(moves(offset, partition=1))
                await asyncio.sleep(0.1)
            brokers.loop.call_soon_threadsafe(brokers.heal)
            both = {**moves(99).reached, **moves(99, partition=1).reached}
            await until(lambda: bool(edge.heard) and edge.heard[-1].reached == both)
            assert len(edge.heard) < 10

    asyncio.run(run())


def test_what_is_not_as_falcon_tells_it_is_passed_over(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            strange = publisher._producer.write(publisher._cluster.applied, 0, [(None, b"hello"), (None, None)])
            await asyncio.wrap_future(publisher._loop.start(strange))
            publisher.publish(moves(3))
            await until(lambda: edge.heard == [moves(3)])

    asyncio.run(run())
