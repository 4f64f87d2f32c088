"""What becomes of data folders of earlier Falcons.

The files in ``folders`` are never changed. ``format-N.db`` is of format N of the log, and has something of everything.
"""

import shutil
from pathlib import Path
from typing import Final

import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.source import Everywhere
from falcon.domain.events import MessagePosted
from falcon.journal.format import FORMAT, refusal
from falcon.projections.projection import PROJECTIONS
from tests.projections.embedded import Embedded

FOLDERS: Final = Path(__file__).parent / "folders"
PARTITIONS: Final = 64


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


def test_a_folder_of_the_first_format_says_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / "format-1.db", path)
    with Embedded(path) as falcon:
        rows = falcon.rows()
        for projection in PROJECTIONS:
            assert falcon.rebuild(projection) == 44
        assert falcon.rows() == rows
        recorded, _ = falcon.source.read(Everywhere(0), 100)
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
