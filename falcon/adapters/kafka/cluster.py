"""The brokers' addresses, the names of the topics, and clients with Falcon's configuration."""

import asyncio
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from falcon.adapters.kafka.security import Security, secure

# The largest record batch that the topics take, and so the largest append.
MESSAGE_BYTES_MAX: Final = 8 << 20
# The head of a batch, and some room for what the estimate of a record's size leaves out.
APPEND_BYTES_MAX: Final = MESSAGE_BYTES_MAX - (64 << 10)

# Errors that a client raises when the servers are at fault. aiokafka lets some of asyncio's and of the operating
# system's through.
CLIENT_ERRORS: Final = (KafkaError, OSError, TimeoutError)

_STOP_SECONDS: Final = 5.0  # a client that cannot reach its brokers does not hold up the end of the process


class _Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    async def stop(self) -> None:
        """A fetch that pauses after an error ends as cancelled. aiokafka would pass that on as if the caller was to
        end, and would leave its connections open."""
        stopping = asyncio.ensure_future(super().stop())
        await asyncio.wait([stopping], timeout=_STOP_SECONDS)
        if stopping.done() and not stopping.cancelled():
            stopping.result()
            return
        stopping.cancel()
        await self._client.close()


class KafkaCluster(msgspec.Struct, frozen=True):
    """``brokers``: host:port of some of them. ``prefix``: of the names of topics and groups.

    ``append_seconds``: after this time the outcome of an append is unknown; it is longer than Kafka takes after the
    loss of a leader. ``security``: of every connection; none in plaintext. ``compression``: of the batches that this
    process writes; None for none. ``rack``: where this process is, so that it reads from replicas there.
    """

    brokers: tuple[str, ...]
    partitions: int
    prefix: str = "falcon."
    append_seconds: float = 10.0
    security: Security | None = None
    compression: str | None = "zstd"
    rack: str | None = None

    @property
    def journal(self) -> str:
        return self.prefix + "journal"

    @property
    def snapshots(self) -> str:
        return self.prefix + "snapshots"

    @property
    def owners(self) -> str:
        return self.prefix + "owners"

    @property
    def signals(self) -> str:
        return self.prefix + "signals"

    @property
    def inboxes(self) -> str:
        return self.prefix + "inboxes"

    @property
    def applied(self) -> str:
        return self.prefix + "applied"

    @property
    def cuts(self) -> str:
        return self.prefix + "cuts"

    def producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=MESSAGE_BYTES_MAX,
            max_request_size=2 * MESSAGE_BYTES_MAX,
            compression_type=self.compression,
            **_PATIENCE,
            **self._connection(),
        )
        secure(producer.client, self.security)
        return producer

    def consumer(self, **settings: Any) -> AIOKafkaConsumer:
        """A consumer that reads what it is assigned. It stops instead of jumping when an offset is not there any
        more."""
        consumer = _Consumer(
            **{
                "enable_auto_commit": False,
                "auto_offset_reset": "none",
                "max_partition_fetch_bytes": 2 << 20,
                "client_rack": self.rack,
                **_PATIENCE,
                **self._connection(),
                **settings,
            },
        )
        secure(consumer._client, self.security)
        return consumer

    async def broker_client(self) -> AIOKafkaClient:
        """A client that has found the brokers. Raises CLIENT_ERRORS."""
        client = AIOKafkaClient(**_PATIENCE, **self._connection())
        secure(client, self.security)
        try:
            await client.bootstrap()
        except BaseException:
            await client.close()
            raise
        return client

    def admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(request_timeout_ms=10_000, **self._connection())
        secure(admin._client, self.security)
        return admin

    def _connection(self) -> dict[str, Any]:
        """The settings of a connection to the brokers."""
        security = {} if self.security is None else self.security.settings()
        return {"bootstrap_servers": list(self.brokers), **security}


_PATIENCE: Final[dict[str, Any]] = {
    "metadata_max_age_ms": 5_000,
    "request_timeout_ms": 5_000,
    "retry_backoff_ms": 50,
}
