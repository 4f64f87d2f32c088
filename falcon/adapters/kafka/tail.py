"""The log as streams follow it, on a cluster: a lane is a partition."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka.structs import ConsumerRecord

from falcon.adapters.kafka import fence
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.reader import Reader, judge_all
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams.tail import Raw, WrongPlace

_WAIT_SECONDS: Final = 0.2
_AGAIN_SECONDS: Final = 5.0
# Those who were away for long, and so many of them at a time, have the log read for them alone.
_READERS: Final = 4
_LOOKED_BACK_AT: Final = 200


class KafkaTail:
    """One consumer for what is new, on the event loop that it is used on; and some for those who were away."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._reader = Reader(cluster, cluster.journal)
        self._ends = Reader(cluster, cluster.journal)
        self._idle: list[Reader] = []
        self._readers = asyncio.Semaphore(_READERS)

    def lane(self, partition: Partition) -> int:
        return partition

    async def ends(self, lanes: Mapping[int, object]) -> dict[int, int]:
        return await self._ends.ends(list(lanes))

    async def position(self, lane: int, offset: int) -> Position:
        """The records before it say which epoch is open there, and how many events of it came before."""
        if not 0 <= lane < self._cluster.partitions:
            raise WrongPlace(f"there is no partition {lane}")
        if offset == 0:
            return Position()
        end = (await self.ends({lane: None}))[lane]
        if offset > end:
            raise WrongPlace(f"there is no offset {offset} in partition {lane}")
        start = max(0, offset - _LOOKED_BACK_AT)
        before: list[tuple[int, bytes]] = []
        while start < offset:
            records = await self._again(lane, start, offset - start)
            before += [(record.offset, record.value or b"") for record in records]
            start = records[-1].offset + 1
        position = fence.standing_behind(before)
        if position is None:
            raise WrongPlace(f"nothing can be read from offset {offset} of partition {lane} on")
        return position

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[Raw], dict[int, Position]]:
        offsets = {lane: position.offset for lane, position in cursor.items()}
        fetched = await self._reader.records(offsets, limit, _WAIT_SECONDS)
        raws: list[Raw] = []
        after = dict(cursor)
        for lane, records in fetched.items():
            found, after[lane] = self._judged(lane, cursor[lane], records)
            raws += found
        return raws, after

    async def read_again(self, lane: int, start: Position, stop: int, limit: int) -> tuple[list[Raw], Position]:
        records = await self._again(lane, start.offset, min(limit, stop - start.offset))
        return self._judged(lane, start, records)

    def nudge(self) -> None:
        """The brokers answer a fetch as soon as there is something."""

    async def close(self) -> None:
        for reader in (self._reader, self._ends, *self._idle):
            await reader.close()

    def _judged(self, lane: int, at: Position, records: list[ConsumerRecord]) -> tuple[list[Raw], Position]:
        valid, after = judge_all(self._cluster.journal, lane, at, records)
        keys = {record.offset: record.key for record in records}
        return [
            Raw(lane, lane, each.position, fence.aggregate_of_key(keys[each.position.offset]), each.body)
            for each in valid
        ], after

    async def _again(self, lane: int, offset: int, count: int) -> list[ConsumerRecord]:
        """The next records there, some at least. Raises JournalUnavailable."""
        async with self._readers:
            reader = self._idle.pop() if self._idle else Reader(self._cluster, self._cluster.journal)
            try:
                async with asyncio.timeout(_AGAIN_SECONDS):
                    while True:
                        found = (await reader.records({lane: offset}, count, _WAIT_SECONDS)).get(lane, [])
                        if found:
                            return found
            except TimeoutError as error:
                raise JournalUnavailable(f"offset {offset} of partition {lane} could not be read in time") from error
            finally:
                self._idle.append(reader)
