"""The read tables' writing end."""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.database import READ_TABLES, transaction
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read import store
from falcon.read.store import Move, ReadStoreUnavailable, StaleProjector, Write

_POSITION = struct.Struct("<qqq")
_REBUILDING = "_rebuilding"
_DROP_ROWS = 20_000


def _room(w: store.PutRoom) -> tuple[Any, ...]:
    smaller, larger = w.peers or (None, None)
    return (w.room_id, w.kind, w.name, w.description, w.created_at, smaller, larger)


# For each kind of write its statements ("{}" is the tables' suffix) and what they are given.
_Bindings = Callable[[Any], tuple[Any, ...]]
_STATEMENTS: Final[dict[type[Any], tuple[tuple[str, _Bindings], ...]]] = {
    store.PutMessage: (
        (
            "INSERT INTO timeline{} VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET message = excluded.message",
            lambda w: (w.room_id, w.seq, w.message),
        ),
    ),
    store.PutRoom: (
        (
            "INSERT OR REPLACE INTO rooms{} (room_id, kind, name, description, created_at, smaller, larger)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            _room,
        ),
    ),
    store.SetRoomName: (
        (
            "UPDATE rooms{} SET name = ?, description = ?, updated_at = ? WHERE room_id = ?",
            lambda w: (w.name, w.description, w.updated_at, w.room_id),
        ),
    ),
    store.SetRoomActivity: (
        (
            "UPDATE rooms{} SET last_seq = ?, updated_at = ? WHERE room_id = ?",
            lambda w: (w.last_seq, w.updated_at, w.room_id),
        ),
    ),
    store.SetRoomRevision: (("UPDATE rooms{} SET revision = ? WHERE room_id = ?", lambda w: (w.revision, w.room_id)),),
    store.DropRoom: (("DELETE FROM rooms{} WHERE room_id = ?", lambda w: (w.room_id,)),),
    store.PutMember: (
        (
            "INSERT OR REPLACE INTO memberships{} VALUES (?, ?, ?, ?)",
            lambda w: (w.room_id, w.account_id, w.role, w.read_seq),
        ),
        (
            "INSERT OR REPLACE INTO memberships_by_account{} VALUES (?, ?)",
            lambda w: (w.account_id, w.room_id),
        ),
    ),
    store.SetRole: (
        (
            "UPDATE memberships{} SET role = ? WHERE room_id = ? AND account_id = ?",
            lambda w: (w.role, w.room_id, w.account_id),
        ),
    ),
    store.SetReadMark: (
        (
            "UPDATE memberships{} SET read_seq = ? WHERE room_id = ? AND account_id = ?",
            lambda w: (w.read_seq, w.room_id, w.account_id),
        ),
    ),
    store.DropMember: (
        ("DELETE FROM memberships{} WHERE room_id = ? AND account_id = ?", lambda w: (w.room_id, w.account_id)),
        (
            "DELETE FROM memberships_by_account{} WHERE account_id = ? AND room_id = ?",
            lambda w: (w.account_id, w.room_id),
        ),
    ),
    store.SetMention: (
        (
            "INSERT OR IGNORE INTO mentions{} SELECT ?1, ?2, ?3 WHERE ?4",
            lambda w: (w.account_id, w.room_id, w.seq, w.mentioned),
        ),
        (
            "DELETE FROM mentions{} WHERE account_id = ?1 AND room_id = ?2 AND seq = ?3 AND NOT ?4",
            lambda w: (w.account_id, w.room_id, w.seq, w.mentioned),
        ),
    ),
    store.PutAccount: (
        (
            "INSERT OR REPLACE INTO accounts{} VALUES (?, ?, ?, ?)",
            lambda w: (w.account_id, w.name, w.is_admin, w.created_at),
        ),
    ),
    store.PutToken: (
        (
            "INSERT OR REPLACE INTO tokens{} VALUES (?, ?, ?, ?)",
            lambda w: (w.account_id, w.token_id, w.token_hash, w.created_at),
        ),
    ),
    store.DropToken: (
        ("DELETE FROM tokens{} WHERE account_id = ? AND token_id = ?", lambda w: (w.account_id, w.token_id)),
    ),
}
# Writes that come for each message, and the fields that make their key: only the last of a batch is made.
_FOLDED: Final[dict[type[Any], Callable[[Any], tuple[int, ...]]]] = {
    store.SetRoomActivity: lambda w: (w.room_id,),
    store.SetReadMark: lambda w: (w.room_id, w.account_id),
}


class SqliteTables:
    """ProjectionTables over one connection, for one thread. Within an open transaction it takes part in that."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def positions(self, projection: str) -> Callable[[Partition], Position]:
        data = self._positions(projection)
        return lambda partition: Position(*_POSITION.unpack_from(data, partition * _POSITION.size))

    def apply(self, projection: str, moves: Sequence[Move], writes: Sequence[Write]) -> None:
        suffix = _REBUILDING if projection.endswith(_REBUILDING) else ""
        try:
            with transaction(self._connection) as connection:
                positions = bytearray(self._positions(projection))
                for partition, expected, position in moves:
                    at = partition * _POSITION.size
                    if _POSITION.unpack_from(positions, at) != expected:
                        raise StaleProjector(f"projection {projection}, partition {partition}")
                    _POSITION.pack_into(positions, at, *position)
                for kind, run in _runs(writes):
                    for sql, bindings in _STATEMENTS[kind]:
                        connection.executemany(sql.format(suffix), map(bindings, run))
                connection.execute(
                    "UPDATE projections SET positions = ? WHERE name = ?", (bytes(positions), projection)
                )
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot write the tables of {projection}: {error}") from error

    def begin_rebuild(self, projection: str) -> str:
        shadow = projection + _REBUILDING
        try:
            self._drop_old(projection)
            with transaction(self._connection) as connection:
                for ddl in READ_TABLES[projection].values():
                    connection.execute(ddl.format(_REBUILDING))
                size = len(self._positions(projection))
                connection.execute("INSERT OR REPLACE INTO projections VALUES (?, zeroblob(?), NULL)", (shadow, size))
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot begin to rebuild {projection}: {error}") from error
        return shadow

    def finish_rebuild(self, projection: str, catch_up: Callable[[], None]) -> None:
        """Renaming is one small write however large the tables are, and every reader's next statement sees it."""
        shadow = projection + _REBUILDING
        try:
            with transaction(self._connection) as connection:
                catch_up()
                for table in READ_TABLES[projection]:
                    connection.execute(f"ALTER TABLE {table} RENAME TO {table}_old")
                    connection.execute(f"ALTER TABLE {table}{_REBUILDING} RENAME TO {table}")
                connection.execute("DELETE FROM projections WHERE name = ?", (projection,))
                connection.execute("UPDATE projections SET name = ? WHERE name = ?", (projection, shadow))
            self._drop_old(projection)
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot finish to rebuild {projection}: {error}") from error

    def stopped(self, projection: str, error: str | None) -> None:
        try:
            self._connection.execute("UPDATE projections SET stopped = ? WHERE name = ?", (error, projection))
        except apsw.Error as failed:
            raise ReadStoreUnavailable(f"cannot record that {projection} stopped: {failed}") from failed

    def why_stopped(self, projection: str) -> str | None:
        try:
            row = self._connection.execute("SELECT stopped FROM projections WHERE name = ?", (projection,)).fetchone()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot read the state of {projection}: {error}") from error
        return None if row is None else row[0]

    def _positions(self, projection: str) -> bytes:
        try:
            row = self._connection.execute("SELECT positions FROM projections WHERE name = ?", (projection,)).fetchone()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot read the position of {projection}: {error}") from error
        if row is None:
            raise ReadStoreUnavailable(f"the rebuild of {projection} was taken away by another one")
        return row[0]  # type: ignore[no-any-return]

    def _drop_old(self, projection: str) -> None:
        """Empty tables that nobody reads in small transactions, since writers of live ones wait for each."""
        for table, ddl in READ_TABLES[projection].items():
            keys = ddl.rpartition("PRIMARY KEY (")[2].partition(")")[0] if "WITHOUT ROWID" in ddl else "rowid"
            for name in (f"{table}_old", f"{table}{_REBUILDING}"):
                if not self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone():
                    continue
                delete = f"DELETE FROM {name} WHERE ({keys}) IN (SELECT {keys} FROM {name} LIMIT {_DROP_ROWS})"
                while self._connection.execute(delete) and self._connection.changes():
                    pass
                self._connection.execute(f"DROP TABLE {name}")


def _runs(writes: Sequence[Write]) -> Iterable[tuple[type[Any], Iterable[Write]]]:
    """The writes in their order, in runs of one kind; of a mark that moves several times in a run, the last move."""
    for kind, run in groupby(writes, type):
        writes_of_kind = list(run)
        key = _FOLDED.get(kind)
        yield kind, writes_of_kind if key is None else {key(write): write for write in writes_of_kind}.values()


class SqliteSavepoint:
    """Undoes one projection's writes within a commit."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.execute("SAVEPOINT projection")

    def release(self) -> None:
        self._connection.execute("RELEASE projection")

    def rollback(self) -> None:
        self._connection.execute("ROLLBACK TO projection; RELEASE projection")
