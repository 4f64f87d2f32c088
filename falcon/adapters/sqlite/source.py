"""Reads the journal and the snapshots."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from sys import intern
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.database import RECORD_COLUMNS, cause
from falcon.adapters.sqlite.layout import begin_of, layout_of, place_of
from falcon.domain.ids import Millis, Partition
from falcon.journal import codec
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import Checkpointed, JournalUnavailable, Snapshot
from falcon.journal.record import Record

_POLL_SECONDS: Final = 0.002  # another process's commit is readable this soon; a look is one read of shared memory


class UniformCursor(Mapping[Partition, Position]):
    """A cursor with the same offset in every partition: the position of a reader of the whole log."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def __getitem__(self, partition: Partition) -> Position:
        return Position(self.offset)

    def __iter__(self) -> Iterator[Partition]:
        raise TypeError("every partition there may be")

    def __len__(self) -> int:
        raise TypeError("every partition there may be")

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UniformCursor) and other.offset == self.offset

    def __hash__(self) -> int:
        return hash(self.offset)


class SqliteSource:
    """EventSource and SnapshotStore over one connection, for one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._seen = self._data_version()

    @cached_property
    def partitions(self) -> int:
        (count,) = self._row("SELECT value FROM meta WHERE key = 'partitions'")
        return int(count)

    @cached_property
    def instance(self) -> str:
        """The log's name, which is made with it."""
        (name,) = self._row("SELECT value FROM meta WHERE key = 'instance'")
        return str(name)

    # --- events -------------------------------------------------------------------------------------------------------

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        if isinstance(cursor, UniformCursor):
            self._seen = self._data_version()  # before the rows are read: later rows count as news
            rows = self._rows("offset >= ?", (cursor.offset,), limit)
            reached = rows[-1][0] + 1 if rows else cursor.offset
            # There are no offsets between the last event of earlier segments and the file's own.
            return _decode(rows), UniformCursor(reached if len(rows) == limit else max(reached, self._begin))
        self._seen = self._data_version()
        end = self._next()  # before the rows are read, so that none that are written meanwhile are passed over
        start = min(position.offset for position in cursor.values())
        where = "offset >= ?"
        bindings: tuple[int, ...] = (start,)
        if len(cursor) < self.partitions:
            where += f" AND partition IN ({','.join('?' * len(cursor))})"
            bindings += tuple(cursor)
        rows = self._rows(where, bindings, limit)
        after = rows[-1][0] + 1 if rows else end  # rows written meanwhile may be among them
        reached = after if len(rows) == limit else max(end, after)
        wanted = [row for row in rows if row[0] >= cursor[row[1]].offset]
        return _decode(wanted), {p: Position(max(reached, at.offset)) for p, at in cursor.items()}

    def check(self, cursor: Cursor) -> None:
        """CheckingSource: does nothing. Positions in this log are kept in the same file only."""

    def end(self) -> Cursor:
        return UniformCursor(self._next())

    async def confirmed(self, partition: Partition) -> int:
        """ConfirmedPositions: nothing is acknowledged before it is committed to this file."""
        return self._next() - 1

    def remaining(self, cursor: Cursor) -> int:
        """How many rows are left. Of several partitions: from the first of their positions to the end."""
        start = cursor.offset if isinstance(cursor, UniformCursor) else min(at.offset for at in cursor.values())
        before = sum(_rows_from(start, *segment) for segment in self._earlier) if start < self._begin else 0
        return before + max(0, self._next() - max(start, self._begin))

    @cached_property
    def _earlier(self) -> list[tuple[int, int, int]]:
        """The rows that the file has of each earlier segment: how many, the first offset, and the one after the last.
        Finding that reads all of them, as a reader does that begins there."""
        return self._all(
            "SELECT count(*), min(offset), max(offset) + 1 FROM journal WHERE offset < ? GROUP BY offset / ?",
            (self._begin, begin_of(1)),
        )

    @cached_property
    def _begin(self) -> int:
        """The first offset that this file gives."""
        return begin_of(layout_of(self._connection).segment(place_of(self._connection)))

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.has_news() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def has_news(self) -> bool:
        """Another connection has committed since the last read."""
        return bool(self._data_version() != self._seen)

    def _next(self) -> int:
        (offset,) = self._row("SELECT next FROM log")
        return int(offset)

    def _data_version(self) -> Any:
        """Changes whenever another connection has committed."""
        return self._row("PRAGMA data_version")

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        row = self._maybe(
            "SELECT offset, epoch, n, state FROM checkpoints WHERE partition = ? AND version = ?", partition, version
        )
        return None if row is None else Checkpointed(Position(*row[:3]), row[3])

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        """Saved together with its checkpoint, or before it."""
        row = self._maybe(
            "SELECT data FROM snapshots WHERE partition = ? AND key = ? AND version = ?", partition, key, version
        )
        return None if row is None else Snapshot(0, row[0])

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        rows = self._all(
            "SELECT data FROM answers WHERE partition = ? AND at >= ? AND version = ? ORDER BY at, offset",
            (partition, since, version),
        )
        return [data for (data,) in rows]

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _rows(self, where: str, bindings: tuple[int, ...], limit: int) -> list[Any]:
        return self._all(
            f"SELECT {RECORD_COLUMNS} FROM journal WHERE {where} ORDER BY offset LIMIT ?",
            (*bindings, limit),
        )

    def _all(self, sql: str, bindings: tuple[int, ...]) -> list[Any]:
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read the journal: {cause(error)}") from error

    def _row(self, sql: str, *bindings: int | str) -> tuple[Any, ...]:
        row = self._maybe(sql, *bindings)
        assert row is not None
        return row

    def _maybe(self, sql: str, *bindings: int | str) -> tuple[Any, ...] | None:
        try:
            return self._connection.execute(sql, bindings).fetchone()
        except apsw.Error as error:
            raise JournalUnavailable(f"cannot read the journal: {cause(error)}") from error


class SqliteFilesSource:
    """CheckingSource over the files of a data folder of several, for one thread. ``files``: the source of each, in
    order."""

    def __init__(self, files: Sequence[SqliteSource]) -> None:
        self._files = files

    @property
    def partitions(self) -> int:
        return self._files[0].partitions

    @property
    def instance(self) -> str:
        return self._files[0].instance

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        events = list[Recorded]()
        after = dict(cursor)
        for source, of_file in self._by_file(cursor):
            if len(events) < limit:
                found, reached = source.read(of_file, limit - len(events))
                events += found
                after.update(reached)
        return events, after

    def check(self, cursor: Cursor) -> None:
        """CheckingSource: does nothing. Positions in this log are kept in the same files only."""

    def end(self) -> Cursor:
        ends = [source.end() for source in self._files]
        return {partition: ends[partition % len(ends)][partition] for partition in range(self.partitions)}

    async def confirmed(self, partition: Partition) -> int:
        return await self._files[partition % len(self._files)].confirmed(partition)

    def remaining(self, cursor: Cursor) -> int:
        return sum(source.remaining(of_file) for source, of_file in self._by_file(cursor))

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not any(source.has_news() for source in self._files) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def _by_file(self, cursor: Cursor) -> list[tuple[SqliteSource, dict[Partition, Position]]]:
        """The part of the cursor that each file has, for those files that have some."""
        parts: list[tuple[SqliteSource, dict[Partition, Position]]] = []
        for place, source in enumerate(self._files):
            if of_file := {p: at for p, at in cursor.items() if p % len(self._files) == place}:
                parts.append((source, of_file))
        return parts


def source_of(connections: Sequence[apsw.Connection]) -> SqliteSource | SqliteFilesSource:
    """Returns a source over connections to the files of a data folder, in order."""
    sources = [SqliteSource(connection) for connection in connections]
    return sources[0] if len(sources) == 1 else SqliteFilesSource(sources)


def _rows_from(offset: int, rows: int, begin: int, end: int) -> int:
    """Estimates how many of a segment's rows are at this offset or after it."""
    return max(0, round(rows * (end - max(begin, offset)) / (end - begin)))


def _decode(rows: list[Any]) -> list[Recorded]:
    return [
        codec.decode(record_of(*record), partition, offset, epoch, n) for offset, partition, epoch, n, *record in rows
    ]


def record_of(key: int, type: str, version: int, critical: int, data: bytes) -> Record:
    """The record in a row that ends with RECORD_COLUMNS. Records of a type share its name, since many are kept."""
    return Record(intern(type), version, bool(critical), key, data)
