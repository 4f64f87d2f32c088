"""Lists the members of a consumer group, and removes members that ended without leaving."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import UnknownMemberIdError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.api import Request
from aiokafka.protocol.group import LeaveGroupRequest

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.journal.ports import JournalUnavailable

_SECONDS: Final = 1.0  # the beats of silent owners are judged every 0.2 s: a list that comes later is of little use


class GroupRoster:
    """Serves one event loop; calls may overlap. A failed call forgets the group's coordinator, so that the next one
    looks it up again."""

    def __init__(self, cluster: KafkaCluster, group: str) -> None:
        self._cluster = cluster
        self._group = cluster.prefix + group
        self._client: AIOKafkaClient | None = None
        self._coordinator: int | None = None
        self._finding = asyncio.Lock()

    async def members(self) -> dict[str, str]:
        """Member ids by client name. Raises JournalUnavailable."""
        # One group at a time: aiokafka misreads the brokers' answer about several in the newest version that it knows.
        response = await self._ask(DescribeGroupsRequest([self._group]))
        code, _, _, _, _, members, *_ = response.groups[0]
        self._check(code)
        return {name: member_id for member_id, name, *_ in members}

    async def remove(self, member: str) -> None:
        """Remove the member, which may have gone already. Raises JournalUnavailable."""
        response = await self._ask(LeaveGroupRequest(self._group, member))
        if response.error_code != UnknownMemberIdError.errno:
            self._check(response.error_code)

    async def remove_predecessors(self, precede: Callable[[str], bool]) -> None:
        """Remove members whose processes are known to have ended, by their client names. Raises JournalUnavailable."""
        for name, member in (await self.members()).items():
            if precede(name):
                await self.remove(member)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _ask(self, request: Request[Any]) -> Any:
        try:
            async with asyncio.timeout(_SECONDS):
                client, coordinator = await self._found()
                return await client.send(coordinator, request)
        except CLIENT_ERRORS as error:
            self._coordinator = None
            raise JournalUnavailable(f"the group {self._group} cannot be asked: {error!r}") from error

    async def _found(self) -> tuple[AIOKafkaClient, int]:
        async with self._finding:
            if self._client is None:
                self._client = await self._cluster.broker_client()
            if self._coordinator is None:
                self._coordinator = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group)
            return self._client, self._coordinator

    def _check(self, code: int) -> None:
        """Raises the error in the answer, for instance that another broker coordinates the group now."""
        if code:
            self._coordinator = None
            raise JournalUnavailable(f"the group {self._group} cannot be asked: {for_code(code)()!r}")
