"""Projectors tell every edge by a topic where the read tables stand, so that edges need not ask the tables.

What was published stays true, since positions only rise. It may be late or lost without harm: edges then ask the
tables.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import NotWritten, Producer, Record, next_batch
from falcon.adapters.kafka.reader import IDLE_SECONDS, Reader
from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable
from falcon.read.store import Moves, Reached

log = logging.getLogger("falcon.kafka")

_RETRY_SECONDS: Final = 1.0  # meanwhile reads ask the tables, so only they are a little slower
_CLOSE_SECONDS: Final = 1.0  # what is not told by then costs a read one look at the tables
_END_SECONDS: Final = 1.0  # between two looks for the topic's end
_HEARD_SECONDS: Final = 3.0  # a topic that was read to its end so long ago may hide moves
_RECORDS: Final = 1_000  # in a call
_PARTITIONS: Final = 1_000  # in a record, each of some 270 bytes: brokers refuse records of more than 1 MB

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Moves).decode


class AppliedPublisher:
    """Tells where the tables of a process's projections stand. Positions that wait while others are on their way go out
    together, the newest of each partition."""

    def __init__(self, cluster: KafkaCluster, loop: LoopThread) -> None:
        self._cluster = cluster
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], dict[Partition, Reached]] = {}
        self._some = asyncio.Event()
        self._ending = False
        self._producer = Producer(cluster)
        self._publishing = loop.start(self._publish())

    def publish(self, moves: Moves) -> None:
        """Returns at once. For any thread."""
        with self._lock:
            self._waiting.setdefault((moves.projection, moves.generation), {}).update(moves.reached)
        self._loop.soon(self._some.set)

    def close(self) -> None:
        """Tell what waits, if that takes no longer than a moment: without it reads wait for a second."""
        self._ending = True
        self._loop.soon(self._some.set)
        with suppress(TimeoutError):
            self._publishing.result(_CLOSE_SECONDS)
        self._publishing.cancel()
        self._loop.call(self._producer.close())

    async def _publish(self) -> None:
        while self._waiting or not self._ending:
            await self._some.wait()
            self._some.clear()
            try:
                await self._write()
            except Exception:  # if this task ended, edges would wait a second for each read, unnoticed
                log.exception("telling edges where the tables stand met a fault of ours; it continues")

    async def _write(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, {}
        records = deque[Record](
            (None, _encode(Moves(*tables, dict(part))))
            for tables, reached in taken.items()
            for part in _parts([*reached.items()])
        )
        try:
            while records:
                await self._producer.write(self._cluster.applied, 0, next_batch(records, _RECORDS))
        except NotWritten as error:
            log.warning("edges ask the tables where they stand, since they cannot be told: %s", error)
            with self._lock:
                for tables, reached in taken.items():
                    self._waiting[tables] = reached | self._waiting.get(tables, {})
            await asyncio.sleep(_RETRY_SECONDS)
            self._some.set()


class AppliedFollower:
    """Hears where the tables stand. For one event loop.

    ``receive`` is called with what is heard. ``began`` is called when it begins to hear, also after an interruption: it
    has missed what was told before.
    """

    def __init__(self, cluster: KafkaCluster, receive: Callable[[Moves], None], began: Callable[[], None]) -> None:
        self._cluster = cluster
        self._receive = receive
        self._began = began
        self._reader = Reader(cluster, cluster.applied)
        self._offset = 0
        self._end: tuple[int, float] | None = None  # and when it was asked for
        self._heard_at = -_HEARD_SECONDS  # all that was written by then has been heard
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow()), loop.create_task(self._look_for_the_end())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._reader.close()

    def hears(self) -> bool:
        """True if everything has been heard that was written until a moment ago."""
        return time.monotonic() - self._heard_at < _HEARD_SECONDS

    async def _follow(self) -> None:
        while True:
            try:
                self._end = None
                self._offset = (await self._reader.ends([0]))[0]
                self._began()
                while True:
                    await self._read()
            except JournalUnavailable as error:
                log.warning("the tables are asked where they stand, since projectors cannot be heard: %s", error)
            except Exception:  # if this task ended, the tables would be asked for ever
                log.exception("hearing projectors met a fault of ours; it begins again")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self) -> None:
        for record in (await self._reader.records({0: self._offset}, _RECORDS, IDLE_SECONDS)).get(0, []):
            self._offset = record.offset + 1
            try:
                self._receive(_decode(record.value or b""))
            except msgspec.DecodeError as error:
                log.warning("a record about the tables is not one that Falcon writes: %s", error)
        if self._end is not None and self._offset >= self._end[0]:
            self._heard_at = self._end[1]

    async def _look_for_the_end(self) -> None:
        while True:
            asked_at = time.monotonic()
            try:
                self._end = (await self._reader.ends([0]))[0], asked_at
            except JournalUnavailable as error:
                log.debug("the end of %s is not known: %s", self._cluster.applied, error)
            await asyncio.sleep(_END_SECONDS)


def _parts(reached: Sequence[tuple[Partition, Reached]]) -> Iterator[Sequence[tuple[Partition, Reached]]]:
    """Each fits into one record."""
    return (reached[first : first + _PARTITIONS] for first in range(0, len(reached), _PARTITIONS))
