"""The log as streams read it on one machine: each database file has one order, so it writes one segment."""

import asyncio
import hashlib
import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

import apsw
import msgspec

from falcon.adapters.sqlite.database import RECORD_COLUMNS, cause
from falcon.adapters.sqlite.layout import Layout, begin_of, layout_of, segment_of, starts_of
from falcon.adapters.sqlite.source import record_of
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams.starts import NO_START, NUMBER_BYTES, KnownStarts
from falcon.streams.tail import LocatedRecord, WrongPlace

# To streams the segment that a file writes has the number of the file: as it has in a token of a Falcon that knows one
# file only, which may continue with a folder that has one again. The numbers of closed segments begin here.
_CLOSED: Final = 64
_place: Final = attrgetter("at")


class SqliteTail:
    """Over a connection to each file of the data folder, in order, for one event loop: a few rows are read quickly.
    ``poll_seconds``: how often it looks for rows from other processes."""

    def __init__(self, connections: Sequence[apsw.Connection], poll_seconds: float) -> None:
        self._layout = layout_of(connections[0])
        self.starts = SqliteStarts(self._layout, starts_of(connections[0]))
        self._files = dict(enumerate(connections))
        self._begins = [begin_of(segment) for segment in self._layout.segments]
        self.closed: Mapping[int, int] = {_CLOSED + segment: end for segment, end in self._layout.ends.items()}
        self._poll_seconds = poll_seconds
        self._news = asyncio.Event()
        self._ends: dict[int, int] = {}  # by segment: the last read found nothing further

    def segment(self, partition: Partition) -> int:
        return self._layout.place(partition)

    def resumed(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        """An offset tells its segment. A token of an earlier layout names segments of that one, and of later ones too
        if its reader was just going through them."""
        if not self.closed:
            return offsets
        known = {segment_of(offset): offset for offset in offsets.values()}
        generations = self._layout.generations
        while generations and known.keys().isdisjoint(generations[0]):
            del generations[0]
        if len(generations) <= 1:
            return offsets
        found: dict[int, int] = {}
        for number, segments in enumerate(generations[:-1]):
            for segment in segments:
                end = self.closed[_CLOSED + segment]
                # The token does not name segments of its own layout that had nothing for its reader.
                start = known.get(segment, begin_of(segment) if number else end)
                if start > end:
                    raise WrongPlace(f"there is no offset {start} in segment {segment}")
                if start < end:
                    found[_CLOSED + segment] = start
        return found | {place: known.get(segment, begin_of(segment)) for place, segment in enumerate(generations[-1])}

    async def ends(self, segments: Mapping[int, object]) -> dict[int, int]:
        return {segment: self._end(segment) for segment in segments}

    def _end(self, segment: int) -> int:
        if segment in self.closed:
            return self.closed[segment]
        ((end,),) = self._rows(self._files[segment], "SELECT next FROM log", ())
        return int(end)

    async def position(self, segment: int, offset: int) -> Position:
        """A file has events of closed segments too, so its reader may stand at an offset of one."""
        if not (segment in self._files or segment in self.closed) or offset > self._end(segment):
            raise WrongPlace(f"there is no offset {offset} in segment {segment}")
        return Position(offset)

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        # Where the last read found nothing further, do not look again before a nudge.
        located, after = self._look({s: at for s, at in cursor.items() if at.offset != self._ends.get(s)}, limit)
        if not located:
            await self._wait()
            located, after = self._look(cursor, limit)
        return located, {**cursor, **after}

    def _look(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        found, after = list[LocatedRecord](), dict[int, Position]()
        for segment, at in cursor.items():
            share = max(1, limit // len(cursor))  # so that no file holds up the others
            located = self._records(self._files[segment], segment, "offset >= ?", (at.offset, share))
            after_last = located[-1].at.offset + 1 if located else at.offset
            if len(located) < share:
                after_last = self._ends[segment] = max(after_last, self._begins[segment])
            found += located
            after[segment] = Position(after_last)
        return found, after

    async def read_range(
        self, segment: int, start: Position, stop: int, limit: int
    ) -> tuple[list[LocatedRecord], Position]:
        files = self._files.values() if segment in self.closed else (self._files[segment],)
        parts = [
            self._records(file, segment, "offset >= ? AND offset < ?", (start.offset, stop, limit)) for file in files
        ]
        located = parts[0] if len(parts) == 1 else list(heapq.merge(*parts, key=_place))[:limit]
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


class SqliteStarts:
    """The starts of a data folder. None begins while a process has its files open."""

    def __init__(self, layout: Layout, starts: Mapping[int, int]) -> None:
        self._known = KnownStarts(starts)
        # By segment: what tells the beginning of a later layout from the same one in another history, in which the
        # segments before it ended elsewhere.
        self._beginnings: dict[int, int] = {}
        ends = layout.ends
        for before, after in pairwise(layout.generations):
            ended = [self.number(segment, ends[segment]) for segment in before]
            for segment in after:
                digest = hashlib.blake2b(msgspec.json.encode((segment, ended)), digest_size=NUMBER_BYTES)
                self._beginnings[segment] = int.from_bytes(digest.digest())
        # Asked for with each page, so they are made once.
        self._newest = [self.number(place, begin_of(segment + 1) - 1) for place, segment in enumerate(layout.segments)]

    async def know(self, places: Mapping[int, int]) -> None:
        """Does nothing: all are known."""

    def number(self, segment: int, offset: int) -> int:
        """An offset tells its segment. A reader at the beginning of a segment has read the layout before it."""
        start = self._known.before(offset)
        if start is None or segment_of(start.begin) != segment_of(offset):
            return self._beginnings.get(segment_of(offset), NO_START)
        return start.number

    def newest(self, partition: Partition) -> int:
        return self._newest[partition % len(self._newest)]
