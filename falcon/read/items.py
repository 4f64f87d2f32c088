"""A read model of small rows of rooms or accounts: a value under a key. A feature that needs no more than that declares
it in one line, and has no statements, cells or queries of its own.

Keys are bytes and in their order; a feature makes them so that what it reads together stands together.
"""

from typing import Literal, NamedTuple, Protocol

from falcon.read.hbase import FAST_DIFF, NO, THERE_ONLY, U64, YES, Cells, HBaseModel, HBaseQueryContext, hashed
from falcon.read.hbase import query as hbase_query
from falcon.read.sqlite import SqliteModel, SqliteQueryContext, in_file_of
from falcon.read.sqlite import query as sqlite_query

_THERE, _VALUE = b"d:i", b"d:v"  # the first is 1 while there is the item


class PutItem(NamedTuple):
    """``identity``: of the room or account that has the item."""

    identity: int
    key: bytes
    value: bytes


class DropItem(NamedTuple):
    identity: int
    key: bytes


class SealItem(PutItem):
    """Written after all other items of its batch: a reader that finds it finds them."""


class Items:
    """``name``: of the read model, and of its table. ``of``: the column with the identity of the room or account."""

    def __init__(self, name: str, of: Literal["room_id", "account_id"] = "room_id") -> None:
        self.name = name
        self.of = of

    @property
    def sqlite(self) -> SqliteModel:
        ddl = (
            f"CREATE TABLE {self.name}{{}} ({self.of} INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
            f" PRIMARY KEY ({self.of}, key)) WITHOUT ROWID"
        )
        return SqliteModel(
            tables={self.name: ddl},
            identities={self.name: self.of},
            statements={
                PutItem: (put := f"INSERT OR REPLACE INTO {self.name}{{}} VALUES (?1, ?2, ?3)",),
                SealItem: (put,),
                DropItem: (f"DELETE FROM {self.name}{{}} WHERE {self.of} = ?1 AND key = ?2",),
            },
        )

    @property
    def hbase(self) -> HBaseModel:
        return HBaseModel(
            tables={self.name: (4, (FAST_DIFF,))},
            puts=(self.name, self.name),
            cells={PutItem: (0, _put), DropItem: (0, _drop), SealItem: (1, _put)},
            identity=lambda write: int(write.identity),
        )


class Item(NamedTuple):
    key: bytes
    value: bytes


class ItemQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def items(self, identity: int, model: Items, first: bytes, last: bytes, limit: int) -> list[Item]:
        """The items of a room or account from key ``first`` to key ``last``, both included."""


def _put(write: PutItem) -> Cells:
    row = _row(write.identity, write.key)
    return (row, _THERE, YES), (row, _VALUE, write.value)


def _drop(write: DropItem) -> Cells:
    row = _row(write.identity, write.key)
    return (row, _THERE, NO), (row, _VALUE, b"")


def _row(identity: int, key: bytes) -> bytes:
    return hashed(U64(identity)) + key


def _of_sqlite(
    view: SqliteQueryContext, identity: int, model: Items, first: bytes, last: bytes, limit: int
) -> list[Item]:
    if not view.shows_all:
        view.check_shown((model.name,))
    rows = view.execute(
        f"SELECT key, value FROM {model.name} WHERE {model.of} = ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?",
        (identity, first, last, limit),
    )
    return [Item(*row) for row in rows]


def items_in(view: HBaseQueryContext, identity: int, model: Items, first: bytes, last: bytes, limit: int) -> list[Item]:
    prefix, table = _row(identity, b""), view.table(model.name, model.name)
    # The end of a scan is left out, so it is the first key after ``last``.
    found = view.calls.scan(table, prefix + first, prefix + last + b"\0", limit, THERE_ONLY)
    return [Item(key.removeprefix(prefix), row[_VALUE]) for key, row in found if _VALUE in row]


class SqliteItemQueries:
    items = sqlite_query(_of_sqlite)


class SqliteFilesItemQueries:
    items = in_file_of(SqliteItemQueries.items)


class HBaseItemQueries:
    items = hbase_query(items_in)
