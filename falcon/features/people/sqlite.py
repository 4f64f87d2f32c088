"""The directory in SQLite."""

import heapq
from typing import Any, Final

from falcon.features.people.table import DropEntry, PutEntry
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, query

MODEL: Final = SqliteModel(
    tables={
        "directory": "CREATE TABLE directory{} (key BLOB NOT NULL, identity INTEGER NOT NULL, value BLOB NOT NULL,"
        " PRIMARY KEY (key)) WITHOUT ROWID"
    },
    identities={"directory": "identity"},
    statements={
        PutEntry: ("INSERT OR REPLACE INTO directory{} VALUES (?2, ?1, ?3)",),
        DropEntry: ("DELETE FROM directory{} WHERE key = ?2 AND identity = ?1",),
    },
)


def directory(view: SqliteQueryContext, first: bytes, last: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    rows: Any = view.execute(
        "SELECT key, value FROM directory WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?", (first, last, limit)
    )
    return list(rows)


class SqliteDirectoryQueries:
    directory = query(directory, "directory")


class SqliteFilesDirectoryQueries:
    async def directory(self: Files, first: bytes, last: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        of_files = [await SqliteDirectoryQueries.directory(file, first, last, limit) for file in self.files]
        return list(heapq.merge(*of_files))[:limit]
