"""Writes copies of a data folder's files with another number of files.

Every row goes to the file of its partition, with the offset that it has. So positions, checkpoints and remembered
answers hold in the copy. Its files give offsets that no file of the folder has given.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import apsw

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.layout import Layout, begin_of, end_of
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import READ_MODELS

_CACHE_KIB: Final = 65_536  # rows of a table come in the order of another file, so pages are written more than once
_REPORT_OPERATIONS: Final = 100_000  # of SQLite between two reports: some ten reports a second

_LOG_TABLES: Final = ("journal", "epochs", "checkpoints", "snapshots", "answers")
_HEAD_BYTES: Final = 8  # an offset
# What a row of ``meta`` with one of these keys says is true of the source only.
_OF_THE_SOURCE: Final = ("place", "files", "closed", "inherited", "ends", "starts")


def divide(
    sources: Sequence[Path],
    targets: Sequence[Path],
    before: Layout,
    partitions: int,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the targets, which must not exist or be empty. ``before``: the layout of the sources; no other process
    writes to them. ``report`` is called with the bytes written so far.

    Raises JournalUnavailable, apsw.Error, OSError.
    """
    _check_caught_up(sources)
    after = before.followed_by(len(targets), [_end(path) for path in sources])
    done = 0
    copied: Counter[str] = Counter()
    for place, target in enumerate(targets):

        def tell(target: Path = target, done: int = done) -> bool:
            report(done + target.stat().st_size)
            return False  # continue

        copied += _build(target, place, sources, after, partitions, tell)
        done += target.stat().st_size
        report(done)
    _check_counts(sources, copied)


def _check_caught_up(sources: Sequence[Path]) -> None:
    """A table of a target has one position, the end of the log. One that is behind cannot be merged with others."""
    for path in sources:
        with contextlib.closing(database.connect(path, writable=False)) as connection:
            end = end_of(connection)
            for name, applied, stopped in connection.execute("SELECT name, applied, stopped FROM projections"):
                if name in READ_MODELS and (applied < end or stopped is not None):
                    raise JournalUnavailable(
                        f"the read model {name} does not show all of the log, so {path.parent} cannot be copied to "
                        f"another number of files: run falcon rebuild {name}, and then repeat the command"
                    )


def _end(path: Path) -> int:
    with contextlib.closing(database.connect(path, writable=False)) as connection:
        return end_of(connection)


def tables() -> Mapping[str, str]:
    """Every table with rows of partitions, with the expression of a row's partition, or of an id that has it."""
    tables = dict.fromkeys(_LOG_TABLES, "partition")
    for model in READ_MODELS.values():
        tables |= {table: model.sqlite.identities[table] for table in model.sqlite.tables}
    return tables


def _build(
    path: Path, place: int, sources: Sequence[Path], layout: Layout, partitions: int, tell: Callable[[], bool]
) -> Counter[str]:
    """Write a file. Returns the number of rows by table. SQLite need not be careful: a copy that is interrupted is
    thrown away."""
    copied: Counter[str] = Counter()
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    with contextlib.closing(apsw.Connection(str(path), flags=flags)) as connection:
        connection.pragma("page_size", database.PAGE_BYTES)
        connection.pragma("journal_mode", "off")
        connection.pragma("synchronous", "off")
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.set_progress_handler(tell, _REPORT_OPERATIONS)
        with database.transaction(connection):
            database.create(connection, partitions)
        heads = bytearray(_HEAD_BYTES * partitions)
        generations: Counter[str] = Counter()
        for source in sources:
            with _attached(connection, source):
                for table, identity in tables().items():
                    of_place = f"({identity}) % {partitions} % {layout.files} = {place}"
                    connection.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table} WHERE {of_place}")
                    copied[table] += connection.changes()
                _take_heads(connection, heads, _partitions_of(sources, source, partitions, place, layout))
                generations |= Counter(dict(connection.execute("SELECT name, generation FROM source.projections")))
                if source == sources[0]:
                    connection.execute("DELETE FROM main.meta")
                    connection.execute(
                        "INSERT INTO main.meta SELECT * FROM source.meta WHERE key NOT LIKE 'rebuild %'"
                        f" AND key NOT IN {_OF_THE_SOURCE}"
                    )
        begin = begin_of(layout.segment(place))
        with database.transaction(connection):
            connection.executemany("INSERT INTO meta VALUES (?, ?)", layout.rows(place).items())
            database.mark_schema(connection, several=layout.files > 1)
            connection.execute("UPDATE log SET next = ?, heads = ?", (begin, bytes(heads)))
            connection.execute("UPDATE projections SET applied = ?", (begin,))
            connection.executemany(
                "UPDATE projections SET generation = ? WHERE name = ?",
                [(generation, name) for name, generation in generations.items()],
            )
        connection.set_progress_handler(None)
        connection.pragma("journal_mode", "wal")
    return copied


@contextlib.contextmanager
def _attached(connection: apsw.Connection, source: Path) -> Iterator[None]:
    """A transaction with another file as ``source``, which only reads that one."""
    connection.execute("ATTACH ? AS source", (f"file:{quote(str(source))}?mode=ro",))
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")
    connection.execute("DETACH source")


def _partitions_of(sources: Sequence[Path], source: Path, partitions: int, place: int, layout: Layout) -> Iterator[int]:
    """The partitions that go from a file to the file of a place."""
    before = list(sources).index(source)
    for partition in range(partitions):
        if partition % len(sources) == before and layout.place(partition) == place:
            yield partition


def _take_heads(connection: apsw.Connection, heads: bytearray, partitions: Iterator[int]) -> None:
    row: Any = connection.execute("SELECT heads FROM source.log").fetchone()
    for partition in partitions:
        start = partition * _HEAD_BYTES
        heads[start : start + _HEAD_BYTES] = row[0][start : start + _HEAD_BYTES]


def _check_counts(sources: Sequence[Path], copied: Counter[str]) -> None:
    """Every row is in one of the targets. Anything else is a fault of ours, and must not cost a message."""
    found: Counter[str] = Counter()
    for path in sources:
        with contextlib.closing(database.connect(path, writable=False)) as connection:
            for table in tables():
                row: Any = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                found[table] += row[0]
    if wrong := [table for table in tables() if found[table] != copied[table]]:
        raise JournalUnavailable(
            f"{sources[0].parent} was not copied: rows of "
            f"{', '.join(f'{table} ({copied[table]} of {found[table]})' for table in wrong)} would be lost"
        )
