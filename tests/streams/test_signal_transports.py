"""The signal transports keep their contract: within a machine, and over a real Kafka."""

import asyncio
import os
import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.signal_transport import KafkaSignalTransport
from falcon.adapters.sockets.signal_transport import SocketSignalTransport
from falcon.streams.signals import SignalTransport
from tests.contracts.signal_transport import Ear, SignalTransportContract


class TestSocketWire(SignalTransportContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], SignalTransport]:
        names = count()
        return lambda: SocketSignalTransport(tmp_path, "log", f"process-{next(names)}")

    def test_a_socket_whose_process_was_killed_is_swept_away(self, tmp_path: Path) -> None:
        async def talk() -> None:
            killed, lives = (
                SocketSignalTransport(tmp_path, "log", "killed"),
                Ear(SocketSignalTransport(tmp_path, "log", "lives")),
            )
            killed.open(lambda data: None)
            asyncio.get_running_loop().remove_reader(killed._socket)
            os.close(killed._socket.detach())
            lives.transport.send(b"anybody?")
            await lives.until(lambda heard: heard == [b"anybody?"])
            await lives.transport.close()

        asyncio.run(talk())
        assert list(tmp_path.iterdir()) == []

    def test_a_process_of_another_log_is_not_heard(self, tmp_path: Path) -> None:
        async def talk() -> None:
            first, copy = (Ear(SocketSignalTransport(tmp_path, log, "a")) for log in ("log", "log-copy"))
            first.transport.send(b"of the first")
            await first.until(lambda heard: heard == [b"of the first"])
            copy.transport.send(b"of the copy")
            await copy.until(lambda heard: heard == [b"of the copy"])
            assert first.heard == [b"of the first"]
            for ear in (first, copy):
                await ear.transport.close()

        asyncio.run(talk())


@pytest.mark.processes
class TestKafkaWire(SignalTransportContract):
    @pytest.fixture
    def make(self, kafka_servers: str) -> Callable[[], SignalTransport]:
        cluster = KafkaCluster(tuple(kafka_servers.split(",")), 2, f"{secrets.token_hex(4)}.")
        asyncio.run(topics.prepare(cluster, 3))
        return lambda: KafkaSignalTransport(cluster)
