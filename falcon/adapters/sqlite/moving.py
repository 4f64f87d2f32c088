"""Moves the partitions of a data folder to another number of files.

The new files are written beside the old ones, in a folder of their own. A marker in it, written when all of them are on
the disk, is the moment of the change. Without the marker the old files count and the folder is thrown away; with it the
new files are put in the old ones' places, as often as it takes. So the process may be killed at any point.

From before the first byte until the new files are in place a Falcon that knows one file only refuses the first file.
"""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import apsw
import msgspec

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.layout import Layout, begin_of, end_of, layout_of, note_inherited, place_of
from falcon.read.catalogue import READ_MODELS

_FOLDER: Final = "falcon.next"
_MARKER: Final = "complete"
_CACHE_KIB: Final = 65_536
_REPORT_OPERATIONS: Final = 100_000
_SPACE: Final = 1.1  # of the old files' bytes, which the new ones may take
_SPACE_BYTES: Final = 16 << 20

_LOG_TABLES: Final = ("journal", "epochs", "checkpoints", "snapshots", "answers")
_HEAD_BYTES: Final = 8


class _Marker(msgspec.Struct, frozen=True):
    """The names of the new files and of the old ones, the first one first."""

    new: tuple[str, ...]
    old: tuple[str, ...]


def has_begun(first: Path) -> bool:
    """A move was interrupted."""
    return first.with_name(_FOLDER).exists()


def is_unfinished(first: Path) -> bool:
    """The new files are complete, and not yet in place."""
    return (first.with_name(_FOLDER) / _MARKER).exists()


def finish(first: Path) -> None:
    """Finish a move that was interrupted, or throw it away. Raises JournalUnavailable, WrongDatabase, OSError."""
    folder = first.with_name(_FOLDER)
    if is_unfinished(first):
        _put_in_place(folder, first)
    elif folder.exists():
        shutil.rmtree(folder)


def move(
    old: Sequence[Path],
    new: Sequence[Path],
    before: Layout,
    partitions: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Raises WrongDatabase, with everything as it was; NoSegmentsLeft, apsw.Error, OSError."""
    first = old[0]
    _check_caught_up(old)
    total = sum(_size(path) for path in old)
    _check_space(first, total, len(old))
    after = before.followed_by(len(new), [_next(path) for path in old])
    folder = first.with_name(_FOLDER)
    with contextlib.ExitStack() as stack:
        stack.callback(_give_up, folder, first, several=len(old) > 1)
        if not _mark(first, several=True):
            raise WrongDatabase(f"another program reads {first}, such as falcon copy: try again when it has ended")
        folder.mkdir(mode=0o700)
        _write(folder, old, new, after, partitions, lambda done: report(done, max(done, total)))
        _write_marker(folder, _Marker(tuple(path.name for path in new), tuple(path.name for path in old)))
        stack.pop_all()
    _put_in_place(folder, first)


def _give_up(folder: Path, first: Path, *, several: bool) -> None:
    (folder / _MARKER).unlink(missing_ok=True)  # before the files: with the marker they count
    shutil.rmtree(folder, ignore_errors=True)  # finish() tries again
    _mark(first, several=several)


def _mark(first: Path, *, several: bool) -> bool:
    """Returns False if the mark is in the file's WAL only, which the change deletes."""
    with contextlib.closing(database.connect(first)) as connection:
        database.mark_schema(connection, several=several)
        busy, *_ = next(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    return not busy


# --- before -----------------------------------------------------------------------------------------------------------


def _check_caught_up(files: Sequence[Path]) -> None:
    """A table of a new file has one position, the end of the log. One that is behind cannot be merged with others."""
    for path in files:
        with contextlib.closing(database.connect(path, writable=False)) as connection:
            end = end_of(connection)
            for name, applied, stopped in connection.execute("SELECT name, applied, stopped FROM projections"):
                if name in READ_MODELS and (applied < end or stopped is not None):
                    raise WrongDatabase(
                        f"the read model {name} does not show all of the log, so {path.parent} cannot be moved to "
                        f"another number of files: start with FALCON_PROCESSES={len(files)}, run "
                        f"falcon rebuild {name}, and then start with the other number"
                    )


def _check_space(first: Path, total: int, files: int) -> None:
    wanted = round(total * _SPACE) + _SPACE_BYTES
    free = shutil.disk_usage(first.parent).free
    if free < wanted:
        raise WrongDatabase(
            f"{first.parent} cannot be moved to another number of files: that takes {wanted / 2**20:,.0f} MiB beside "
            f"the present ones, and {free / 2**20:,.0f} MiB are free; make room, or set FALCON_PROCESSES={files}"
        )


def _size(path: Path) -> int:
    with contextlib.closing(database.connect(path, writable=False)) as connection:
        return int(connection.pragma("page_count")) * int(connection.pragma("page_size"))


def _next(path: Path) -> int:
    with contextlib.closing(database.connect(path, writable=False)) as connection:
        return end_of(connection)


# --- the new files ----------------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    old: Sequence[Path],
    new: Sequence[Path],
    layout: Layout,
    partitions: int,
    report: Callable[[int], None],
) -> None:
    """All of the new files, on the disk when this returns. ``report`` is called with the bytes written so far."""
    done = 0
    copied: Counter[str] = Counter()
    for place, path in enumerate(new):
        target = folder / path.name

        def tell(target: Path = target, done: int = done) -> bool:
            report(done + target.stat().st_size)
            return False  # continue

        copied += _build(target, place, old, layout, partitions, tell)
        _sync(target)
        done += target.stat().st_size
        report(done)
    _check_counts(old, copied)


def tables() -> Mapping[str, str]:
    """Every table with rows of partitions, with the expression of a row's partition, or of an id that has it."""
    tables = dict.fromkeys(_LOG_TABLES, "partition")
    for model in READ_MODELS.values():
        tables |= {table: model.sqlite.identities[table] for table in model.sqlite.tables}
    return tables


def _build(
    path: Path, place: int, sources: Sequence[Path], layout: Layout, partitions: int, tell: Callable[[], bool]
) -> Counter[str]:
    """Write a file. Returns the number of rows by table. SQLite need not be careful: without the marker nothing of it
    counts."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))  # readable by its owner only
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
                        " AND key NOT IN ('place', 'files', 'closed', 'inherited', 'ends')"
                    )
        begin = begin_of(layout.segment(place))
        with database.transaction(connection):
            connection.executemany("INSERT INTO meta VALUES (?, ?)", layout.rows(place).items())
            note_inherited(connection)
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


def _check_counts(old: Sequence[Path], copied: Counter[str]) -> None:
    """Every row is in one of the new files. Anything else is a fault of ours, and must not cost a message."""
    found: Counter[str] = Counter()
    for path in old:
        with contextlib.closing(database.connect(path, writable=False)) as connection:
            for table in tables():
                row: Any = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                found[table] += row[0]
    if wrong := [table for table in tables() if found[table] != copied[table]]:
        raise WrongDatabase(
            f"{old[0].parent} was not moved to another number of files, and is as it was: rows of "
            f"{', '.join(f'{table} ({copied[table]} of {found[table]})' for table in wrong)} would be lost"
        )


# --- the change -------------------------------------------------------------------------------------------------------


def _write_marker(folder: Path, marker: _Marker) -> None:
    unnamed = folder / f".{_MARKER}"
    unnamed.write_bytes(msgspec.json.encode(marker))
    _sync(unnamed)
    _sync(folder)
    unnamed.replace(folder / _MARKER)
    _sync(folder)


def _put_in_place(folder: Path, first: Path) -> None:
    """Each step may have been done before. The first file comes first: it alone decides what an older Falcon does."""
    marker = _read_marker(folder / _MARKER)
    _check_new(folder, first, marker)
    for name in marker.new:
        if (folder / name).exists():
            _delete(first.with_name(name), ("-wal", "-shm"))  # those of the old file do not belong to the new one
            _sync(first.parent)  # or a crash could bring the old WAL back beside the new file
            (folder / name).replace(first.with_name(name))
            _sync(first.parent)
    for name in marker.old:
        if name not in marker.new:
            _delete(first.with_name(name), ("-wal", "-shm", ""))
    _sync(first.parent)
    (folder / _MARKER).unlink()
    shutil.rmtree(folder)


def _read_marker(path: Path) -> _Marker:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Marker)
    except msgspec.DecodeError as error:
        raise WrongDatabase(f"{path} is not as Falcon wrote it ({error}): restore a copy of the data folder") from error


def _check_new(folder: Path, first: Path, marker: _Marker) -> None:
    """Call this before anything of the old files is deleted: a fault of ours or an operator may have taken a new file
    away, or put another one there."""
    layouts: set[Layout] = set()
    for place, name in enumerate(marker.new):
        path = folder / name if (folder / name).exists() else first.with_name(name)
        fits = path.exists()
        if fits:
            with contextlib.closing(database.connect(path, writable=False)) as connection:
                layouts.add(layout_of(connection))
                fits = place_of(connection) == place
        if not fits or {layout.files for layout in layouts} != {len(marker.new)} or len(layouts) > 1:
            raise WrongDatabase(f"{first.parent} misses files of a change to {len(marker.new)} files: restore a copy")


def _delete(path: Path, suffixes: Sequence[str]) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
