"""A slot keeps what a process has counted, even after the process is killed."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from falcon.process import start_ticks
from falcon.telemetry import slots
from falcon.telemetry.slots import (
    CELLS,
    SLOT_BYTES,
    NoRoom,
    Slot,
    SlotFull,
    SlotView,
    UnmeasuredSlot,
    make_folder,
    views,
)
from tests.support.small_disk import on_small_disk

KEY = ("falcon_messages", ("sent",))


def view(folder: Path, name: str = "serve-0") -> dict[tuple[str, tuple[str, ...]], list[float]]:
    return {key: cells for key, _, cells in SlotView(folder, name).read()}


def test_what_was_counted_can_be_read_from_outside(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "serve-0")
    slot.cells[slot.allocate(KEY, 1, "counter")] = 7
    assert view(tmp_path) == {KEY: [7.0]}


def test_a_slot_whose_keys_have_gone_is_empty(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "serve-0")
    slot.cells[slot.allocate(KEY, 1, "counter")] = 7
    (tmp_path / "serve-0.keys").unlink()
    assert view(tmp_path) == {}


def test_the_next_process_in_the_slot_goes_on_counting(tmp_path: Path) -> None:
    before = Slot(tmp_path, "serve-0")
    before.cells[before.allocate(KEY, 1, "counter")] = 7
    after = Slot(tmp_path, "serve-0")
    after.cells[after.allocate(KEY, 1, "counter")] += 1
    assert view(tmp_path) == {KEY: [8.0]}


def test_a_gauge_of_the_process_before_says_nothing_any_more(tmp_path: Path) -> None:
    before = Slot(tmp_path, "serve-0")
    before.cells[before.allocate(KEY, 1, "gauge")] = 7
    Slot(tmp_path, "serve-0")
    assert math.isnan(view(tmp_path)[KEY][0])


def test_a_metric_that_has_another_shape_now_begins_anew(tmp_path: Path) -> None:
    before = Slot(tmp_path, "serve-0")
    before.cells[before.allocate(KEY, 1, "counter")] = 7
    after = Slot(tmp_path, "serve-0")
    after.allocate(KEY, 3, "histogram")
    assert view(tmp_path)[KEY] == [0.0, 0.0, 0.0]


def test_a_line_that_was_cut_short_by_a_kill_harms_no_other(tmp_path: Path) -> None:
    before = Slot(tmp_path, "serve-0")
    before.cells[before.allocate(KEY, 1, "counter")] = 7
    lines = tmp_path / "serve-0.keys"
    with lines.open("r+b") as file:
        file.seek(len(lines.read_bytes().rstrip(b"\0")))
        file.write(b'[9,1,"cou')
    after = Slot(tmp_path, "serve-0")
    other = ("falcon_rooms", ())
    after.cells[after.allocate(other, 1, "counter")] = 2
    assert view(tmp_path) == {KEY: [7.0], other: [2.0]}


def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "serve-0")
    with pytest.raises(SlotFull, match="falcon_messages"):
        slot.allocate(KEY, CELLS, "histogram")
    with pytest.raises(SlotFull, match="falcon_messages"):
        slot.allocate(("falcon_messages", ("x" * SLOT_BYTES,)), 1, "counter")


def test_its_space_is_reserved_when_it_is_made(tmp_path: Path) -> None:
    Slot(tmp_path, "serve-0")
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) >= SLOT_BYTES


def test_a_slot_that_does_not_fit_into_memory_is_refused_in_words(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from falcon.telemetry.slots import NoRoom, Slot\n"
    code += "try: Slot(Path(sys.argv[1]), 'serve-0')\nexcept NoRoom as error: print(error)"
    said = subprocess.run(
        [*on_small_disk(tmp_path, "1m"), sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "serve-0.cells needs 1024 KiB for measurements (No space left on device)" in said.stdout


def test_slots_are_in_memory_only_where_there_is_room_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, temporary = tmp_path / "shm", tmp_path / "tmp"
    for base in (memory, temporary):
        base.mkdir()
    free = {memory: 3 * SLOT_BYTES, temporary: 4 * SLOT_BYTES}
    monkeypatch.setattr(slots, "_SHARED_MEMORY", memory)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr("shutil.disk_usage", lambda base: SimpleNamespace(total=1 << 40, free=free[base]))
    with make_folder(3) as three, make_folder(4) as four:
        assert (three.parent, four.parent) == (memory, temporary)
    with pytest.raises(NoRoom, match=r"cannot take 6,400 KiB for the measurements of 5 processes.*FALCON_RUN_DIR"):
        make_folder(5).__enter__()
    assert [*tmp_path.glob("*/*")] == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and the only one for slots."""
    monkeypatch.setattr(slots, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_start_removes_the_folder_of_a_launcher_that_was_killed_and_of_no_other(temporary: Path) -> None:
    code = "import sys; from pathlib import Path; from falcon.telemetry import probes, slots\n"
    code += "slots._SHARED_MEMORY = Path(sys.argv[1])\n"
    code += "with slots.make_folder(1) as folder:\n"
    code += "    probes.start(folder, 'serve-0'); (folder / 'serving.lock').touch(); print(folder, flush=True); input()"
    command = [sys.executable, "-c", code, str(temporary)]
    own = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        with make_folder(1):
            assert (folder / "serve-0.cells").exists()
        process.kill()
        process.wait()
    with make_folder(1):
        assert not folder.exists()
    assert [*temporary.iterdir()] == []


@pytest.mark.parametrize("name", ["falcon-2026-11-26", "falcon-2-x", "falcon-slots-2026-11-26"])
def test_a_start_leaves_a_copy_of_a_data_folder_in_the_folder_for_temporary_files(temporary: Path, name: str) -> None:
    copy = temporary / name
    copy.mkdir()
    (copy / "falcon.db").touch()
    with make_folder(1):
        pass
    assert (copy / "falcon.db").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["falcon-1-1", "falcon-slots-1-1"])
def test_a_start_does_not_wait_for_a_pipe_with_the_name_of_a_folder(temporary: Path, name: str) -> None:
    os.mkfifo(temporary / name)
    with make_folder(1):
        pass
    assert (temporary / name).is_fifo()


def test_a_start_leaves_a_folder_that_another_start_has_just_made(temporary: Path) -> None:
    made = temporary / "falcon-slots-1-1"
    made.mkdir()
    with make_folder(1):
        assert made.exists()


def test_memory_without_a_limit_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda base: SimpleNamespace(total=0, free=0))
    with make_folder(3) as folder:
        assert folder.parent == tmp_path


def test_a_process_that_measures_nothing_needs_a_page(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from falcon.telemetry import instruments, metrics, slots\n"
    code += "instruments.switch_off(); instruments.attach(Path(sys.argv[1]), 'serve-0'); instruments.sample()\n"
    code += "metrics.process_restarts.begin(('serve',))\n"
    code += "(slot,) = slots.views(Path(sys.argv[1])); print(slot.alive, dict(slot.read()))"
    said = subprocess.run(
        [*on_small_disk(tmp_path, "8k"), sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "True {}\n"


def test_a_process_that_measures_nothing_shows_no_values_of_the_process_before(tmp_path: Path) -> None:
    before = Slot(tmp_path, "serve-0")
    before.cells[before.allocate(KEY, 1, "gauge")] = 7
    UnmeasuredSlot(tmp_path, "serve-0")
    assert view(tmp_path) == {}
    after = Slot(tmp_path, "serve-0")
    after.allocate(KEY, 1, "counter")
    assert view(tmp_path) == {KEY: [0.0]}


def test_a_process_is_alive_until_it_has_ended(tmp_path: Path) -> None:
    Slot(tmp_path, "serve-0")
    assert SlotView(tmp_path, "serve-0").alive
    code = "import sys; from pathlib import Path; from falcon.telemetry.slots import Slot; "
    code += "Slot(Path(sys.argv[1]), 'shard-0'); print('there', flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert {slot.name: slot.alive for slot in views(tmp_path)} == {"serve-0": True, "shard-0": True}
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and a zombie
        assert {slot.name: slot.alive for slot in views(tmp_path)} == {"serve-0": True, "shard-0": False}
    assert start_ticks(process.pid) is None
