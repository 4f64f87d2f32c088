"""Shared by producers, consumers and the rest: connections to the brokers, and the leaders of partitions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, RequestTimedOutError

from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.network import Connection

REQUEST_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = 0.05
_METADATA_SECONDS: Final = 5.0

T = TypeVar("T")


class Client:
    """A client of the process ``name``, for one event loop. A node that did not answer in time gets a new
    connection."""

    def __init__(self, brokers: Brokers, name: str, request_seconds: float = REQUEST_SECONDS) -> None:
        self.brokers = brokers
        self.name = name
        self.request_seconds = request_seconds
        self._connections: dict[int, Connection] = {}
        self._leaders: dict[str, dict[int, int]] = {}
        self._known_since: dict[str, float] = {}

    async def start(self) -> None:
        """Raises KafkaConnectionError where no node answers."""
        await self.ask_any(self.brokers.producer_id)

    async def ask(self, node: int, request: Callable[[], Awaitable[T]], seconds: float = 0.0) -> T:
        """Raises RequestTimedOutError, KafkaConnectionError, or what the request raises."""
        connection = self._connections.setdefault(node, Connection())
        try:
            return await self.brokers.ask(self.name, node, connection, request, seconds or self.request_seconds)
        except (RequestTimedOutError, KafkaConnectionError):
            self._connections.pop(node, None)
            raise

    async def ask_any(self, request: Callable[[], Awaitable[T]]) -> T:
        """The first node that answers. Raises KafkaConnectionError."""
        for node in self.brokers.nodes:
            try:
                return await self.ask(node, request)
            except (RequestTimedOutError, KafkaConnectionError):
                continue
        raise KafkaConnectionError(f"no node of {self.brokers.nodes} answers")

    async def partitions(self, topic: str) -> int:
        """The number of the topic's partitions; 0 if it does not exist. Raises KafkaConnectionError."""
        if topic not in self._leaders:
            await self._look(topic)
        return len(self._leaders[topic])

    async def leader(self, at: TopicPartition) -> int:
        """The leader as far as this client knows; -1 for none. Raises KafkaConnectionError."""
        since = self._known_since.get(at.topic, -_METADATA_SECONDS)
        if asyncio.get_running_loop().time() - since >= _METADATA_SECONDS:
            await self._look(at.topic)
        return self._leaders[at.topic].get(at.partition, -1)

    def doubt(self, topic: str) -> None:
        """Ask again who leads, before anything else is sent to the topic."""
        self._known_since.pop(topic, None)

    async def retried(self, seconds: float, attempt: Callable[[], Awaitable[T]], topic: str) -> T:
        """Raises KafkaTimeoutError after ``seconds``; errors that are no use to repeat."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return await attempt()
            except KafkaError as error:
                if not error.retriable:
                    raise
                self.doubt(topic)
                if asyncio.get_running_loop().time() + BACKOFF_SECONDS > until:
                    raise KafkaTimeoutError(str(error)) from error
                await asyncio.sleep(BACKOFF_SECONDS)

    async def _look(self, topic: str) -> None:
        self._leaders[topic] = await self.ask_any(lambda: self.brokers.leaders(topic))
        self._known_since[topic] = asyncio.get_running_loop().time()
