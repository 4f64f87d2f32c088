import stat
from pathlib import Path

import httpx
import pytest

from falcon.base.process import take_lock
from tests.cli.conftest import Run
from tests.cli.fake import FakeFalcon, Script, unanswered

LINES = [
    b'{"type":"falcon-export","version":2,"source":"here","accounts":1,"rooms":1,"messages":3,"position":"0:9"}\n',
    b'{"type":"account","ref":"130","name":"Alice"}\n',
    b'{"type":"room","ref":"64","kind":"group","name":"Tea","members":[{"account":"130","role":"admin"}]}\n',
    *(b'{"type":"message","room":"64","seq":%d,"author":"130","text":"Hi"}\n' % seq for seq in (1, 2, 3)),
    b'{"type":"changes","position":"0:9","through":"0:9"}\n',
    b'{"type":"end","position":"0:9"}\n',
]
ROWS = b"".join(LINES[:-2])
WHOLE = b"".join(LINES)


@pytest.fixture
def server() -> FakeFalcon:
    return FakeFalcon(export=LINES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.jsonl"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "backup.jsonl.part"


def test_an_export_is_written_for_its_owner_only(run: Run, server: FakeFalcon, file: Path) -> None:
    result = run(server, "export", "backup.jsonl")
    assert (result.exit_code, result.stdout) == (0, "8 lines in backup.jsonl.\n")
    assert file.read_bytes() == WHOLE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_goes_to_standard_output_as_it_comes(run: Run, server: FakeFalcon) -> None:
    result = run(server, "export", "-")
    assert result.stdout_bytes == WHOLE
    assert result.stderr.splitlines()[-1] == "8 lines written."


def test_an_existing_file_is_left_alone(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(b"Dear diary")
    result = run(server, "export", "backup.jsonl")
    assert (result.exit_code, result.stderr) == (1, "backup.jsonl exists already; give another name\n")
    assert (file.read_bytes(), server.requests) == (b"Dear diary", [])


def test_an_export_that_was_torn_begins_again(run: Run, server: FakeFalcon, file: Path, part: Path) -> None:
    part.write_bytes(WHOLE[:-5] * 2)
    assert run(server, "export", "backup.jsonl").stdout == "8 lines in backup.jsonl.\n"
    assert (file.read_bytes(), part.exists()) == (WHOLE, False)


def test_an_export_that_cannot_be_whole_says_why(run: Run, file: Path) -> None:
    failed = b'{"type":"failed","detail":"room 64 has 3 messages, but the timeline ends at 2"}\n'
    result = run(Script(httpx.Response(200, content=ROWS + failed)), "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "the export is incomplete: room 64 has 3 messages, but the timeline ends at 2"
    )


def test_an_export_that_breaks_off_leaves_no_file(run: Run, file: Path, part: Path) -> None:
    result = run(Script(unanswered), "export", "backup.jsonl")
    assert (result.exit_code, file.exists(), part.exists()) == (1, False, True)


def test_two_exports_do_not_write_one_file(run: Run, server: FakeFalcon, part: Path) -> None:
    part.write_bytes(b"".join(LINES[:4]))
    with part.open("rb") as held:
        assert take_lock(held.fileno())
        result = run(server, "export", "backup.jsonl")
    assert (result.exit_code, result.stderr) == (1, "another `falcon export` writes backup.jsonl.part\n")
    assert part.read_bytes() == b"".join(LINES[:4])
