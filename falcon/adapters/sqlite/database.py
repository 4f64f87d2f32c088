"""The database file: its schema, its settings, and how to open it."""

import ctypes
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from falcon.adapters.sqlite.layout import layout_of
from falcon.journal import naming
from falcon.journal.format import FORMAT, refusal
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Fill

# 3.51.3 is the first version without a bug that corrupts the WAL when two connections checkpoint at once.
SQLITE_VERSION_MIN: Final = (3, 51, 3)
BUSY_MILLISECONDS: Final = 10_000
PAGE_BYTES: Final = 2_048
_CACHE_KIB: Final = 16_384
_READ_CACHE_KIB: Final = 4_096  # twice the WAL between two checkpoints; other pages are read through the map
# The rest of a larger file is read by calls. In one of 1.8 GB a page of 50 messages that is not kept takes 200 µs of
# CPU, and 170 with 2 GiB, SQLite's most. But what was read through the map counts as the process's memory, which an
# alert watches.
MAP_BYTES: Final = 256 << 20
_WAL_PAGES: Final = 1_000  # 2 MB, so that a checkpoint is short
_WAL_BYTES: Final = 16 << 20  # kept of a WAL that was larger: eight times what is usual between two checkpoints
_REPORT_OPERATIONS: Final = 10_000  # SQLite's operations between two reports on a copy: about fifty reports a second

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- One log for all partitions, in the order of the commits, so that a commit writes few pages however many partitions
-- it touches. An offset is an event's place in it.
CREATE TABLE journal (
    offset INTEGER PRIMARY KEY, partition INTEGER NOT NULL, epoch INTEGER NOT NULL, n INTEGER NOT NULL,
    key INTEGER NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL, critical INTEGER NOT NULL, data BLOB NOT NULL
);
-- next: the offset of the next event. heads: for each partition, in order, the 64-bit offset after its last event.
-- takeovers: raised by each; a writer that finds it unchanged need not look at every partition's epoch.
CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), next INTEGER NOT NULL, takeovers INTEGER NOT NULL, heads BLOB);
CREATE TABLE epochs (partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT NOT NULL);

CREATE TABLE checkpoints (
    partition INTEGER PRIMARY KEY, version INTEGER NOT NULL, offset INTEGER NOT NULL, epoch INTEGER NOT NULL,
    n INTEGER NOT NULL, state BLOB NOT NULL
);
CREATE TABLE snapshots (
    partition INTEGER NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, epoch INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (partition, key)
) WITHOUT ROWID;
CREATE TABLE answers (
    partition INTEGER NOT NULL, at INTEGER NOT NULL, offset INTEGER NOT NULL, version INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (partition, at, offset)
) WITHOUT ROWID;

-- applied: every event below this offset is in the projection's tables.
-- generation: raised by a rebuild, since it may change what was read before.
CREATE TABLE projections (
    name TEXT PRIMARY KEY, applied INTEGER NOT NULL, stopped TEXT, generation INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

# The migration of each schema to the next. If a read table's columns change, drop it here together with its row in
# ``projections``: then it is made again and filled from the log. A released schema never changes, and
# tests/history/folders has a file of each.
_MIGRATIONS: Final[dict[int, str]] = {
    2: "ALTER TABLE projections ADD COLUMN filling INTEGER NOT NULL DEFAULT 0",  # as read.store.Fill
    # A new file has no read models before it is migrated: the tables of then are dropped again.
    3: """CREATE TABLE IF NOT EXISTS accounts (account_id, name, is_admin, created_at);
    CREATE TABLE IF NOT EXISTS tokens (account_id, token_id, token_hash, created_at);
    CREATE TABLE accounts_4 (
        account_id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, created_at TEXT NOT NULL,
        title TEXT NOT NULL, about TEXT NOT NULL, handle TEXT, email TEXT, deactivated INTEGER NOT NULL,
        hide_reads INTEGER NOT NULL, role_changes INTEGER NOT NULL
    );
    INSERT INTO accounts_4 SELECT account_id, name, iif(is_admin, 'owner', 'member'), created_at, '', '', NULL, NULL,
        0, 0, 0 FROM accounts;
    DROP TABLE accounts;
    ALTER TABLE accounts_4 RENAME TO accounts;
    CREATE INDEX accounts_of_schema_4 ON accounts (account_id) WHERE (role != 'member' OR deactivated);
    ALTER TABLE tokens ADD COLUMN kind TEXT NOT NULL DEFAULT 'token';
    ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN scopes TEXT;
    ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
    ALTER TABLE tokens ADD COLUMN issued_by INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE tokens ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN address TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN used_on INTEGER NOT NULL DEFAULT 0""",
    4: """CREATE TABLE IF NOT EXISTS rooms (room_id);
    ALTER TABLE rooms ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN is_default INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rooms ADD COLUMN members INTEGER NOT NULL DEFAULT 0""",
    5: """ALTER TABLE rooms ADD COLUMN parent INTEGER;
    ALTER TABLE rooms ADD COLUMN parent_seq INTEGER;
    ALTER TABLE rooms ADD COLUMN has_threads INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE IF NOT EXISTS memberships (room_id, account_id, role, read_seq);
    ALTER TABLE memberships ADD COLUMN parent INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX memberships_of_schema_6 ON memberships (account_id, parent) WHERE parent""",
    # From here on ``applied`` may be AT_END, which an earlier Falcon does not know.
    6: "SELECT 1",
    # From here on a row of the timeline may be an offset of the journal, which an earlier Falcon cannot read.
    7: "SELECT 1",
}
_FIRST_SCHEMA: Final = min(_MIGRATIONS)
SCHEMA_VERSION: Final = max(_MIGRATIONS) + 1

# ``applied`` of a projection that each commit of the log applies: it stands at the log's end, and a commit need not
# write its row, which would cost a single message up to a tenth of its CPU.
AT_END: Final = 1 << 62

# Added to the schema's number in the files of a folder of several: a Falcon that knows one file only must refuse them,
# and not serve a part of the log.
SEVERAL_FILES: Final = 1_000

# A row of the journal; the last five columns are the record.
RECORD_COLUMNS: Final = "offset, partition, epoch, n, key, type, version, critical, data"


_RESTORE: Final = "check the disk, and restore a copy of the data folder if the file is damaged"
_WAYS_OUT: Final[dict[type[apsw.Error], str]] = {
    apsw.CorruptError: _RESTORE,
    apsw.NotADBError: _RESTORE,
    apsw.IOError: "check the disk, and that it has room",
    apsw.FullError: "make room on the disk",
    apsw.ReadOnlyError: "the user of Falcon must be able to write it",
    apsw.CantOpenError: "the user of Falcon must be able to open it, and the files beside it",
}


class WrongDatabase(Exception):
    """The file is not what the settings say. The message says what to do."""


def connect(path: Path, *, writable: bool = True, synchronous: str = "FULL", files: int = 1) -> apsw.Connection:
    """A connection for one thread at a time. ``files``: of the folder; the connections to them share a page cache's
    memory. Raises JournalUnavailable."""
    flags = apsw.SQLITE_OPEN_READWRITE if writable else apsw.SQLITE_OPEN_READONLY
    with opening(path):
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.pragma("synchronous", synchronous)
        connection.pragma("mmap_size", MAP_BYTES)
        connection.pragma("cache_size", -((_CACHE_KIB if writable else _READ_CACHE_KIB) // files))
        # Otherwise SQLite plans a join, or a statement with LIMIT ?, for the values of its parameters. So it prepares
        # the statement again at each execution, which takes several times as long as the execution.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # Checkpoint often and little, on the thread that has just committed. A separate thread made the slowest of a
        # hundred sends five times as slow: commits wait for its fsync, and the WAL never restarts from its beginning.
        connection.wal_autocheckpoint(_WAL_PAGES)
        _keep_shared_memory(connection)
    return connection


def _keep_shared_memory(connection: apsw.Connection) -> None:
    """Leave the 32 KiB beside the file that its connections share when the last one is closed, and the WAL, empty. On a
    disk without a free byte a file can only be opened, and read, if they are there."""
    keep = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(keep))
    connection.pragma("journal_size_limit", _WAL_BYTES)  # without a limit the WAL would be kept as it is


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """If SQLite fails within the block, the path cannot be opened. Raises JournalUnavailable."""
    try:
        yield
    except apsw.Error as error:
        raise JournalUnavailable(f"cannot open {path}: {cause(error)}") from error


def cause(error: Exception) -> str:
    """SQLite's own words, then the operator's way out."""
    ways_out = [way_out for kind, way_out in _WAYS_OUT.items() if isinstance(error, kind)]
    return "; ".join([str(error), *ways_out])


def prepare(path: Path, partitions: int) -> None:
    """Create the file. Or check that it was made for this many partitions, and migrate it to this schema, with empty
    tables for new read models. All of it or nothing. Raises WrongDatabase, JournalUnavailable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opening(path):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        # A commit writes whole pages, and most of its messages are on different pages: small pages are cheaper.
        connection.pragma("page_size", PAGE_BYTES)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "FULL")
        _keep_shared_memory(connection)
        with transaction(connection):
            if not _has_schema(connection):
                _create(connection, partitions)
            _check(connection, path, partitions)
            _migrate(connection)
            _install(connection)
        connection.close()


def is_made(path: Path) -> bool:
    """False if the file is missing or empty. Raises JournalUnavailable."""
    if not path.exists() or not path.stat().st_size:  # SQLite would delete the WAL beside an empty file
        return False
    with opening(path), closing(connect(path, writable=False)) as connection:
        return _has_schema(connection)


def check(path: Path, partitions: int) -> None:
    """Check, without writing, that the file is this Falcon's: another Falcon may be using it. Raises WrongDatabase,
    JournalUnavailable."""
    with opening(path):
        connection = connect(path, writable=False)
        _check(connection, path, partitions)
        if _schema(connection) != SCHEMA_VERSION:
            raise WrongDatabase(f"{path} is of an earlier Falcon: falcon up of this one brings it to its own schema")
        connection.close()


def create(connection: apsw.Connection, partitions: int) -> None:
    """Call it within a transaction: make all that a file of this schema has."""
    _create(connection, partitions)
    _migrate(connection)
    _install(connection)


def copy(path: Path, to: Path, report: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Copy what is committed by now to another file, while others write. ``to`` must not exist, or be empty. ``report``
    is called with the bytes copied so far and the approximate total.

    The copy has another name as a log: a Falcon that continues from it writes another history. Raises
    JournalUnavailable.
    """
    try:
        connection = connect(path, writable=False)
        total = connection.pragma("page_count") * connection.pragma("page_size")

        def step() -> bool:
            done = to.stat().st_size if to.exists() else 0
            report(done, max(done, total))
            return False  # continue

        connection.set_progress_handler(step, _REPORT_OPERATIONS)
        connection.execute("VACUUM INTO ?", (str(to),))
        connection.close()
        report(to.stat().st_size, to.stat().st_size)
        copied = apsw.Connection(str(to))
        with transaction(copied):
            ((name,),) = copied.execute("SELECT value FROM meta WHERE key = 'instance'").fetchall()
            copied.execute("UPDATE meta SET value = ? WHERE key = 'instance'", (naming.renamed(str(name)),))
        copied.close()
    except apsw.Error as error:
        raise JournalUnavailable(f"cannot copy {path} to {to}: {cause(error)}") from error


def _create(connection: apsw.Connection, partitions: int) -> None:
    connection.execute(_SCHEMA)
    connection.execute("INSERT INTO log VALUES (1, 0, 0, zeroblob(?))", (8 * partitions,))
    rows = {
        "schema": _FIRST_SCHEMA,
        "format": FORMAT,
        "partitions": partitions,
        "instance": naming.new_name(),
        "made": time.time(),
    }
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())


def _check(connection: apsw.Connection, path: Path, partitions: int) -> None:
    meta: dict[str, Any] = dict(connection.execute("SELECT key, value FROM meta"))
    if why := refusal(str(path), meta.get("format"), "a new data folder"):
        raise WrongDatabase(why)
    schema = meta["schema"] % SEVERAL_FILES
    if schema > SCHEMA_VERSION:
        raise WrongDatabase(
            f"{path} has schema {meta['schema']} and was written by a newer Falcon, so run that; this one knows "
            f"{SCHEMA_VERSION}"
        )
    if schema < _FIRST_SCHEMA:
        raise WrongDatabase(
            f"{path} has schema {schema}, this Falcon knows {_FIRST_SCHEMA} to {SCHEMA_VERSION}: run the "
            "version that made it, export, and import into a new data folder"
        )
    if meta["partitions"] != partitions:
        raise WrongDatabase(
            f"{path} was made with {meta['partitions']} partitions, which is fixed for ever; the settings say "
            f"{partitions}. Set FALCON_PARTITIONS={meta['partitions']}, or take another data folder"
        )


def _has_schema(connection: apsw.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is not None


def _schema(connection: apsw.Connection) -> int:
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(row[0]) % SEVERAL_FILES


def _migrate(connection: apsw.Connection) -> None:
    for version in range(_schema(connection), SCHEMA_VERSION):
        connection.execute(_MIGRATIONS[version])
    mark_schema(connection, several=layout_of(connection).files > 1)


def mark_schema(connection: apsw.Connection, *, several: bool) -> None:
    """Write the schema's number. ``several``: only a Falcon that knows several files may open this one."""
    number = SCHEMA_VERSION + (SEVERAL_FILES if several else 0)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (number,))


def _install(connection: apsw.Connection) -> None:
    """Make empty tables for read models that the file does not have. They are filled if there is a log already."""
    known = {name for (name,) in connection.execute("SELECT name FROM projections")}
    ((has_log,),) = connection.execute("SELECT next > 0 FROM log").fetchall()
    for projection in READ_MODELS.keys() - known:
        for table, ddl in READ_MODELS[projection].sqlite.tables.items():
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(ddl.format("", "", unique=secrets.token_hex(4)))
        connection.execute(
            "INSERT INTO projections (name, applied, filling) VALUES (?, 0, ?)",
            (projection, Fill.FILLING if has_log else Fill.SHOWN),
        )


class transaction:
    """BEGIN IMMEDIATE ... COMMIT, or a savepoint within an open transaction. Rolls back when the block raises."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._nested = False

    def __enter__(self) -> apsw.Connection:
        self._nested = self._connection.in_transaction
        self._connection.execute("SAVEPOINT nested" if self._nested else "BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._connection.execute("RELEASE nested" if self._nested else "COMMIT")
        elif self._nested:
            self._connection.execute("ROLLBACK TO nested; RELEASE nested")
        # after some errors, such as a full disk, SQLite has rolled back by itself
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
