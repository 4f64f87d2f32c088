import io
import stat
from pathlib import Path

import httpx
import pytest

from falcon.base.process import take_lock
from falcon.cli.exporting import repair
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


def test_an_export_is_written_for_its_owner_only(run: Run, server: FakeFalcon, file: Path) -> None:
    result = run(server, "export", "backup.jsonl")
    assert (result.exit_code, result.stdout) == (0, "8 lines in backup.jsonl.\n")
    assert file.read_bytes() == WHOLE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_goes_to_standard_output_as_it_comes(run: Run, server: FakeFalcon) -> None:
    result = run(server, "export", "-")
    assert result.stdout_bytes == WHOLE
    assert result.stderr.splitlines()[-1] == "8 lines written."


def test_a_file_torn_anywhere_is_cut_back_to_its_last_whole_line() -> None:
    for torn_at in range(len(WHOLE) + 1):
        file = io.BytesIO(WHOLE[:torn_at])
        partial = repair(file, "backup.jsonl")
        lines = WHOLE[:torn_at].splitlines(keepends=True)
        whole = lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
        begun = whole if len(whole) > 1 else []  # a file with only a header is started again
        assert file.getvalue() == b"".join(begun)
        assert file.tell() == len(file.getvalue())
        assert partial.lines == len(begun)


@pytest.mark.parametrize("torn_at", [0, 10, len(LINES[0]), len(LINES[0]) + 10, len(ROWS) - 10, len(ROWS), len(WHOLE)])
def test_an_export_to_a_torn_file_makes_it_whole(run: Run, server: FakeFalcon, file: Path, torn_at: int) -> None:
    file.write_bytes(WHOLE[:torn_at])
    assert run(server, "export", "backup.jsonl").exit_code == 0
    assert file.read_bytes() == WHOLE


def test_an_export_that_was_torn_among_its_changes_has_them_again(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(WHOLE[:-10])
    assert run(server, "export", "backup.jsonl").exit_code == 0
    assert file.read_bytes() == b"".join([*LINES[:-1], *LINES[-2:]])


def test_an_export_that_is_whole_is_left_alone(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(WHOLE)
    assert run(server, "export", "backup.jsonl").stdout == "8 lines in backup.jsonl.\n"
    assert file.read_bytes() == WHOLE


def test_an_export_of_the_first_version_is_not_gone_on_with(run: Run, server: FakeFalcon, file: Path) -> None:
    old = LINES[0].replace(b',"position":"0:9"', b"").replace(b'"version":2', b'"version":1') + LINES[1]
    file.write_bytes(old)
    result = run(server, "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith("backup.jsonl exists and is not an export of Falcon")
    assert file.read_bytes() == old


def test_an_export_that_cannot_be_whole_says_why(run: Run, file: Path) -> None:
    failed = b'{"type":"failed","detail":"room 64 has 3 messages, but the timeline ends at 2"}\n'
    result = run(Script(httpx.Response(200, content=ROWS + failed)), "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "the export is incomplete: room 64 has 3 messages, but the timeline ends at 2"
    )


def test_an_export_goes_on_behind_the_last_whole_line(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(b"".join(LINES[:4]) + LINES[4][:-5])
    assert run(server, "export", "backup.jsonl").stdout == "8 lines in backup.jsonl.\n"
    assert server.requests[-1].url.params["resume"] == "message:64:1"


def test_an_export_of_another_falcon_is_left_alone(run: Run, server: FakeFalcon, file: Path) -> None:
    other = WHOLE.replace(b'"here"', b'"there"')
    file.write_bytes(other)
    result = run(server, "export", "backup.jsonl")
    assert result.exit_code == 1
    assert "backup.jsonl is an export of another Falcon (there)" in result.stderr.splitlines()[-1]
    assert file.read_bytes() == other


@pytest.mark.parametrize("content", [b"Dear diary,\n\nto", b"no line", b'{"type":"account","ref":"1","name":"A"}\n'])
def test_a_file_that_is_no_export_is_left_alone(run: Run, server: FakeFalcon, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    result = run(server, "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr == "backup.jsonl exists and is not an export of Falcon; give another name\n"
    assert file.read_bytes() == content
    assert server.requests == []


def test_an_export_whose_end_is_damaged_is_left_alone(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(WHOLE + b"\0\0\0\n")
    result = run(server, "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith("backup.jsonl: its last line is not an export's (")
    assert file.read_bytes() == WHOLE + b"\0\0\0\n"


def test_a_broken_off_export_says_that_it_can_go_on(run: Run, file: Path) -> None:
    file.write_bytes(b"".join(LINES[:4]))
    result = run(Script(unanswered), "export", "backup.jsonl")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("; the same command continues where this stopped")
    assert file.read_bytes() == b"".join(LINES[:4])


def test_two_exports_do_not_write_one_file(run: Run, server: FakeFalcon, file: Path) -> None:
    file.write_bytes(b"".join(LINES[:4]))
    with file.open("rb") as held:
        assert take_lock(held.fileno())
        result = run(server, "export", "backup.jsonl")
    assert (result.exit_code, result.stderr) == (1, "another `falcon export` writes backup.jsonl\n")
    assert file.read_bytes() == b"".join(LINES[:4])
