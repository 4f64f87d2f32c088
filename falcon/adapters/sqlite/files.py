"""The database files of a data folder: one, or one for each process that serves.

``first`` is the path of the first one, everywhere.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import apsw

from falcon.adapters.sqlite import database, moving
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.layout import (
    Layout,
    NoSegmentsLeft,
    end_of,
    layout_of,
    note_ends,
    note_start,
    noted_ends,
    place_of,
)
from falcon.journal import naming
from falcon.journal.ports import JournalUnavailable
from falcon.process import take_lock

Report = Callable[[int, int], None]

_CREDENTIALS: Final = "credentials.json"  # written when the log has the first accounts
_PAGES_AT_ONCE: Final = 4_096  # of a copy, between two reports
# While the files are closed to writers together, those wait. So give up soon, let them commit, and try again.
_SPARE: Final = "spare"
_SPARE_BYTES: Final = 64 << 10  # noting a start takes some pages of 2 KiB, in the WAL and then in the file
# A transaction of ours takes less; what holds a file longer is a copy, or another program.
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
    if not database.is_made(first):
        raise JournalUnavailable(f"{first} is missing or empty: put it back, or restore a copy of the folder")
    with database.opening(first), contextlib.closing(database.connect(first, writable=False)) as connection:
        return layout_of(connection)


def present(first: Path) -> list[Path]:
    """The files of a folder as it is now. Raises JournalUnavailable."""
    if moving.is_unfinished(first):
        raise JournalUnavailable(f"{first.parent} is being moved to another number of files: falcon up finishes that")
    return paths(first, layout(first).files)


def prepare(
    first: Path,
    partitions: int,
    count: int = 1,
    catch_up: Callable[[Path], None] = lambda path: None,
    report: Report = lambda done, total: None,
    *,
    keep: bool = False,
    check_count: Callable[[int], None] = lambda count: None,
) -> int:
    """Make the folder one of ``count`` files of this schema, before anything serves. The caller holds its lock.
    ``keep``: a folder that has been used keeps the number of files that it has. Returns the number.

    If the folder has another number of files, the partitions are moved. ``catch_up`` is called for each file before
    that: it brings the read tables to the end of the log. ``report`` is called with the bytes written so far and the
    approximate total. All of it or nothing is done, however this process ends. ``check_count`` is called with the
    number that this returns, before any partition is moved, and may raise.

    Raises WrongDatabase, JournalUnavailable.
    """
    try:
        if moving.has_begun(first):
            with _changing(first):
                moving.finish(first)
        before = _prepare_present(first, partitions)
        if keep and not _is_new(first, before):
            count = before.files
        check_count(count)
        if before.files != count:
            with _changing(first):
                for path in paths(first, before.files):
                    catch_up(path)
                moving.move(paths(first, before.files), paths(first, count), before, partitions, report)
        _note_start(first, count)
        return count
    except NoSegmentsLeft as error:
        raise WrongDatabase(str(error)) from error
    except (apsw.Error, OSError) as error:
        raise JournalUnavailable(
            f"cannot make {first.parent} a folder of {count} files: {database.cause(error)}"
        ) from error


def _prepare_present(first: Path, partitions: int) -> Layout:
    if not database.is_made(first):
        check_is_new(first)
    database.prepare(first, partitions)
    found = layout(first)
    if strays := [path for path in _others(first) if path not in paths(first, found.files)]:
        raise WrongDatabase(f"{strays[0]} is not one of the {found.files} files of this log: move it away")
    if _is_new(first, found):
        check_is_new(first)
    for path in paths(first, found.files)[1:]:
        _check_exists(path, found)
        database.prepare(path, partitions)
    ends = check_places(first, found)
    if found.files > 1:
        _note_ends(first, ends)
    return found


def _is_new(first: Path, found: Layout) -> bool:
    """No Falcon has served the folder, but a start may have been interrupted."""
    with contextlib.closing(database.connect(first, writable=False)) as connection:
        return found == Layout() and end_of(connection) == 0


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
    if moving.is_unfinished(first):
        raise WrongDatabase(f"{first.parent} is being moved to another number of files: falcon up finishes that")
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
    """What is written from now on is distinguished from what a lost history had in the same places: the folder may be
    an older copy of itself. On a disk without a free byte the spare file makes room for it, and comes back then."""
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
        with _told(failed):
            ends = _ends(found)
    for path in found:
        with _told(failed):
            _close_file(path, ends)
        with _told(failed):
            _check_wal(path)
    return failed


@contextlib.contextmanager
def _told(failed: list[str]) -> Iterator[None]:
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


# --- which files there are --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def keeping(first: Path) -> Iterator[None]:
    """Within the block the folder keeps its files: no start moves partitions to others. Raises JournalUnavailable."""
    with _locked(first, fcntl.LOCK_SH) as is_locked:
        if not is_locked:
            raise JournalUnavailable(
                f"{first.parent} is being moved to another number of files: repeat the command when that has ended"
            )
        yield


@contextlib.contextmanager
def _changing(first: Path) -> Iterator[None]:
    """No other program keeps the files within the block. Raises WrongDatabase, JournalUnavailable."""
    with _locked(first, fcntl.LOCK_EX) as is_locked:
        if not is_locked:
            raise WrongDatabase(
                f"{first.parent} cannot be moved to another number of files while falcon rebuild or falcon copy runs "
                "on it: wait until that has ended"
            )
        yield


@contextlib.contextmanager
def _locked(first: Path, kind: int) -> Iterator[bool]:
    """Gives False if another program has the lock."""
    try:
        # The folder itself: a lock file would belong to the user that came first, who may be another one than Falcon's.
        handle = os.open(first.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise JournalUnavailable(f"cannot open {first.parent}: {error}") from error
    try:
        yield take_lock(handle, kind)
    finally:
        os.close(handle)


# --- copies -----------------------------------------------------------------------------------------------------------


def copy(first: Path, to: Path, report: Report = lambda done, total: None) -> list[Path]:
    """Copy what is committed by now to other files, while others write. ``to`` is the path of the first one. None of
    them may exist with content. Returns their paths. ``report`` is called with the bytes copied so far and the
    approximate total.

    All files are copied as they were at one moment: a membership in one refers to an account in another. The copy has
    another name as a log: a Falcon that continues from it writes another history. Raises JournalUnavailable.
    """
    sources = present(first)
    targets = paths(to, len(sources))
    if len(sources) == 1:
        database.copy(first, to, report)
        return targets
    try:
        with contextlib.ExitStack() as stack:
            readers = [
                stack.enter_context(contextlib.closing(database.connect(path, writable=False))) for path in sources
            ]
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
    except apsw.Error as error:
        raise JournalUnavailable(f"cannot copy {first.parent} to {to.parent}: {database.cause(error)}") from error
    return targets


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
