"""Random histories have the same outcomes on the simulated Kafka and on a real one."""

import asyncio
import random
import secrets
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer, Record, TooLarge
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.journal.ports import JournalUnavailable
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster
from tools.simulation.threads import Simulation

pytestmark = pytest.mark.processes

SECONDS: Final = 8.0
PARTITIONS: Final = 2
STEPS: Final = 40


class Side:
    """One of the two: two producers and a reader for each topic, that do what a history says."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._topics = [cluster.journal, cluster.snapshots]
        self._producers = [Producer(cluster), Producer(cluster)]
        self._readers = [Reader(cluster, topic) for topic in self._topics]

    async def follow(self, seed: int) -> list[Any]:
        chance = random.Random(seed)
        await topics.prepare(self._cluster, 3)
        steps = [self._write] * 8 + [self._ends, self._read, self._read, self._compacted, self._trim, self._consume]
        outcomes: list[Any] = []
        try:
            for _ in range(STEPS):
                step: Callable[[random.Random], Awaitable[Any]] = chance.choice(steps)
                try:
                    outcomes.append((step.__name__, await step(chance)))
                except (NotWritten, TooLarge) as error:
                    outcomes.append((step.__name__, type(error).__name__))
                except JournalUnavailable as error:
                    outcomes.append((step.__name__, str(error).partition(";")[0]))
        finally:
            for producer in self._producers:
                await producer.close()
            for reader in self._readers:
                await reader.close()
        return outcomes

    async def _write(self, chance: random.Random) -> int:
        producer, topic, partition = (
            chance.choice(self._producers),
            chance.choice(self._topics),
            self._partition(chance),
        )
        size = chance.choice([0, 1, 10, 1_000, 300_000])
        batch: list[Record] = [
            (b"%d" % chance.randrange(5), chance.choice([chance.randbytes(size), b"%d" % number, None]))
            for number in range(chance.randint(1, 5))
        ]
        if chance.random() < 0.05:
            batch = [(None, b"without a key")]
        if chance.random() < 0.03:
            batch = [(b"1", chance.randbytes(9 << 20))]  # which cannot be compressed
        return int((await producer.write(topic, partition, batch)).offset)

    async def _ends(self, chance: random.Random) -> dict[int, int]:
        return await chance.choice(self._readers).ends(range(PARTITIONS))

    async def _read(self, chance: random.Random) -> list[tuple[int, Any, Any]]:
        """Read from anywhere up to the end, or from a place without records."""
        reader, partition = chance.choice(self._readers), self._partition(chance)
        end = (await reader.ends([partition]))[partition]
        offset, limit = chance.randint(0, end + 1), chance.randint(1, 20)
        try:
            return await _read_up_to(reader, partition, offset, end, limit)
        except JournalUnavailable:
            await reader.close()  # aiokafka may raise the same once more when something else is read
            raise

    async def _compacted(self, chance: random.Random) -> list[Any]:
        partition, topic = self._partition(chance), self._cluster.snapshots
        reader = Reader(self._cluster, topic)
        try:
            end = (await reader.ends([partition]))[partition]
            return [
                (record.offset, record.key, _short(record.value))
                async for records in read_compacted(reader, partition, end - 1)
                for record in records
            ]
        finally:
            await reader.close()

    async def _trim(self, chance: random.Random) -> None:
        partition = self._partition(chance)
        end = (await self._readers[0].ends([partition]))[partition]
        admin = self._cluster.admin()
        await admin.start()
        try:
            at = TopicPartition(self._cluster.journal, partition)
            await admin.delete_records({at: RecordsToDelete(before_offset=chance.randint(0, end))})
        finally:
            await admin.close()
        await self._readers[0].close()  # or it would continue with what it has fetched ahead

    async def _consume(self, chance: random.Random) -> list[Any]:
        """Both partitions together, from their beginnings or their ends, with pauses."""
        topic = chance.choice(self._topics)
        consumer = self._cluster.consumer(auto_offset_reset=chance.choice(["earliest", "latest"]))
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        try:
            await consumer.start()
            consumer.assign(partitions)
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            stands = [await consumer.position(at) for at in partitions]
            consumer.pause(partitions[0])
            seen = await consumer.getmany(partitions[0], timeout_ms=1)
            consumer.resume(partitions[0])
            return [sorted(begins.items()), sorted(ends.items()), stands, seen, consumer.assignment() == {*partitions}]
        finally:
            await consumer.stop()

    def _partition(self, chance: random.Random) -> int:
        return chance.randrange(PARTITIONS)


def _short(value: bytes | None) -> int | None:
    return None if value is None else zlib.crc32(value)


async def _read_up_to(reader: Reader, partition: int, offset: int, end: int, limit: int) -> list[tuple[int, Any, Any]]:
    """Behind the end until it fails."""
    found: list[tuple[int, Any, Any]] = []
    async with asyncio.timeout(60):
        while offset != end:
            for record in (await reader.records({partition: offset}, limit, 0.2)).get(partition, []):
                found.append((record.offset, record.key, _short(record.value)))
                offset = record.offset + 1
    return found


def simulated(seed: int, prefix: str) -> list[Any]:
    async def follow() -> list[Any]:
        brokers = Brokers(asyncio.get_running_loop())
        return await Side(SimulatedCluster(("simulated:1",), PARTITIONS, prefix, servers=brokers)).follow(seed)

    return Simulation(seed).run(lambda: asyncio.run(follow()))


def test_a_history_has_the_same_outcomes_on_both(kafka_servers: str) -> None:
    seed = 1
    until = time.monotonic() + SECONDS
    histories = 0
    while time.monotonic() < until:
        prefix = f"beside-{secrets.token_hex(4)}."
        real = asyncio.run(Side(KafkaCluster(tuple(kafka_servers.split(",")), PARTITIONS, prefix)).follow(seed))
        for step, (ours, theirs) in enumerate(zip(simulated(seed, prefix), real, strict=True)):
            assert ours == theirs, f"step {step} of {seed}, behind {real[:step]}"
        histories, seed = histories + 1, seed + 1
    assert histories
    print(f"{histories} histories of {STEPS} steps")  # noqa: T201
