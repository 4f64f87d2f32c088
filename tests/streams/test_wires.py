"""The wires for signals keep their contract: within a machine, and over a real Kafka."""

import asyncio
import os
import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.signal_transport import KafkaWire
from falcon.adapters.sockets.signal_transport import SocketWire
from falcon.streams.signals import Wire
from tests.contracts.signal_transport import Ear, WireContract


class TestSocketWire(WireContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Wire]:
        names = count()
        return lambda: SocketWire(tmp_path, f"process-{next(names)}")

    def test_a_socket_whose_process_was_killed_is_swept_away(self, tmp_path: Path) -> None:
        async def talk() -> None:
            killed, lives = SocketWire(tmp_path, "killed"), Ear(SocketWire(tmp_path, "lives"))
            killed.open(lambda data: None)
            asyncio.get_running_loop().remove_reader(killed._socket)
            os.close(killed._socket.detach())
            lives.wire.send(b"anybody?")
            await lives.until(lambda heard: heard == [b"anybody?"])
            await lives.wire.close()

        asyncio.run(talk())
        assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
class TestKafkaWire(WireContract):
    @pytest.fixture
    def make(self, kafka_servers: str) -> Callable[[], Wire]:
        cluster = KafkaCluster(tuple(kafka_servers.split(",")), 2, f"{secrets.token_hex(4)}.")
        asyncio.run(topics.prepare(cluster, 3))
        return lambda: KafkaWire(cluster)
