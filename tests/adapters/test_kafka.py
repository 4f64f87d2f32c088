"""The log on a real Kafka of three brokers keeps the journal's contract, and its own promises."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.journal import KafkaJournal
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import Producer
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.kafka.source import KafkaSource
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.journal.ports import Wake
from falcon.write.clock import Clock, SystemClock
from tests.contracts.journal import PARTITIONS, CheckingContract, JournalContract

pytestmark = pytest.mark.processes

_names = itertools.count()

T = TypeVar("T", KafkaJournal, KafkaSource)


class KafkaLog:
    """Topics of their own on the brokers that the session shares. ``replicas``: a third of the work if there is one
    alone, for tests that stop no broker. ``rests``: its readers rest."""

    def __init__(
        self, brokers: str, folder: Path, partitions: int = PARTITIONS, replicas: int = 1, *, rests: bool = False
    ) -> None:
        self.rests = rests
        self.cluster = KafkaCluster(tuple(brokers.split(",")), partitions, f"test{next(_names)}.")
        self.folder = folder
        self.loop = LoopThread()
        self.clock: Clock = SystemClock()
        self._open: list[KafkaJournal | KafkaSource] = []
        self.loop.call(topics.prepare(self.cluster, replicas))

    def journal(self, wake: Wake) -> KafkaJournal:
        producer = Producer(self.cluster)
        return self._keep(KafkaJournal(self.cluster, self.loop, producer, self._snapshots(producer), self.clock, wake))

    def source(self) -> KafkaSource:
        return self._keep(KafkaSource(self.cluster, self.loop, rests=self.rests))

    def snapshots(self) -> KafkaSnapshots:
        """The snapshots that the next owner finds."""
        producer = Producer(self.cluster)
        snapshots = self._snapshots(producer)
        self.loop.call(self._restore(snapshots))
        self.loop.call(producer.close())
        return snapshots

    def close(self) -> None:
        for each in self._open:
            each.close()
        self.loop.call(self._delete_topics())
        self.loop.close()

    async def _restore(self, snapshots: KafkaSnapshots) -> None:
        await asyncio.gather(*(snapshots.restore(each, "a test") for each in range(self.cluster.partitions)))

    async def _delete_topics(self) -> None:
        """Brokers with the partitions of all tests before take four times as much CPU, and long to come back."""
        async with topics.Admin(self.cluster) as admin:
            await admin.delete_topics([topic.name for topic in topics.topics(self.cluster)])

    def _snapshots(self, producer: Producer) -> KafkaSnapshots:
        return KafkaSnapshots(self.cluster, producer, LocalSnapshotCache(self.folder / f"cold{next(_names)}.db"))

    def _keep(self, opened: T) -> T:
        self._open.append(opened)
        return opened


class TestKafka(JournalContract):
    @pytest.fixture
    def log(self, kafka_servers: str, tmp_path: Path) -> Iterator[KafkaLog]:
        made = KafkaLog(kafka_servers, tmp_path)
        yield made
        made.close()


class TestKafkaPlaces(CheckingContract):
    """With readers that rest; the simulated Kafka has both kinds, for the journal's contract too."""

    @pytest.fixture
    def log(self, kafka_servers: str, tmp_path: Path) -> Iterator[KafkaLog]:
        made = KafkaLog(kafka_servers, tmp_path, rests=True)
        yield made
        made.close()
