"""The database files of a data folder: one, or one for each process that serves.

``first`` is the path of the first one, everywhere.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import apsw

from falcon.adapters.sqlite import database, dividing
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.layout import (
    Layout,
    begin_of,
    end_of,
    layout_of,
    note_ends,
    note_start,
    noted_ends,
    place_of,
)
from falcon.journal import naming
from falcon.journal.ports import JournalUnavailable

Report = Callable[[int, int], None]

_CREDENTIALS: Final = "credentials.json"  # written when the log has the first account
# In which an earlier Falcon wrote the files of another layout, and the marker that they were complete.
_MOVING: Final = "falcon.next"
_MOVED: Final = "complete"
_PAGES_AT_ONCE: Final = 4_096  # of a copy, between two reports
# What a copy may take: its pages are as full as the originals', or fuller, and a new file has some empty ones.
_COPY_SHARE: Final = 1.1
_COPY_BYTES: Final = 16 << 20
_SPARE: Final = "spare"
_SPARE_BYTES: Final = 64 << 10  # noting a start takes some pages of 2 KiB, in the WAL and then in the file
# While the files are closed to writers together, those wait. So give up soon, let them commit, and try again.
_CLOSED_MILLISECONDS: Final = 200
_CLOSINGS_MAX: Final = 100  # attempts of 200 ms to hold all files at once, between which the processes write on


def mebibytes(size: int) -> int:
    """Rounded up: a small folder is 1 MiB and not 0 MiB."""
    return -(-size >> 20)


def paths(first: Path, count: int) -> list[Path]:
    """The paths of so many files."""
    return [first, *(first.with_stem(f"{first.stem}-{place}") for place in range(1, count))]


def layout(first: Path) -> Layout:
    """The layout of a folder as it is now. Raises JournalUnavailable."""
    _check_is_whole(first)
    if not database.is_made(first):
        raise JournalUnavailable(f"{first} is missing or empty: put it back, or restore a copy of the folder")
    with database.opening(first), contextlib.closing(database.connect(first, writable=False)) as connection:
        return layout_of(connection)


def _check_is_whole(first: Path) -> None:
    """An earlier Falcon moved partitions in place, and may have been interrupted. Raises JournalUnavailable."""
    left = first.with_name(_MOVING)
    if (left / _MOVED).exists():
        raise JournalUnavailable(
            f"an earlier Falcon was moving {first.parent} to another number of files: start that version on it once "
            "more, and it finishes"
        )
    if left.exists():
        raise JournalUnavailable(
            f"{left} is a part of a copy that an earlier Falcon did not finish, and {first.parent} has all messages "
            f"without it: remove {left}"
        )


def present(first: Path) -> list[Path]:
    """The files of a folder as it is now. Raises JournalUnavailable."""
    return paths(first, layout(first).files)


def prepare(
    first: Path,
    partitions: int,
    count: int = 1,
    *,
    keep: bool = False,
    check_count: Callable[[int], None] = lambda count: None,
) -> int:
    """Make the folder one of ``count`` files of this schema, before anything serves. The caller holds its lock.
    ``keep``: a folder that has been used keeps the number of files that it has. Returns the number.

    ``check_count`` is called with the number that this returns, before a new folder gets its files, and may raise.

    Raises WrongDatabase, also if a folder that has been used has another number of files; JournalUnavailable.
    """
    try:
        before = _prepare_first(first, partitions)
        is_new = _is_new(first, before)
        if keep and not is_new:
            count = before.files
        check_count(count)
        if before.files != count:
            if not is_new:
                raise WrongDatabase(_other_count(first, before.files, count))
            before = _begin_with(first, before, count)
        _prepare_others(first, before, partitions, is_new=is_new)
        _note_start(first, count)
        return count
    except (apsw.Error, OSError) as error:
        raise JournalUnavailable(f"cannot prepare {first.parent}: {database.cause(error)}") from error


def _other_count(first: Path, has: int, wanted: int) -> str:
    return (
        f"{first.parent} has {has} database files, one for each process: set FALCON_PROCESSES={has} or leave it out. "
        f"For {wanted}, stop Falcon, run falcon copy --processes {wanted} --data-dir {first.parent} NEW_FOLDER, and "
        "serve from the new folder"
    )


def _prepare_first(first: Path, partitions: int) -> Layout:
    _check_is_whole(first)
    if not database.is_made(first):
        check_is_new(first)
    database.prepare(first, partitions)
    found = layout(first)
    if strays := [path for path in _others(first) if path not in paths(first, found.files)]:
        raise WrongDatabase(f"{strays[0]} is not one of the {found.files} files of this log: move it away")
    if found == Layout() and _ends([first]) == [0]:
        check_is_new(first)
    return found


def _is_new(first: Path, found: Layout) -> bool:
    """No Falcon has served the folder, but a start may have been interrupted, also before it had all files."""
    if found.closed or first.with_name(_CREDENTIALS).exists():
        return False
    made = {begin_of(place): path for place, path in enumerate(paths(first, found.files)) if database.is_made(path)}
    return all(end in (0, begin) for begin, end in zip(made, _ends([*made.values()]), strict=True))


def _begin_with(first: Path, before: Layout, count: int) -> Layout:
    """Give a new folder another number of files, none of which has an event."""
    for path in paths(first, before.files)[1:]:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    found = Layout(count)
    _write_layout(first, found, 0)
    return found


def _write_layout(path: Path, found: Layout, place: int, instance: str | None = None) -> None:
    """``instance``: the name of the log; None if the file has it."""
    with contextlib.closing(database.connect(path)) as connection, database.transaction(connection):
        rows = {**found.rows(place), **({} if instance is None else {"instance": instance})}
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.items())
        connection.execute("UPDATE log SET next = ?", (begin_of(place),))
        connection.execute("UPDATE projections SET applied = ?", (begin_of(place),))
        database.mark_schema(connection, several=found.files > 1)


def _prepare_others(first: Path, found: Layout, partitions: int, *, is_new: bool) -> None:
    """``is_new``: files that are missing are made."""
    with contextlib.closing(database.connect(first, writable=False)) as connection:
        instance = _name_of(connection)
    for place, path in enumerate(paths(first, found.files)):
        if place:
            if not is_new:
                _check_exists(path, found)
            database.prepare(path, partitions)
            if is_new:
                _write_layout(path, found, place, instance)
    ends = check_places(first, found)
    if found.files > 1:
        _note_ends(first, ends)


def check_is_new(first: Path) -> None:
    """A first file without messages must not pass for a new Falcon beside what is left of another one: the tokens that
    are known would not be good. Raises WrongDatabase."""
    for left in (*_others(first), first.with_name(_CREDENTIALS)):
        if left.exists():
            raise WrongDatabase(
                f"{first} is {'empty' if first.exists() else 'missing'}, but {left.name} is there: put {first.name} "
                f"back, or restore a copy of the folder; to begin a new Falcon, move {left.name} away"
            )


def check(first: Path, partitions: int) -> list[Path]:
    """Check, without writing, that the files are this Falcon's: another Falcon may be using them. Returns their paths.
    Raises WrongDatabase, JournalUnavailable."""
    database.check(first, partitions)
    found = layout(first)
    for path in paths(first, found.files)[1:]:
        _check_exists(path, found)
        database.check(path, partitions)
    check_places(first, found)
    return paths(first, found.files)


def _others(first: Path) -> list[Path]:
    pattern = re.compile(rf"{re.escape(first.stem)}-\d+{re.escape(first.suffix)}")
    found = first.parent.iterdir() if first.parent.is_dir() else ()
    return sorted(path for path in found if pattern.fullmatch(path.name))


def _check_exists(path: Path, folder: Layout) -> None:
    if not path.exists():
        raise WrongDatabase(f"{path} is missing, one of {folder.files} files: put it back, or restore a copy")


def check_places(first: Path, folder: Layout) -> list[int]:
    """Each file is the one of its place, of this log, and not older than the others know it. Returns the ends of the
    files. Raises WrongDatabase, JournalUnavailable."""
    present = paths(first, folder.files)
    names, ends, known = set(), list[int](), [0] * folder.files
    with database.opening(first.parent):
        for place, path in enumerate(present):
            with contextlib.closing(database.connect(path, writable=False)) as connection:
                names.add(_name_of(connection))
                ends.append(end_of(connection))
                fits = (layout_of(connection), place_of(connection)) == (folder, place)
                known = list(map(max, known, noted_ends(connection, folder)))
            if len(names) > 1 or not fits:
                raise WrongDatabase(f"{path} does not fit {first.name}: it is of another data folder, or another copy")
    for path, end, least in zip(present, ends, known, strict=True):
        if end < least:
            raise WrongDatabase(
                f"{path} is older than the other files, and lacks messages: put the newer one back, or restore a copy "
                "of the whole folder"
            )
    return ends


def _note_ends(first: Path, ends: Sequence[int]) -> None:
    """A file that is put back from an older copy later would give the ids of lost messages to others: so each file
    knows how far the others had come."""
    for path in paths(first, len(ends)):
        with database.opening(path), contextlib.closing(database.connect(path)) as connection:
            note_ends(connection, ends)


def _note_start(first: Path, count: int) -> None:
    """Distinguish what is written next from what a lost history had in the same places: the folder may be an older copy
    of itself. On a disk without a free byte the spare file makes room for it, and comes back then."""
    ends = _ends(paths(first, count))
    spare = first.with_name(_SPARE)
    try:
        _write_start(first, ends)
    except apsw.FullError:
        spare.unlink(missing_ok=True)
        _write_start(first, ends)
    with contextlib.suppress(OSError):  # another program has taken the room: the next start says so if it needs it
        if not spare.exists() or spare.stat().st_size < _SPARE_BYTES:
            spare.write_bytes(os.urandom(_SPARE_BYTES))  # which no file system stores in less


def _write_start(first: Path, ends: Sequence[int]) -> None:
    with contextlib.closing(database.connect(first)) as connection, database.transaction(connection):
        note_start(connection, ends)


def _ends(files: Sequence[Path]) -> list[int]:
    found = []
    for path in files:
        with database.opening(path), contextlib.closing(database.connect(path, writable=False)) as connection:
            found.append(end_of(connection))
    return found


def _name_of(connection: apsw.Connection) -> str:
    ((name,),) = connection.execute("SELECT value FROM meta WHERE key = 'instance'").fetchall()
    return str(name)


def close(first: Path) -> list[str]:
    """When no process uses the folder any more: note the ends of its files, and leave no WAL beside them. An operator
    may copy a file without its WAL, or put an older file beside it. Returns a line for each fault of a file. Raises
    JournalUnavailable, OSError."""
    found, failed = present(first), list[str]()
    ends: list[int] = []
    if len(found) > 1:
        with _collect_faults(failed):
            ends = _ends(found)
    for path in found:
        with _collect_faults(failed):
            _close_file(path, ends)
        with _collect_faults(failed):
            _check_wal(path)
    return failed


@contextlib.contextmanager
def _collect_faults(failed: list[str]) -> Iterator[None]:
    """A fault of one file keeps no other from being closed."""
    try:
        yield
    except (JournalUnavailable, OSError) as error:
        if str(error) not in failed:
            failed.append(str(error))


def _close_file(path: Path, ends: Sequence[int]) -> None:
    with database.opening(path), contextlib.closing(database.connect(path)) as connection:
        connection.set_busy_timeout(_CLOSED_MILLISECONDS)  # a stop does not wait for a copy to end
        if ends:
            note_ends(connection, ends)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _check_wal(path: Path) -> None:
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size:
        raise JournalUnavailable(
            f"{wal.name} has a part of {path}, because another program has that open or it could not be written: "
            "copy or move the two together"
        )


# --- copies -----------------------------------------------------------------------------------------------------------


def copy(
    first: Path, to: Path, report: Report = lambda done, total: None, *, count: int | None = None, partitions: int = 0
) -> list[Path]:
    """Copy what is committed by now to other files, while others write. ``to`` is the path of the first one. None of
    them may exist with content. Returns their paths. ``report`` is called with the bytes copied so far and the
    approximate total.

    ``count``: the copy has so many files, of a folder with so many ``partitions``. If that is another number than the
    folder's, its tables must show all of the log, and no other process can write until the copy is complete.

    All files are copied as they were at one moment: a membership in one refers to an account in another. The copy has
    another name as a log: a Falcon that continues from it writes another history. Raises JournalUnavailable, OSError.
    """
    before = layout(first)
    sources = paths(first, before.files)
    targets = paths(to, count or before.files)
    total = sum(path.stat().st_size for path in sources)
    _check_room(to.parent, total)
    try:
        if len(targets) != len(sources):
            with _closed_to_writers(sources):
                dividing.divide(sources, targets, before, partitions, lambda done: report(done, max(done, total)))
            _rename(targets)
        elif len(sources) == 1:
            database.copy(first, to, report)
        else:
            _copy_at_once(sources, targets, report)
    except apsw.Error as error:
        raise JournalUnavailable(f"cannot copy {first.parent} to {to.parent}: {database.cause(error)}") from error
    return targets


def _check_room(folder: Path, total: int) -> None:
    wanted = round(total * _COPY_SHARE) + _COPY_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise JournalUnavailable(
            f"the copy may take {mebibytes(wanted):,} MiB, and {free >> 20:,} MiB are free in {folder}: make room, or "
            "copy to another disk"
        )


def _copy_at_once(sources: Sequence[Path], targets: Sequence[Path], report: Report) -> None:
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(database.connect(path, writable=False))) for path in sources]
        with _closed_to_writers(sources):
            for reader in readers:
                reader.execute("BEGIN; SELECT count(*) FROM meta").fetchall()
        total = sum(reader.pragma("page_count") * reader.pragma("page_size") for reader in readers)
        done = 0
        for reader, target in zip(readers, targets, strict=True):
            for size in _copied(reader, target):
                report(done + size, max(done + size, total))
            done += size
    report(done, done)
    _rename(targets)


@contextlib.contextmanager
def _closed_to_writers(files: Sequence[Path]) -> Iterator[None]:
    """No other process commits to any of these files within the block. Raises apsw.Error."""
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(contextlib.closing(database.connect(path))) for path in files]
        for attempt in range(1, _CLOSINGS_MAX + 1):
            try:
                for number, writer in enumerate(writers):
                    if number:
                        writer.set_busy_timeout(_CLOSED_MILLISECONDS)
                    writer.execute("BEGIN IMMEDIATE")
                break
            except apsw.BusyError:
                _roll_back(writers)
                if attempt == _CLOSINGS_MAX:
                    raise
        try:
            yield
        finally:
            _roll_back(writers)


def _roll_back(connections: Sequence[apsw.Connection]) -> None:
    for connection in connections:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _copied(reader: apsw.Connection, target: Path) -> Iterator[int]:
    """Copy what the reader's transaction sees. Gives the bytes copied so far."""
    page_bytes = int(reader.pragma("page_size"))
    with (
        contextlib.closing(apsw.Connection(str(target))) as connection,
        connection.backup("main", reader, "main") as backup,
    ):
        while not backup.done:
            backup.step(_PAGES_AT_ONCE)
            yield (backup.page_count - backup.remaining) * page_bytes


def _rename(files: Sequence[Path]) -> None:
    """Give the log of these files another name."""
    renamed = ""
    for path in files:
        with contextlib.closing(apsw.Connection(str(path))) as connection, database.transaction(connection):
            renamed = renamed or naming.renamed(_name_of(connection))
            connection.execute("UPDATE meta SET value = ? WHERE key = 'instance'", (renamed,))
