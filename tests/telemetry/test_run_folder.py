"""A tree's folder is in memory if it fits, is gone with its tree, and says which processes live."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from falcon.base.process import start_ticks
from falcon.telemetry import run_folder
from falcon.telemetry.run_folder import NoRoom, SignOfLife, make_folder, reserve, signs
from tests.support.small_disk import on_small_disk


def test_space_is_reserved_when_a_file_is_made(tmp_path: Path) -> None:
    file = tmp_path / "counter_serve-0.db"
    reserve(file, 1 << 20)
    assert file.stat().st_blocks * 512 >= 1 << 20


def test_a_file_that_is_there_keeps_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "counter_serve-0.db"
    file.write_bytes(b"counted")
    reserve(file, 1 << 20)
    assert file.read_bytes() == b"counted"


def test_a_file_that_does_not_fit_into_memory_is_refused_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from falcon.telemetry.run_folder import NoRoom, reserve\n"
    code += "try: reserve(Path(sys.argv[1]) / 'counter_serve-0.db', 1 << 20)\nexcept NoRoom as error: print(error)\n"
    code += "print(os.listdir(sys.argv[1]))"
    said = subprocess.run(
        [*on_small_disk(tmp_path, "512k"), sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "counter_serve-0.db needs 1024 KiB for measurements (No space left on device)" in said.stdout
    assert said.stdout.endswith("[]\n")


def test_a_folder_is_in_memory_only_where_there_is_room_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, temporary = tmp_path / "shm", tmp_path / "tmp"
    for base in (memory, temporary):
        base.mkdir()
    size = 1 << 20
    free = {memory: 3 * size, temporary: 4 * size}
    monkeypatch.setattr(run_folder, "_SHARED_MEMORY", memory)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr("shutil.disk_usage", lambda base: SimpleNamespace(total=1 << 40, free=free[base]))
    with make_folder(3, size) as three, make_folder(4, size) as four:
        assert (three.parent, four.parent) == (memory, temporary)
    with pytest.raises(NoRoom, match=r"cannot take 5,120 KiB for the measurements of 5 processes.*FALCON_RUN_DIR"):
        make_folder(5, size).__enter__()
    assert [*tmp_path.glob("*/*")] == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and the only one for run folders."""
    monkeypatch.setattr(run_folder, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_start_removes_the_folder_of_a_launcher_that_was_killed_and_of_no_other(temporary: Path) -> None:
    code = "import sys; from pathlib import Path; from falcon.telemetry import probes, run_folder\n"
    code += "run_folder._SHARED_MEMORY = Path(sys.argv[1])\n"
    code += "with run_folder.make_folder(1, 0) as folder:\n"
    code += "    probes.start(folder, 'serve-0'); (folder / 'serving.lock').touch(); print(folder, flush=True); input()"
    command = [sys.executable, "-c", code, str(temporary)]
    own = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        with make_folder(1, 0):
            assert (folder / "serve-0.sign").exists()
        process.kill()
        process.wait()
    with make_folder(1, 0):
        assert not folder.exists()
    assert [*temporary.iterdir()] == []


@pytest.mark.parametrize("name", ["falcon-2026-11-26", "falcon-2-x", "falcon-run-2026-11-26"])
def test_a_start_leaves_a_copy_of_a_data_folder_in_the_folder_for_temporary_files(temporary: Path, name: str) -> None:
    copy = temporary / name
    copy.mkdir()
    (copy / "falcon.db").touch()
    with make_folder(1, 0):
        pass
    assert (copy / "falcon.db").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["falcon-1-1", "falcon-run-1-1"])
def test_a_start_does_not_wait_for_a_pipe_with_the_name_of_a_folder(temporary: Path, name: str) -> None:
    os.mkfifo(temporary / name)
    with make_folder(1, 0):
        pass
    assert (temporary / name).is_fifo()


def test_a_start_leaves_a_folder_that_another_start_has_just_made(temporary: Path) -> None:
    made = temporary / "falcon-run-1-1"
    made.mkdir()
    with make_folder(1, 0):
        assert made.exists()


def test_memory_without_a_limit_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda base: SimpleNamespace(total=0, free=0))
    with make_folder(3, 1) as folder:
        assert folder.parent == tmp_path


def test_a_process_is_alive_until_it_has_ended(tmp_path: Path) -> None:
    SignOfLife(tmp_path, "serve-0")
    code = "import sys; from pathlib import Path; from falcon.telemetry.run_folder import SignOfLife; "
    code += "SignOfLife(Path(sys.argv[1]), 'api-0'); print('there', flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert {sign.name: sign.alive for sign in signs(tmp_path)} == {"api-0": True, "serve-0": True}
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and a zombie
        assert {sign.name: sign.alive for sign in signs(tmp_path)} == {"api-0": False, "serve-0": True}
    assert start_ticks(process.pid) is None


def test_a_sign_of_life_ages_until_it_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(run_folder, "time", SimpleNamespace(monotonic=lambda: now))
    sign = SignOfLife(tmp_path, "serve-0")
    now += 30
    assert [each.sampled_seconds for each in signs(tmp_path)] == [30.0]
    sign.renew()
    assert [each.sampled_seconds for each in signs(tmp_path)] == [0.0]


def test_a_sign_of_life_without_words_is_none_yet(tmp_path: Path) -> None:
    reserve(tmp_path / "serve-0.sign", 64)
    assert signs(tmp_path) == []
    assert signs(tmp_path / "gone") == []
