"""A sink shows what the log says, wherever it was killed."""

import asyncio
from pathlib import Path
from typing import Any

import apsw
import pytest

from falcon.adapters.sqlite.search_index import SqliteSearchIndex
from falcon.adapters.sqlite.search_tables import LogHistory, SqliteSearchTables
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.rules import RoomDeleted
from falcon.features.search.index import Key, Wanted, project
from falcon.features.search.terms import parse
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.journal.ports import LogWentBack
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.sinks import SINKS
from falcon.read.catalogue import READ_MODELS
from tests.support.builders import ANN, NOW
from tools.harness.memory.search import MemoryIndex

ROOMS = (64, 128)


def said(room_id: int, seq: int, text: str = "tea", *, deleted: bool = False) -> Message:
    return Message(room_id, seq, ANN, text, NOW + seq, deleted=deleted)


EVENTS: tuple[Event, ...] = (
    *(MessagePosted(said(room, seq)) for seq in range(1, 6) for room in ROOMS),
    MessageEdited(said(64, 1, "coffee"), 1),
    MessageDeleted(said(64, 2, "", deleted=True), 2),
    RoomDeleted(128, (), "", "", NOW, 0, True),
    *(MessagePosted(said(64, seq)) for seq in range(6, 12)),
    MessageEdited(said(64, 1, "tea again"), 3),
    MessageDeleted(said(64, 11, "", deleted=True), 4),
)


class Log:
    """One partition. ``lost``: what the next check says the log has lost."""

    partitions = 1

    def __init__(self, events: tuple[Event, ...] = EVENTS) -> None:
        self._recorded = [Recorded(n, Envelope(0, 1, n, NOW, event)) for n, event in enumerate(events)]
        self.lost = ""

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        start = cursor[0].offset
        found = self._recorded[start : start + limit]
        return found, {0: Position(start + len(found))}

    def check(self, cursor: Cursor) -> None:
        if self.lost and cursor[0].offset:
            raise LogWentBack(self.lost)

    def end(self) -> Cursor:
        return {0: Position(len(self._recorded))}

    def remaining(self, cursor: Cursor) -> int:
        return len(self._recorded) - cursor[0].offset

    def wait(self, seconds: float) -> None:
        """Nothing comes."""


class Killed(BaseException):
    """Nothing of the process runs after it."""


class Sink:
    def __init__(self, path: Path, log: Log, killed_after: int | None = None) -> None:
        """``killed_after``: so many statements."""
        self._history = LogHistory("log", False, log.end(), lambda offset: 0, lambda partition: 0)
        self.tables = SqliteSearchTables(path, self._history)
        self.statements = 0
        connection: apsw.Connection = self.tables._connection

        def trace(cursor: Any, sql: str, bindings: Any) -> bool:
            self.statements += 1
            if killed_after is not None and self.statements > killed_after:
                raise Killed
            return True

        connection.exec_trace = trace
        self._consumer = ProjectionConsumer("search", project, log, self.tables, lambda: frozenset([0]), events=5)

    def run(self) -> None:
        """All that the log has."""
        while self._consumer.step():
            pass


def shown(path: Path) -> list[Key]:
    connection = SqliteSearchIndex(path)._open()
    connection.execute("SELECT 1").fetchall()
    tables = "SELECT posted_at, room_id, seq FROM words JOIN places ON id = words.rowid WHERE words MATCH ?"
    return sorted((Key(*row) for row in connection.execute(tables, ("tokens : tea",))), reverse=True)


def expected() -> list[Key]:
    index = MemoryIndex()
    for n, event in enumerate(EVENTS):
        index.write(project(Recorded(n, Envelope(0, 1, n, NOW, event))))
    return asyncio.run(index.newest(Wanted(parse("tea"), ROOMS), None, 100)).keys


def test_a_sink_that_is_killed_at_any_statement_shows_the_same(tmp_path: Path) -> None:
    whole = Sink(tmp_path / "whole.db", Log())
    whole.run()
    assert shown(tmp_path / "whole.db") == expected() != []
    assert whole.statements > 90
    for statements in range(whole.statements):
        path = tmp_path / f"{statements}.db"
        killed = Sink(path, Log(), statements)
        with pytest.raises(Killed):
            killed.run()
        killed.tables._connection.exec_trace = None
        killed.tables.close()
        again = Sink(path, Log())
        again.run()
        assert shown(path) == expected(), f"killed after {statements} statements"
        again.tables.close()


@pytest.mark.parametrize("kept", [3, len(EVENTS)])
def test_a_sink_of_a_log_that_went_back_says_so_and_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    """The log is shorter than the sink's position, or says itself that it has lost the place."""
    path = tmp_path / "search.db"
    Sink(path, Log()).run()
    log = Log(EVENTS[:kept])
    log.lost = "an older copy"
    Sink(path, log).run()
    assert "partition 0 ends before" in caplog.text or "an older copy" in caplog.text
    assert shown(path) == (expected() if kept > 3 else [Key(NOW + 2, 64, 2), Key(NOW + 1, 128, 1), Key(NOW + 1, 64, 1)])


def test_no_read_waits_for_a_sink() -> None:
    """``applied`` is the least position of all read models."""
    assert not SINKS.keys() & READ_MODELS.keys()
