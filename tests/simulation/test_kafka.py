"""The log on the simulated Kafka keeps every contract that it keeps on a real one, in a second."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from falcon.adapters.kafka import signal_transport, topics
from falcon.adapters.kafka.cuts import KafkaCuts
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.signal_transport import KafkaSignalTransport, has_senders
from falcon.adapters.kafka.tail import KafkaTail
from falcon.streams.signals import SignalTransport
from falcon.write.clock import SystemClock
from tests.adapters.test_kafka import KafkaLog
from tests.contracts.journal import PARTITIONS, CheckingContract, JournalContract
from tests.contracts.signal_transport import Ear, SignalTransportContract, connected
from tests.contracts.tail import TailContract, TailedLog
from tests.streams.test_kafka_cuts import KafkaCutsContract
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster

_prefixes = itertools.count()


pytestmark = pytest.mark.simulated


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    """On a loop of their own."""
    thread = LoopThread("brokers")
    running = Brokers(thread._loop)
    yield running
    thread.call(running.close())
    thread.close()


class SimulatedLog(KafkaLog):
    def __init__(self, brokers: Brokers, folder: Path, *, rests: bool = False) -> None:
        self.rests = rests
        self.cluster = SimulatedCluster(("simulated:1",), PARTITIONS, f"test{next(_prefixes)}.", servers=brokers)
        self.folder = folder
        self.loop = LoopThread()
        self.clock = SystemClock()
        self._open = []
        self.loop.call(topics.prepare(self.cluster, 3))

    def tail(self) -> KafkaTail:
        return KafkaTail(self.cluster)

    async def _delete_topics(self) -> None:
        """The brokers end with the test."""


@pytest.mark.parametrize("rests", [False, True], ids=["", "readers that rest"])
class TestJournal(JournalContract):
    @pytest.fixture
    def log(self, brokers: Brokers, tmp_path: Path, rests: bool) -> Iterator[SimulatedLog]:
        made = SimulatedLog(brokers, tmp_path, rests=rests)
        yield made
        made.close()


@pytest.mark.parametrize("rests", [False, True], ids=["", "readers that rest"])
class TestPlaces(CheckingContract):
    @pytest.fixture
    def log(self, brokers: Brokers, tmp_path: Path, rests: bool) -> Iterator[SimulatedLog]:
        made = SimulatedLog(brokers, tmp_path, rests=rests)
        yield made
        made.close()


class TestTail(TailContract):
    @pytest.fixture
    def log(self, brokers: Brokers, tmp_path: Path) -> Iterator[TailedLog]:
        made = SimulatedLog(brokers, tmp_path)
        yield made
        made.close()


class TestCuts(KafkaCutsContract):
    @pytest.fixture
    def make(self, brokers: Brokers) -> Callable[[], KafkaCuts]:
        cluster = SimulatedCluster(("simulated:1",), PARTITIONS, f"test{next(_prefixes)}.", servers=brokers)
        asyncio.run(topics.prepare(cluster, 3))
        return lambda: KafkaCuts(cluster)


class TestWire(SignalTransportContract):
    @pytest.fixture
    def cluster(self, brokers: Brokers) -> SimulatedCluster:
        cluster = SimulatedCluster(("simulated:1",), PARTITIONS, f"test{next(_prefixes)}.", servers=brokers)
        asyncio.run(topics.prepare(cluster, 3))
        return cluster

    @pytest.fixture
    def make(self, cluster: SimulatedCluster) -> Callable[[], SignalTransport]:
        return lambda: KafkaSignalTransport(cluster)

    def test_an_operator_notices_a_process_that_sends_signals(self, cluster: SimulatedCluster) -> None:
        async def notice() -> None:
            transport = KafkaSignalTransport(cluster)
            transport.send(b"before")
            await asyncio.wait(transport._writing.values())
            assert not await has_senders(cluster, 0.1)
            noticing = asyncio.create_task(has_senders(cluster, 30))
            while not noticing.done():
                transport.send(b"alive")
                await asyncio.sleep(0.05)
            assert noticing.result()
            await transport.close()

        asyncio.run(notice())

    def test_a_process_hears_the_others_though_its_clock_is_ahead_of_theirs(
        self, make: Callable[[], SignalTransport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By as much as docs/operations.md allows."""
        now = time.time
        monkeypatch.setattr(signal_transport, "time", SimpleNamespace(time=lambda: now() + 20))

        async def talk() -> None:
            ears = [Ear(make()), Ear(make())]
            for ear in ears:
                await connected(ear, ears)
            for ear in ears:
                await ear.transport.close()

        asyncio.run(talk())
