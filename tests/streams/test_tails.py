"""The log in one file keeps the tails' contract, also for a reader that is given what its process commits."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.source import SqliteSource
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.journal.envelope import Position
from falcon.journal.ports import Append, AppendOutcome, Journal, Wake
from falcon.streams.feed import decoded
from tests.contracts.journal import PARTITIONS, Writer
from tests.contracts.tail import ONE, OTHER, TailContract, TailedLog, texts


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


class _OwnLog(_Log):
    """A tail is given what any writer of the file commits, on the loop and a moment later."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tails: list[tuple[asyncio.AbstractEventLoop, SqliteTail]] = []

    def journal(self, wake: Wake) -> Journal:
        return SqliteJournal(database.connect(self.path), wake, committed=self._give)

    def tail(self) -> SqliteTail:
        tail = super().tail()
        self._tails.append((asyncio.get_running_loop(), tail))
        return tail

    def _give(self, appends: Sequence[Append]) -> None:
        for loop, tail in self._tails:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tail.take, appends)


class TestSqliteTailOfTheWriter(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        yield _OwnLog(tmp_path / "falcon.db")


class _Reader:
    """Follows a log beside its writer, who gives what is committed when the test says so. ``looks``: into the file."""

    def __init__(self, log: _Log, monkeypatch: pytest.MonkeyPatch) -> None:
        self.committed: list[Sequence[Append]] = []
        self.writer = self.another(log, self.committed.append)
        self.tail = log.tail()
        self.cursor = {0: Position()}
        self.looks = 0
        looks = SqliteTail._records

        def counted(*look: Any) -> Any:
            self.looks += 1
            return looks(*look)

        monkeypatch.setattr(SqliteTail, "_records", counted)

    def another(self, log: _Log, committed: Callable[[Sequence[Append]], None] = lambda appends: None) -> Writer:
        class Committing(_Log):
            def journal(self, wake: Wake) -> Journal:
                return SqliteJournal(database.connect(self.path), wake, committed=committed)

        writer = Writer(Committing(log.path))
        writer.takeover(*range(PARTITIONS))
        return writer

    def give(self) -> None:
        for appends in self.committed:
            self.tail.take(appends)
        self.committed.clear()
        self.tail.nudge()

    async def read(self) -> list[str]:
        self.looks = 0
        located, self.cursor = await self.tail.read(self.cursor, 1_000)
        for raw in located:
            assert decoded(raw) == decoded(msgspec.structs.replace(raw, envelope=None)), "it is given as it is written"
        return texts(located)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Reader:
    return _Reader(_Log(tmp_path / "falcon.db"), monkeypatch)


def test_who_follows_gets_what_its_process_commits_without_a_look_into_the_file(reader: _Reader) -> None:
    async def following() -> None:
        reader.writer.append(ONE, "from before")
        assert await reader.read() == ["from before"]
        reader.committed.clear()
        reader.writer.append(ONE, "one", "two")
        reader.writer.append(OTHER, "three")
        reader.give()
        assert (await reader.read(), reader.looks) == (["one", "two", "three"], 0)
        assert reader.cursor == {0: Position((await reader.tail.ends({0: None}))[0])}

    asyncio.run(following())


def test_what_another_process_has_committed_between_is_read_in_its_place(tmp_path: Path, reader: _Reader) -> None:
    other = reader.another(_Log(tmp_path / "falcon.db"))
    reader.writer.takeover(ONE)

    async def following() -> None:
        assert await reader.read() == []
        reader.writer.append(ONE, "one")
        other.append(OTHER, "of another")
        reader.writer.append(ONE, "two")
        reader.give()
        assert await reader.read() == ["one", "of another", "two"]
        reader.writer.append(ONE, "three")
        reader.give()
        assert (await reader.read(), reader.looks) == (["three"], 0)

    asyncio.run(following())


def test_what_was_found_in_the_file_before_it_was_given_comes_once(reader: _Reader) -> None:
    async def following() -> None:
        assert await reader.read() == []
        reader.writer.append(ONE, "one")
        assert await reader.read() == ["one"]
        reader.give()
        reader.writer.append(ONE, "two")
        reader.give()
        assert (await reader.read(), reader.looks) == (["two"], 0)

    asyncio.run(following())


def test_a_commit_that_fails_is_not_given(tmp_path: Path, reader: _Reader) -> None:
    reader.writer.append(ONE, "one")
    reader.committed.clear()
    breaking = database.connect(tmp_path / "falcon.db")
    breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON journal BEGIN SELECT raise(ABORT, 'broken'); END")
    assert reader.writer.append(ONE, "lost").outcome is AppendOutcome.UNKNOWN
    assert reader.committed == []


def test_a_reader_that_falls_behind_keeps_little_and_reads_the_rest_from_the_file(reader: _Reader) -> None:
    async def following() -> None:
        assert await reader.read() == []
        said = [f"{number} " + "x" * 8_000 for number in range(200)]
        for text in said:
            reader.writer.append(ONE, text)
        reader.give()
        assert not reader.tail._committed, "1.6 MB"
        assert (await reader.read(), reader.looks > 0) == (said, True)
        reader.writer.append(ONE, "one")
        reader.give()
        assert (await reader.read(), reader.looks) == (["one"], 0)

    asyncio.run(following())


def test_who_comes_back_at_another_place_reads_from_there(reader: _Reader) -> None:
    async def following() -> None:
        reader.writer.append(ONE, "one")
        assert await reader.read() == ["one"]
        reader.committed.clear()
        reader.writer.append(ONE, "two")
        reader.give()
        reader.cursor = {0: Position()}
        assert await reader.read() == ["one", "two"]

    asyncio.run(following())
