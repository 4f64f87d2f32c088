"""A cache of snapshots on this machine's disk. It may be lost at any time."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import apsw

R = TypeVar("R")

_CACHE_KIB: Final = 16 << 10


class LocalSnapshotCache(Generic[R]):
    """Names and records by partition, in a file that is made again at each start.

    All of it is one transaction that never ends: the file is of no use after a crash, so pages are written only when
    memory for them runs out. ``pack`` and ``unpack`` turn a record into bytes and back. For several threads, one at a
    time.
    """

    def __init__(self, path: Path, pack: Callable[[R], bytes], unpack: Callable[[bytes], R]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name in (path, path.with_name(path.name + "-journal"), path.with_name(path.name + "-wal")):
            name.unlink(missing_ok=True)
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute(
            "CREATE TABLE kept (partition INTEGER, name TEXT, record BLOB, PRIMARY KEY (partition, name)) WITHOUT ROWID"
        )
        self._connection.execute("BEGIN EXCLUSIVE")
        self._pack = pack
        self._unpack = unpack

    def clear(self, partition: int) -> None:
        self._connection.execute("DELETE FROM kept WHERE partition = ?", (partition,))

    def put(self, partition: int, rows: Iterable[tuple[str, R]]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", [(partition, name, self._pack(row)) for name, row in rows]
        )

    def get(self, partition: int, name: str) -> R | None:
        row: Any = self._connection.execute(
            "SELECT record FROM kept WHERE partition = ? AND name = ?", (partition, name)
        ).fetchone()
        return None if row is None else self._unpack(row[0])

    def under(self, partition: int, prefix: str, stop: str | None = None, most: int = -1) -> list[tuple[str, R]]:
        rows: Any = self._connection.execute(
            "SELECT name, record FROM kept WHERE partition = ? AND name >= ? AND name < ? ORDER BY name LIMIT ?",
            (partition, prefix, prefix + "\U0010ffff" if stop is None else stop, most),
        )
        return [(name, self._unpack(record)) for name, record in rows]

    def drop(self, partition: int, names: Sequence[str]) -> None:
        self._connection.executemany(
            "DELETE FROM kept WHERE partition = ? AND name = ?", [(partition, name) for name in names]
        )
