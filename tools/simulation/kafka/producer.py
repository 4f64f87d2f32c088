"""Stands in for AIOKafkaProducer, idempotent and with acks=all: batches in, and no giving up."""

import asyncio
import time
from collections import deque
from types import SimpleNamespace
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, ProducerClosed, UnknownTopicOrPartitionError
from aiokafka.structs import RecordMetadata

from falcon.adapters.kafka.cluster import MESSAGE_BYTES_MAX
from tools.simulation.kafka.client import BACKOFF_SECONDS, Client
from tools.simulation.kafka.partitions import Appended, Entry, Numbered, size_of

_EXPIRED_SECONDS: Final = 5.0


class Batch:
    """The result of ``create_batch``."""

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.entries: list[Entry] = []
        self._bytes_max = bytes_max
        self._closed = False

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int | None) -> Entry | None:
        """None where it does not fit in; the first one always does."""
        entry = Entry(key, value, round(time.time() * 1000) if timestamp is None else timestamp)
        if self._closed or (self.entries and size_of([*self.entries, entry]) > self._bytes_max):
            self._closed = True
            return None
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        self._closed = True


class _Pending:
    def __init__(self, entries: list[Entry]) -> None:
        loop = asyncio.get_running_loop()
        self.entries = entries
        self.future: asyncio.Future[RecordMetadata] = loop.create_future()
        self.expires = loop.time() + _EXPIRED_SECONDS


class SimulatedProducer:
    """``_sender`` and ``_message_accumulator`` are there for who ends a producer that would never end by itself."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._id = 0
        self._sequences: dict[TopicPartition, int] = {}
        self._some = asyncio.Event()
        self._away: dict[TopicPartition, asyncio.Task[None]] = {}
        self._closed = False
        self._batches: dict[TopicPartition, deque[_Pending]] = {}
        self._message_accumulator = SimpleNamespace(_batches=self._batches, _pending_batches=set[_Pending]())
        self._sender = SimpleNamespace(sender_task=None)

    async def start(self) -> None:
        """Raises KafkaConnectionError."""
        self._id = await self._client.ask_any(self._client.brokers.producer_id)
        self._sender.sender_task = asyncio.get_running_loop().create_task(self._send())

    async def stop(self) -> None:
        """Writes what it was given first, however long that takes."""
        if self._closed:
            return
        self._closed = True
        sender = self._sender.sender_task
        if sender is None:
            return
        while self._pending() and not sender.done():
            await asyncio.wait([sender, *(each.future for each in self._pending())], return_when="FIRST_COMPLETED")
        sender.cancel()
        await asyncio.wait([sender])

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[RecordMetadata]":
        """Raises ProducerClosed, UnknownTopicOrPartitionError, KafkaConnectionError."""
        if self._closed:
            raise ProducerClosed
        if not 0 <= partition < await self._client.partitions(topic):
            raise UnknownTopicOrPartitionError(f"{topic}, partition {partition}")
        pending = _Pending(batch.entries)
        self._batches.setdefault(TopicPartition(topic, partition), deque()).append(pending)
        self._some.set()
        return pending.future

    def _pending(self) -> list[_Pending]:
        queued = [each for queue in self._batches.values() for each in queue]
        return [each for each in (*queued, *self._message_accumulator._pending_batches) if not each.future.done()]

    async def _send(self) -> None:
        """One batch a partition at a time."""
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                for at, queue in self._batches.items():
                    if queue and at not in self._away:
                        self._start(at, queue.popleft())
        finally:
            for task in self._away.values():
                task.cancel()

    def _start(self, at: TopicPartition, pending: _Pending) -> None:
        self._message_accumulator._pending_batches.add(pending)
        self._away[at] = task = asyncio.get_running_loop().create_task(self._deliver(at, pending))

        def back(_: object) -> None:
            del self._away[at]
            self._message_accumulator._pending_batches.discard(pending)
            self._some.set()

        task.add_done_callback(back)

    async def _deliver(self, at: TopicPartition, pending: _Pending) -> None:
        """Its number is taken even if the batch will not be written: after a refused batch no other one follows."""
        numbered = Numbered(self._id, self._sequences.get(at, 0))
        self._sequences[at] = numbered.sequence + len(pending.entries)
        try:
            metadata = await self._written(at, pending, numbered)
        except KafkaError as error:
            if not pending.future.done():
                pending.future.set_exception(error)
                pending.future.exception()  # retrieve it: the caller may have gone
        else:
            if not pending.future.done():
                pending.future.set_result(metadata)

    async def _written(self, at: TopicPartition, pending: _Pending, numbered: Numbered) -> RecordMetadata:
        """Retries for ever, except without a leader. Raises errors that a repetition does not help against."""
        while True:
            try:
                appended = await self._attempt(at, pending, numbered)
            except LeaderNotAvailableError:
                if asyncio.get_running_loop().time() > pending.expires:
                    raise
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                kind = 0 if appended.timestamp == -1 else 1
                return RecordMetadata(at.topic, at.partition, at, appended.offset, appended.timestamp, kind, 0)
            self._client.doubt(at.topic)
            await asyncio.sleep(BACKOFF_SECONDS)

    async def _attempt(self, at: TopicPartition, pending: _Pending, numbered: Numbered) -> Appended:
        client, brokers = self._client, self._client.brokers
        node = await client.leader(at)
        if node < 0:
            raise LeaderNotAvailableError(str(at))
        return await client.ask(
            node, lambda: brokers.produce(node, at, pending.entries, numbered, client.request_seconds)
        )
