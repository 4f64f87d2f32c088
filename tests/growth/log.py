"""A log in memory as streams read it. It counts the records that are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from falcon.domain.ids import Partition, RoomId, Seq, partition_of
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessagePosted
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position, aggregate_of
from falcon.journal.record import Record
from falcon.streams.tail import LocatedRecord
from tools.harness.memory.starts import MemoryStarts

EPOCH: Final = 1
NOW: Final = 1_795_000_000_000
_WAIT_SECONDS: Final = 0.2


class _CountedRaw:
    """As LocatedRecord. The log counts the record once a turn, when it is looked at."""

    __slots__ = ("_log", "_record", "_turn", "at", "partition", "segment")

    def __init__(self, log: CountedLog, partition: Partition, at: Position, record: Record) -> None:
        self.segment = self.partition = partition
        self.at = at
        self._record = record
        self._log = log
        self._turn = -1

    @property
    def record(self) -> Record:
        if self._turn != self._log.turn:
            self._turn = self._log.turn
            self._log.looked_at += 1
        return self._record


class CountedLog:
    """A Tail over events that :meth:`happen` appends. ``looked_at``: how many of them were looked at in this turn."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.turn = 0
        self.looked_at = 0
        self.last_seqs: dict[RoomId, Seq] = {}  # of rooms with messages
        self._records: list[list[LocatedRecord]] = [[] for _ in range(partitions)]
        self._more = asyncio.Event()
        self._all_read = asyncio.Event()

    def happen(self, event: Event) -> Envelope:
        """Append the event to its partition. Returns its envelope."""
        partition = partition_of(aggregate_of(event), self.partitions)
        envelope = Envelope(partition, EPOCH, self.length(partition), NOW, event)
        self.append(partition, codec.encode(envelope))
        if isinstance(event, MessagePosted):
            self.last_seqs[event.message.room_id] = event.message.seq
        return envelope

    def append(self, partition: Partition, record: Record) -> None:
        offset = self.length(partition)
        raw: Any = _CountedRaw(self, partition, Position(offset, EPOCH, offset), record)
        self._records[partition].append(raw)
        self._more.set()
        self._all_read.clear()

    def begin_turn(self) -> None:
        self.turn += 1
        self.looked_at = 0

    async def all_read(self) -> None:
        """Wait until the reader has come to the end."""
        await self._all_read.wait()

    def length(self, partition: Partition) -> int:
        return len(self._records[partition])

    def cursor(self) -> dict[Partition, Position]:
        """The end of each partition."""
        return {partition: self._position(partition, self.length(partition)) for partition in range(self.partitions)}

    # --- Tail ---------------------------------------------------------------------------------------------------------

    @property
    def starts(self) -> MemoryStarts:
        return MemoryStarts()

    def segment(self, partition: Partition) -> int:
        return partition

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        return {segment: self.length(segment) for segment in segments}

    async def position(self, segment: int, offset: int) -> Position:
        return self._position(segment, offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        found: list[LocatedRecord] = []
        after = dict(cursor)
        for segment, position in cursor.items():
            more, after[segment] = self._range(segment, position.offset, limit - len(found))
            found += more
        if not found:
            self._more.clear()
            self._all_read.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._more.wait()
        return found, after

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        return self._range(segment, start.offset, min(limit, stop - start.offset))

    def nudge(self) -> None:
        """Readers hear of each event."""

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""

    def _range(self, segment: int, start: int, most: int) -> tuple[list[LocatedRecord], Position]:
        located = self._records[segment]
        found = located[start : start + most]
        return found, self._position(segment, start + len(found))

    def _position(self, partition: Partition, offset: int) -> Position:
        return Position(offset, EPOCH, offset)
