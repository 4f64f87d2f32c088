"""A read model of small rows of rooms: a value under a key. A feature that needs no more than that declares it in one
line, and has no statements, cells or queries of its own.

Keys are bytes and in their order; a feature makes them so that what it reads together stands together.
"""

from typing import NamedTuple, Protocol

from falcon.domain.ids import RoomId
from falcon.read.hbase import FAST_DIFF, NO, THERE_ONLY, U64, YES, Cells, HBaseModel, HBaseQueryContext, Row, hashed
from falcon.read.hbase import query as hbase_query
from falcon.read.sqlite import SqliteModel, SqliteQueryContext, in_file_of
from falcon.read.sqlite import query as sqlite_query

_THERE, _VALUE = b"d:i", b"d:v"  # the first is 1 while there is the item


class PutItem(NamedTuple):
    room_id: RoomId
    key: bytes
    value: bytes


class DropItem(NamedTuple):
    room_id: RoomId
    key: bytes


class RoomItems:
    """``name``: of the read model, and of its table."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def sqlite(self) -> SqliteModel:
        ddl = (
            f"CREATE TABLE {self.name}{{}} (room_id INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
            " PRIMARY KEY (room_id, key)) WITHOUT ROWID"
        )
        return SqliteModel(
            tables={self.name: ddl},
            identities={self.name: "room_id"},
            statements={
                PutItem: (f"INSERT OR REPLACE INTO {self.name}{{}} VALUES (?1, ?2, ?3)",),
                DropItem: (f"DELETE FROM {self.name}{{}} WHERE room_id = ?1 AND key = ?2",),
            },
        )

    @property
    def hbase(self) -> HBaseModel:
        return HBaseModel(
            tables={self.name: (4, (FAST_DIFF,))},
            puts=(self.name,),
            cells={PutItem: (0, _put), DropItem: (0, _drop)},
            identity=lambda write: int(write.room_id),
            identity_of_row=_identity_of_row,
        )


class Item(NamedTuple):
    key: bytes
    value: bytes


class RoomItemQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def room_items(self, room_id: RoomId, model: str, first: bytes, last: bytes, limit: int) -> list[Item]:
        """The items of a room from key ``first`` to key ``last``, both included. ``model``: the name of the items."""


def _put(write: PutItem) -> Cells:
    row = _row(write.room_id, write.key)
    return (row, _THERE, YES), (row, _VALUE, write.value)


def _drop(write: DropItem) -> Cells:
    row = _row(write.room_id, write.key)
    return (row, _THERE, NO), (row, _VALUE, b"")


def _row(room_id: RoomId, key: bytes) -> bytes:
    return hashed(U64(room_id)) + key


def _identity_of_row(table: str, key: bytes, row: Row) -> int:
    return int.from_bytes(key[2:10], "big")


def _of_sqlite(
    view: SqliteQueryContext, room_id: RoomId, model: str, first: bytes, last: bytes, limit: int
) -> list[Item]:
    if not view.shows_all:
        view.check_shown((model,))
    rows = view.execute(
        f"SELECT key, value FROM {model} WHERE room_id = ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?",
        (room_id, first, last, limit),
    )
    return [Item(*row) for row in rows]


def _of_hbase(
    view: HBaseQueryContext, room_id: RoomId, model: str, first: bytes, last: bytes, limit: int
) -> list[Item]:
    prefix, table = _row(room_id, b""), view.table(model, model)
    # The end of a scan is left out, so it is the first key after ``last``.
    found = view.calls.scan(table, prefix + first, prefix + last + b"\0", limit, THERE_ONLY)
    return [Item(key.removeprefix(prefix), row[_VALUE]) for key, row in found if _VALUE in row]


class SqliteRoomItemQueries:
    room_items = sqlite_query(_of_sqlite)


class SqliteFilesRoomItemQueries:
    room_items = in_file_of(SqliteRoomItemQueries.room_items)


class HBaseRoomItemQueries:
    room_items = hbase_query(_of_hbase)
