"""Edges hear by the topic on the simulated Kafka, and know when they are cut off from it."""

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from falcon.adapters.kafka import applied, topics
from falcon.adapters.kafka.applied import AppliedPublisher
from falcon.adapters.kafka.loop import LoopThread
from tests.adapters.test_kafka_applied import (
    Edge,
    moves,
    publisher,
    test_an_edge_that_has_missed_what_was_told_begins_again,
    test_what_a_projector_tells_is_heard_at_every_edge,
    test_what_is_not_as_falcon_tells_it_is_passed_over,
    until,
)
from tests.contracts.journal import PARTITIONS
from tests.simulation.kafka.brokers import Brokers
from tests.simulation.kafka.cluster import SimulatedCluster

__all__ = [
    "publisher",
    "test_an_edge_that_has_missed_what_was_told_begins_again",
    "test_what_a_projector_tells_is_heard_at_every_edge",
    "test_what_is_not_as_falcon_tells_it_is_passed_over",
]

pytestmark = pytest.mark.simulated

_prefixes = itertools.count()


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
