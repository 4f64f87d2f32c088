"""Writes the read tables."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

import apsw
import msgspec

from falcon.adapters.sqlite.database import AT_END, transaction
from falcon.adapters.sqlite.source import UniformCursor
from falcon.journal.envelope import Cursor
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import WITHOUT_SKIPS, Fill, ReadStoreUnavailable, Recipe, StaleProjector, UnfinishedRebuild
from falcon.read.write import Write

# Errors that may pass. Any other is a fault of the write.
PASSING: Final = (apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.NoMemError)
_REBUILDING: Final = "_rebuilding"
_DROP_ROWS: Final = 20_000

_FILL: Final = "SELECT filling FROM projections WHERE name = ?"
_MOVE_FILL: Final = "UPDATE projections SET filling = min(filling, ?) WHERE name = ?"
_RECIPE: Final = "SELECT value FROM meta WHERE key = ?"
_KEEP_RECIPE: Final = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_APPLIED: Final = f"SELECT iif(applied = {AT_END}, (SELECT next FROM log), applied) FROM projections WHERE name = ?"
_FOLLOWING: Final = "SELECT name, applied FROM projections WHERE applied IN (?, ?)"
_PLACE: Final = "UPDATE projections SET applied = ? WHERE name = ?"
_MOVE: Final = f"{_PLACE} AND applied = ?"


class SqliteTables:
    """ProjectionTables over one connection, for one thread. It joins an open transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._following: Sequence[str] = ()
        self._looked: object = None  # the state of the file in which they were found, and all had the mark

    def cursor(self, projection: str) -> Cursor:
        return UniformCursor(self._applied(projection))

    def apply(self, projection: str, expected: Cursor, after: Cursor, writes: Sequence[Write]) -> None:
        try:
            with transaction(self._connection):
                assert isinstance(expected, UniformCursor), "cursors of these tables are those that they gave"
                assert isinstance(after, UniformCursor), "and those of the log that stands beside them"
                self._connection.execute(_MOVE, (after.offset, projection, expected.offset))
                if not self._connection.changes():
                    raise StaleProjector(f"projection {projection} has been moved by another runner")
                self.write({projection: writes})
        except PASSING as error:
            raise ReadStoreUnavailable(f"cannot write the tables of {projection}: {error}") from error

    def following(self, projections: Sequence[str], first: int) -> Collection[str]:
        """Call it once within a transaction that appends at ``first``, before any other write to these tables. Gives
        the projections that have been applied up to there. The transaction has to apply them, or to ``leave`` them
        there."""
        version = self._connection.execute("PRAGMA data_version").fetchone()  # moves with each commit of another one
        if version != self._looked:
            self._looked = None
            found = dict(self._connection.execute(_FOLLOWING, (first, AT_END)))
            self._following = [name for name in projections if name in found]
            moves = [(AT_END, name) for name in self._following if found[name] == first]
            # Of read models that another version has: nothing here applies them any more.
            moves += [(first, name) for name in found.keys() - set(projections) if found[name] == AT_END]
            if moves:  # they may be rolled back, so look again next time
                self._connection.executemany(_PLACE, moves)
            else:
                self._looked = version
        return self._following

    def leave(self, projection: str, first: int) -> None:
        """The transaction that appends at ``first`` does not apply this projection."""
        self._looked = None
        self._connection.execute(_PLACE, (first, projection))

    def write(self, writes: Mapping[str, Sequence[Write]]) -> None:
        """Call it within a transaction, by projection: each run of writes of one kind at once, in order. If a mark
        moves several times within a run, only the last move is kept. The caller rolls back if it raises."""
        for projection, of_projection in writes.items():
            statements, folded = _statements_of(projection)
            for kind, run in groupby(of_projection, type):
                rows = list(run)
                if len(rows) > 1 and (key := folded.get(kind)) is not None:
                    rows = list({key(write): write for write in rows}.values())
                for sql in statements[kind]:
                    self._connection.executemany(sql, rows)

    def begin_rebuild(self, projection: str, recipe: Recipe = WITHOUT_SKIPS) -> str:
        shadow = projection + _REBUILDING
        try:
            self._drop_old(projection)
            with transaction(self._connection) as connection:
                for ddl in READ_MODELS[projection].sqlite.tables.values():
                    connection.execute(ddl.format(_REBUILDING, _REBUILDING, unique=secrets.token_hex(4)))
                connection.execute(
                    "INSERT OR REPLACE INTO projections (name, applied, generation)"
                    " SELECT ?, 0, generation + 1 FROM projections WHERE name = ?",
                    (shadow, projection),
                )
                if not connection.changes():
                    raise _not_there(projection)
                self._keep(projection, recipe)
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot begin to rebuild {projection}: {error}") from error
        return shadow

    def unfinished_rebuild(self, projection: str) -> UnfinishedRebuild | None:
        """Earlier versions kept no recipe: theirs cannot continue."""
        try:
            row: Any = self._connection.execute(_RECIPE, (_recipe_key(projection),)).fetchone()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot look for a rebuild of {projection}: {error}") from error
        if row is None:
            return None
        return UnfinishedRebuild(projection + _REBUILDING, msgspec.json.decode(row[0], type=Recipe))

    def resume_rebuild(self, projection: str, shadow: str, recipe: Recipe) -> None:
        try:
            self._keep(projection, recipe)
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot resume the rebuild of {projection}: {error}") from error

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        """Renaming is one small write however large the tables are, and every reader's next statement sees it."""
        shadow = projection + _REBUILDING
        try:
            with transaction(self._connection) as connection:
                if not catch_up():
                    return False
                for table in READ_MODELS[projection].sqlite.tables:
                    connection.execute(f"ALTER TABLE {table} RENAME TO {table}_old")
                    connection.execute(f"ALTER TABLE {table}{_REBUILDING} RENAME TO {table}")
                connection.execute("DELETE FROM projections WHERE name = ?", (projection,))
                connection.execute("UPDATE projections SET name = ? WHERE name = ?", (projection, shadow))
                connection.execute("DELETE FROM meta WHERE key = ?", (_recipe_key(projection),))
            self._drop_old(projection)
            return True
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

    def fill(self, projection: str) -> Fill:
        try:
            row: Any = self._connection.execute(_FILL, (projection,)).fetchone()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot read the state of {projection}: {error}") from error
        if row is None:
            raise _not_there(projection)
        return Fill(row[0])

    def move_fill(self, projection: str, fill: Fill) -> None:
        try:
            self._connection.execute(_MOVE_FILL, (fill, projection))
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot record how far {projection} has been filled: {error}") from error

    def _applied(self, projection: str) -> int:
        try:
            row: Any = self._connection.execute(_APPLIED, (projection,)).fetchone()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot read where {projection} stands: {error}") from error
        if row is None:
            raise _not_there(projection)
        return int(row[0])

    def _keep(self, projection: str, recipe: Recipe) -> None:
        self._connection.execute(_KEEP_RECIPE, (_recipe_key(projection), msgspec.json.encode(recipe)))

    def _drop_old(self, projection: str) -> None:
        """Empty the old tables in small transactions, since the writers of live tables wait for each."""
        for table, ddl in READ_MODELS[projection].sqlite.tables.items():
            keys = ddl.rpartition("PRIMARY KEY (")[2].partition(")")[0] if "WITHOUT ROWID" in ddl else "rowid"
            for name in (f"{table}_old", f"{table}{_REBUILDING}"):
                if not self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone():
                    continue
                delete = f"DELETE FROM {name} WHERE ({keys}) IN (SELECT {keys} FROM {name} LIMIT {_DROP_ROWS})"
                while self._connection.execute(delete) and self._connection.changes():
                    pass
                self._connection.execute(f"DROP TABLE {name}")


def _recipe_key(projection: str) -> str:
    return f"rebuild {projection}"


def _not_there(projection: str) -> ReadStoreUnavailable:
    if projection.endswith(_REBUILDING):
        return ReadStoreUnavailable(f"the rebuild of {projection} was taken away by another one")
    return ReadStoreUnavailable(f"the data folder has no tables of {projection}: falcon up makes them")


@cache
def _statements_of(projection: str) -> tuple[dict[type[Any], list[str]], Mapping[type[Any], Callable[[Any], object]]]:
    """The statements by kind of write, and the keys of kinds that are folded. Their texts stay the same: SQLite's
    driver then finds its prepared statement at once."""
    name = projection.removesuffix(_REBUILDING)
    suffix, model = projection[len(name) :], READ_MODELS[name].sqlite
    return {kind: [sql.format(suffix) for sql in texts] for kind, texts in model.statements.items()}, model.folded


class SqliteSavepoint:
    """Undoes what projections have written within a commit."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        connection.execute("SAVEPOINT projection")

    def release(self) -> None:
        self._connection.execute("RELEASE projection")

    def rollback(self) -> None:
        self._connection.execute("ROLLBACK TO projection; RELEASE projection")
