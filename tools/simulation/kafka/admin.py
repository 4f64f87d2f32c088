"""Stands in for AIOKafkaAdminClient: topics are described, made and altered."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from aiokafka import TopicPartition

from tools.simulation.kafka.client import Client
from tools.simulation.kafka.partitions import Partition
from tools.simulation.kafka.raw import SimulatedBrokerClient

_EXISTS: Final = 36
_UNKNOWN: Final = 3


class SimulatedAdmin:
    """Answers in the shapes of the protocol, as aiokafka passes them on."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self) -> None:
        """Raises KafkaConnectionError."""
        await self._client.start()

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""

    async def describe_topics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        return [_described(name, await self._ask("topic", name)) for name in names]

    async def describe_configs(self, resources: Sequence[Any]) -> list[Any]:
        entries = [(resource.name, await self._ask("settings", resource.name)) for resource in resources]
        return [SimpleNamespace(resources=[(0, "", 2, name, list(known.items())) for name, known in entries])]

    async def alter_configs(self, resources: Sequence[Any]) -> list[Any]:
        for resource in resources:
            await self._ask("alter_settings", resource.name, resource.configs)
        return [SimpleNamespace(resources=[(0, "", 2, resource.name) for resource in resources])]

    async def create_topics(self, topics: Sequence[Any]) -> Any:
        errors: list[tuple[str, int]] = []
        for topic in topics:
            made = await self._ask(
                "create_topic", topic.name, topic.num_partitions, topic.replication_factor, topic.topic_configs
            )
            errors.append((topic.name, 0 if made else _EXISTS))
        return SimpleNamespace(topic_errors=errors)

    async def delete_topics(self, names: Sequence[str]) -> None:
        for name in names:
            await self._ask("delete_topic", name)

    async def delete_records(self, records: Mapping[TopicPartition, Any]) -> None:
        for at, to_delete in records.items():
            await self._ask("delete_records", at, to_delete.before_offset)

    async def find_coordinator(self, group: str) -> int:
        return await self._client.ask_any(lambda: self._client.brokers.coordinator(group))

    async def _send_request(self, request: Any, node: int) -> Any:
        return await SimulatedBrokerClient(self._client).send(node, request)

    async def _ask(self, name: str, *arguments: Any) -> Any:
        """Any node. Raises KafkaConnectionError, or what the brokers' method raises."""
        request = getattr(self._client.brokers, name)
        return await self._client.ask_any(lambda: request(*arguments))


def _described(name: str, partitions: list[Partition] | None) -> dict[str, Any]:
    if partitions is None:
        return {"error_code": _UNKNOWN, "topic": name, "partitions": []}
    return {
        "error_code": 0,
        "topic": name,
        "partitions": [
            {
                "partition": number,
                "leader": each.leader,
                "replicas": list(each.replicas),
                "isr": sorted(each.in_sync),
            }
            for number, each in enumerate(partitions)
        ],
    }
