"""The log on a real Kafka keeps the tails' contract; and what a token that names an offset there has to cope with."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.tail import KafkaTail
from falcon.journal.envelope import Position
from falcon.journal.ports import AppendOutcome
from falcon.streams.feed import Feed
from falcon.streams.tail import LocatedRecord, Tail
from tests.adapters.test_kafka import KafkaLog
from tests.contracts.journal import Writer
from tests.contracts.tail import ONE, TailContract, TailedLog, again, read_up_to_the_end, replaced, texts

pytestmark = pytest.mark.processes


class _Log(KafkaLog):
    def tail(self) -> KafkaTail:
        return KafkaTail(self.cluster)


@pytest.fixture
def log(kafka_servers: str, tmp_path: Path) -> Iterator[_Log]:
    made = _Log(kafka_servers, tmp_path)
    yield made
    made.close()


class TestKafkaTail(TailContract):
    @pytest.fixture
    def log(self, kafka_servers: str, tmp_path: Path) -> Iterator[TailedLog]:
        made = _Log(kafka_servers, tmp_path)
        yield made
        made.close()

    @pytest.mark.parametrize("late", [1, 250])
    def test_from_behind_void_records_the_rest_is_read(
        self, log: TailedLog, ann: Writer, follow: Any, late: int
    ) -> None:
        """Tables, and so a hello's token, stand behind such records wherever they are the last ones; and so does a
        reader that has read a part of the log again, which ended with them."""
        ann.append(ONE, "ann's")
        bob = Writer(log, "bob")
        bob.takeover(ONE)
        assert ann.append(ONE, *(f"too late {i}" for i in range(late))).outcome is AppendOutcome.FENCED

        async def reading(tail: Tail) -> None:
            segment = tail.segment(ONE)
            _, cursor = await read_up_to_the_end(tail, {segment: Position()})
            at = await tail.position(segment, cursor[segment].offset)
            assert bob.append(ONE, "bob's second").outcome is AppendOutcome.DURABLE
            end = (await tail.ends({segment: None}))[segment]
            assert texts(await again(tail, segment, at, end, 1_000)) == ["bob's second"]

        follow(reading)

    def test_many_who_come_at_once_share_a_client(
        self, log: TailedLog, ann: Writer, follow: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after the start of a process."""
        ann.append(ONE, "one")
        made: list[AIOKafkaConsumer] = []
        make = KafkaCluster.consumer

        def consumer(cluster: KafkaCluster, **settings: Any) -> AIOKafkaConsumer:
            made.append(make(cluster, **settings))
            return made[-1]

        monkeypatch.setattr(KafkaCluster, "consumer", consumer)

        async def coming(tail: Tail) -> None:
            segment = tail.segment(ONE)
            try:
                await asyncio.gather(*(tail.ends({segment: None}) for _ in range(10)))
                assert len(made) == 1
            finally:
                for each in made:
                    await each.stop()

        follow(coming)


class Unasked:
    """Nothing is looked up here."""

    async def name_of(self, account_id: int) -> str:
        raise AssertionError

    async def room(self, room_id: int) -> tuple[str, int] | None:
        raise AssertionError


def test_a_long_replay_that_is_read_in_parts_leaves_nothing_out(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(ONE)
    bob = replaced(log, ann)
    bob.append(ONE, "bob's second", "bob's third")

    async def reading() -> None:
        tail = log.tail()
        feed = Feed(tail, Unasked(), "a log", log.cluster.partitions)
        try:
            _, cursor = await read_up_to_the_end(tail, {ONE: Position()})
            feed.follow(cursor)
            for limit in range(1, 8):
                assert (limit, texts(await in_parts(feed, limit))) == (
                    limit,
                    ["ann's", "bob's first", "bob's second", "bob's third"],
                )
        finally:
            await feed.stop()

    asyncio.run(reading())


async def in_parts(feed: Feed, limit: int) -> list[LocatedRecord]:
    found: list[LocatedRecord] = []
    at = Position()
    while at.offset < feed.reached(ONE):
        located, at = await feed.read_range(ONE, at, feed.begins(ONE), limit)
        found += located
    return found
