"""The process's one producer: batches in, offsets out. It is replaced once it is spent."""

import asyncio
import contextlib
import itertools
import logging
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster

log = logging.getLogger("falcon.kafka")

# The sequence numbers of an idempotent producer end at 2**31 records a partition, and the producer with them.
RECORDS_MAX: Final = 1 << 30
# Brokers refuse a batch of more than 1 MiB, unless its topic has a limit of its own.
_BATCH_BYTES: Final = 512 << 10
_STOP_SECONDS: Final = 2.0

Record: TypeAlias = tuple[bytes | None, bytes | None]  # key, value; no value deletes the key in a compacted topic


class NotWritten(Exception):
    """The outcome is unknown: the batch may have been written, or may yet be."""


class TooLarge(Exception):
    """The batch is larger than allowed, and was not sent."""


class _Generation:
    """One aiokafka producer, from its start to its end."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self.away = 0
        self.retired = False
        self.records: Counter[tuple[str, int]] = Counter()


class Producer:
    """Serves one event loop. A batch is written whole or not at all.

    Any error retires the aiokafka producer: it may be poisoned, and an idempotent one never gives up a batch. Batches
    of other partitions that are away with it are waited for. New ones go through a new producer.
    """

    def __init__(self, cluster: KafkaCluster, records_max: int = RECORDS_MAX) -> None:
        self._cluster = cluster
        self._records_max = records_max
        self._current: _Generation | None = None
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> RecordMetadata:
        """Write the records as one batch. Returns the offset of the first one. Raises NotWritten, TooLarge."""
        generation: _Generation | None = None
        try:
            async with asyncio.timeout(self._cluster.append_seconds):
                generation = await self._ready()
                generation.away += 1
                batch = generation.producer.create_batch()
                for key, value in records:
                    if batch.append(key=key, value=value, timestamp=None) is None:
                        raise TooLarge(f"{len(records)} records do not fit in one batch of {topic}")
                batch.close()
                sent = await generation.producer.send_batch(batch, topic, partition=partition)
                metadata: RecordMetadata = await sent
        except CLIENT_ERRORS as error:
            if generation is not None:
                self._retire(generation)
            raise NotWritten(f"{topic}, partition {partition}: {error!r}") from error
        finally:
            if generation is not None:
                self._back(generation)
        if metadata.offset < 0:  # the broker takes it for a repeat
            self._retire(generation)
            raise NotWritten(f"{topic}, partition {partition}: acknowledged without an offset")
        generation.records[topic, partition] += len(records)
        if generation.records[topic, partition] >= self._records_max:
            self._retire(generation)
        return metadata

    async def close(self) -> None:
        if self._current is not None:
            self._retire(self._current)
        await asyncio.gather(*self._ending)

    async def _ready(self) -> _Generation:
        async with self._starting:
            if self._current is None:
                producer = self._cluster.producer()
                try:
                    await producer.start()
                except BaseException:
                    await _end(producer)
                    raise
                self._current = _Generation(producer)
            return self._current

    def _back(self, generation: _Generation) -> None:
        generation.away -= 1
        if generation.retired and not generation.away:
            self._end_soon(generation)

    def _retire(self, generation: _Generation) -> None:
        if generation.retired:
            return
        generation.retired = True
        if self._current is generation:
            self._current = None
        if not generation.away:
            self._end_soon(generation)

    def _end_soon(self, generation: _Generation) -> None:
        task = asyncio.get_running_loop().create_task(_end(generation.producer))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def next_batch(waiting: deque[Record], most: int) -> list[Record]:
    """Take from ``waiting`` as many records as any topic takes in one batch, and no more than ``most``."""
    batch = [waiting.popleft()]
    size = _size(batch[0])
    while waiting and len(batch) < most and size + _size(waiting[0]) <= _BATCH_BYTES:
        size += _size(waiting[0])
        batch.append(waiting.popleft())
    return batch


def _size(record: Record) -> int:
    return sum(len(part or b"") for part in record)


async def _end(producer: AIOKafkaProducer) -> None:
    """End its task first, then what the task left open. ``stop`` waits for both, and the task would retry for ever."""
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()
    unsent = producer._message_accumulator
    for batch in (*itertools.chain.from_iterable(unsent._batches.values()), *unsent._pending_batches):
        batch.future.cancel()
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait([stopping], timeout=_STOP_SECONDS)
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # it has been replaced, so its errors do not matter
        await stopping
