"""The log in one file keeps the tails' contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.source import SqliteSource
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.journal.ports import Journal, Wake
from tests.contracts.journal import PARTITIONS
from tests.contracts.tail import TailContract, TailedLog


class _Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        files.prepare(path, PARTITIONS)

    def journal(self, wake: Wake) -> Journal:
        return SqliteJournal(database.connect(self.path), wake)

    def source(self) -> SqliteSource:
        return SqliteSource(database.connect(self.path, writable=False))

    snapshots = source

    def tail(self) -> SqliteTail:
        return SqliteTail([database.connect(self.path, writable=False)], 0.005)


class TestSqliteTail(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        yield _Log(tmp_path / "falcon.db")
