"""Stands in for AIOKafkaClient, where requests about groups are sent as such."""

from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest

from tools.simulation.kafka.client import Client


class SimulatedBrokerClient:
    """Takes the requests that it is asked for, and answers in the shapes of the protocol."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def coordinator_lookup(self, kind: object, group: str) -> int:
        brokers = self._client.brokers
        return await self._client.ask_any(lambda: brokers.coordinator(group))

    async def send(self, node: int, request: Any) -> Any:
        """Raises RequestTimedOutError, KafkaConnectionError, and TypeError for a request that is not known here."""
        if request.API_KEY == DescribeGroupsRequest.API_KEY:
            (group,) = request._groups
            return await self._client.ask(node, lambda: self._describe(node, group))
        if isinstance(request, LeaveGroupRequest):
            return await self._client.ask(node, lambda: self._leave(node, request._group, request._member_id))
        raise TypeError(request)

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""

    async def _describe(self, node: int, group: str) -> Any:
        try:
            clients = self._client.brokers.group(node, group).clients()
        except KafkaError as error:
            return SimpleNamespace(groups=[(error.errno, group, "", "", "", [])])
        members = [(member, client, "", b"", b"") for member, client in clients.items()]
        return SimpleNamespace(groups=[(0, group, "Stable" if members else "Empty", "consumer", "", members)])

    async def _leave(self, node: int, group: str, member: str) -> Any:
        try:
            self._client.brokers.group(node, group).leave(member)
        except KafkaError as error:
            return SimpleNamespace(error_code=error.errno)
        return SimpleNamespace(error_code=0)
