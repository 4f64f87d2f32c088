"""The local copy of snapshots: a file for what does not fit in memory."""

from pathlib import Path

import apsw
import pytest

from falcon.adapters.sqlite import snapshot_cache
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.journal.snapshot_record import SnapshotRecord, SnapshotStamp


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSnapshotCache:
    monkeypatch.setattr(snapshot_cache, "_CACHE_KIB", 64)
    return LocalSnapshotCache(tmp_path / "snapshot_cache.db")


def record(data: bytes, offset: int = 1) -> SnapshotRecord:
    return SnapshotRecord(7, offset, 5, data, 2)


def kept(file: LocalSnapshotCache, partition: int) -> list[tuple[str, bytes]]:
    return [(name, each.data) for name, each in file.under(partition, "")]


def test_more_than_fits_in_memory_is_all_there(file: LocalSnapshotCache, tmp_path: Path) -> None:
    for start in range(0, 1_000, 100):
        file.put(0, [(f"room {i}", record(b"%d" % i * 500)) for i in range(start, start + 100)])
    assert (tmp_path / "snapshot_cache.db").stat().st_size > 1_000_000
    assert [file.get(0, f"room {i}") for i in range(1_000)] == [record(b"%d" % i * 500) for i in range(1_000)]


def test_what_is_put_again_replaces_and_what_is_dropped_is_gone(file: LocalSnapshotCache) -> None:
    file.put(0, [("a", record(b"1")), ("b", record(b"2")), ("c", record(b"3"))])
    file.put(0, [("b", record(b"4", 9))])
    file.drop(0, ["a", "x"])
    assert file.under(0, "") == [("b", record(b"4", 9)), ("c", record(b"3"))]
    assert file.stamps(0, ["a", "b", "x"]) == {"b": SnapshotStamp(7, 9, 2)}


def test_a_partition_is_cleared_without_the_others(file: LocalSnapshotCache) -> None:
    for partition in (0, 1):
        file.put(partition, [("a", record(b"1"))])
        file.add_garbage(partition, [b"key"])
    file.clear(0)
    assert (kept(file, 0), kept(file, 1)) == ([], [("a", b"1")])
    assert (file.garbage(0, 9), file.garbage(1, 9)) == ([], [b"key"])


def test_a_name_that_only_begins_alike_is_found_under_its_beginning(file: LocalSnapshotCache) -> None:
    names = ["aggregate:1", "answers:1", "answers:2"]
    file.put(0, [(name, record(b"")) for name in names])
    assert [name for name, _ in file.under(0, "answers:")] == names[1:]


def test_stamps_between_two_names_are_found_in_their_order(file: LocalSnapshotCache) -> None:
    file.put(0, [(f"answers:{i}", record(b"", i)) for i in (3, 1, 2)] + [("answer", record(b""))])
    assert file.stamps_between(0, "answers:", "answers:3") == [(f"answers:{i}", SnapshotStamp(7, i, 2)) for i in (1, 2)]
    assert file.stamps_between(0, "answers:", "answers:3", 1) == [("answers:1", SnapshotStamp(7, 1, 2))]
    assert file.stamps_between(0, "answers:", "answers:0") == []


def test_it_reaches_as_far_as_its_newest_record(file: LocalSnapshotCache) -> None:
    assert file.reaches(0) == 0
    file.put(0, [("a", record(b"", 3)), ("b", record(b"", 8)), ("c", record(b"", 5))])
    assert (file.reaches(0), file.reaches(1)) == (8, 0)


def test_garbage_is_kept_once_and_given_some_at_a_time(file: LocalSnapshotCache) -> None:
    file.add_garbage(0, [b"a", b"b", b"a"])
    file.add_garbage(0, [b"b", b"c"])
    assert sorted(file.garbage(0, 9)) == [b"a", b"b", b"c"]
    assert len(file.garbage(0, 2)) == 2
    file.drop_garbage(0, [b"a", b"x"])
    assert sorted(file.garbage(0, 9)) == [b"b", b"c"]


def test_it_is_empty_at_each_start(tmp_path: Path) -> None:
    before = LocalSnapshotCache(tmp_path / "snapshot_cache.db")
    before.put(0, [("a", record(b"1"))])
    del before
    assert LocalSnapshotCache(tmp_path / "snapshot_cache.db").under(0, "") == []


def test_a_copy_that_the_disk_had_no_room_for_says_nothing_of_any_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite cannot take back what it has half written then: rooms that were there may seem to be gone."""
    monkeypatch.setattr(snapshot_cache, "_CACHE_KIB", 64)
    file = LocalSnapshotCache(tmp_path / "snapshot_cache.db")
    file._connection.execute("PRAGMA max_page_count = 100")
    file.put(0, [("a room", record(b"1"))])
    with pytest.raises(apsw.FullError):
        for number in range(1_000):
            file.put(1, [(f"room {number}", record(b"x" * 4_000))])
    with pytest.raises(apsw.ConnectionClosedError):
        file.get(0, "a room")
