"""Membership in a consumer group, for one thing only: who should have which partition."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.domain.ids import Partition

log = logging.getLogger("falcon.kafka")

_FOR_EVER_MILLIS: Final = 2**31 - 1


class GroupMember:
    """One member of a group over the journal's partitions. For one event loop; ``assigned`` may be read anywhere.

    Nothing is fetched here and no offset is committed. At a rebalance everything is revoked, says Kafka's protocol;
    what counts is only what is assigned afterwards, so that a partition that stays is not disturbed.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        group: str,
        session_seconds: float,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._session_seconds = session_seconds
        self._changed = changed
        self._consumer: AIOKafkaConsumer | None = None
        self.assigned: frozenset[Partition] = frozenset()
        self.joined = False

    async def join(self) -> None:
        """And stay, whatever happens to the brokers, until ``leave``. Raises KafkaError when none answers."""
        self._consumer = self._cluster.consumer(
            group_id=self._cluster.prefix + self._group,
            session_timeout_ms=round(self._session_seconds * 1_000),
            heartbeat_interval_ms=round(min(self._session_seconds / 6, 0.5) * 1_000),
            # Nothing is polled here, ever, and that is no sign of a member that hangs.
            max_poll_interval_ms=_FOR_EVER_MILLIS,
            partition_assignment_strategy=[StickyPartitionAssignor],
        )
        self._consumer.subscribe([self._cluster.journal], listener=_Listener(self._take))
        await self._consumer.start()

    async def leave(self) -> None:
        """At once, so that others need not wait for the session's end. What was assigned stays written here."""
        if self._consumer is not None:
            await self._consumer.stop()

    def _take(self, partitions: Iterable[TopicPartition]) -> None:
        taken = list(partitions)
        assert self._consumer is not None
        self._consumer.pause(*taken)
        assigned = frozenset(partition.partition for partition in taken)
        if assigned != self.assigned or not self.joined:
            gone, come = sorted(self.assigned - assigned), sorted(assigned - self.assigned)
            log.info("assigned %d partitions: %s come, %s gone", len(assigned), come, gone)
            self.assigned = assigned
        self.joined = True
        self._changed()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, take: Callable[[Iterable[TopicPartition]], None]) -> None:
        self._take = take

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Says nothing: see GroupMember."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._take(assigned)
