"""The embedded stores keep the contracts, and what a file adds to them."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite import journal as journals
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.adapters.sqlite.source import SqliteSource, UniformCursor
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.features.messages.table import UpsertMessage
from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import Append, AppendOutcome, Journal, JournalUnavailable, Wake
from falcon.read.store import ReadStoreUnavailable
from tests.contracts.journal import PARTITIONS, JournalContract, Log, Writer, read_all, texts
from tests.contracts.read_store import ReadStoreContract, Store


class _Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        database.prepare(path, PARTITIONS)

    def journal(self, wake: Wake) -> Journal:
        return SqliteJournal(database.connect(self.path), wake)

    def source(self) -> SqliteSource:
        return SqliteSource(database.connect(self.path, writable=False))

    snapshots = source


class _Store:
    def __init__(self, path: Path) -> None:
        database.prepare(path, PARTITIONS)
        self.tables = SqliteTables(database.connect(path))
        self.reads = SqliteReadStore(database.connect(path, writable=False))

    def cursor(self, offset: int) -> Cursor:
        return UniformCursor(offset)


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        yield _Log(tmp_path / "falcon.db")


class TestSqliteReadStore(ReadStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        yield _Store(tmp_path / "falcon.db")


@pytest.fixture
def log(tmp_path: Path) -> _Log:
    return _Log(tmp_path / "falcon.db")


def test_what_waits_while_a_commit_is_away_goes_with_the_next_one(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(0)
    appends = [ann.prepare(0, f"{i}") for i in range(50)]
    for append in appends:
        ann.journal.submit([append])
    ann.settle(ann.prepare(0, "last"))
    assert texts(read_all(log.source(), 0)) == [*(f"{i}" for i in range(50)), "last"]


def test_a_writer_waits_for_another_one_without_holding_its_own_thread_up(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(0)
    other = database.connect(log.path)
    other.execute("BEGIN IMMEDIATE")
    append = ann.prepare(0, "patience")
    ann.journal.submit([append])  # returns at once
    assert append.outcome is None
    threading.Timer(0.05, other.execute, ["COMMIT"]).start()
    ann.settle(ann.prepare(0, "more"))
    assert append.outcome is AppendOutcome.DURABLE


def test_a_takeover_gives_up_soon_where_somebody_else_is_writing(log: _Log) -> None:
    ann = Writer(log)
    other = database.connect(log.path)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(JournalUnavailable):
        ann.takeover(0)
    assert time.monotonic() - began < 9  # the file's own patience is ten
    other.execute("COMMIT")
    assert ann.takeover(0)


def test_a_commit_that_fails_is_of_unknown_outcome_and_so_is_all_behind_it(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(0)
    ann.append(0, "before")
    breaking = database.connect(log.path)
    breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'broken'); END")
    assert ann.append(0, "lost").outcome is AppendOutcome.UNKNOWN
    breaking.execute("DROP TRIGGER broken")
    assert ann.append(0, "behind").outcome is AppendOutcome.UNKNOWN
    ann.takeover(0)
    assert ann.append(0, "after").outcome is AppendOutcome.DURABLE
    assert texts(read_all(log.source(), 0)) == ["before", "after"]


def test_a_checkpoint_costs_the_same_however_many_answers_are_kept(log: _Log) -> None:
    assert _steps_of_a_checkpoint(log, 5) == _steps_of_a_checkpoint(log, 500)


def _steps_of_a_checkpoint(log: _Log, kept: int) -> int:
    """How many instructions SQLite takes for one that brings new answers and deletes old ones."""
    connection = database.connect(log.path)
    ann = Writer(log)
    ann.journal = SqliteJournal(connection, ann.woken.set)
    ann.takeover(0)
    for number in range(kept):
        ann.checkpoint(0, Position(number, 1, 1), answers=b"answers", answers_at=1_000 + number)
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    connection.set_progress_handler(count, 1)
    ann.checkpoint(0, Position(kept, 1, 1), answers=b"new", answers_at=9_000, answers_expired=1_001)
    connection.set_progress_handler(None)
    ann.checkpoint(0, Position(kept + 1, 1, 1), answers=b"", answers_expired=100_000)
    return steps


def test_a_full_disk_refuses_and_loses_nothing(log: _Log) -> None:
    ann = Writer(log)
    connection = database.connect(log.path)
    ann.journal = SqliteJournal(connection, ann.woken.set)
    ann.takeover(0)
    ann.append(0, "before")
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages)
    assert ann.append(0, "x" * 100_000).outcome is AppendOutcome.UNKNOWN
    connection.pragma("max_page_count", 1_000_000)
    ann.takeover(0)
    ann.append(0, "after")
    assert texts(read_all(log.source(), 0)) == ["before", "after"]


def test_a_file_for_another_number_of_partitions_is_refused(log: _Log) -> None:
    with pytest.raises(WrongDatabase, match=f"FALCON_PARTITIONS={PARTITIONS}"):
        database.prepare(log.path, PARTITIONS + 1)


def test_a_file_of_another_schema_is_refused(log: _Log) -> None:
    database.connect(log.path).execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    with pytest.raises(WrongDatabase, match="schema 99"):
        database.prepare(log.path, PARTITIONS)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "falcon.db").write_bytes(b"certainly no database" * 1_000)
    with pytest.raises(JournalUnavailable, match=r"^cannot open .*falcon\.db: .*; check the disk, and restore"):
        database.prepare(tmp_path / "falcon.db", PARTITIONS)


def test_a_log_that_cannot_be_read_says_what_to_do(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(0)
    for _ in range(10):
        ann.append(0, "x" * 10_000)
    ann.journal.close()
    os.truncate(log.path, log.path.stat().st_size // 2)
    with pytest.raises(JournalUnavailable, match="; check the disk, and restore a copy of the data folder"):
        read_all(log.source(), 0)


def test_the_sqlite_inside_is_one_that_may_be_trusted_with_a_log() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= database.SQLITE_VERSION_MIN


def test_what_is_committed_while_a_reader_looks_is_read_once(log: _Log, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = Writer(log)
    ann.takeover(0, 1)
    ann.append(0, "one")
    source = log.source()
    end = source._next

    def then_somebody_writes() -> int:
        seen = end()
        if len(read) == 0:
            ann.append(0, "two")
        return seen

    read: list[str] = []
    monkeypatch.setattr(source, "_next", then_somebody_writes)
    cursor: Cursor = dict.fromkeys((0, 1), Position())
    for _ in range(3):
        events, cursor = source.read(cursor, 10)
        read += texts(events)
    assert read == ["one", "two"]


# --- a commit that fails or waits, and others' appends behind it ------------------------------------------------------


def appended(log: _Log, *partitions: int) -> tuple[Writer, list[Append]]:
    ann = Writer(log)
    ann.takeover(0, 1)
    return ann, [ann.prepare(partition, f"{i}") for i, partition in enumerate(partitions)]


def test_a_file_that_is_held_for_longer_than_the_patience_is_waited_for_all_the_same(
    log: _Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "BUSY_MILLISECONDS", 5)
    ann, (append,) = appended(log, 0)
    other = database.connect(log.path)
    other.execute("BEGIN IMMEDIATE")
    ann.journal.submit([append])
    for _ in range(5):  # the thread gives up, and begins again
        assert ann.woken.wait(60)
        ann.woken.clear()
        assert ann.journal.collect() == []
    other.execute("COMMIT")
    ann.wait_for(append)
    assert append.outcome is AppendOutcome.DURABLE


def test_appends_behind_one_of_a_failed_epoch_do_not_wait_for_the_next_call(log: _Log) -> None:
    ann, (lost, late, other) = appended(log, 0, 0, 1)
    breaking = database.connect(log.path)
    breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'broken'); END")
    ann.settle(lost)
    breaking.execute("DROP TRIGGER broken")
    ann.journal.submit([late, other])
    ann.wait_for(late, other)
    assert (late.outcome, other.outcome) == (AppendOutcome.UNKNOWN, AppendOutcome.DURABLE)


def test_what_waits_behind_a_commit_that_fails_is_written_by_itself(log: _Log) -> None:
    ann, (first, broken, other, last) = appended(log, 1, 0, 1, 1)
    breaking = database.connect(log.path)
    breaking.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON journal WHEN new.partition = 0 BEGIN SELECT raise(ABORT, 'broken'); END"
    )
    ann.journal.submit([first])
    ann.journal.submit([broken])  # the next group, alone: those behind it are submitted when it is under way
    ann.wait_for(first, broken)
    ann.journal.submit([other])
    ann.journal.submit([last])
    ann.wait_for(other, last)
    outcomes = [append.outcome for append in (first, broken, other, last)]
    assert outcomes == [AppendOutcome.DURABLE, AppendOutcome.UNKNOWN, AppendOutcome.DURABLE, AppendOutcome.DURABLE]
    assert texts(read_all(log.source(), 1)) == ["0", "2", "3"]


def test_a_group_that_fails_takes_its_own_with_it_and_not_the_next_one(log: _Log) -> None:
    """The next group begins within the failure of the one before."""
    ann = Writer(log)
    connection = database.connect(log.path)
    ann.journal = journal = SqliteJournal(connection, ann.woken.set)
    ann.takeover(0, 1)
    first, broken, behind = ann.prepare(1, "first"), ann.prepare(0, "x" * 100_000), ann.prepare(1, "behind")
    connection.pragma("max_page_count", connection.pragma("page_count") + 3)
    journal.submit([first])
    journal._waiting += [broken]  # one group
    settle = journal._settle

    def then_more_comes(error: apsw.Error | None) -> None:
        if error is not None:
            connection.pragma("max_page_count", 1_000_000)
            journal._waiting.append(behind)
        settle(error)

    journal._settle = then_more_comes  # type: ignore[method-assign]
    ann.wait_for(first, broken, behind)
    assert [append.outcome for append in (first, broken, behind)] == [
        AppendOutcome.DURABLE, AppendOutcome.UNKNOWN, AppendOutcome.DURABLE
    ]  # fmt: skip
    ann.settle(more := ann.prepare(1, "more"))
    assert more.outcome is AppendOutcome.DURABLE
    assert texts(read_all(log.source(), 1)) == ["first", "behind", "more"]


# --- read tables that are away ----------------------------------------------------------------------------------------

OPERATIONS: Final[dict[str, Callable[[SqliteTables], object]]] = {
    "cursor": lambda tables: tables.cursor("timeline"),
    "apply": lambda tables: tables.apply(
        "timeline", UniformCursor(0), UniformCursor(1), [UpsertMessage(64, 1, b"hello")]
    ),
    "begin_rebuild": lambda tables: tables.begin_rebuild("timeline"),
    "finish_rebuild": lambda tables: tables.finish_rebuild("timeline", lambda: True),
    "stopped": lambda tables: tables.stopped("timeline", "no"),
    "why_stopped": lambda tables: tables.why_stopped("timeline"),
}
READING: Final = ("cursor", "why_stopped")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database.prepare(tmp_path / "falcon.db", PARTITIONS)
    return tmp_path / "falcon.db"


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - set(READING)))
def test_tables_that_another_process_holds_are_away_until_it_lets_go(path: Path, operation: str) -> None:
    holding, connection = database.connect(path), database.connect(path)
    connection.set_busy_timeout(0)
    tables = SqliteTables(connection)
    if operation == "finish_rebuild":
        tables.begin_rebuild("timeline")
    holding.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReadStoreUnavailable, match="locked"):
        OPERATIONS[operation](tables)
    assert all(OPERATIONS[reading](tables) in (UniformCursor(0), None) for reading in READING)
    holding.execute("ROLLBACK")
    OPERATIONS[operation](tables)


@pytest.mark.parametrize("operation", READING)
def test_tables_that_cannot_be_read_are_away(path: Path, operation: str) -> None:
    connection = database.connect(path)
    connection.execute("ALTER TABLE projections RENAME TO lost")
    with pytest.raises(ReadStoreUnavailable, match="no such table"):
        OPERATIONS[operation](SqliteTables(connection))


def test_a_write_that_the_tables_will_never_take_is_no_outage(path: Path) -> None:
    """It would be tried again for ever: the projection must stop and say so."""
    tables = SqliteTables(database.connect(path))
    with pytest.raises(apsw.ConstraintError):
        tables.apply("timeline", UniformCursor(0), UniformCursor(1), [UpsertMessage(64, 1, None)])  # type: ignore[arg-type]
    assert tables.cursor("timeline") == UniformCursor(0)


def test_a_rebuild_that_another_one_has_taken_away_goes_no_further(path: Path) -> None:
    tables = SqliteTables(database.connect(path))
    shadow = tables.begin_rebuild("timeline")
    tables.finish_rebuild("timeline", lambda: True)
    with pytest.raises(ReadStoreUnavailable, match="taken away"):
        tables.cursor(shadow)


def test_queries_of_tables_that_cannot_be_read_say_so(path: Path) -> None:
    connection = database.connect(path)
    connection.execute("ALTER TABLE timeline RENAME TO lost")
    reads = SqliteReadStore(database.connect(path, writable=False))
    with pytest.raises(ReadStoreUnavailable, match="no such table"):
        asyncio.run(reads.page(64, 1, 9))
    connection.execute("ALTER TABLE lost RENAME TO timeline")
    assert asyncio.run(reads.page(64, 1, 9)).messages == []


def test_a_query_is_prepared_once_whichever_members_ask(path: Path) -> None:
    """It joins tables. SQLite prepares a join again for each value of a parameter, unless it hears otherwise."""
    connection = database.connect(path, writable=False)
    reads = SqliteReadStore(connection)
    asyncio.run(reads.access(64, 1))
    prepared: list[object] = []

    def allow(*step: object) -> int:
        prepared.append(step)
        return apsw.SQLITE_OK

    connection.authorizer = allow
    asyncio.run(reads.access(128, 2))
    asyncio.run(reads.page(64, 1, 9))
    assert prepared, "SQLite asks about what it prepares"
    prepared.clear()
    for room_id, account_id in ((64, 1), (128, 2), (192, 3)):
        asyncio.run(reads.access(room_id, account_id))
    assert prepared == []
