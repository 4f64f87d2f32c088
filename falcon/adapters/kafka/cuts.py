"""Cuts (``falcon.streams.cuts``) in a topic with one partition: a cut's number is its offset there."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import Reader, reaches
from falcon.journal.ports import JournalUnavailable, LogWentBack
from falcon.shared import Shared
from falcon.streams.cuts import KEPT_MAX, Record

log = logging.getLogger("falcon.kafka")

_RECORDS: Final = 1_000
_WAIT_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_READERS: Final = 4
_READ_SECONDS: Final = 5.0
_READ_RECORDS: Final = 100  # the next client's token may name one of those behind


class KafkaCuts:
    """For one event loop."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._producer = Producer(cluster)
        self._reader = Reader(cluster, cluster.cuts)
        self._end_reader = Reader(cluster, cluster.cuts)
        self._ends = Shared(lambda: self._end_reader.ends([0]))
        self._idle: list[Reader] = []
        self._readers = asyncio.Semaphore(_READERS)
        self._offset: int | None = None  # of the next cut
        self._following: asyncio.Task[None] | None = None

    def follow(self, take: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow(take, lost))

    async def write(self, data: bytes) -> int:
        try:
            written = await self._producer.write(self._cluster.cuts, 0, [(None, data)])
        except NotWritten as error:
            raise JournalUnavailable(f"cannot write a cut: {error}") from error
        return int(written.offset)

    async def read(self, number: int) -> list[Record]:
        if not await reaches(self._end, number + 1):
            return []
        try:
            async with asyncio.timeout(_READ_SECONDS), self._readers:
                return await self._records(number)
        except LogWentBack:
            return []
        except TimeoutError as error:
            raise JournalUnavailable(f"cut {number} could not be read in time") from error

    async def _records(self, number: int) -> list[Record]:
        reader = self._idle.pop() if self._idle else Reader(self._cluster, self._cluster.cuts)
        try:
            while True:
                found = (await reader.records({0: number}, _READ_RECORDS, _WAIT_SECONDS)).get(0, [])
                if found:
                    return [(record.offset, record.value or b"") for record in found]
        finally:
            self._idle.append(reader)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        readers = (self._reader, self._end_reader, *self._idle)
        await asyncio.gather(*(reader.close() for reader in readers), self._producer.close())

    async def _end(self) -> int:
        return (await self._ends.get())[0]

    async def _follow(self, take: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        while True:
            try:
                if self._offset is None:
                    self._offset = max(0, (await self._reader.ends([0]))[0] - KEPT_MAX)
                while True:
                    await self._take(self._offset, take)
            except LogWentBack as error:
                log.warning("resume tokens begin with other cuts: %s", error)
                lost()
                self._offset = None
            except JournalUnavailable as error:
                log.warning("resume tokens grow, since cuts cannot be read: %s", error)
            except Exception:  # if this task ended, tokens would grow for ever
                log.exception("reading cuts met a fault of ours; it goes on behind it")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _take(self, offset: int, take: Callable[[int, bytes], None]) -> None:
        for record in (await self._reader.records({0: offset}, _RECORDS, _WAIT_SECONDS)).get(0, []):
            self._offset = record.offset + 1
            take(record.offset, record.value or b"")
