"""Stands in for KafkaCluster: the same names and settings, with clients of simulated brokers."""

from typing import Any, Final

from falcon.adapters.kafka.cluster import KafkaCluster
from tools.simulation.kafka.admin import SimulatedAdmin
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.client import Client
from tools.simulation.kafka.consumer import SimulatedConsumer
from tools.simulation.kafka.producer import SimulatedProducer
from tools.simulation.kafka.raw import SimulatedBrokerClient

_FIXED: Final = ("enable_auto_commit", "metadata_max_age_ms", "retry_backoff_ms")
_ADMIN_SECONDS: Final = 10.0


class SimulatedCluster(KafkaCluster, frozen=True, kw_only=True):
    """``servers``: the brokers. ``client``: the process that speaks to them."""

    servers: Any
    client: str = "client"

    def producer(self) -> SimulatedProducer:
        return SimulatedProducer(self._client())

    def consumer(self, **settings: Any) -> SimulatedConsumer:
        settings = {name: value for name, value in settings.items() if name not in _FIXED}
        seconds = settings.pop("request_timeout_ms", 5_000) / 1000
        return SimulatedConsumer(
            Client(self._brokers, self.client, seconds), **{"max_partition_fetch_bytes": 2 << 20, **settings}
        )

    async def broker_client(self) -> SimulatedBrokerClient:
        client = self._client()
        await client.start()
        return SimulatedBrokerClient(client)

    def admin(self) -> SimulatedAdmin:
        return SimulatedAdmin(Client(self._brokers, self.client, _ADMIN_SECONDS))

    def _client(self) -> Client:
        return Client(self._brokers, self.client)

    @property
    def _brokers(self) -> Brokers:
        brokers: Brokers = self.servers
        return brokers
