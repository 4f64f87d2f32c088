"""The log as streams read it on one machine: each database file has one order, so it writes one segment."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.database import RECORD_COLUMNS, cause
from falcon.adapters.sqlite.layout import Layout, begin_of, layout_of, segment_of, starts_of
from falcon.adapters.sqlite.source import record_of
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, JournalUnavailable
from falcon.streams.starts import NO_START, KnownStarts
from falcon.streams.tail import LocatedRecord, WrongPlace

_COMMITTED_BYTES_MAX: Final = 1 << 20  # of a reader that falls behind; reading so much takes it some milliseconds


class SqliteTail:
    """Streams see the segment that a file writes under the number of the file.

    Over a connection to each file of the data folder, in order, for one event loop: a few rows are read quickly.
    ``poll_seconds``: how often it looks for rows from other processes. ``own``: the segment that this process writes.
    What is committed there it ``take``s, so that the reader need not look for that in the file."""

    def __init__(self, connections: Sequence[apsw.Connection], poll_seconds: float, own: int = 0) -> None:
        self._layout = layout_of(connections[0])
        self.starts = SqliteStarts(self._layout, starts_of(connections[0]))
        self._files = dict(enumerate(connections))
        self._begins = [begin_of(self._layout.segment(place)) for place in self._files]
        self._poll_seconds = poll_seconds
        self._news = asyncio.Event()
        self._ends: dict[int, int] = {}  # by segment: the last read found nothing further
        self._own = own
        self._committed = Committed()
        # Call it on the event loop with what this process has committed, durably; and ``nudge`` when the reader may
        # have it.
        self.take = self._committed.add

    def segment(self, partition: Partition) -> int:
        return self._layout.place(partition)

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        return {segment: self._end(segment) for segment in segments}

    def _end(self, segment: int) -> int:
        ((end,),) = self._rows(self._files[segment], "SELECT next FROM log", ())
        return int(end)

    async def position(self, segment: int, offset: int) -> Position:
        """A file may have events of earlier segments too, so its reader may stand at an offset of one."""
        if segment not in self._files or offset > self._end(segment):
            raise WrongPlace(f"there is no offset {offset} in segment {segment}")
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        # Where the last read found nothing further, do not look again before a nudge.
        ends = self._ends
        news = {s: at for s, at in cursor.items() if at.offset != ends.get(s) or (s == self._own and self._committed)}
        located, after = self._look(news, limit) if news else ([], {})
        if not located:
            await self._wait()
            located, after = self._look(cursor, limit)
        return located, {**cursor, **after}

    def _look(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        found, after = list[LocatedRecord](), dict[int, Position]()
        for segment, at in cursor.items():
            located = self._committed.since(segment, at.offset) if segment == self._own else []
            if located:
                after_last = self._ends[segment] = located[-1].at.offset + 1
            else:
                share = max(1, limit // len(cursor))  # so that no file holds up the others
                located = self._records(self._files[segment], segment, "offset >= ?", (at.offset, share))
                after_last = located[-1].at.offset + 1 if located else at.offset
                if len(located) < share:
                    after_last = self._ends[segment] = max(after_last, self._begins[segment])
                    if segment == self._own:
                        self._committed.follow(after_last)
            found += located
            after[segment] = Position(after_last)
        return found, after

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        bindings = (start.offset, stop, limit)
        located = self._records(self._files[segment], segment, "offset >= ? AND offset < ?", bindings)
        return located, Position(located[-1].at.offset + 1 if len(located) == limit else stop)

    def nudge(self) -> None:
        self._news.set()

    async def close(self) -> None:
        for connection in self._files.values():
            connection.close()

    async def _wait(self) -> None:
        timer = asyncio.get_running_loop().call_later(self._poll_seconds, self._news.set)
        await self._news.wait()
        timer.cancel()
        self._news.clear()

    def _records(
        self, file: apsw.Connection, segment: int, where: str, bindings: tuple[int, ...]
    ) -> list[LocatedRecord]:
        rows = self._rows(file, f"SELECT {RECORD_COLUMNS} FROM journal WHERE {where} ORDER BY offset LIMIT ?", bindings)
        new = tuple.__new__  # every record comes by here, and this takes half as long as a call of Position
        return [
            LocatedRecord(
                segment, partition, new(Position, (offset, epoch, n)), record_of(key, type, version, critical, data)
            )
            for offset, partition, epoch, n, key, type, version, critical, data in rows
        ]

    def _rows(self, file: apsw.Connection, sql: str, bindings: tuple[int, ...]) -> list[Any]:
        try:
            return file.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read the journal: {cause(error)}") from error


class Committed:
    """Keeps what this process has committed to its file since the reader found nothing further there.

    It has all from that place on, without a gap, or nothing: then the reader looks in the file. So it does at a
    start, after another process's commit to the same file, and if it falls behind.
    """

    def __init__(self) -> None:
        self._end = -1  # the place after all this; -1 while nothing follows the reader
        self._bytes = 0
        self._appends: list[Append] = []

    def __bool__(self) -> bool:
        return bool(self._appends)

    def follow(self, end: int) -> None:
        """The reader has read everything below ``end``."""
        self._end, self._bytes = end, 0
        self._appends.clear()

    def add(self, appends: Sequence[Append]) -> None:
        """``appends``: of one commit."""
        if self._end < 0 or not appends:
            return
        end = appends[-1].first + len(appends[-1].records)
        if appends[0].first == self._end:
            self._end = end
            self._appends += appends
            self._bytes += sum(len(record.data) for append in appends for record in append.records)
            if self._bytes > _COMMITTED_BYTES_MAX:
                self.follow(-1)
        elif end > self._end:  # otherwise the reader has found them in the file
            self.follow(-1)

    def since(self, segment: int, offset: int) -> list[LocatedRecord]:
        """Take all that is here, if it begins at the offset."""
        if not self._appends or self._appends[0].first != offset:
            return []
        new = tuple.__new__  # as in _records
        located = [
            LocatedRecord(segment, append.partition, new(Position, (at, append.epoch, envelope.n)), record, envelope)
            for append in self._appends
            for at, (envelope, record) in enumerate(zip(append.envelopes, append.records, strict=True), append.first)
        ]
        self.follow(self._end)
        return located


class SqliteStarts:
    """The starts of a data folder. None begins while a process has its files open."""

    def __init__(self, layout: Layout, starts: Mapping[int, int]) -> None:
        self._layout = layout
        self._known = KnownStarts(starts)
        ends = [begin_of(layout.segment(place) + 1) - 1 for place in range(layout.files)]
        self._newest = [self.number(place, end) for place, end in enumerate(ends)]  # which each page asks for

    async def know(self, places: Mapping[int, int]) -> None:
        """All are known. A token from before the folder got another number of files is refused."""
        for segment, offset in places.items():
            if segment >= self._layout.files or segment_of(offset) != self._layout.segment(segment):
                raise WrongPlace(f"there is no offset {offset} in segment {segment}")

    def number(self, segment: int, offset: int) -> int:
        """An offset tells its segment."""
        start = self._known.before(offset)
        return NO_START if start is None or segment_of(start.begin) != segment_of(offset) else start.number

    def newest(self, partition: Partition) -> int:
        return self._newest[partition % len(self._newest)]
