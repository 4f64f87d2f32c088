"""A cache of snapshots on this machine's disk. It may be lost at any time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from falcon.domain.ids import Partition
from falcon.journal.snapshot_record import SnapshotRecord, SnapshotStamp

# 16 MiB: the states of a partition's busiest rooms; the kernel caches the rest of the file.
_CACHE_KIB: Final = 16 << 10


class LocalSnapshotCache:
    """LocalCopy in a file that is made again at each start.

    All of it is one transaction that never ends: the file is of no use after a crash, so pages are written only when
    memory for them runs out. For several threads, one at a time.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name in (path, path.with_name(path.name + "-journal"), path.with_name(path.name + "-wal")):
            name.unlink(missing_ok=True)
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute(
            "CREATE TABLE kept (partition INTEGER, name TEXT, epoch INTEGER, offset INTEGER, generation INTEGER,"
            " version INTEGER, data BLOB, PRIMARY KEY (partition, name)) WITHOUT ROWID;"
            "CREATE TABLE garbage (partition INTEGER, key BLOB, PRIMARY KEY (partition, key)) WITHOUT ROWID"
        )
        self._connection.execute("BEGIN EXCLUSIVE")

    def clear(self, partition: Partition) -> None:
        self._run("DELETE FROM kept WHERE partition = ?", (partition,))
        self._run("DELETE FROM garbage WHERE partition = ?", (partition,))

    def put(self, partition: Partition, rows: Iterable[tuple[str, SnapshotRecord]]) -> None:
        self._run_all(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(partition, name, r.epoch, r.offset, r.generation, r.version, r.data) for name, r in rows],
        )

    def get(self, partition: Partition, name: str) -> SnapshotRecord | None:
        rows = self._run(
            "SELECT epoch, offset, version, data, generation FROM kept WHERE partition = ? AND name = ?",
            (partition, name),
        )
        return SnapshotRecord(*rows[0]) if rows else None

    def under(self, partition: Partition, prefix: str) -> list[tuple[str, SnapshotRecord]]:
        rows = self._run(
            "SELECT name, epoch, offset, version, data, generation FROM kept"
            " WHERE partition = ? AND name >= ? AND name < ? ORDER BY name",
            (partition, prefix, prefix + "\U0010ffff"),
        )
        return [(name, SnapshotRecord(*fields)) for name, *fields in rows]

    def stamps(self, partition: Partition, names: Iterable[str]) -> dict[str, SnapshotStamp]:
        rows = self._run_all(
            "SELECT name, epoch, offset, generation FROM kept WHERE partition = ? AND name = ?",
            [(partition, name) for name in names],
        )
        return {name: SnapshotStamp(*fields) for name, *fields in rows}

    def stamps_between(
        self, partition: Partition, first: str, stop: str, most: int = -1
    ) -> list[tuple[str, SnapshotStamp]]:
        rows = self._run(
            "SELECT name, epoch, offset, generation FROM kept"
            " WHERE partition = ? AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            (partition, first, stop, most),
        )
        return [(name, SnapshotStamp(*fields)) for name, *fields in rows]

    def drop(self, partition: Partition, names: Iterable[str]) -> None:
        self._run_all("DELETE FROM kept WHERE partition = ? AND name = ?", [(partition, name) for name in names])

    def reaches(self, partition: Partition) -> int:
        ((found,),) = self._run("SELECT max(offset) FROM kept WHERE partition = ?", (partition,))
        return found or 0

    def add_garbage(self, partition: Partition, keys: Iterable[bytes]) -> None:
        self._run_all("INSERT OR IGNORE INTO garbage VALUES (?, ?)", [(partition, key) for key in keys])

    def garbage(self, partition: Partition, most: int) -> list[bytes]:
        rows = self._run("SELECT key FROM garbage WHERE partition = ? LIMIT ?", (partition, most))
        return [key for (key,) in rows]

    def drop_garbage(self, partition: Partition, keys: Iterable[bytes]) -> None:
        self._run_all("DELETE FROM garbage WHERE partition = ? AND key = ?", [(partition, key) for key in keys])

    def _run(self, statement: str, bindings: Sequence[Any]) -> list[Any]:
        with self._closed_by_a_fault():
            return list(self._connection.execute(statement, bindings))

    def _run_all(self, statement: str, bindings: Sequence[Sequence[Any]]) -> list[Any]:
        with self._closed_by_a_fault():
            return list(self._connection.executemany(statement, bindings))

    @contextmanager
    def _closed_by_a_fault(self) -> Iterator[None]:
        """If the disk is full, say, SQLite has nothing from which it could take the statement back: what it says then
        of other rooms may be wrong. So every later call fails, the process ends, and its next start makes a new
        file."""
        try:
            yield
        except apsw.Error:
            self._connection.close(force=True)
            raise
