"""A log and tables in several database files, for tests of one thread. In Falcon each process writes its own file."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.read_store import read_store
from falcon.adapters.sqlite.source import SqliteFilesSource, SqliteSource, UniformCursor, source_of
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import Checkpointed, Journal, JournalUnavailable, Snapshot, Submission, Wake
from falcon.read.store import WITHOUT_SKIPS, Fill, Recipe, UnfinishedRebuild
from falcon.read.write import Write


class FilesLog:
    """A log in so many files, as the contracts want one."""

    def __init__(self, path: Path, partitions: int, count: int) -> None:
        files.prepare(path, partitions, count)
        self.paths = files.paths(path, count)

    def journal(self, wake: Wake) -> Journal:
        return FilesJournal([SqliteJournal(database.connect(path), wake) for path in self.paths])

    def source(self) -> SqliteSource | SqliteFilesSource:
        return source_of([database.connect(path, writable=False) for path in self.paths])

    def snapshots(self) -> "FilesSnapshots":
        return FilesSnapshots([SqliteSource(database.connect(path, writable=False)) for path in self.paths])

    def tail(self) -> SqliteTail:
        return SqliteTail([database.connect(path, writable=False) for path in self.paths], 0.005)


def divide(first: Path, partitions: int, count: int) -> None:
    """Put a copy with so many files in the place of the files. Tables count as if they showed all of the log: tests of
    the log write messages of one room into all partitions, which no tables can show."""
    before = files.present(first)
    for path in before:
        with closing(database.connect(path)) as connection:
            connection.execute("UPDATE projections SET applied = (SELECT next FROM log)")
    folder = first.parent / "divided"
    folder.mkdir()
    copied = files.copy(first, folder / first.name, count=count, partitions=partitions)
    for path in before:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    for path in copied:
        path.replace(first.with_name(path.name))
    shutil.rmtree(folder)


class FilesJournal:
    """A journal of each file. What is of a partition goes to the journal of its file."""

    def __init__(self, journals: Sequence[SqliteJournal]) -> None:
        self._journals = journals

    def takeover(self, partitions: Sequence[Partition], owner: str) -> dict[Partition, Position]:
        taken: dict[Partition, Position] = {}
        for place, journal in enumerate(self._journals):
            if of_file := [partition for partition in partitions if partition % len(self._journals) == place]:
                taken |= journal.takeover(of_file, owner)
        if not taken:
            raise JournalUnavailable("no partition could be taken")
        return taken

    def submit(self, submissions: Sequence[Submission]) -> None:
        for place, journal in enumerate(self._journals):
            journal.submit([each for each in submissions if each.partition % len(self._journals) == place])

    def collect(self) -> list[Submission]:
        return [each for journal in self._journals for each in journal.collect()]

    def flush(self) -> None:
        for journal in self._journals:
            journal.flush()

    def close(self) -> None:
        for journal in self._journals:
            journal.close()


class FilesSnapshots:
    def __init__(self, sources: Sequence[SqliteSource]) -> None:
        self._sources = sources

    def _of(self, partition: Partition) -> SqliteSource:
        return self._sources[partition % len(self._sources)]

    def checkpoint(self, partition: Partition, version: int) -> Checkpointed | None:
        return self._of(partition).checkpoint(partition, version)

    def load(self, partition: Partition, key: str, version: int) -> Snapshot | None:
        return self._of(partition).load(partition, key, version)

    def answers(self, partition: Partition, version: int, since: Millis) -> list[bytes]:
        return self._of(partition).answers(partition, version, since)


class FilesStore:
    """Tables in so many files, and queries of them. All stand at the same position."""

    def __init__(self, path: Path, partitions: int, count: int) -> None:
        paths = files.paths(path, count)
        for each in paths:
            database.prepare(each, partitions)
        self.tables = FilesTables([SqliteTables(database.connect(each)) for each in paths], partitions)
        self.reads = read_store([database.connect(each, writable=False) for each in paths], partitions)

    def cursor(self, offset: int) -> Cursor:
        return UniformCursor(offset)


class FilesTables:
    """ProjectionTables of each file. A write goes to the file of the room or account that it is about."""

    def __init__(self, tables: Sequence[SqliteTables], partitions: int) -> None:
        self._tables = tables
        self._partitions = partitions

    def cursor(self, projection: str) -> Cursor:
        return self._tables[0].cursor(projection)

    def apply(self, projection: str, expected: Cursor, after: Cursor, writes: Sequence[Write]) -> None:
        for place, tables in enumerate(self._tables):
            tables.apply(projection, expected, after, list(self._of_file(place, writes)))

    def _of_file(self, place: int, writes: Sequence[Write]) -> Iterable[Write]:
        for write in writes:
            names = ("room_id", "identity", "account_id")
            identity = next(getattr(write, name) for name in names if hasattr(write, name))
            if identity % self._partitions % len(self._tables) == place:
                yield write

    def begin_rebuild(self, projection: str, recipe: Recipe = WITHOUT_SKIPS) -> str:
        (shadow,) = {tables.begin_rebuild(projection, recipe) for tables in self._tables}
        return shadow

    def unfinished_rebuild(self, projection: str) -> UnfinishedRebuild | None:
        return self._tables[0].unfinished_rebuild(projection)

    def resume_rebuild(self, projection: str, shadow: str, recipe: Recipe) -> None:
        for tables in self._tables:
            tables.resume_rebuild(projection, shadow, recipe)

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        finished = [tables.finish_rebuild(projection, catch_up) for tables in self._tables]
        return all(finished)

    def stopped(self, projection: str, error: str | None) -> None:
        for tables in self._tables:
            tables.stopped(projection, error)

    def why_stopped(self, projection: str) -> str | None:
        return self._tables[0].why_stopped(projection)

    def fill(self, projection: str) -> Fill:
        return self._tables[0].fill(projection)

    def move_fill(self, projection: str, fill: Fill) -> None:
        for tables in self._tables:
            tables.move_fill(projection, fill)
