"""A log with its read tables in one file, as an embedded Falcon has them, for one thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import AT_END
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.adapters.sqlite.source import SqliteSource
from falcon.adapters.sqlite.tables import SqliteSavepoint, SqliteTables
from falcon.features.catalogue import Event
from falcon.features.messages import sqlite as timeline
from falcon.journal import codec
from falcon.journal.envelope import Cursor, Envelope, Position
from falcon.journal.ports import Append, AppendOutcome
from falcon.projections.rebuild import Rebuild
from falcon.projections.runner import InlineProjector, ProjectionCatchUp
from falcon.read.catalogue import READ_MODELS, Project, sqlite_projections
from tests.support.builders import NOW, PARTITION, PARTITIONS

T = TypeVar("T")

Rows = dict[str, list[tuple[Any, ...]]]

_DURABLE_SECONDS = 60


class Embedded:
    """``inline``: the projections that are applied within each commit."""

    def __init__(self, path: Path, inline: Mapping[str, Project] | None = None) -> None:
        inline = sqlite_projections() if inline is None else inline
        database.prepare(path, PARTITIONS)
        self.path = path
        self._woken = threading.Event()
        connection = database.connect(path)
        projector = InlineProjector(inline, SqliteTables(connection), partial(SqliteSavepoint, connection))
        self._journal = SqliteJournal(connection, self._woken.set, projector)
        self._epoch = self._journal.takeover([PARTITION], "a test")[PARTITION].epoch
        self._n = 0
        self._away = 0
        self._other = database.connect(path, synchronous="NORMAL")
        self._reading = database.connect(path, writable=False)
        self.source = SqliteSource(database.connect(path, writable=False))
        self.tables = SqliteTables(self._other)
        self.store = SqliteReadStore(self._reading)

    def __enter__(self) -> "Embedded":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        self._other.close()
        self._reading.close()

    # --- the log ------------------------------------------------------------------------------------------------------

    def append(self, *events: Event) -> None:
        """In one commit; durable when this returns."""
        self.submit(*events)
        self.settle()

    def submit(self, *events: Event) -> None:
        """Like ``append``, but without waiting."""
        first = self._n
        envelopes = [Envelope(PARTITION, self._epoch, n, NOW + n, event) for n, event in enumerate(events, first)]
        self._n += len(events)
        append = Append(PARTITION, self._epoch, envelopes, [codec.encode(envelope) for envelope in envelopes])
        self._away += 1
        self._journal.submit([append])

    def settle(self) -> None:
        """Wait until everything submitted is durable."""
        while self._away:
            assert self._woken.wait(_DURABLE_SECONDS), "the journal does not answer"
            self._woken.clear()
            for collected in self._journal.collect():
                assert collected.outcome is AppendOutcome.DURABLE
                self._away -= 1

    def everything(self) -> list[Event]:
        """All events of the log."""
        recorded, _ = self.source.read({PARTITION: Position()}, 10_000)
        return [each.envelope.event for each in recorded]

    def spoil(self, data: bytes, type: str = "message-posted", *, critical: bool = True) -> None:
        """Put a record that no codec wrote at the end of the log. No projection has been applied to it."""
        self._other.execute("UPDATE projections SET applied = (SELECT next FROM log) WHERE applied = ?", (AT_END,))
        (offset,) = self._fetch("UPDATE log SET next = next + 1 RETURNING next - 1")[0]
        row = (offset, PARTITION, type, critical, data)
        self._other.execute("INSERT INTO journal VALUES (?, ?, 1, 0, 0, ?, 1, ?, ?)", row)

    # --- the tables ---------------------------------------------------------------------------------------------------

    def catch_up(self, of: Mapping[str, Project] | None = None) -> ProjectionCatchUp:
        return ProjectionCatchUp(sqlite_projections() if of is None else of, self.source, self.tables)

    def caught_up(self, of: Mapping[str, Project] | None = None) -> "Embedded":
        catch_up = self.catch_up(of)
        while catch_up.step():
            pass
        return self

    def rebuild(
        self, name: str, project: Project | None = None, progress: Callable[[Cursor], None] = lambda reached: None
    ) -> int:
        return Rebuild(name, project or sqlite_projections()[name], self.source, self.tables, progress).run()

    def stand_at(self, offset: int) -> None:
        """Put the position back, as a crash between the writes of the tables and of their position leaves it."""
        self._other.execute("UPDATE projections SET applied = ?", (offset,))

    def rows(self, *names: str) -> Rows:
        """Everything in the live tables, of all projections or of these. Rows of the timeline with their messages."""
        rows = {
            table: sorted(self._fetch(f"SELECT * FROM {table}"))
            for projection in names or READ_MODELS
            for table in READ_MODELS[projection].sqlite.tables
        }
        if "timeline" in rows:
            placed = self._fetch(f"SELECT {timeline.ROW} FROM timeline t {timeline.ITS_EVENT} ORDER BY t.place")
            rows["timeline"] = list(zip((row[0] for row in placed), timeline.messages_in(placed), strict=True))
        return rows

    def applied(self) -> dict[str, int]:
        return dict(self._fetch(f"SELECT name, iif(applied = {AT_END}, next, applied) FROM projections, log"))

    def table_names(self) -> set[str]:
        return {name for (name,) in self._fetch("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def _fetch(self, sql: str) -> list[Any]:
        return list(self._other.execute(sql))


def lose(path: Path, read_model: str) -> None:
    """Remove the model, as if it had never been installed."""
    connection = database.connect(path)
    for table in READ_MODELS[read_model].sqlite.tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DELETE FROM projections WHERE name = ?", (read_model,))
    connection.close()


def asked(query: Coroutine[Any, Any, T]) -> T:
    """The answer to a query of the read store."""
    return asyncio.run(query)


def in_batches(events: Sequence[Event], sizes: Sequence[int]) -> list[Sequence[Event]]:
    """``sizes`` come round again and again."""
    batches: list[Sequence[Event]] = []
    start = 0
    while start < len(events):
        size = sizes[len(batches) % len(sizes)]
        batches.append(events[start : start + size])
        start += size
    return batches
