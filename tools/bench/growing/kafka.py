"""A Kafka topic of one partition in memory, behind the calls that Falcon's readers and writers of snapshots make."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import Record

_FETCHED: Final = 500  # records that a call gets at most
_KEPT: Final = 100


class Written(NamedTuple):
    offset: int


class Topic:
    """The records of ``made``, which makes new ones for each reader as brokers do; behind them the newest of those that
    were ``written``, since nothing here reads the others again."""

    def __init__(self, count: int = 0, made: Callable[[int], Record] = lambda offset: (None, None)) -> None:
        self._count = count
        self._made = made
        self._end = count
        self.written: deque[Record] = deque(maxlen=_KEPT)
        self.read = 0

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> Written:
        """As Producer.write."""
        self._end += len(records)
        self.written += records
        return Written(self._end - len(records))

    def records(self, topic: str, start: int, most: int) -> Iterator[Any]:
        for offset in range(start, min(self._end, start + most)):
            self.read += 1
            key, value = self._made(offset) if offset < self._count else self.written[offset - self._end]
            yield ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, len(key or b""), len(value or b""), ())


class CountingCluster(KafkaCluster, frozen=True, kw_only=True):
    """KafkaCluster whose consumers read ``topic``."""

    topic: Any

    def consumer(self, **settings: Any) -> Any:
        return _Consumer(self.topic)


class _Consumer:
    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._assigned: list[TopicPartition] = []
        self._at = 0

    async def start(self) -> None:
        """There is no connection to make."""

    async def stop(self) -> None:
        """There is no connection to close."""

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._assigned = list(partitions)

    def assignment(self) -> list[TopicPartition]:
        return self._assigned

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._at = offset

    def resume(self, *partitions: TopicPartition) -> None:
        """It never pauses."""

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Those of the log: it holds all that snapshots show."""
        return dict.fromkeys(partitions, sys.maxsize)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        (partition,) = self._assigned
        records = list(self._topic.records(partition.topic, self._at, min(max_records, _FETCHED)))
        self._at += len(records)
        return {partition: records}
