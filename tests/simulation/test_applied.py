"""Edges hear by the topic on the simulated Kafka, and know when they are cut off from it."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from falcon.adapters.kafka import applied, topics
from falcon.adapters.kafka.applied import AppliedPublisher
from falcon.adapters.kafka.loop import LoopThread
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Moves, Reached
from tests.adapters.test_kafka_applied import (
    Edge,
    moves,
    publisher,
    test_an_edge_that_has_missed_what_was_told_begins_again,
    test_what_a_projector_tells_is_heard_at_every_edge,
    test_what_is_not_as_falcon_tells_it_is_passed_over,
)
from tests.contracts.journal import PARTITIONS
from tools.harness.waiting import eventually
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster

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
            await eventually(lambda: edge.follower.hears() and (edge.beginnings > 1 or edge.heard == [moves(8)]))

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
            await eventually(lambda: bool(edge.heard) and edge.heard[-1].reached == both)
            assert len(edge.heard) < 10

    asyncio.run(run())


def test_the_positions_of_very_many_partitions_are_told_though_brokers_limit_a_batch(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    everywhere = range(4_096)
    quiet_since = dict.fromkeys(READ_MODELS, 10**12)
    told = [
        Moves(name, 1, {partition: Reached(Position(10**12, 99, 10**12), quiet_since) for partition in everywhere})
        for name in READ_MODELS
    ]

    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            for each in told:
                publisher.publish(each)

            def heard() -> list[Moves]:
                reached = {name: dict[Partition, Reached]() for name in READ_MODELS}
                for each in edge.heard:
                    reached[each.projection] |= each.reached
                return [Moves(name, 1, reached[name]) for name in READ_MODELS]

            await eventually(lambda: heard() == told)

    asyncio.run(run())


def test_a_projector_that_ends_tells_first_where_its_tables_stand(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher
) -> None:
    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            for offset in range(20):
                publisher.publish(moves(offset))
            await asyncio.to_thread(publisher.close)
            await eventually(lambda: edge.heard[-1:] == [moves(19)])

    asyncio.run(run())


def test_a_fault_of_ours_does_not_keep_the_projector_from_telling_the_next_position(
    clusters: Callable[[str], SimulatedCluster], publisher: AppliedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = publisher._producer.write

    async def fails_once(*batch: Any) -> Any:
        monkeypatch.setattr(publisher._producer, "write", writing)
        raise RuntimeError("a fault of ours")

    async def run() -> None:
        edge = Edge(clusters("api-0"))
        async with edge.following():
            monkeypatch.setattr(publisher._producer, "write", fails_once)
            publisher.publish(moves(1))
            await eventually(lambda: publisher._producer.write == writing)
            publisher.publish(moves(2))
            await eventually(lambda: edge.heard[-1:] == [moves(2)])

    asyncio.run(run())
