"""Signals (``falcon.streams.signals``) between the processes of a cluster: two topics with a short retention.

All processes read ``signals``, which has one partition. Each reads a partition of ``inboxes`` that its name selects.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias
from zlib import crc32

from aiokafka import AIOKafkaConsumer, TopicPartition

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer, Record, next_batch
from falcon.adapters.kafka.reader import IDLE_SECONDS, Reader
from falcon.telemetry import metrics

log = logging.getLogger("falcon.kafka")

_WAITING_MAX: Final = 1_000  # for each partition
_BATCH: Final = 100  # records in a call, of at most 64 KB each
_RETRY_SECONDS: Final = 1.0  # signals are lost meanwhile; presence is compared later anyway
_CLOSE_SECONDS: Final = 1.0  # others take a process whose last message is lost for dead a little later
# A process that could not read for a while drops older signals. The clocks of two machines may differ by 20 s: signals
# that were dropped for that would make their receiver take all other processes for dead.
_STALE_SECONDS: Final = 25.0

_Place: TypeAlias = tuple[str, int]  # topic, partition


class KafkaSignalTransport:
    """Serves one event loop. Signals that wait while a batch to their partition is on its way go out as its next
    batch."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self.name = secrets.token_hex(8)
        self._cluster = cluster
        self._producer = Producer(cluster)
        self._waiting: dict[_Place, deque[Record]] = {}
        self._writing: dict[_Place, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None

    def open(self, receive: Callable[[bytes], None]) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow(receive))

    def send(self, data: bytes) -> None:
        self._add((self._cluster.signals, 0), (None, data))

    def send_to(self, process: str, data: bytes) -> None:
        self._add(self._inbox(process), (process.encode(), data))

    async def close(self) -> None:
        """Send what waits, if that takes no longer than a moment."""
        if self._writing:
            await asyncio.wait(self._writing.values(), timeout=_CLOSE_SECONDS)
        tasks = [*self._writing.values(), *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._producer.close()

    def _inbox(self, process: str) -> _Place:
        return self._cluster.inboxes, crc32(process.encode()) % self._cluster.partitions

    def _add(self, place: _Place, record: Record) -> None:
        waiting = self._waiting.setdefault(place, deque())
        if len(waiting) >= _WAITING_MAX:
            metrics.signals_lost.inc()
            return
        waiting.append(record)
        if place not in self._writing:
            self._writing[place] = asyncio.get_running_loop().create_task(self._write(place))

    async def _write(self, place: _Place) -> None:
        try:
            waiting = self._waiting[place]
            while waiting:
                batch = next_batch(waiting, _BATCH)
                try:
                    await self._producer.write(*place, batch)
                except NotWritten as error:
                    metrics.signals_lost.inc(len(batch))
                    log.debug("signals are lost: %s", error)
        finally:
            del self._writing[place], self._waiting[place]

    async def _follow(self, receive: Callable[[bytes], None]) -> None:
        while True:
            consumer = self._cluster.consumer(auto_offset_reset="latest")
            try:
                await consumer.start()
                await self._read(consumer, receive)
            except CLIENT_ERRORS as error:
                log.warning("signals cannot be read: %r", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, receive: Callable[[bytes], None]) -> None:
        places = [TopicPartition(self._cluster.signals, 0), TopicPartition(*self._inbox(self.name))]
        mine = (None, self.name.encode())  # other processes may share the inbox
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        while True:
            for records in (await consumer.getmany(*places, timeout_ms=round(IDLE_SECONDS * 1_000))).values():
                fresh = (time.time() - _STALE_SECONDS) * 1000
                for record in records:
                    if record.key in mine and record.value is not None and record.timestamp >= fresh:
                        receive(record.value)


async def has_senders(cluster: KafkaCluster, seconds: float) -> bool:
    """True if a process sends a signal to all others within so many seconds. Raises JournalUnavailable."""
    reader = Reader(cluster, cluster.signals)
    try:
        end = (await reader.ends([0]))[0]
        return bool(await reader.records({0: end}, 1, seconds))
    finally:
        await reader.close()
