"""Owners of partitions publish their addresses in a compacted topic."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.adapters.kafka.group import GroupMember
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import IDLE_SECONDS
from falcon.adapters.kafka.topics import LOG
from falcon.domain.ids import Partition

log = logging.getLogger("falcon.kafka")

_RETRY_SECONDS: Final = 0.5  # meanwhile commands go to the owners that are known, and wait if these refuse
_LEAVE_SECONDS: Final = 2.0  # a takeover begins this soon at the latest; without it, once the session is over


class Owner(msgspec.Struct, frozen=True):
    """``address``: where the owner in this epoch takes commands. Its format is the senders' matter."""

    epoch: int
    address: str


_encode = msgspec.json.Encoder().encode
_owner = msgspec.json.Decoder(Owner)


class GroupOwnership:
    """Ownership (``falcon.write.ownership``) through the group ``shards``, for one shard reached at ``address``."""

    reclaims = True

    def __init__(
        self, cluster: KafkaCluster, loop: LoopThread, producer: Producer, member: GroupMember, address: str
    ) -> None:
        self._cluster = cluster
        self._loop = loop
        self._producer = producer
        self._member = member
        self._address = address
        self._leaving: Future[None] | None = None

    @property
    def assignments(self) -> int:
        return self._member.assignments

    @property
    def assigned(self) -> frozenset[Partition]:
        return self._member.assigned

    def doubt(self) -> None:
        self._loop.soon(self._member.rejoin)

    def leave(self) -> None:
        """Leave the group, so that others take over. What is owned is served until they do."""
        if self._leaving is None:
            self._leaving = self._loop.start(self._member.leave())

    def close(self) -> None:
        self.leave()
        with contextlib.suppress(TimeoutError):  # then the others wait until the session is over
            self._leaving.result(_LEAVE_SECONDS)  # type: ignore[union-attr]

    def opened(self, epochs: Mapping[Partition, int]) -> None:
        if epochs:
            self._loop.start(self._publish(dict(epochs)))

    async def _publish(self, epochs: Mapping[Partition, int]) -> None:
        """Try until it is written: without it no sender finds the owner."""
        records: list[tuple[bytes | None, bytes | None]] = [
            (str(partition).encode(), _encode(Owner(epoch, self._address))) for partition, epoch in epochs.items()
        ]
        while True:
            try:
                await self._producer.write(self._cluster.owners, 0, records)
            except NotWritten as error:
                log.warning("the owners could not be told: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return


class Owners:
    """The owners as published, kept up to date. For one event loop. ``reached``: Kafka has answered once.

    ``moved``: called with each partition whose address has changed, and the address before.
    """

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self.moved: Callable[[Partition, str | None], None] = lambda partition, before: None
        self.reached = False
        self._known: dict[Partition, Owner] = {}
        self._log_name: bytes | None = None
        self._following: asyncio.Task[None] | None = None

    def address(self, partition: Partition) -> str | None:
        """The newest owner's address."""
        owner = self._known.get(partition)
        return None if owner is None else owner.address

    @property
    def known(self) -> int:
        """The number of partitions whose owner is known."""
        return len(self._known)

    def start(self) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def _follow(self) -> None:
        while True:
            consumer = self._cluster.consumer(auto_offset_reset="earliest")
            try:
                await consumer.start()
                self.reached = True
                await self._read(consumer)
            except CLIENT_ERRORS as error:
                log.warning("the owners cannot be read: %r", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        at = TopicPartition(self._cluster.owners, 0)
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        while True:
            for records in (await consumer.getmany(at, timeout_ms=round(IDLE_SECONDS * 1_000))).values():
                for record in records:
                    self._apply(record.key, record.value)

    def _apply(self, key: bytes | None, value: bytes | None) -> None:
        """The owner with the later epoch counts, even if it published first.

        A log with another name starts another history: the epochs of the lost one may be later.
        """
        if key == LOG and value != self._log_name:
            self._known.clear()
            self._log_name = value
        if key is None or value is None or not key.isdigit():
            return  # a record that names the log, or an owner's clock
        try:
            owner = _owner.decode(value)
        except msgspec.DecodeError as error:
            log.warning("partition %s: what is said of its owner does not decode: %s", key.decode(), error)
            return
        partition = int(key)
        known = self._known.get(partition)
        if known is None or owner.epoch >= known.epoch:
            self._known[partition] = owner
            before = None if known is None else known.address
            if owner.address != before:
                self.moved(partition, before)
