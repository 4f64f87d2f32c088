"""Cuts (``falcon.streams.cuts``) in a topic with one partition: a cut's number is its offset there."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import IDLE_SECONDS, Reader, reaches
from falcon.base.shared import Shared
from falcon.journal.ports import JournalUnavailable, LogWentBack
from falcon.streams.cuts import KEPT_MAX, Record

log = logging.getLogger("falcon.kafka")

_RECORDS: Final = 1_000  # in a call, of at most a few KB
_RETRY_SECONDS: Final = 1.0  # meanwhile tokens are longer, or name an older cut
_READERS: Final = 4  # of older cuts, for resumes: each has a connection to the broker
_READ_SECONDS: Final = 5.0  # a resume waits for it; then the client tries again
_READ_RECORDS: Final = 100  # the next client's token may name one of the next
_CHECK_SECONDS: Final = 5.0  # a topic that was made again is noticed this soon
_CHECK_WAIT_SECONDS: Final = 2.0  # the record is there in milliseconds, or it is not there


class KafkaCuts:
    """Serves one event loop."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._producer = Producer(cluster)
        self._reader = Reader(cluster, cluster.cuts)
        self._end_reader = Reader(cluster, cluster.cuts)
        self._ends = Shared(lambda: self._end_reader.ends([0]))
        self._idle: list[Reader] = []
        self._readers = asyncio.Semaphore(_READERS)
        self._offset: int | None = None  # of the next cut
        self._last: Record | None = None  # that was taken
        self._known: Record | None = None  # the last one at the last check
        self._check_at = 0.0
        self._following: asyncio.Task[None] | None = None

    def follow(self, receive: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow(receive, lost))

    async def write(self, data: bytes) -> int:
        try:
            written = await self._producer.write(self._cluster.cuts, 0, [(None, data)])
        except NotWritten as error:
            raise JournalUnavailable(f"cannot write a cut: {error}") from error
        return int(written.offset)

    async def read(self, number: int) -> list[Record]:
        if not await reaches(self._cluster.cuts, self._end, number + 1):
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
                found = (await reader.records({0: number}, _READ_RECORDS, IDLE_SECONDS)).get(0, [])
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

    async def _follow(self, receive: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        while True:
            try:
                if self._offset is None:
                    end = (await self._reader.ends([0]))[0]
                    self._offset = max(await self._reader.beginning(0), end - KEPT_MAX)
                while True:
                    await self._receive(self._offset, receive)
                    await self._check()
            except LogWentBack as error:
                log.warning("resume tokens begin with other cuts: %s", error)
                lost()
                self._offset = self._last = self._known = None
            except JournalUnavailable as error:
                log.warning("resume tokens grow, since cuts cannot be read: %s", error)
            except Exception:  # if this task ended, tokens would grow for ever
                log.exception("reading cuts met a fault of ours; it continues after it")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _receive(self, offset: int, receive: Callable[[int, bytes], None]) -> None:
        for record in (await self._reader.records({0: offset}, _RECORDS, IDLE_SECONDS)).get(0, []):
            self._offset = record.offset + 1
            self._last = (record.offset, record.value or b"")
            self._known = self._known or self._last
            receive(*self._last)

    async def _check(self) -> None:
        """Look from time to time if a cut that was taken is still there. A topic that was made again may have as many
        cuts as the one before, and then the offset of the next one does not tell. Raises LogWentBack,
        JournalUnavailable."""
        now = asyncio.get_running_loop().time()
        if self._known is None or now < self._check_at:
            return
        self._check_at = now + _CHECK_SECONDS
        number, data = self._known
        # The last cut may already be one of another topic; this one was there at the last check.
        found = (await self._reader.records({0: number}, 1, _CHECK_WAIT_SECONDS)).get(0, [])
        if found and (found[0].offset, found[0].value or b"") != (number, data):
            raise LogWentBack(f"{self._cluster.cuts} has another cut {number} than before: the topic was made again")
        if found:
            self._known = self._last
