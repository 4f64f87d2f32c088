"""The log as streams read it on one machine: it has one order, so it is one segment."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.database import RECORD_COLUMNS
from falcon.adapters.sqlite.source import record_of
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams.tail import Raw, WrongPlace

_SEGMENT: Final = 0


class SqliteTail:
    """Over one connection, for one event loop: a few rows are read quickly. ``poll_seconds``: how often it looks for
    rows from other processes."""

    def __init__(self, connection: apsw.Connection, poll_seconds: float) -> None:
        self._connection = connection
        self._poll_seconds = poll_seconds
        self._news = asyncio.Event()
        self._end = -1

    def segment(self, partition: Partition) -> int:
        return _SEGMENT

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        ((end,),) = self._rows("SELECT next FROM log", ())
        return dict.fromkeys(segments, end)

    async def position(self, segment: int, offset: int) -> Position:
        if segment != _SEGMENT or offset > (await self.ends({_SEGMENT: None}))[_SEGMENT]:
            raise WrongPlace(f"there is no offset {offset} in segment {segment}")
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[Raw], dict[int, Position]]:
        start = cursor[_SEGMENT].offset
        # The last read found nothing further: do not look again before a nudge.
        raws = self._look(start, limit) if start != self._end else []
        if not raws:
            await self._wait()
            raws = self._look(start, limit)
        return raws, {_SEGMENT: Position(raws[-1].at.offset + 1 if raws else start)}

    def _look(self, start: int, limit: int) -> list[Raw]:
        raws = self._raws("offset >= ?", (start, limit))
        if len(raws) < limit:
            self._end = raws[-1].at.offset + 1 if raws else start
        return raws

    async def read_range(self, segment: int, start: Position, stop: int, limit: int) -> tuple[list[Raw], Position]:
        raws = self._raws("offset >= ? AND offset < ?", (start.offset, stop, limit))
        return raws, Position(raws[-1].at.offset + 1 if len(raws) == limit else stop)

    def nudge(self) -> None:
        self._news.set()

    async def close(self) -> None:
        self._connection.close()

    async def _wait(self) -> None:
        timer = asyncio.get_running_loop().call_later(self._poll_seconds, self._news.set)
        await self._news.wait()
        timer.cancel()
        self._news.clear()

    def _raws(self, where: str, bindings: tuple[int, ...]) -> list[Raw]:
        rows = self._rows(f"SELECT {RECORD_COLUMNS} FROM journal WHERE {where} ORDER BY offset LIMIT ?", bindings)
        new = tuple.__new__  # every record comes by here, and this takes half as long as a call of Position
        return [
            Raw(_SEGMENT, partition, new(Position, (offset, epoch, n)), record_of(key, type, version, critical, data))
            for offset, partition, epoch, n, key, type, version, critical, data in rows
        ]

    def _rows(self, sql: str, bindings: tuple[int, ...]) -> list[Any]:
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read the journal: {error}") from error
