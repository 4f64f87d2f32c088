"""Membership in a consumer group, used only to share partitions among the members."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.admin import DescribeGroupsRequest_v2
from aiokafka.protocol.api import Request

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable

log = logging.getLogger("falcon.kafka")

# The largest that Kafka takes: no member polls for the sake of the group, heartbeats show that it lives.
_FOR_EVER_MILLIS: Final = 2**31 - 1
_POLL_MILLIS: Final = 500  # nothing comes, as all partitions are paused: this only keeps the client at work
_HEARTBEAT_MILLIS: Final = 250  # a member learns of a new assignment this soon
_PAUSE_SECONDS: Final = 0.5  # between attempts, so that a broker that has just come back is not flooded
_COORDINATOR_SECONDS: Final = 15.0  # longer than brokers that have just started take to elect one
_WITHOUT_MEMBERS: Final = ("Empty", "Dead")


class GroupMember:
    """One member of a group over the journal's partitions. For one event loop; other threads may read the attributes.

    The member fetches nothing and commits no offset. Kafka's protocol revokes everything at a rebalance. Only the
    assignment that follows counts here, so that a partition that stays is not disturbed.

    ``assigned``: as of the last assignment. ``assignments``: how many there were.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        group: str,
        session_seconds: float,
        changed: Callable[[], None] = lambda: None,
        name: str = "",
    ) -> None:
        """``name``: the client name, by which other members find this one in the group."""
        self._cluster = cluster
        self._group = group
        self._session_seconds = session_seconds
        self._changed = changed
        self._own = {"client_id": name} if name else {}
        # aiokafka keeps the member's state in the class. Members that shared a class would all claim the same
        # partitions.
        self._assignor = type("StickyPartitionAssignor", (StickyPartitionAssignor,), {})
        self._consumer: AIOKafkaConsumer | None = None
        self._staying: asyncio.Task[None] | None = None
        self.assigned: frozenset[Partition] = frozenset()
        self.assignments = 0

    async def join(self) -> None:
        """Join, and stay a member through all failures of the brokers until ``leave``."""
        self._staying = asyncio.get_running_loop().create_task(self._stay())

    async def leave(self) -> None:
        """Leave at once, so that the others need not wait for the end of the session. ``assigned`` keeps its value."""
        if self._staying is not None:
            self._staying.cancel()
            await asyncio.wait([self._staying])

    def rejoin(self) -> None:
        """Ask for a new assignment, when there is reason to doubt that the present one still holds."""
        if self._consumer is not None and self._consumer._coordinator is not None:
            self._consumer._coordinator.request_rejoin()

    async def _stay(self) -> None:
        while True:
            self._consumer = self._member()
            try:
                await self._consumer.start()
                await self._poll(self._consumer)
            except CLIENT_ERRORS as error:
                log.warning("group %s: joining again after %r", self._group, error)
            finally:
                await self._consumer.stop()
            await asyncio.sleep(_PAUSE_SECONDS)

    def _member(self) -> AIOKafkaConsumer:
        consumer = self._cluster.consumer(
            group_id=self._cluster.prefix + self._group,
            session_timeout_ms=round(self._session_seconds * 1_000),
            heartbeat_interval_ms=_HEARTBEAT_MILLIS,
            max_poll_interval_ms=_FOR_EVER_MILLIS,
            partition_assignment_strategy=[self._assignor],
            **self._own,
        )
        consumer.subscribe([self._cluster.journal], listener=_Listener(self._accept))
        return consumer

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """Poll for the errors of the coordination: aiokafka waits until they have been fetched. Returns when it has
        ended, and a new member must be made."""
        while True:
            try:
                await consumer.getmany(timeout_ms=_POLL_MILLIS)
            except CLIENT_ERRORS as error:
                log.warning("group %s: %r", self._group, error)
                await asyncio.sleep(_PAUSE_SECONDS)
            if consumer._coordinator._coordination_task.done():
                return

    def _accept(self, partitions: Iterable[TopicPartition]) -> None:
        taken = list(partitions)
        assert self._consumer is not None
        self._consumer.pause(*taken)
        for partition in taken:
            # without it aiokafka asks for a committed offset, and complains that there is none
            self._consumer.seek(partition, 0)
        assigned = frozenset(partition.partition for partition in taken)
        if assigned != self.assigned:
            come, gone = sorted(assigned - self.assigned), sorted(self.assigned - assigned)
            log.info("group %s: %d partitions; come: %s, gone: %s", self._group, len(assigned), come, gone)
            self.assigned = assigned
        self.assignments += 1
        self._changed()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, accept: Callable[[Iterable[TopicPartition]], None]) -> None:
        self._accept = accept

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Does nothing: see GroupMember."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._accept(assigned)


async def coordinator(admin: AIOKafkaAdminClient, group: str) -> int:
    """Brokers that have just started have no coordinator for a moment."""
    until = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            return int(await admin.find_coordinator(group))
        except GroupCoordinatorNotAvailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)


class _DescribeGroups(Request[DescribeGroupsRequest_v2]):  # type: ignore[misc]
    """Uses this version of the request, since aiokafka misreads the brokers' answer to its newest one."""

    API_KEY = DescribeGroupsRequest_v2.API_KEY

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[DescribeGroupsRequest_v2]) -> DescribeGroupsRequest_v2:
        return request_struct_class(self._groups)


async def active(cluster: KafkaCluster, groups: Sequence[str]) -> list[str]:
    """The groups that have members. Raises JournalUnavailable."""
    admin = cluster.admin()
    states: dict[str, str] = {}
    try:
        await admin.start()
        for group in (cluster.prefix + group for group in groups):
            broker = await coordinator(admin, group)
            described = await admin._send_request(_DescribeGroups([group]), broker)
            states |= {name: state for _, name, state, *_ in described.groups}
    except CLIENT_ERRORS as error:
        raise JournalUnavailable(f"cannot see who runs: {error!r}") from error
    finally:
        await admin.close()
    return [group for group in groups if states.get(cluster.prefix + group) not in _WITHOUT_MEMBERS]
