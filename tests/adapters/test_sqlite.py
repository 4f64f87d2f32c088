"""The embedded stores keep the contracts, and what a file adds to them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.adapters.sqlite.source import Everywhere, SqliteSource
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.journal.envelope import Cursor
from falcon.journal.ports import Journal, JournalUnavailable, Outcome, Wake
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
        return Everywhere(offset)


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
    assert append.outcome is Outcome.DURABLE


def test_a_takeover_gives_up_soon_where_somebody_else_is_writing(log: _Log) -> None:
    ann = Writer(log)
    other = database.connect(log.path)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(JournalUnavailable):
        ann.takeover(0)
    assert time.monotonic() - began < 5  # the file's own patience is ten
    other.execute("COMMIT")
    assert ann.takeover(0)


def test_a_commit_that_fails_is_of_unknown_outcome_and_so_is_all_behind_it(log: _Log) -> None:
    ann = Writer(log)
    ann.takeover(0)
    ann.append(0, "before")
    breaking = database.connect(log.path)
    breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'broken'); END")
    assert ann.append(0, "lost").outcome is Outcome.UNKNOWN
    breaking.execute("DROP TRIGGER broken")
    assert ann.append(0, "behind").outcome is Outcome.UNKNOWN
    ann.takeover(0)
    assert ann.append(0, "after").outcome is Outcome.DURABLE
    assert texts(read_all(log.source(), 0)) == ["before", "after"]


def test_a_full_disk_refuses_and_loses_nothing(log: _Log) -> None:
    ann = Writer(log)
    connection = database.connect(log.path)
    ann.journal = SqliteJournal(connection, ann.woken.set)
    ann.takeover(0)
    ann.append(0, "before")
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages)
    assert ann.append(0, "x" * 100_000).outcome is Outcome.UNKNOWN
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
    with pytest.raises(JournalUnavailable):
        database.prepare(tmp_path / "falcon.db", PARTITIONS)


def test_the_sqlite_inside_is_one_that_may_be_trusted_with_a_log() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= database.SQLITE_VERSION_MIN
