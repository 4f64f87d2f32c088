"""The index of one machine keeps the contract, forgets words for good, and starts over with another log."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from falcon.adapters.sqlite import search_index
from falcon.adapters.sqlite.database import transaction
from falcon.adapters.sqlite.search_index import SqliteSearchIndex
from falcon.adapters.sqlite.search_tables import LogHistory, SqliteSearchTables
from falcon.features.messages.rules import MessagePosted
from falcon.features.search.index import ForgetMessage, Key, project
from falcon.journal.envelope import Position
from falcon.read.store import BeingFilled, Fill, StaleProjector
from falcon.read.write import Write
from tests.contracts.search_index import SearchIndexContract, posted, wanting
from tests.support.builders import NOW, recorded

HISTORY = LogHistory("log-1", True, {0: Position(10), 1: Position(10)}, lambda offset: 7, lambda partition: 0)
START, FIVE = {0: Position(), 1: Position()}, {0: Position(5), 1: Position(5)}


def write_all(tables: SqliteSearchTables, writes: Iterable[Write]) -> None:
    with transaction(tables._connection):
        tables.write(list(writes))


def some(room_id: int, seq: int, text: str, at: int = NOW) -> tuple[Write, ...]:
    return project(recorded(MessagePosted(posted(room_id, seq, text, at))))


def found(path: Path, q: str = "tea") -> list[Key]:
    return asyncio.run(SqliteSearchIndex(path).newest(wanting(q), None, 100)).keys


class TestSqliteSearchIndex(SearchIndexContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> SqliteSearchIndex:
        return SqliteSearchIndex(tmp_path / "search.db")

    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[Iterable[Write]], None]:
        tables = SqliteSearchTables(tmp_path / "search.db", HISTORY)
        return lambda writes: write_all(tables, writes)


def test_words_of_a_deleted_message_leave_the_file(tmp_path: Path) -> None:
    tables = SqliteSearchTables(tmp_path / "search.db", HISTORY)
    for n in range(50):  # of several segments
        write_all(tables, some(64, 2 * n + 1, f"tea {n}") + some(64, 2 * n + 2, f"xylophone{n % 2} 極秘"))
    assert _holds(tmp_path, "xylophone") and tables.is_clean
    write_all(tables, [ForgetMessage(64, 2 * n, n) for n in range(1, 51)])
    assert not tables.is_clean
    while not tables.clean():
        pass
    assert tables.is_clean
    assert not _holds(tmp_path, "xyloph") and not _holds(tmp_path, "極秘")
    assert len(found(tmp_path / "search.db")) == 50


def _holds(folder: Path, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in folder.iterdir())


def test_the_index_and_its_positions_move_together(tmp_path: Path) -> None:
    tables = SqliteSearchTables(tmp_path / "search.db", HISTORY)
    tables.apply("search", START, FIVE, some(64, 1, "tea"))
    with pytest.raises(StaleProjector):  # a second process has the place of the first one
        tables.apply("search", START, FIVE, some(64, 2, "tea"))
    assert found(tmp_path / "search.db") == [Key(NOW, 64, 1)]
    assert asyncio.run(SqliteSearchIndex(tmp_path / "search.db").reached()) == FIVE


@pytest.mark.parametrize(
    ("history", "keeps"),
    [
        (HISTORY, True),
        (LogHistory("log-2", False, HISTORY.end, HISTORY.start, HISTORY.begin), True),  # a copy of the folder
        (LogHistory("other", False, HISTORY.end, HISTORY.start, HISTORY.begin), False),
        (LogHistory("log-1", False, HISTORY.end, lambda offset: 8, HISTORY.begin), False),  # another record before 5
        (LogHistory("log-1", False, {0: Position(4), 1: Position(10)}, HISTORY.start, HISTORY.begin), False),
        # Since the folder has another number of files, the starts before it are not known.
        (LogHistory("log-2", False, HISTORY.end, lambda offset: 0, lambda partition: 5), True),
    ],
)
def test_an_index_of_another_history_is_thrown_away(tmp_path: Path, history: LogHistory, keeps: bool) -> None:
    path = tmp_path / "search.db"
    tables = SqliteSearchTables(path, HISTORY)
    tables.apply("search", START, FIVE, some(64, 1, "tea"))
    tables.close()
    again = SqliteSearchTables(path, history)
    assert again.why_went_back() is None
    assert again.cursor("search") == (FIVE if keeps else START)
    if keeps:
        assert found(path) == [Key(NOW, 64, 1)]
    else:
        assert again.fill("search") is Fill.FILLING
        with pytest.raises(BeingFilled):
            found(path)


def test_a_word_that_other_rooms_say_all_the_time_is_found_in_quiet_rooms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "_RANKED_LOOKED_AT_MAX", 50)
    tables = SqliteSearchTables(tmp_path / "search.db", HISTORY)
    write_all(tables, [w for seq in (1, 2) for room in range(40) for w in some(64 * (room + 2), seq, "tea", NOW + seq)])
    write_all(tables, [w for seq in range(3, 100) for w in some(64, seq, "tea", NOW + seq)])
    quiet = wanting("tea", *(64 * (room + 2) for room in range(40)))
    found = asyncio.run(SqliteSearchIndex(tmp_path / "search.db").best(quiet, 50))
    assert len(found) == 50 and {key.room_id for key in found} == set(quiet.rooms)


def test_a_message_that_comes_late_stands_at_its_time(tmp_path: Path) -> None:
    """An import brings rooms one after another, and each has days of its own."""
    tables = SqliteSearchTables(tmp_path / "search.db", HISTORY)
    hour = 3_600_000
    for room in (64, 128, 192):
        write_all(tables, [w for n in range(60) for w in some(room, n + 1, "tea", NOW - (60 - n) * hour + room)])
    keys = found(tmp_path / "search.db")
    assert keys == sorted(keys, reverse=True) and len(keys) == 100
    assert {key.room_id for key in keys[:3]} == {64, 128, 192}
