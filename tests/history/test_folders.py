"""Data folders of earlier Falcons.

The files in ``folders`` are never changed. They have something of everything. ``before-format-1.db`` is from before the
log had a format; the others are of its first one, and of the schemas that ``SCHEMAS`` says. After a new schema, bring
the newest of them to it with ``falcon up``, and keep the result as the next one.
"""

import shutil
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import SCHEMA_VERSION, WrongDatabase
from falcon.adapters.sqlite.source import UniformCursor
from falcon.features.messages.rules import MessagePosted
from falcon.journal.format import FORMAT, refusal
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import READ_MODELS
from tests.projections.embedded import Embedded

FOLDERS: Final = Path(__file__).parent / "folders"
PARTITIONS: Final = 64
SCHEMAS: Final = {
    2: "format-1.db",
    3: "schema-3.db",
    4: "schema-4.db",
    5: "schema-5.db",
    6: "schema-6.db",
    7: "schema-7.db",
    8: "schema-8.db",
}


def test_a_folder_from_before_the_format_is_refused_in_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / "before-format-1.db", path)
    before = path.read_bytes()
    with pytest.raises(WrongDatabase) as refused:
        database.prepare(path, PARTITIONS)
    line = str(refused.value)
    assert "\n" not in line
    assert str(path) in line and "falcon export" in line and "falcon import" in line
    assert path.read_bytes() == before, "the Falcon that wrote it must find it as it was"


def test_there_is_a_folder_of_every_schema() -> None:
    assert list(SCHEMAS) == list(range(2, SCHEMA_VERSION + 1))
    for schema, name in SCHEMAS.items():
        assert _meta(FOLDERS / name)["schema"] == schema


@pytest.mark.parametrize("name", SCHEMAS.values())
def test_a_folder_of_an_earlier_schema_becomes_as_one_that_is_new(tmp_path: Path, name: str) -> None:
    shutil.copy(FOLDERS / name, tmp_path / "old.db")
    for path in (tmp_path / "old.db", tmp_path / "new.db"):
        database.prepare(path, PARTITIONS)
    assert _columns(tmp_path / "old.db") == _columns(tmp_path / "new.db")
    assert _meta(tmp_path / "old.db")["schema"] == _meta(tmp_path / "new.db")["schema"] == SCHEMA_VERSION
    database.prepare(tmp_path / "old.db", PARTITIONS)  # doing it again is safe


def test_a_migration_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / SCHEMAS[2], path)
    before = _columns(path)
    monkeypatch.setitem(database._MIGRATIONS, 2, "ALTER TABLE log ADD COLUMN more; ALTER TABLE nowhere ADD COLUMN more")
    with pytest.raises(JournalUnavailable, match="no such table: nowhere"):
        database.prepare(path, PARTITIONS)
    assert (_columns(path), _meta(path)["schema"]) == (before, 2)


@pytest.mark.parametrize("name", SCHEMAS.values())
def test_a_folder_of_the_first_format_says_what_it_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / name, path)
    with Embedded(path) as falcon:
        for newer in ("directory", "threads"):  # than these folders; falcon up fills them
            falcon.rebuild(newer)
        rows = falcon.rows()
        for projection in READ_MODELS:
            assert falcon.rebuild(projection) == 44
        assert falcon.rows() == rows
        recorded, _ = falcon.source.read(UniformCursor(0), 100)
        assert [each.offset for each in recorded] == list(range(44))
        assert sum(isinstance(each.envelope.event, MessagePosted) for each in recorded) == 11


def test_a_log_of_a_newer_format_is_refused_as_one(tmp_path: Path) -> None:
    path = tmp_path / "falcon.db"
    database.prepare(path, PARTITIONS)
    database.connect(path).execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT + 1,))
    with pytest.raises(WrongDatabase, match="written by a newer Falcon, so run that"):
        database.prepare(path, PARTITIONS)


@pytest.mark.parametrize("found", [None, 0])
def test_a_log_that_says_no_format_is_of_before(found: int | None) -> None:
    assert "falcon export" in (refusal("a log", found, "another place") or "")


def _meta(path: Path) -> dict[str, Any]:
    return dict(_read(path, "SELECT key, value FROM meta"))


def _columns(path: Path) -> list[Any]:
    """Every column of every table. Names of indexes are made up for each folder."""
    tables = (
        "SELECT t.name, c.* FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1, 2"
    )
    indexed = "SELECT tbl_name, substr(sql, instr(sql, ' ON ')) FROM sqlite_schema WHERE type = 'index' ORDER BY 1, 2"
    return _read(path, tables) + _read(path, indexed)


def _read(path: Path, sql: str) -> list[Any]:
    connection = apsw.Connection(f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    rows = list(connection.execute(sql))
    connection.close()
    return rows
