"""Several database files keep the contracts that one file keeps, and copies have other numbers of files."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import pytest

from falcon.adapters.sqlite import database, dividing, files, layout
from falcon.adapters.sqlite.database import SCHEMA_VERSION, WrongDatabase
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.journal import naming
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.projections.rebuild import Rebuild
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from falcon.streams.tail import WrongPlace
from tests.contracts.journal import PARTITIONS, JournalContract, Log, Writer, read_all, texts
from tests.contracts.read_store import ReadStoreContract, Store
from tests.contracts.tail import TailContract, TailedLog
from tests.history.test_folders import FOLDERS, SCHEMAS
from tests.history.test_folders import PARTITIONS as STORED_PARTITIONS
from tests.projections.embedded import Embedded
from tests.support.builders import a_group, posted
from tests.support.several_files import FilesLog, FilesStore, divide


class TestSqliteFilesJournal(JournalContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)


class TestSqliteFilesTail(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 2)


class TestTailOfDividedFiles(TailContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[TailedLog]:
        """Its partitions have been in two files."""
        before = Writer(FilesLog(tmp_path / "falcon.db", PARTITIONS, 2))
        before.takeover(0, 3)
        before.append(0, "long ago")
        before.append(3, "long ago")
        before.journal.close()
        divide(tmp_path / "falcon.db", PARTITIONS, 3)
        yield FilesLog(tmp_path / "falcon.db", PARTITIONS, 3)


class TestSqliteFilesReadStore(ReadStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        yield FilesStore(tmp_path / "falcon.db", 3, 3)  # the contract's rooms are in two of them


# --- a folder and all that it has -------------------------------------------------------------------------------------


class Everything(NamedTuple):
    """All rows of a folder by table, where the log of each partition ends, and the family of its name."""

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
    return Everything(rows, heads, naming.family(name))


def prepare(first: Path, count: int = 1) -> None:
    """As a start does."""
    files.prepare(first, STORED_PARTITIONS, count)


def several(first: Path, count: int) -> None:
    """Replace the folder by its copy with so many files, and start."""
    divide(first, STORED_PARTITIONS, count)
    prepare(first, count)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder of an earlier Falcon, with something of everything."""
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], tmp_path / "falcon.db")
    prepare(tmp_path / "falcon.db")
    embedded.bring_up_to_date(tmp_path / "falcon.db")  # of a read model that it does not have
    return tmp_path / "falcon.db"


@pytest.mark.parametrize("name", SCHEMAS.values())
@pytest.mark.parametrize("counts", [(2,), (3, 1), (2, 1, 2), (1, 2, 3, 1, 32)])
def test_a_copy_with_another_number_of_files_has_all_that_is_of_each_partition(
    tmp_path: Path, name: str, counts: tuple[int, ...]
) -> None:
    first = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / name, first)
    prepare(first)
    embedded.bring_up_to_date(first)
    before = everything(first, STORED_PARTITIONS)
    for count in counts:
        several(first, count)
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
    several(first, 3)
    for place, path in enumerate(files.paths(first, 3)):
        with closing(database.connect(path, writable=False)) as connection:
            for table, identity in dividing.tables().items():
                rows = connection.execute(f"SELECT DISTINCT ({identity}) % 64 % 3 FROM {table}").fetchall()
                assert rows in ([], [(place,)])
            positions = set(connection.execute("SELECT applied, filling, stopped FROM projections"))
            assert positions == {(*next(connection.execute("SELECT next FROM log")), 0, None)}


def test_every_table_of_a_read_model_says_whose_its_rows_are() -> None:
    for model in READ_MODELS.values():
        assert model.sqlite.identities.keys() == model.sqlite.tables.keys()


def test_a_falcon_that_knows_one_file_refuses_a_folder_of_two_and_may_go_on_with_one_again(first: Path) -> None:
    several(first, 2)
    for path in files.paths(first, 2):
        assert _meta(path)["schema"] > SCHEMA_VERSION
    several(first, 1)
    assert _meta(first)["schema"] == SCHEMA_VERSION


def _meta(path: Path) -> dict[str, Any]:
    with closing(database.connect(path, writable=False)) as connection:
        return dict(connection.execute("SELECT key, value FROM meta"))


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_misses_a_file_is_refused(first: Path) -> None:
    several(first, 2)
    second = files.paths(first, 2)[1]
    second.rename(second.with_suffix(".away"))
    with pytest.raises(WrongDatabase, match=f"{second} is missing"):
        prepare(first, 2)
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
    prepare(first)


def test_files_of_different_copies_are_refused(first: Path, tmp_path: Path) -> None:
    several(first, 2)
    (tmp_path / "copy").mkdir()
    copied = files.copy(first, tmp_path / "copy" / first.name)
    shutil.copy(copied[1], files.paths(first, 2)[1])
    with pytest.raises(WrongDatabase, match="is of another data folder, or another copy"):
        prepare(first, 2)


def test_a_file_that_was_put_back_from_before_the_last_start_is_refused(first: Path, tmp_path: Path) -> None:
    """It would give the ids of the messages that it lacks to others."""
    several(first, 2)
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


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_start_with_another_number_names_the_command_that_makes_such_a_copy(
    first: Path, before: int, after: int
) -> None:
    if before > 1:
        several(first, before)
    kept = everything(first, STORED_PARTITIONS)
    with pytest.raises(WrongDatabase, match=rf"set FALCON_PROCESSES={before} .* falcon copy --processes {after} "):
        prepare(first, after)
    assert everything(first, STORED_PARTITIONS) == kept
    assert files.prepare(first, STORED_PARTITIONS, after, keep=True) == before


@pytest.mark.parametrize(
    ("left", "said"), [(["falcon.db"], "remove .*falcon.next"), (["complete"], "start that version on it once more")]
)
def test_a_move_that_an_earlier_falcon_did_not_finish_is_named_with_the_way_out(
    first: Path, left: list[str], said: str
) -> None:
    (first.parent / "falcon.next").mkdir()
    for name in left:
        (first.parent / "falcon.next" / name).touch()
    for work in (prepare, files.present, lambda path: files.check(path, STORED_PARTITIONS)):
        with pytest.raises(JournalUnavailable, match=said):
            work(first)
    shutil.rmtree(first.parent / "falcon.next")
    prepare(first)


# --- the first start --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_first_start_that_was_interrupted_may_be_repeated_with_any_number(tmp_path: Path, count: int) -> None:
    first = tmp_path / "falcon.db"
    prepare(first, 3)
    files.paths(first, 3)[1].unlink()  # as if it had not come so far
    database.prepare(files.paths(first, 3)[1], STORED_PARTITIONS)
    prepare(first, count)
    assert {path.name for path in tmp_path.glob("*.db")} == {path.name for path in files.paths(first, count)}
    log = FilesLog(first, STORED_PARTITIONS, count)
    Writer(log).takeover(0, 1)
    assert files.check(first, STORED_PARTITIONS) == files.paths(first, count)


# --- closed -----------------------------------------------------------------------------------------------------------


def test_a_file_that_was_put_back_from_before_the_last_clean_stop_is_refused(first: Path, tmp_path: Path) -> None:
    several(first, 2)
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
    several(first, 2)
    kept = tmp_path / "killed" / first.name
    with closing(database.connect(first)) as connection:
        connection.execute("UPDATE log SET next = next + 1")
        shutil.copytree(first.parent, kept.parent)  # as a kill leaves it
    assert kept.with_name("falcon.db-wal").stat().st_size
    assert files.close(kept) == []
    assert [wal.stat().st_size for wal in kept.parent.glob("*.db-wal")] == [0, 0]


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_says_which_file_belongs_with_its_wal_if_another_program_reads_it(first: Path, count: int) -> None:
    several(first, count)
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
    several(first, 3)
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


# --- copies with another number of files ------------------------------------------------------------------------------


def copied(first: Path, count: int) -> list[Path]:
    folder = first.parent / "copy"
    folder.mkdir(exist_ok=True)
    return files.copy(first, folder / first.name, count=count, partitions=STORED_PARTITIONS)


def test_without_room_on_the_disk_nothing_is_copied(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(first.parent)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    for count in (1, 2):
        with pytest.raises(JournalUnavailable, match=r"may take \d+ MiB, and 1 MiB are free in .*/copy: make room"):
            copied(first, count)
    assert list((first.parent / "copy").iterdir()) == []


def test_a_folder_that_was_changed_too_often_is_exported(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several(first, 2)
    monkeypatch.setattr(layout, "_SEGMENTS_MAX", 5)
    with pytest.raises(JournalUnavailable, match=r"changed too often: export this data folder"):
        copied(first, 3)


def test_a_copy_that_would_lose_rows_is_refused(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READ_MODELS["rooms"].sqlite.identities, "rooms", "NULL")  # as if a model were wrong
    with pytest.raises(JournalUnavailable, match=r"rooms \(0 of \d+\) would be lost"):
        copied(first, 2)


def test_tables_that_do_not_show_all_of_the_log_are_not_divided(first: Path) -> None:
    with Embedded(first, {}) as falcon:
        falcon.append(a_group(), posted(1))
    with pytest.raises(JournalUnavailable, match="run falcon rebuild"):
        copied(first, 2)
    embedded.bring_up_to_date(first)
    assert len(copied(first, 2)) == 2


def test_no_process_writes_while_files_are_divided(first: Path) -> None:
    with closing(database.connect(first)) as writing:
        writing.set_busy_timeout(0)

        def write(*_: int) -> None:
            with pytest.raises(apsw.BusyError):
                writing.execute("UPDATE log SET next = next + 1")

        (first.parent / "copy").mkdir()
        to = first.parent / "copy" / first.name
        files.copy(first, to, write, count=2, partitions=STORED_PARTITIONS)
        writing.execute("UPDATE log SET next = next + 1")


# --- readers ----------------------------------------------------------------------------------------------------------


def _rebuilt(first: Path, tell: Callable[[int, int], None]) -> None:
    """``tell`` is called before the tables of each file are rebuilt."""
    run = Rebuild.run

    def told(rebuild: Rebuild) -> int:
        tell(0, 0)
        return run(rebuild)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Rebuild, "run", told)
        embedded.rebuild(Settings(data_dir=first.parent), "rooms", lambda done, total: None)


def test_a_rebuild_opens_all_files_before_it_begins(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several(first, 2)
    opened: list[Path] = []
    at_each_step: set[int] = set()
    connect = database.connect

    def noted(path: Path, **options: Any) -> apsw.Connection:
        opened.append(path)
        return connect(path, **options)

    monkeypatch.setattr(database, "connect", noted)
    _rebuilt(first, lambda done, total: at_each_step.add(len(opened)))
    assert at_each_step == {len(opened)}


def _append(log: FilesLog, *partitions: int) -> None:
    ann = Writer(log)
    ann.takeover(*range(PARTITIONS))
    for partition in partitions:
        ann.append(partition, "tea")
    ann.journal.close()


def test_a_place_from_before_the_folder_got_another_number_of_files_is_refused(tmp_path: Path) -> None:
    """As an earlier Falcon changed it in place: the log has the same name then."""
    first = tmp_path / "falcon.db"
    _append(FilesLog(first, PARTITIONS, 2), 0, 1)
    divide(first, PARTITIONS, 1)
    log = FilesLog(first, PARTITIONS, 1)
    _append(log, 0)
    tail = log.tail()
    begin = layout.begin_of(2)
    asyncio.run(tail.starts.know({0: begin}))
    asyncio.run(tail.starts.know({0: begin + 1}))
    for places in ({0: 1}, {1: begin}, {0: begin, 1: layout.begin_of(1) + 1}):
        with pytest.raises(WrongPlace):
            asyncio.run(tail.starts.know(places))
    asyncio.run(tail.close())


def test_a_partition_is_read_from_its_beginning_in_the_order_in_which_it_was_written(tmp_path: Path) -> None:
    first = tmp_path / "falcon.db"
    for number, count in enumerate((1, 3, 2)):
        if number:
            divide(first, PARTITIONS, count)
        ann = Writer(FilesLog(first, PARTITIONS, count))
        ann.takeover(*range(PARTITIONS))
        for partition in range(PARTITIONS):
            ann.append(partition, f"{number}")
        ann.journal.close()
    source = FilesLog(first, PARTITIONS, 2).source()
    for partition in range(PARTITIONS):
        assert texts(read_all(source, partition)) == ["0", "1", "2"]


def test_lag_counts_events_and_not_the_offsets_between_segments(tmp_path: Path) -> None:
    first = tmp_path / "falcon.db"
    _append(FilesLog(first, PARTITIONS, 1), 0, 1, 2, 3)
    divide(first, PARTITIONS, 2)
    _append(FilesLog(first, PARTITIONS, 2), 0, 0, 1)
    divide(first, PARTITIONS, 1)
    _append(FilesLog(first, PARTITIONS, 1), 2)
    source = FilesLog(first, PARTITIONS, 1).source()
    assert source.remaining(dict.fromkeys(range(PARTITIONS), Position())) == 8
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
        assert written.wait(60)
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


@pytest.mark.parametrize("count", [1, 2])
def test_each_file_that_goes_back_has_other_starts_behind_the_snapshot(
    started: Started, tmp_path: Path, count: int
) -> None:
    started.writes(count, 0, 1, 2)
    kept = started.ends()
    known = started.numbers(kept)
    shutil.copytree(started.first.parent, tmp_path / "snapshot")
    started.writes(count, 0, 1, 2)
    lost = started.ends()
    known_lost = started.numbers(lost)
    shutil.rmtree(started.first.parent)
    shutil.copytree(tmp_path / "snapshot", started.first.parent)
    started.writes(count, 0, 0, 1, 1, 2, 2)
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
