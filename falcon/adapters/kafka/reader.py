"""Reads partitions from known positions, and judges the records by the fence."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka import fence
from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable, LogWentBack

IDLE_SECONDS: Final = 0.5  # a broker answers at once if there is something; else this is how often a reader asks
_START_SECONDS: Final = 10.0  # a reader that reaches no broker fails by then, and its caller tries again or says so
_AT_ONCE_SECONDS: Final = 0.003  # records that arrive within this time were there before the request
_ALL_SECONDS: Final = 0.01  # all brokers have answered within this time
# A read that gets nothing for so long has lost its broker; a large topic may take minutes in all.
_PROGRESS_SECONDS: Final = 15.0
_COMPACTED_RECORDS: Final = 500  # at a time, since other work shares the loop
# A leader that has just been elected may state an end that is stale, by so many records at most. It passes within this
# time, unless a follower hangs.
_STALE_SECONDS: Final = 2.0
_STALE_RECORDS: Final = 10_000
_STALE_PAUSE_SECONDS: Final = 0.1


class Valid(NamedTuple):
    """A valid event: its place, key and body."""

    position: Position
    key: bytes | None
    body: bytes


class Reader:
    """One consumer, for one event loop. It reads the partitions that it was given, from the given places."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        self._cluster = cluster
        self.topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()
        self._at: dict[Partition, int] = {}  # the next record's offset, by assigned partition

    async def records(
        self, offsets: Mapping[Partition, int], limit: int, seconds: float, *, rests: bool = False
    ) -> dict[Partition, list[ConsumerRecord]]:
        """The next records, at most ``limit``. Waits up to ``seconds`` for the first one.

        ``rests``: the caller pauses before the next call, unless it got ``limit`` records. So nothing is fetched ahead,
        which would be old by then, and the call collects what all of the brokers have. Raises JournalUnavailable, also
        for offsets that the topic does not have any more.
        """
        try:
            consumer = await self._started()
            self._seek(consumer, offsets)
            consumer.resume(*consumer.assignment())  # the last call may have paused it
            if rests:
                fetched = await _newest(consumer, limit, seconds)
            else:
                fetched = await consumer.getmany(timeout_ms=round(seconds * 1000), max_records=limit)
        except OffsetOutOfRangeError as error:
            raise LogWentBack(
                f"{self.topic} does not hold {_where(error)} any more: it was restored from an older copy, trimmed "
                "or made again, or has lost what it had acknowledged; see docs/backups.md",
                _only(error),
            ) from error
        except CLIENT_ERRORS as error:
            raise JournalUnavailable(f"cannot read {self.topic}: {error!r}") from error
        found = {partition.partition: records for partition, records in fetched.items() if records}
        for partition, records in found.items():
            self._at[partition] = records[-1].offset + 1
        return found

    async def until(self, partition: Partition, position: Position, stop: int, seconds: float) -> list[Position]:
        """The valid events from ``position`` up to the offset ``stop``. Waits until the brokers show them, since the
        end that they state may be stale. Raises JournalUnavailable after ``seconds``."""
        found: list[Position] = []
        try:
            async with asyncio.timeout(seconds):
                while position.offset < stop:
                    records = (await self.records({partition: position.offset}, 5_000, 0.2)).get(partition, [])
                    events, position = judge_all(self.topic, partition, position, records)
                    found += [event.position for event in events]
        except TimeoutError as error:
            raise JournalUnavailable(
                f"{self.topic}, partition {partition}: offset {stop} could not be read within {seconds:g} s"
            ) from error
        return [at for at in found if at.offset < stop]

    async def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The ends that the brokers state. They may be stale for a moment after a change of leader: a partition is at
        least that long. Raises JournalUnavailable."""
        try:
            consumer = await self._started()
            ends = await consumer.end_offsets([TopicPartition(self.topic, p) for p in partitions])
        except CLIENT_ERRORS as error:
            raise JournalUnavailable(f"cannot read the ends of {self.topic}: {error!r}") from error
        return {partition.partition: end for partition, end in ends.items()}

    async def beginning(self, partition: Partition) -> int:
        """The offset of the first record that the brokers keep. Raises JournalUnavailable."""
        at = TopicPartition(self.topic, partition)
        try:
            consumer = await self._started()
            beginning: int = (await consumer.beginning_offsets([at]))[at]
        except CLIENT_ERRORS as error:
            raise JournalUnavailable(f"cannot read the beginning of {self.topic}: {error!r}") from error
        return beginning

    def end_seen(self, partition: Partition) -> int:
        """The end as of the last fetch, 0 before the first. Any thread may call it: it asks no broker."""
        at = TopicPartition(self.topic, partition)
        consumer = self._consumer
        if consumer is None or partition not in self._at:
            return 0
        try:
            return consumer.highwater(at) or 0
        except AssertionError:  # the loop's thread has just assigned other partitions
            return 0

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._at = {}
        if consumer is not None:
            await consumer.stop()

    async def _started(self) -> AIOKafkaConsumer:
        async with self._starting:  # concurrent callers share one consumer
            if self._consumer is None:
                consumer = self._cluster.consumer()
                try:
                    async with asyncio.timeout(_START_SECONDS):
                        await consumer.start()
                except BaseException:
                    await consumer.stop()
                    raise
                self._consumer = consumer
            return self._consumer

    def _seek(self, consumer: AIOKafkaConsumer, offsets: Mapping[Partition, int]) -> None:
        """Seek only if the consumer is elsewhere: a seek throws away what was fetched ahead."""
        if offsets.keys() != self._at.keys():
            consumer.assign([TopicPartition(self.topic, partition) for partition in offsets])
            self._at = dict.fromkeys(offsets, -1)
        for partition, offset in offsets.items():
            if self._at[partition] != offset:
                consumer.seek(TopicPartition(self.topic, partition), offset)
                self._at[partition] = offset


async def _newest(consumer: AIOKafkaConsumer, limit: int, seconds: float) -> dict[TopicPartition, list[ConsumerRecord]]:
    """When one broker had records at once, the others may have some too, and each may have more after the part that it
    sent. Collect these without delaying the first ones."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    fetched = await consumer.getmany(timeout_ms=round(seconds * 1000), max_records=limit)
    found = {partition: list(records) for partition, records in fetched.items()}
    left = limit - sum(map(len, found.values()))
    if loop.time() - began < _AT_ONCE_SECONDS:
        until = began + _ALL_SECONDS
        while 0 < left < limit and (wait := until - loop.time()) > 0:
            try:
                more = await consumer.getmany(timeout_ms=round(wait * 1000), max_records=left)
            except CLIENT_ERRORS:  # hand over what has been fetched first; the next call meets the error again
                break
            for partition, records in more.items():
                found.setdefault(partition, []).extend(records)
                left -= len(records)
    if 0 < left < limit:
        consumer.pause(*consumer.assignment())
    return found


class EndsBefore(JournalUnavailable):
    """The leader states an end before the place that was asked for, and it may be stale."""


async def reaches(topic: str, end: Callable[[], Awaitable[int]], offset: int) -> bool:
    """True if a partition of the topic has all records before ``offset``. ``end`` asks for its end, which may be stale:
    a client's token may name a record that the leader does not show yet.

    Raises EndsBefore if the leader does not show in time what it may have; JournalUnavailable.
    """
    until = asyncio.get_running_loop().time() + _STALE_SECONDS
    while (stated := await end()) < offset:
        if offset > stated + _STALE_RECORDS:
            return False
        if asyncio.get_running_loop().time() > until:
            raise EndsBefore(f"{topic} ends at offset {stated} for now, and {offset} is asked for")
        await asyncio.sleep(_STALE_PAUSE_SECONDS)
    return True


def judge_all(
    topic: str, partition: Partition, position: Position, records: Sequence[ConsumerRecord]
) -> tuple[list[Valid], Position]:
    """The valid events among records that begin at the position, and the position after all of them.

    Raises JournalUnavailable if offsets jump: the topic has been compacted, trimmed or written in transactions, and its
    epochs mean nothing any more.
    """
    events: list[Valid] = []
    for record in records:
        if record.offset != position.offset:
            raise JournalUnavailable(
                f"{topic}, partition {partition}: offset {position.offset} should follow, but {record.offset} does; "
                "the topic was compacted, trimmed, or written by a transactional producer, and cannot be trusted",
                partition,
            )
        at = position
        position, body = fence.judge(at, record.value or b"")
        if body is not None:
            events.append(Valid(at, record.key, body))
    return events, position


def _where(error: OffsetOutOfRangeError) -> str:
    return (
        ", ".join(f"offset {offset} of partition {p.partition}" for p, offset in _asked(error).items()) or "an offset"
    )


def _only(error: OffsetOutOfRangeError) -> Partition | None:
    """The partition of the records if there is only one."""
    partitions = [at.partition for at in _asked(error)]
    return partitions[0] if len(partitions) == 1 else None


def _asked(error: OffsetOutOfRangeError) -> dict[TopicPartition, int]:
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


async def read_compacted(
    reader: Reader, partition: Partition, stop: int, seconds: float = _PROGRESS_SECONDS
) -> AsyncIterator[list[ConsumerRecord]]:
    """Every record of a compacted topic's partition, from the first to the one at the offset ``stop``, included.

    Raises JournalUnavailable if no record comes for ``seconds``; the whole may take longer.
    """
    loop = asyncio.get_running_loop()
    offset, moved_at = 0, loop.time()
    while offset <= stop:
        records = (await reader.records({partition: offset}, _COMPACTED_RECORDS, 0.2)).get(partition, [])
        if records:
            offset, moved_at = records[-1].offset + 1, loop.time()
            yield [record for record in records if record.offset <= stop]
        elif loop.time() - moved_at > seconds:
            raise JournalUnavailable(
                f"{reader.topic}, partition {partition}: nothing came from offset {offset} on within {seconds:g} s",
                partition,
            )
