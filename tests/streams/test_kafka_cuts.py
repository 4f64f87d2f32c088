"""A topic keeps cuts, and a process begins again when the topic has lost them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from falcon.adapters.kafka import cuts, reader, topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.cuts import KafkaCuts
from falcon.adapters.kafka.reader import Reader
from falcon.streams.cuts import Cuts, Record
from tests.adapters.test_kafka import KafkaLog
from tests.contracts.cuts import CutStoreContract
from tools.harness.waiting import eventually

pytestmark = pytest.mark.processes


class KafkaCutsContract(CutStoreContract):
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuts, "_CHECK_SECONDS", 0.1)
        monkeypatch.setattr(cuts, "_RETRY_SECONDS", 0.05)

    def test_a_topic_that_was_made_again_is_read_from_its_beginning(self, run: Any) -> None:
        async def work(one: KafkaCuts, other: KafkaCuts) -> None:
            taken: list[Record | None] = []
            first = await other.write(b"one")
            one.follow(lambda number, data: taken.append((number, data)), lambda: taken.append(None))
            await eventually(lambda: taken == [(first, b"one")])
            one._offset = 99
            await eventually(lambda: taken[1:] == [None, (first, b"one")])
            second = await other.write(b"two")
            await eventually(lambda: taken[-1] == (second, b"two"))

        run(work)

    @pytest.mark.parametrize("more", [0, 1])
    def test_a_topic_that_was_made_again_with_as_many_cuts_is_read_from_its_beginning(
        self, run: Any, more: int
    ) -> None:
        async def work(one: KafkaCuts, other: KafkaCuts) -> None:
            taken: list[Record | None] = []
            before = [(await other.write(data), data) for data in (b"one", b"two")]
            one.follow(lambda number, data: taken.append((number, data)), lambda: taken.append(None))
            await eventually(lambda: taken == before)
            following = one._reader
            one._reader = PausedReader(one._cluster, one._cluster.cuts)
            await make_again(one._cluster)
            after = [(await other.write(data), data) for data in (b"three", b"four", b"five")[: 2 + more]]
            one._reader = following
            await eventually(lambda: taken[-len(after) - 1 :] == [None, *after])

        run(work)

    def test_a_topic_that_has_lost_its_first_cuts_is_read_from_what_it_still_has(self, run: Any) -> None:
        async def work(one: KafkaCuts, other: KafkaCuts) -> None:
            numbers = [await other.write(b"%d" % n) for n in range(3)]
            await trim(one._cluster, numbers[2])
            taken: list[Record] = []
            one.follow(lambda number, data: taken.append((number, data)), lambda: taken.clear())
            await eventually(lambda: taken == [(numbers[2], b"2")])

        run(work)

    def test_a_cut_of_a_topic_that_was_made_again_is_lost(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "_STALE_SECONDS", 0.1)

        async def work(one: KafkaCuts, other: KafkaCuts) -> None:
            numbers = [await one.write(b"\x00\x01\x02") for _ in range(3)]
            await make_again(one._cluster)
            restarted = Cuts(other, 2)
            assert await restarted.look_up(numbers[2]) is None

        run(work)


class PausedReader(Reader):
    """Gets nothing, like one whose brokers are away."""

    async def records(self, *_: Any, **__: Any) -> dict[int, list[Any]]:
        await asyncio.sleep(0.01)
        return {}


async def make_again(cluster: KafkaCluster) -> None:
    """Delete the topic of cuts, and create it with ``falcon prepare``."""
    admin = cluster.admin()
    await admin.start()
    try:
        await admin.delete_topics([cluster.cuts])

        async def is_gone() -> bool:
            [topic] = await admin.describe_topics([cluster.cuts])
            return bool(topic["error_code"])

        await eventually(is_gone)
    finally:
        await admin.close()
    await topics.prepare(cluster, 3)


async def trim(cluster: KafkaCluster, before: int) -> None:
    """Delete the cuts before that number."""
    admin = cluster.admin()
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(cluster.cuts, 0): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


class TestKafkaCuts(KafkaCutsContract):
    @pytest.fixture
    def make(self, kafka_servers: str, tmp_path: Path) -> Iterator[Callable[[], KafkaCuts]]:
        log = KafkaLog(kafka_servers, tmp_path)
        yield lambda: KafkaCuts(log.cluster)
        log.close()
