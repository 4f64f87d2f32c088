"""Several database files keep the contracts that one file keeps, and partitions move between them."""

import asyncio
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon.adapters.sqlite import database, files, layout, moving
from falcon.adapters.sqlite.database import SCHEMA_VERSION, WrongDatabase
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.bootstrap import embedded
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.projections.rebuild import Rebuild
from falcon.read.catalogue import READ_MODELS
from falcon.settings import Settings
from falcon.streams.tail import LocatedRecord, WrongPlace
from tests.contracts.journal import PARTITIONS, JournalContract, Log, Writer, read_all, texts
from tests.contracts.read_store import ReadStoreContract, Store
from tests.contracts.tail import TailContract, TailedLog
from tests.history.test_folders import FOLDERS, SCHEMAS
from tests.history.test_folders import PARTITIONS as STORED_PARTITIONS
from tests.projections.embedded import Embedded
from tests.support.builders import a_group, posted
from tests.support.several_files import FilesLog, FilesStore


class TestSqliteFilesJournal(JournalContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)


class TestSqliteFilesTail(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)


class TestTailOfMovedPartitions(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        """Its partitions have been in two files."""
        before = Writer(FilesLog(tmp_path / "falcon.db", PARTITIONS, 2))
        before.takeover(0, 3)
        before.append(0, "long ago")
        before.append(3, "long ago")
        before.journal.close()
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 3)


class TestSqliteFilesReadStore(ReadStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        yield FilesStore(tmp_path / "falcon.db", 3, 3)  # the contract's rooms are in two of them


# --- a folder and all that it has -------------------------------------------------------------------------------------


class Everything(NamedTuple):
    """All rows of a folder by table, where the log of each partition ends, and its name."""

    rows: dict[str, Counter[tuple[Any, ...]]]
    heads: dict[int, int]
    name: str


_TABLES: Final = (
    *("journal", "epochs", "checkpoints", "snapshots", "answers"),
    *(table for model in READ_MODELS.values() for table in model.sqlite.tables),
)


def everything(first: Path, partitions: int, count: int | None = None) -> Everything:
    """``count``: only so many files, the first ones."""
    rows: dict[str, Counter[tuple[Any, ...]]] = {table: Counter() for table in _TABLES}
    heads: dict[int, int] = {}
    names = set()
    paths = files.paths(first, count or files.layout(first).files)
    for place, path in enumerate(paths):
        with closing(database.connect(path, writable=False)) as connection:
            for table in _TABLES:
                rows[table] += Counter(tuple(row) for row in connection.execute(f"SELECT * FROM {table}"))
            log: Any = connection.execute("SELECT heads, next FROM log").fetchone()
            for partition in range(place, partitions, len(paths)):
                heads[partition] = int.from_bytes(log[0][8 * partition : 8 * partition + 8], "little")
                assert heads[partition] <= log[1]
            names.add(str(_meta(path)["instance"]))
            assert connection.pragma("integrity_check") == "ok"
    (name,) = names
    return Everything(rows, heads, name)


def prepare(first: Path, count: int = 1, report: files.Report = lambda done, total: None) -> None:
    files.prepare(first, STORED_PARTITIONS, count, embedded.bring_up_to_date, report)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder of an earlier Falcon, with something of everything."""
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], tmp_path / "falcon.db")
    prepare(tmp_path / "falcon.db")
    embedded.bring_up_to_date(tmp_path / "falcon.db")  # of a read model that it does not have
    return tmp_path / "falcon.db"


@pytest.mark.parametrize("name", SCHEMAS.values())
@pytest.mark.parametrize("counts", [(2,), (3, 1), (2, 1, 2), (1, 2, 3, 1, 32)])
def test_partitions_move_with_all_that_is_theirs(tmp_path: Path, name: str, counts: tuple[int, ...]) -> None:
    first = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / name, first)
    prepare(first)
    embedded.bring_up_to_date(first)
    before = everything(first, STORED_PARTITIONS)
    for count in counts:
        prepare(first, count)
        prepare(first, count)  # as a start that moves nothing
        assert {path.name for path in tmp_path.glob("*.db")} == {path.name for path in files.paths(first, count)}
        assert everything(first, STORED_PARTITIONS) == before
        assert files.check(first, STORED_PARTITIONS) == files.paths(first, count)


def test_a_folder_with_one_file_is_left_as_it_is(first: Path) -> None:
    prepare(first)
    before = _meta(first)
    prepare(first)
    assert {**_meta(first), "starts": before["starts"]} == before
    assert before["schema"] == SCHEMA_VERSION
    assert not {"place", "files", "closed", "inherited"} & before.keys()


def test_each_row_is_in_the_file_of_its_partition(first: Path) -> None:
    prepare(first, 3)
    for place, path in enumerate(files.paths(first, 3)):
        with closing(database.connect(path, writable=False)) as connection:
            for table, identity in moving.tables().items():
                rows = connection.execute(f"SELECT DISTINCT ({identity}) % 64 % 3 FROM {table}").fetchall()
                assert rows in ([], [(place,)])
            positions = set(connection.execute("SELECT applied, filling, stopped FROM projections"))
            assert positions == {(*next(connection.execute("SELECT next FROM log")), 0, None)}


def test_every_table_of_a_read_model_says_whose_its_rows_are() -> None:
    for model in READ_MODELS.values():
        assert model.sqlite.identities.keys() == model.sqlite.tables.keys()


def test_a_falcon_that_knows_one_file_refuses_a_folder_of_two_and_may_go_on_with_one_again(first: Path) -> None:
    prepare(first, 2)
    for path in files.paths(first, 2):
        assert _meta(path)["schema"] > SCHEMA_VERSION
    prepare(first, 1)
    assert _meta(first)["schema"] == SCHEMA_VERSION


def _meta(path: Path) -> dict[str, Any]:
    with closing(database.connect(path, writable=False)) as connection:
        return dict(connection.execute("SELECT key, value FROM meta"))


# --- killed at any point ----------------------------------------------------------------------------------------------

_CHANGES: Final = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.open", "open"})


def killed_while(work: Callable[[Callable[[], None]], None], step: int) -> bool:
    """Do the work in a process that is killed at its so many-th step. Returns True if it was. A step is a change of the
    file system, or each call of the function that the work is given."""
    pid = os.fork()
    if pid == 0:
        left = step

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(lambda event, _: count() if event in _CHANGES else None)
            work(count)
        except BaseException:  # the parent must not go on twice
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_change_that_is_killed_at_any_point_loses_nothing(
    tmp_path: Path, first: Path, before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(first, before)
    everything_before = everything(first, STORED_PARTITIONS)
    shutil.copytree(tmp_path, tmp_path / "kept")
    step = kills = 0
    while True:
        step += 1
        folder = tmp_path / f"killed-{step}"
        shutil.copytree(tmp_path / "kept", folder)
        path = folder / first.name

        def change(count: Callable[[], None], path: Path = path) -> None:
            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", lambda handle: count())  # each is a step, and none is needed here
                prepare(path, after, report=lambda done, total: count())

        if not killed_while(change, step):
            break
        kills += 1
        _check_what_an_older_falcon_finds(path, everything_before)
        wanted = (before, after)[step % 2]
        if step % 3 == 0:  # the next one is killed too
            killed_while(change, 1 + step // 2)
        prepare(path, wanted)
        assert files.present(path) == files.paths(path, wanted)
        assert everything(path, STORED_PARTITIONS) == everything_before
        assert {each.name for each in folder.glob("*.db")} == {each.name for each in files.paths(path, wanted)}
        assert not (folder / "falcon.next").exists()
        shutil.rmtree(folder)
    assert kills >= 30


def _check_what_an_older_falcon_finds(path: Path, before: Everything) -> None:
    """It opens the first file alone. It must refuse it, or find all that there is."""
    if _meta(path)["schema"] <= SCHEMA_VERSION:
        assert everything(path, STORED_PARTITIONS, 1).rows == before.rows


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_misses_a_file_is_refused(first: Path) -> None:
    prepare(first, 2)
    second = files.paths(first, 2)[1]
    second.rename(second.with_suffix(".away"))
    with pytest.raises(WrongDatabase, match=f"{second} is missing"):
        prepare(first)
    with pytest.raises(WrongDatabase, match=f"{second} is missing"):
        files.check(first, STORED_PARTITIONS)
    second.with_suffix(".away").rename(second)
    first.rename(first.with_suffix(".away"))
    with pytest.raises(WrongDatabase, match=f"{first} is missing"):
        prepare(first, 2)
    assert not first.exists(), "an empty log must not take its place"
    first.touch()
    with pytest.raises(WrongDatabase, match=f"{first} is empty"):
        prepare(first, 2)
    with pytest.raises(JournalUnavailable, match=f"{first} is missing or empty"):
        files.present(first)
    assert not first.stat().st_size


def test_a_file_that_is_not_of_the_log_is_refused_and_not_overwritten(first: Path) -> None:
    """As where one file of a copy of several was put back."""
    stray = files.paths(first, 2)[1]
    stray.write_bytes(b"messages, perhaps")
    for count in (1, 2):
        with pytest.raises(WrongDatabase, match=f"{stray} is not one of the 1 files of this log: move it away"):
            prepare(first, count)
    assert stray.read_bytes() == b"messages, perhaps"
    stray.rename(stray.with_suffix(".away"))
    prepare(first, 2)


def test_files_of_different_copies_are_refused(first: Path, tmp_path: Path) -> None:
    prepare(first, 2)
    (tmp_path / "copy").mkdir()
    copied = files.copy(first, tmp_path / "copy" / first.name)
    shutil.copy(copied[1], files.paths(first, 2)[1])
    with pytest.raises(WrongDatabase, match="is of another data folder, or another copy"):
        prepare(first, 2)


def test_a_file_that_was_put_back_from_before_the_last_start_is_refused(first: Path, tmp_path: Path) -> None:
    """It would give the ids of the messages that it lacks to others."""
    prepare(first, 2)
    log = FilesLog(first, STORED_PARTITIONS, 2)
    writer = Writer(log)
    writer.takeover(0, 1)
    writer.append(0, "yesterday")
    shutil.copytree(first.parent, tmp_path / "yesterday")
    for partition in (0, 1):
        writer.append(partition, "today")
    writer.journal.close()
    prepare(first, 2)
    for place, path in enumerate(files.paths(first, 2)):
        kept = path.rename(path.with_suffix(".kept"))
        shutil.copy(files.paths(tmp_path / "yesterday" / first.name, 2)[place], path)
        for work in (lambda: prepare(first, 2), lambda: files.check(first, STORED_PARTITIONS)):
            with pytest.raises(WrongDatabase, match=f"^{path} is older than the other files, and lacks messages: put"):
                work()
        kept.rename(path)
    prepare(first, 2)


@pytest.mark.parametrize("segments", [[1, 2, 3], [7, 8]])
def test_ends_that_an_older_falcon_copied_from_another_layout_do_not_count(first: Path, segments: list[int]) -> None:
    prepare(first, 2)
    ends = [layout.begin_of(segment) + 5 for segment in segments]
    for path in files.paths(first, 2):
        with closing(database.connect(path)) as connection:
            layout.note_ends(connection, ends)
    prepare(first, 2)
    assert files.check(first, STORED_PARTITIONS) == files.paths(first, 2)


# --- closed -----------------------------------------------------------------------------------------------------------


def test_a_file_that_was_put_back_from_before_the_last_clean_stop_is_refused(first: Path, tmp_path: Path) -> None:
    prepare(first, 2)
    shutil.copytree(first.parent, tmp_path / "yesterday")
    log = FilesLog(first, STORED_PARTITIONS, 2)
    writer = Writer(log)
    writer.takeover(0, 1)
    writer.append(1, "today")
    writer.journal.close()
    assert files.close(first) == []
    second = files.paths(first, 2)[1]
    shutil.copy(tmp_path / "yesterday" / second.name, second)
    with pytest.raises(WrongDatabase, match=f"^{second} is older than the other files"):
        prepare(first, 2)


def test_a_stop_empties_the_wals_of_a_folder_that_was_killed(first: Path, tmp_path: Path) -> None:
    prepare(first, 2)
    kept = tmp_path / "killed" / first.name
    with closing(database.connect(first)) as connection:
        connection.execute("UPDATE log SET next = next + 1")
        shutil.copytree(first.parent, kept.parent)  # as a kill leaves it
    assert kept.with_name("falcon.db-wal").stat().st_size
    assert files.close(kept) == []
    assert [wal.stat().st_size for wal in kept.parent.glob("*.db-wal")] == [0, 0]


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_says_which_file_belongs_with_its_wal_if_another_program_reads_it(first: Path, count: int) -> None:
    prepare(first, count)
    with closing(database.connect(first, writable=False)) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM meta").fetchall()
        with closing(database.connect(first)) as writer:
            writer.execute("UPDATE log SET next = next + 1")
        (said,) = files.close(first)
    assert said.startswith(f"falcon.db-wal has a part of {first}, because another program has that open")
    assert {wal.stat().st_size for wal in first.parent.glob("falcon-*.db-wal")} <= {0}


def test_a_stop_keeps_what_a_start_on_a_full_disk_needs(first: Path) -> None:
    prepare(first, 1)
    with closing(database.connect(first)) as connection:
        connection.execute("UPDATE log SET next = next + 1")
    assert files.close(first) == []
    shared, wal = (first.with_name(f"{first.name}{suffix}") for suffix in ("-shm", "-wal"))
    assert (shared.stat().st_size, wal.stat().st_size) == (32 << 10, 0)


def test_a_start_on_a_full_disk_is_noted_in_the_room_of_the_spare_file(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(first, 1)
    spare = first.with_name("spare")
    assert spare.stat().st_size == 64 << 10
    write = files._write_start

    def write_start(*arguments: Any) -> None:
        if spare.exists():
            raise apsw.FullError("database or disk is full")
        write(*arguments)

    monkeypatch.setattr(files, "_write_start", write_start)
    prepare(first, 1)
    assert spare.stat().st_size == 64 << 10


def test_a_stop_closes_the_other_files_if_one_cannot_be_closed(first: Path) -> None:
    prepare(first, 3)
    broken, last = files.paths(first, 3)[1:]
    broken.write_bytes(b"not a database" * 100)
    with closing(database.connect(last, writable=False)) as idle:  # so that the WAL is not deleted by another close
        idle.execute("SELECT count(*) FROM meta").fetchall()
        with closing(database.connect(last)) as writer:
            writer.execute("UPDATE log SET next = next + 1")
        wal = last.with_name(f"{last.name}-wal")
        assert wal.stat().st_size
        (said,) = files.close(first)
        assert not wal.stat().st_size
    assert said.startswith(f"cannot open {broken}: ")


def test_without_room_on_the_disk_nothing_changes(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first)
    before = everything(first, STORED_PARTITIONS), _meta(first)
    free = shutil.disk_usage(first.parent)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(WrongDatabase, match=r"MiB are free; make room, or set FALCON_PROCESSES=1$"):
        prepare(first, 2)
    assert (everything(first, STORED_PARTITIONS), _meta(first)) == before


def test_a_folder_that_was_changed_too_often_may_stay_as_it_is(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first, 2)
    monkeypatch.setattr(layout, "_SEGMENTS_MAX", 5)
    with pytest.raises(WrongDatabase, match=r"import into a new one, or set FALCON_PROCESSES=2$"):
        prepare(first, 3)


def test_a_change_that_fails_leaves_the_folder_as_it_was(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first)
    before = everything(first, STORED_PARTITIONS), _meta(first)
    monkeypatch.setitem(READ_MODELS["rooms"].sqlite.identities, "rooms", "NULL")  # as if a model were wrong
    with pytest.raises(WrongDatabase, match="rooms"):
        prepare(first, 2)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(moving, "_build", full)
    with pytest.raises(JournalUnavailable, match="no space left"):
        prepare(first, 2)
    assert (everything(first, STORED_PARTITIONS), _meta(first)) == before
    assert not (first.parent / "falcon.next").exists()


def stopped_before_the_new_files_are_in_place(first: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise OSError("stopped before the new files were put in place")

    with monkeypatch.context() as patched:
        patched.setattr(moving, "_put_in_place", stop)
        with pytest.raises(JournalUnavailable, match="stopped"):
            prepare(first, count)


def test_a_marker_that_is_not_as_it_was_written_is_refused(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_before_the_new_files_are_in_place(first, 2, monkeypatch)
    (first.parent / "falcon.next" / "complete").write_bytes(b"{")
    with pytest.raises(WrongDatabase, match=r"complete is not as Falcon wrote it .*: restore a copy"):
        prepare(first, 2)


def test_old_files_stay_if_a_new_one_was_taken_away(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first, 2)
    stopped_before_the_new_files_are_in_place(first, 1, monkeypatch)
    with pytest.raises(JournalUnavailable, match="falcon up finishes that"):
        files.present(first)
    (first.parent / "falcon.next" / first.name).unlink()
    with pytest.raises(WrongDatabase, match="misses files of a change to 1 files"):
        prepare(first, 1)
    assert all(path.exists() for path in files.paths(first, 2))


@pytest.mark.parametrize(
    "wrong", ["a file of the old layout", "the file of another place", "the file of another layout of as many"]
)
def test_old_files_stay_if_a_new_one_is_not_the_one_of_its_place(
    first: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = first.parent / "other" / first.name
    other.parent.mkdir()
    shutil.copy(first, other)
    prepare(other, 3)
    prepare(first, 2)
    before = everything(first, STORED_PARTITIONS)
    stopped_before_the_new_files_are_in_place(first, 3, monkeypatch)
    new = files.paths(first.parent / "falcon.next" / first.name, 3)
    if wrong == "a file of the old layout":
        new[1].unlink()
    elif wrong == "the file of another place":
        shutil.copy(new[2], new[1])
    else:
        shutil.copy(files.paths(other, 3)[1], new[1])
    with pytest.raises(WrongDatabase, match="misses files of a change to 3 files"):
        prepare(first, 3)
    assert everything(first, STORED_PARTITIONS, 2) == before


def test_the_wal_of_an_old_file_is_gone_for_good_before_a_new_file_takes_its_place(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(first)
    stopped_before_the_new_files_are_in_place(first, 2, monkeypatch)
    done: list[str] = []
    delete, replace, sync = moving._delete, Path.replace, moving._sync

    def note(step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Path, *rest: Any) -> Any:
            done.append(f"{step} {path.name}")
            return work(path, *rest)

        return noted

    monkeypatch.setattr(moving, "_delete", note("delete", delete))
    monkeypatch.setattr(moving, "_sync", note("sync", sync))
    monkeypatch.setattr(Path, "replace", note("replace", replace))
    prepare(first, 2)
    folder = f"sync {first.parent.name}"
    for name in ("falcon.db", "falcon-1.db"):
        begin = done.index(f"delete {name}")
        assert done[begin : begin + 4] == [f"delete {name}", folder, f"replace {name}", folder]


def test_tables_that_are_behind_the_log_are_brought_to_its_end_first_or_the_change_is_refused(first: Path) -> None:
    with Embedded(first, {}) as falcon:
        falcon.append(a_group(), posted(1))
    with pytest.raises(WrongDatabase, match="start with FALCON_PROCESSES=1, run falcon rebuild"):
        files.prepare(first, STORED_PARTITIONS, 2)
    prepare(first, 2)
    assert len(files.present(first)) == 2


# --- while others use the files ---------------------------------------------------------------------------------------


def _rebuilt(first: Path, tell: Callable[[int, int], None]) -> None:
    """``tell`` is called before the tables of each file are rebuilt."""
    run = Rebuild.run

    def told(rebuild: Rebuild) -> int:
        tell(0, 0)
        return run(rebuild)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Rebuild, "run", told)
        embedded.rebuild(Settings(data_dir=first.parent), "rooms", lambda done, total: None)


def _copied(first: Path, tell: Callable[[int, int], None]) -> None:
    embedded.copy(Settings(data_dir=first.parent), first.parent / "copy", tell)


@pytest.mark.parametrize("work", [_rebuilt, _copied])
@pytest.mark.parametrize("count", [1, 2])
def test_partitions_do_not_move_while_the_files_are_rebuilt_or_copied_and_a_start_goes_on_otherwise(
    first: Path, work: Callable[[Path, Callable[[int, int], None]], None], count: int
) -> None:
    prepare(first, count)
    refused = 0

    def start(*_: int) -> None:
        nonlocal refused
        prepare(first, count)
        with pytest.raises(WrongDatabase, match="while falcon rebuild or falcon copy runs on it: wait"):
            prepare(first, 3)
        refused += 1

    work(first, start)
    assert refused
    prepare(first, 3)
    assert len(files.present(first)) == 3


def test_an_interrupted_change_waits_for_a_rebuild(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first, 2)
    stopped_before_the_new_files_are_in_place(first, 1, monkeypatch)
    with files.keeping(first), pytest.raises(WrongDatabase, match="wait until that has ended"):
        prepare(first, 1)
    assert moving.is_unfinished(first)
    prepare(first, 1)


@pytest.mark.parametrize("work", [_rebuilt, _copied])
def test_files_are_not_rebuilt_or_copied_while_partitions_move(
    first: Path, work: Callable[[Path, Callable[[int, int], None]], None]
) -> None:
    refused = 0

    def use(*_: int) -> None:
        nonlocal refused
        with pytest.raises(JournalUnavailable, match="is being moved to another number of files"):
            work(first, lambda done, total: None)
        refused += 1

    prepare(first, 2, use)
    assert refused


def test_a_rebuild_opens_all_files_before_it_begins(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(first, 2)
    opened: list[Path] = []
    at_each_step: set[int] = set()
    connect = database.connect

    def noted(path: Path, **options: Any) -> apsw.Connection:
        opened.append(path)
        return connect(path, **options)

    monkeypatch.setattr(database, "connect", noted)
    _rebuilt(first, lambda done, total: at_each_step.add(len(opened)))
    assert at_each_step == {len(opened)}


# --- readers over changes ---------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """What a client has when it goes away: its token's offsets, and the events that it has seen."""

    offsets: dict[int, int]
    seen: list[tuple[int, str]]


def _append(log: FilesLog, partitions: Sequence[int], written: list[tuple[int, str]]) -> None:
    ann = Writer(log)
    ann.takeover(*range(PARTITIONS))
    for partition in partitions:
        text = f"{len(written)}"
        ann.append(partition, text)
        written.append((partition, text))
    ann.journal.close()


async def _read_up_to(tail: SqliteTail, offsets: dict[int, int], most: int) -> Told:
    """Read on as a stream does, at most so many events: closed segments first, in order."""
    offsets = dict(tail.resumed(offsets)) or dict.fromkeys(range(PARTITIONS), 0)
    seen: list[tuple[int, str]] = []
    ends = await tail.ends(dict.fromkeys(offsets))
    for segment in offsets:
        while offsets[segment] < ends[segment] and len(seen) < most:
            position = await tail.position(segment, offsets[segment])
            located, after = await tail.read_range(segment, position, ends[segment], 1)
            seen += [(raw.partition, text) for raw, text in zip(located, _texts(located), strict=True)]
            offsets[segment] = after.offset
    return Told(offsets, seen)


def _texts(located: list[LocatedRecord]) -> list[str]:
    from tests.contracts.tail import texts as texts_of

    return texts_of(located)


_COUNTS: Final = st.integers(1, PARTITIONS)
_APPENDS: Final = st.lists(st.integers(0, PARTITIONS - 1), max_size=8)


@settings(max_examples=15)
@given(changes=st.lists(st.tuples(_COUNTS, _APPENDS, st.integers(0, 12)), min_size=2, max_size=4))
def test_a_token_of_any_layout_gives_exactly_the_missed_events_in_the_order_of_their_partitions(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, list[int], int]]
) -> None:
    """At each step the folder gets a number of files, events are written, and the client reads some, with the token
    that it has."""
    first = tmp_path_factory.mktemp("folder") / "falcon.db"
    written: list[tuple[int, str]] = []
    client = Told({}, [])
    for count, partitions, most in [*changes, (1, [], 1_000)]:
        log = FilesLog(first, PARTITIONS, count)
        _append(log, partitions, written)
        tail = log.tail()
        start = client.offsets or dict.fromkeys({tail.segment(p) for p in range(PARTITIONS)}, 0)
        told = asyncio.run(_read_up_to(tail, start, most))
        asyncio.run(tail.close())
        client = Told(told.offsets, client.seen + told.seen)
    for partition in range(PARTITIONS):
        expected = [text for p, text in written if p == partition]
        assert [text for p, text in client.seen if p == partition] == expected
        assert texts(read_all(log.source(), partition)) == expected


def test_an_offset_that_no_reader_of_a_closed_segment_can_have_is_refused(tmp_path: Path) -> None:
    log = FilesLog(tmp_path / "falcon.db", PARTITIONS, 1)
    _append(log, [0, 1], [])
    tail = FilesLog(tmp_path / "falcon.db", PARTITIONS, 2).tail()
    assert tail.resumed({0: 2}) == {0: 1 << 40, 1: 2 << 40}
    assert tail.resumed({0: 1}) == {64: 1, 0: 1 << 40, 1: 2 << 40}
    with pytest.raises(WrongPlace):
        tail.resumed({0: 3})
    asyncio.run(tail.close())


def test_lag_counts_events_and_not_the_offsets_between_segments(tmp_path: Path) -> None:
    first = tmp_path / "falcon.db"
    written: list[tuple[int, str]] = []
    for count, partitions in ((1, [0, 1, 2, 3]), (2, [0, 0, 1]), (1, [2])):
        log = FilesLog(first, PARTITIONS, count)
        _append(log, partitions, written)
    source = log.source()
    assert source.remaining(dict.fromkeys(range(PARTITIONS), Position())) == len(written)
    assert source.remaining(source.end()) == 0


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_has_all_files_as_of_one_moment(tmp_path: Path) -> None:
    """Each event in the second file follows one in the first, as a membership follows its account."""
    import threading

    log = FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)
    ann = Writer(log)
    ann.takeover(0, 1)
    ending, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not ending.is_set():
            ann.append(0, f"{number}")
            ann.append(1, f"{number}")
            number += 1
            if number == 20:
                written.set()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert written.wait(30)
        told: list[tuple[int, int]] = []
        for number in range(5):
            (tmp_path / f"copy-{number}").mkdir()
            files.copy(tmp_path / "falcon.db", tmp_path / f"copy-{number}" / "falcon.db", lambda *far: told.append(far))
    finally:
        ending.set()
        writing.join()
    for number in range(5):
        first = tmp_path / f"copy-{number}" / "falcon.db"
        files.check(first, PARTITIONS)
        copied = FilesLog(first, PARTITIONS, 2).source()
        one, other = (texts(read_all(copied, partition)) for partition in (0, 1))
        assert len(other) >= 20
        assert len(one) - len(other) in (0, 1)
        assert one[: len(other)] == other == [f"{each}" for each in range(len(other))]
        assert copied.instance != log.source().instance
    assert all(done <= total for done, total in told)


def test_a_copy_gives_up_in_the_end_where_a_writer_never_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)
    monkeypatch.setattr(files, "_CLOSED_MILLISECONDS", 1)
    monkeypatch.setattr(files, "_CLOSINGS_MAX", 3)
    with closing(database.connect(log.paths[1])) as stuck:
        stuck.execute("BEGIN IMMEDIATE")
        (tmp_path / "copy").mkdir()
        with pytest.raises(JournalUnavailable, match="cannot copy"):
            files.copy(tmp_path / "falcon.db", tmp_path / "copy" / "falcon.db")
    with closing(apsw.Connection(str(log.paths[0]))) as free:
        free.execute("BEGIN IMMEDIATE")  # nothing holds it


# --- starts -----------------------------------------------------------------------------------------------------------


class Started:
    """A folder, over its starts and rollbacks."""

    def __init__(self, folder: Path) -> None:
        self.first = folder / "falcon.db"

    def writes(self, count: int, *partitions: int) -> None:
        """As so many processes, which end then."""
        writer = Writer(FilesLog(self.first, PARTITIONS, count))
        writer.takeover(*range(PARTITIONS))
        for partition in partitions:
            writer.append(partition, "tea")
        writer.journal.close()
        asyncio.run(self.tail().close())

    def tail(self) -> SqliteTail:
        return SqliteTail([database.connect(path, writable=False) for path in files.present(self.first)], 0.005)

    def ends(self) -> dict[int, int]:
        """Of each file, by its segment."""
        tail = self.tail()
        found = asyncio.run(tail.ends(dict.fromkeys({tail.segment(partition) for partition in range(PARTITIONS)})))
        asyncio.run(tail.close())
        return found

    def numbers(self, places: dict[int, int]) -> dict[int, int]:
        tail = self.tail()
        found = {segment: tail.starts.number(segment, offset) for segment, offset in places.items()}
        asyncio.run(tail.close())
        return found

    def remembered(self) -> dict[int, int]:
        with closing(database.connect(self.first, writable=False)) as connection:
            return layout.starts_of(connection)


@pytest.fixture
def started(tmp_path: Path) -> Started:
    (tmp_path / "data").mkdir()
    return Started(tmp_path / "data")


@pytest.mark.parametrize("counts", [(1, 1), (2, 2), (2, 3), (2, 1)])
def test_each_file_that_goes_back_has_other_starts_behind_the_snapshot(
    started: Started, tmp_path: Path, counts: tuple[int, int]
) -> None:
    started.writes(counts[0], 0, 1, 2)
    kept = started.ends()
    known = started.numbers(kept)
    shutil.copytree(started.first.parent, tmp_path / "snapshot")
    started.writes(counts[1], 0, 1, 2)
    lost = started.ends()
    known_lost = started.numbers(lost)
    shutil.rmtree(started.first.parent)
    shutil.copytree(tmp_path / "snapshot", started.first.parent)
    started.writes(counts[1], 0, 0, 1, 1, 2, 2)
    now = started.numbers(lost)
    assert all(now[segment] != number for segment, number in known_lost.items())
    assert started.numbers(kept) == known


def test_starts_behind_which_nothing_was_written_are_forgotten(started: Started) -> None:
    started.writes(2, 0, 1)
    places = started.ends()
    known = started.numbers(places)
    for _ in range(5):
        started.writes(2)
    assert len(started.remembered()) == 4 and started.numbers(places) == known
    started.writes(2, 0)
    started.writes(2)
    assert len(started.remembered()) == 5 and started.numbers(places) == known


def test_the_oldest_starts_are_forgotten_and_their_places_with_them(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_STARTS_MAX", 3)
    places: list[dict[int, int]] = []
    for _ in range(5):
        started.writes(1, 0)
        places.append(started.ends())
    assert len(started.remembered()) == 3
    assert [started.numbers(place)[0] > 0 for place in places] == [False, False, True, True, True]
