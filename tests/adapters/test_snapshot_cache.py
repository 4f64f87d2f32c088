"""The local copy of snapshots: a file for what does not fit in memory."""

from pathlib import Path

import pytest

from falcon.adapters.sqlite import snapshot_cache
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSnapshotCache[bytes]:
    monkeypatch.setattr(snapshot_cache, "_CACHE_KIB", 64)
    return LocalSnapshotCache(tmp_path / "snapshot_cache.db", bytes, bytes)


def test_more_than_fits_in_memory_is_all_there(file: LocalSnapshotCache[bytes], tmp_path: Path) -> None:
    for start in range(0, 1_000, 100):
        file.put(0, [(f"room {i}", b"%d" % i * 500) for i in range(start, start + 100)])
    assert (tmp_path / "snapshot_cache.db").stat().st_size > 1_000_000
    assert [file.get(0, f"room {i}") for i in range(1_000)] == [b"%d" % i * 500 for i in range(1_000)]


def test_what_is_put_again_replaces_and_what_is_dropped_is_gone(file: LocalSnapshotCache[bytes]) -> None:
    file.put(0, [("a", b"1"), ("b", b"2"), ("c", b"3")])
    file.put(0, [("b", b"4")])
    file.drop(0, ["a", "x"])
    assert file.under(0, "") == [("b", b"4"), ("c", b"3")]


def test_a_partition_is_cleared_without_the_others(file: LocalSnapshotCache[bytes]) -> None:
    file.put(0, [("a", b"1")])
    file.put(1, [("a", b"2")])
    file.clear(0)
    assert (file.under(0, ""), file.under(1, "")) == ([], [("a", b"2")])


def test_a_name_that_only_begins_alike_is_found_under_its_beginning(file: LocalSnapshotCache[bytes]) -> None:
    file.put(0, [("answers:1", b"1"), ("answers:2", b"2"), ("aggregate:1", b"3")])
    assert file.under(0, "answers:") == [("answers:1", b"1"), ("answers:2", b"2")]
    assert file.under(0, "answers:", "answers:2") == [("answers:1", b"1")]
    assert file.under(0, "answers:", "answers:0") == []


def test_it_is_empty_at_each_start(tmp_path: Path) -> None:
    before: LocalSnapshotCache[bytes] = LocalSnapshotCache(tmp_path / "snapshot_cache.db", bytes, bytes)
    before.put(0, [("a", b"1")])
    del before
    assert LocalSnapshotCache(tmp_path / "snapshot_cache.db", bytes, bytes).under(0, "") == []
