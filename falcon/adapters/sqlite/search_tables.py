"""The index of messages of one machine: a file beside the log's, and the sink that writes it.

An FTS5 table without content has the tokens, by the number of the message. Numbers rise from day to day, so that the
newest messages are found first without a look at the others. Within a day they are in the order of the log.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import apsw
import msgspec

from falcon.adapters.sqlite.database import BUSY_MILLISECONDS, cause, opening, transaction
from falcon.adapters.sqlite.layout import begin_of, layout_of, starts_of
from falcon.adapters.sqlite.source import source_of
from falcon.adapters.sqlite.tables import PASSING
from falcon.adapters.sqlite.tail import SqliteStarts
from falcon.domain.ids import Millis, Partition
from falcon.features.search.index import ForgetMessage, ForgetRoom, IndexMessage
from falcon.journal.envelope import Cursor, Position
from falcon.journal.naming import family
from falcon.read.store import Fill, ReadStoreUnavailable, Skip, StaleProjector, Stop
from falcon.read.write import Write

log = logging.getLogger("falcon")

# Of the rules of tokens, and of this layout: an index of other ones is thrown away.
VERSION: Final = 2
DAY_BITS: Final = 27  # of a number, for the messages of a day: 1,500 a second, all day long
DAY_MILLIS: Final[Millis] = 86_400_000  # in UTC
_MERGED_PAGES: Final = 200  # in one step of cleaning: some ten milliseconds

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- start: the number of the log's start that wrote the record before the position.
CREATE TABLE cursors (
    partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL, epoch INTEGER NOT NULL, n INTEGER NOT NULL,
    start INTEGER NOT NULL
);
-- next: how many numbers of the day are taken. newest: the time of its newest message. late: by how many milliseconds
-- a message was older at most than the newest one before it.
CREATE TABLE days (day INTEGER PRIMARY KEY, next INTEGER NOT NULL, newest INTEGER NOT NULL, late INTEGER NOT NULL);
CREATE TABLE places (
    id INTEGER PRIMARY KEY, room_id INTEGER NOT NULL, seq INTEGER NOT NULL, posted_at INTEGER NOT NULL,
    parent INTEGER
);
CREATE UNIQUE INDEX by_place ON places (room_id, seq);
-- What is in the second column takes two bytes more for each token.
CREATE VIRTUAL TABLE words USING fts5(
    tokens, marks, content='', contentless_delete=1, tokenize="ascii tokenchars ':'"
);
"""


class LogHistory(msgspec.Struct):
    """The log of the data folder, as it was when this process opened it.

    ``start``: gives the number of the start that wrote the record before an offset. ``begin``: the first offset since
    the folder got its number of files; earlier starts are not known.
    """

    name: str
    is_empty: bool
    end: Cursor
    start: Callable[[int], int]
    begin: Callable[[Partition], int]


def history_of(files: Sequence[apsw.Connection]) -> LogHistory:
    """``files``: connections to the files of the data folder, in order. Raises JournalUnavailable."""
    layout, source = layout_of(files[0]), source_of(files)
    starts, ends = SqliteStarts(layout, starts_of(files[0])), source.end()
    return LogHistory(
        source.instance,
        is_empty=not any(file.execute("SELECT 1 FROM journal LIMIT 1").fetchone() for file in files),
        end={partition: ends[partition] for partition in range(source.partitions)},
        start=partial(starts.number, 0),
        begin=lambda partition: begin_of(layout.segment(layout.place(partition))),
    )


def copy_index(path: Path, to: Path) -> None:
    """Copy the index as it is now, if it is there. One that cannot be read is left out: it can be made again."""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.execute("VACUUM INTO ?", (str(to),))
        to.chmod(0o600)
    except apsw.Error as error:
        to.unlink(missing_ok=True)
        log.warning("the index of messages is not copied: %s", cause(error))


class SqliteSearchTables:
    """ConsumedTables of the sink ``search``, for one thread."""

    def __init__(self, path: Path, history: LogHistory) -> None:
        """Opens the file, or makes it. Raises JournalUnavailable."""
        self._history = history
        with opening(path):
            self._connection = apsw.Connection(str(path))
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)
            self._connection.pragma("journal_mode", "wal")
            self._connection.pragma("synchronous", "NORMAL")  # what a crash takes is read from the log again
            self._connection.pragma("secure_delete", "ON")  # so that no words stay in pages that are free
            with transaction(self._connection):
                if self._connection.pragma("user_version") != VERSION:
                    self._make()

    def close(self) -> None:
        self._connection.close()

    # --- positions ----------------------------------------------------------------------------------------------------

    def cursor(self, projection: str) -> Cursor:
        found = self._rows("SELECT partition, offset, epoch, n FROM cursors")
        return {**dict.fromkeys(self._history.end, Position()), **{p: Position(*at) for p, *at in found}}

    def why_went_back(self) -> str | None:
        """Checks the positions, each time that the sink begins. What was made of another history is thrown away."""
        if why := self._why_other_history():
            log.error("the index of messages begins again: %s", why)
            self.begin_again()
        return None

    def _why_other_history(self) -> str | None:
        if (name := self._get("log")) != family(self._history.name):
            return f"the index is of log {name}"
        for partition, offset, start in self._rows("SELECT partition, offset, start FROM cursors"):
            if offset > self._history.end[partition].offset:
                return f"partition {partition} ends before offset {offset}"
            if offset > self._history.begin(partition) and self._history.start(offset) != start:
                return f"partition {partition} has another record before offset {offset}"
        return None

    def went_back(self, why: str | None) -> None:
        self.begin_again()

    @property
    def made(self) -> str:
        """Differs each time that the index begins again. Raises ReadStoreUnavailable."""
        return str(self._get("made"))

    def begin_again(self) -> None:
        """Throw the index away."""
        with self._writing(), transaction(self._connection):
            self._make()

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        with self._writing(), transaction(self._connection) as connection:
            stands = self.cursor(projection)
            if any(stands[partition] != at for partition, at in expected.items()):
                raise StaleProjector(f"{projection} has begun again")
            self.write(writes)
            rows = [(p, *at, self._history.start(at.offset)) for p, at in after.items()]
            connection.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?)", rows)

    def fill(self, projection: str) -> Fill:
        return Fill(self._get("fill"))

    def move_fill(self, projection: str, fill: Fill) -> None:
        with self._writing():
            self._set("fill", min(fill, self._get("fill")))

    # --- stops --------------------------------------------------------------------------------------------------------

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        with self._writing():
            self._set("stops", msgspec.json.encode({**self.stops(projection), partition: stop}).decode())

    def go_on(self, projection: str, partition: Partition) -> None:
        left = {p: stop for p, stop in self.stops(projection).items() if p != partition}
        with self._writing():
            self._set("stops", msgspec.json.encode(left).decode())

    def stops(self, projection: str) -> dict[Partition, Stop]:
        return msgspec.json.decode(self._get("stops"), type=dict[Partition, Stop])

    def skip(self, projection: str, skip: Skip) -> None:
        """Not on one machine, where events are not skipped."""
        raise NotImplementedError

    def skips(self, projection: str) -> list[Skip]:
        return []

    # --- messages -----------------------------------------------------------------------------------------------------

    def write(self, writes: Sequence[Write]) -> None:
        """Call it within a transaction."""
        days = dict[int, list[int]]()
        for write in writes:
            match write:
                case IndexMessage():
                    self._index(write, days)
                case ForgetMessage():
                    self._forget("room_id = ? AND seq = ?", (write.room_id, write.seq))
                case ForgetRoom():
                    self._forget("room_id = ?", (write.room_id,))
        rows = ((day, *figures) for day, figures in days.items())
        self._connection.executemany("INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?)", rows)

    def _index(self, message: IndexMessage, days: dict[int, list[int]]) -> None:
        execute = self._connection.execute
        day = message.posted_at // DAY_MILLIS
        if (figures := days.get(day)) is None:
            row: Any = execute("SELECT next, newest, late FROM days WHERE day = ?", (day,)).fetchone()
            figures = days[day] = list(row or (0, message.posted_at, 0))
        number = day << DAY_BITS | figures[0]
        place = (number, message.room_id, message.seq, message.posted_at, message.parent)
        execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?, ?)", place)
        if not self._connection.changes():
            row = execute("SELECT id FROM places WHERE room_id = ? AND seq = ?", place[1:3]).fetchone()
            number = row[0]
            self._drop_words(number)
        else:
            figures[0] += 1
            figures[1], newest = max(figures[1], message.posted_at), figures[1]
            figures[2] = max(figures[2], newest - message.posted_at)
        execute("INSERT INTO words (rowid, marks, tokens) VALUES (?, ?, ?)", (number, message.marks, message.tokens))

    def _forget(self, where: str, bindings: tuple[int, ...]) -> None:
        found: list[Any] = self._connection.execute(f"SELECT id FROM places WHERE {where}", bindings).fetchall()
        for (number,) in found:
            self._drop_words(number)
            self._connection.execute("DELETE FROM places WHERE id = ?", (number,))

    def _drop_words(self, number: int) -> None:
        """Put them out of reach. They stay in the file until :meth:`clean`."""
        self._connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
        self._set("unclean", 1)

    # --- cleaning -----------------------------------------------------------------------------------------------------

    @property
    def is_clean(self) -> bool:
        """False while the file has words of messages that were edited or deleted. Raises ReadStoreUnavailable."""
        return not self._get("unclean")

    def clean(self) -> bool:
        """Write some of the words again, without the ones that are out of reach. True: those are gone from the file.
        Raises ReadStoreUnavailable."""
        connection = self._connection
        with self._writing():
            begun = self._get("unclean") > 1
            with transaction(connection):
                before = connection.total_changes()
                pages = _MERGED_PAGES if begun else -_MERGED_PAGES  # the first step marks all segments
                connection.execute("INSERT INTO words(words, rank) VALUES ('merge', ?)", (pages,))
                is_done = begun and connection.total_changes() - before < 2  # as FTS5 says it
                self._set("unclean", 2)
            if is_done:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # raises BusyError while it is read
                self._set("unclean", 0)
            return is_done

    # --- the file -----------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Call it within a transaction."""
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'words_*'"
        for (name,) in self._connection.execute(names).fetchall():
            self._connection.execute(f"DROP TABLE {name}")
        self._connection.execute(_SCHEMA)
        rows = {
            "log": family(self._history.name),
            "fill": Fill.SHOWN if self._history.is_empty else Fill.FILLING,
            "stops": "{}",
            "unclean": 0,
            "made": secrets.token_hex(8),
        }
        self._connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        self._connection.pragma("user_version", VERSION)

    def _get(self, key: str) -> Any:
        ((value,),) = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return value

    def _set(self, key: str, value: int | str) -> None:
        self._connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except PASSING as error:
            raise ReadStoreUnavailable(f"cannot write the index of messages: {cause(error)}") from error

    def _rows(self, sql: str, *bindings: str) -> list[Any]:
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise ReadStoreUnavailable(f"cannot read the index of messages: {cause(error)}") from error
