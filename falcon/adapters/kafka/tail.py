"""The log as streams read it on a cluster: a segment is a partition."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka import fence, records
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.reader import Reader, judge_all, reaches
from falcon.adapters.kafka.starts import KafkaStarts
from falcon.base.shared import Shared
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams.tail import LocatedRecord, WrongPlace

# A broker answers at once if there is something; else a stream notices a nudge or its end this soon.
_WAIT_SECONDS: Final = 0.2
_READ_SECONDS: Final = 5.0  # a resume waits for it; then the client tries again
# Clients that were away for long get consumers of their own, so many at a time.
_READERS: Final = 4
_LOOKED_BACK_AT: Final = 200


class KafkaTail:
    """One consumer for new records, on the event loop that uses it, and some for clients that were away."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._reader = Reader(cluster, cluster.journal)
        self._end_reader = Reader(cluster, cluster.journal)
        # By segment. After a change of leader a thousand clients ask for the same ones.
        self._ends = [Shared(partial(self._end, segment)) for segment in range(cluster.partitions)]
        self._idle: list[Reader] = []
        self._readers = asyncio.Semaphore(_READERS)
        self.starts = KafkaStarts(cluster.partitions, self.position, self._marker)
        self._examined: dict[int, Position] = {}  # by segment: how far the beginning of its epoch has been examined

    def segment(self, partition: Partition) -> int:
        return partition

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        return await self._end_reader.ends(list(segments))

    async def _end(self, segment: int) -> int:
        return (await self.ends({segment: None}))[segment]

    async def position(self, segment: int, offset: int) -> Position:
        """Searches backwards for a proof (``fence``): a marker, the partition's start, or an event that is certainly
        valid."""
        if not 0 <= segment < self._cluster.partitions:
            raise WrongPlace(f"there is no partition {segment}")
        if offset == 0:
            return Position()
        if not await reaches(self._cluster.journal, self._ends[segment].get, offset):
            raise WrongPlace(f"there is no offset {offset} in partition {segment}")
        before: list[tuple[int, bytes]] = []
        start, back = offset, _LOOKED_BACK_AT
        while True:
            stop, start = start, max(0, start - back)
            before = await self._values(segment, start, stop) + before
            position = fence.position_after(before)
            if position is not None:
                return position
            witness = fence.witness_among(before)
            if witness is not None and await self._is_valid(segment, witness, back):
                return fence.position_from(witness, before)
            back *= 2  # all of these may be void: a deposed owner still wrote them, which ends some time

    async def _is_valid(self, segment: int, witness: fence.Witness, most: int) -> bool:
        """True if that many records of the epoch's beginning prove it."""
        examination = fence.Examination(witness, self._examined.get(segment))
        first = examination.next
        for offset, value in await self._values(segment, first, min(first + most, witness.offset + 1)):
            if examination.verdict is not None:
                break
            assert offset == examination.next
            examination.look_at(value)
        if not examination.verdict:
            return False
        self._examined[segment] = examination.reached
        return True

    async def _values(self, segment: int, start: int, stop: int) -> list[tuple[int, bytes]]:
        """The records from ``start`` to ``stop`` (excluded), with their offsets. Raises JournalUnavailable."""
        found: list[tuple[int, bytes]] = []
        while start < stop:
            more = await self._read_at(segment, start, stop - start)
            found += [(record.offset, record.value or b"") for record in more]
            start = more[-1].offset + 1
        return found

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        await self.starts.begin(cursor)
        offsets = {segment: position.offset for segment, position in cursor.items()}
        fetched = await self._reader.records(offsets, limit, _WAIT_SECONDS)
        located: list[LocatedRecord] = []
        after = dict(cursor)
        for segment, more in fetched.items():
            found, after[segment] = self._judged(segment, cursor[segment], more)
            located += found
        self.starts.read_up_to(after)
        return located, after

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        found = await self._read_at(segment, start.offset, min(limit, stop - start.offset))
        return self._judged(segment, start, found)

    async def _marker(self, segment: int, offset: int) -> bytes:
        return (await self._read_at(segment, offset, 1))[0].value or b""

    def nudge(self) -> None:
        """Does nothing: the brokers answer a fetch as soon as there is a record."""

    async def close(self) -> None:
        for reader in (self._reader, self._end_reader, *self._idle):
            await reader.close()

    def _judged(self, segment: int, at: Position, found: list[ConsumerRecord]) -> tuple[list[LocatedRecord], Position]:
        valid, after = judge_all(self._cluster.journal, segment, at, found)
        if after.epoch != at.epoch:
            for record in found:
                if fence.is_marker(record.value or b""):
                    self.starts.add(segment, record.offset, record.value)
        return [
            LocatedRecord(segment, segment, position, records.record(key, body)) for position, key, body in valid
        ], after

    async def _read_at(self, segment: int, offset: int, count: int) -> list[ConsumerRecord]:
        """The next records there, at least one. Raises JournalUnavailable."""
        async with self._readers:
            reader = self._idle.pop() if self._idle else Reader(self._cluster, self._cluster.journal)
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    while True:
                        found = (await reader.records({segment: offset}, count, _WAIT_SECONDS)).get(segment, [])
                        if found:
                            return found
            except TimeoutError as error:
                raise JournalUnavailable(f"offset {offset} of partition {segment} could not be read in time") from error
            finally:
                self._idle.append(reader)
