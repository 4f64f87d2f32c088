"""Signals (``falcon.streams.signals``) between the processes of a cluster: a topic of one partition with a short
retention."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.telemetry import metrics

log = logging.getLogger("falcon.kafka")

_WAITING_MAX: Final = 1_000
_BATCH: Final = 100
_RETRY_SECONDS: Final = 1.0
_WAIT_MILLIS: Final = 500
_STALE_SECONDS: Final = 5.0  # after an outage of the brokers, older signals are dropped


class KafkaSignalTransport:
    """For one event loop. Signals that wait while a batch is on its way go out as the next batch."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._producer = Producer(cluster)
        self._waiting: deque[bytes] = deque()
        self._some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, take: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write()), loop.create_task(self._follow(take))]

    def send(self, data: bytes) -> None:
        if len(self._waiting) >= _WAITING_MAX:
            metrics.signals_lost.inc()
            return
        self._waiting.append(data)
        self._some.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._producer.close()

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    await self._producer.write(self._cluster.signals, 0, [(None, data) for data in batch])
                except NotWritten as error:
                    metrics.signals_lost.inc(len(batch))
                    log.debug("signals are lost: %s", error)

    async def _follow(self, take: Callable[[bytes], None]) -> None:
        while True:
            consumer = self._cluster.consumer(auto_offset_reset="latest")
            try:
                await consumer.start()
                await self._read(consumer, take)
            except CLIENT_ERRORS as error:
                log.warning("signals cannot be read: %r", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, take: Callable[[bytes], None]) -> None:
        at = TopicPartition(self._cluster.signals, 0)
        consumer.assign([at])
        await consumer.seek_to_end(at)
        while True:
            for records in (await consumer.getmany(at, timeout_ms=_WAIT_MILLIS)).values():
                fresh = (time.time() - _STALE_SECONDS) * 1000
                for record in records:
                    if record.value is not None and record.timestamp >= fresh:
                        take(record.value)
