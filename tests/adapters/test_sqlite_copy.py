"""A data folder is copied while Falcon runs on it, and Falcon continues from the copy."""

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner, Result

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.source import SqliteSource
from falcon.base.process import take_lock
from falcon.cli import app
from falcon.journal import naming
from falcon.journal.ports import JournalUnavailable
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from tests.projections.embedded import Embedded, asked
from tests.support.builders import PARTITIONS, ROOM, a_group, posted


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FALCON_PARTITIONS", str(PARTITIONS))
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "secret").write_bytes(b"a secret")
    (folder / "credentials.json").write_bytes(b"{}")
    return folder


def copied(data: Path, to: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["copy", str(to), "--data-dir", str(data), *options])


def test_a_copy_that_is_made_while_messages_are_sent_has_all_that_were_acknowledged(data: Path, tmp_path: Path) -> None:
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group())
        acknowledged, copying, ending = 0, threading.Event(), threading.Event()

        def chat() -> None:
            nonlocal acknowledged
            while not ending.is_set():
                falcon.append(posted(acknowledged + 1))
                acknowledged += 1
                if acknowledged == 50:
                    copying.set()

        chatting = threading.Thread(target=chat)
        chatting.start()
        try:
            assert copying.wait(60)
            before = acknowledged
            assert copied(data, tmp_path / "copy").exit_code == 0
        finally:
            ending.set()
            chatting.join()
    connection = apsw.Connection(str(tmp_path / "copy" / "falcon.db"))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    with Embedded(tmp_path / "copy" / "falcon.db") as again:
        shown = len(asked(again.store.page(ROOM, 1, 100_000)).messages)
        assert before <= shown <= acknowledged
        again.append(posted(shown + 1))
        assert len(asked(again.store.page(ROOM, 1, 100_000)).messages) == shown + 1


def test_it_is_whole_private_and_another_history_of_the_log(data: Path, tmp_path: Path) -> None:
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group())
        name = falcon.source.instance
        assert copied(data, tmp_path / "copy").stdout == f"Copied {data}/ to {tmp_path / 'copy'}/.\n"
    assert time.time() - Settings(data_dir=data).copied_at() < 60
    assert Settings(data_dir=tmp_path).copied_at() == 0
    found = {path.name: path for path in (tmp_path / "copy").iterdir()}
    assert found.keys() == {"falcon.db", "secret", "credentials.json"}
    assert stat.S_IMODE(found["falcon.db"].stat().st_mode) == 0o600
    assert found["secret"].read_bytes() == b"a secret"
    renamed = SqliteSource(database.connect(found["falcon.db"], writable=False)).instance
    assert renamed != name
    assert naming.family(renamed) == naming.family(name)


def test_how_far_a_copy_has_come_is_reported(data: Path, tmp_path: Path) -> None:
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group())
        for seq in range(1, 2_000):
            falcon.append(posted(seq))
    told: list[tuple[int, int]] = []
    database.copy(data / "falcon.db", tmp_path / "copy.db", lambda done, total: told.append((done, total)))
    *before, (done, total) = told
    assert before
    assert all(part <= whole for part, whole in before)
    assert 0 < done == total


def test_nothing_is_copied_over(data: Path, tmp_path: Path) -> None:
    database.prepare(data / "falcon.db", PARTITIONS)
    (tmp_path / "copy").mkdir()
    found = copied(data, tmp_path / "copy")
    assert (found.exit_code, found.stderr) == (1, f"{tmp_path / 'copy'} exists already; give another name\n")


def test_without_data_there_is_nothing_to_copy(tmp_path: Path) -> None:
    found = copied(tmp_path / "none", tmp_path / "copy")
    assert found.exit_code == 1
    assert not (tmp_path / "copy").exists()


def test_a_copy_has_its_name_only_when_it_is_complete(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Falcon that is started on half a copy lacks messages, and does not say so."""
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group(), *(posted(seq) for seq in range(1, 100)))

    def full(path: Path, to: Path, report: object) -> None:
        to.write_bytes(b"half of it")
        assert not (tmp_path / "copies" / "today").exists()
        raise JournalUnavailable("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "copy", full)
        assert copied(data, tmp_path / "copies" / "today").exit_code == 1
    assert list((tmp_path / "copies").iterdir()) == []
    assert copied(data, tmp_path / "copies" / "today").exit_code == 0
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["today"]


# --- for another number of processes ----------------------------------------------------------------------------------


def test_a_copy_for_several_processes_needs_a_falcon_that_is_stopped(data: Path, tmp_path: Path) -> None:
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group(), posted(1))
    with (data / "lock").open("w") as lock:
        assert take_lock(lock.fileno())  # as a launcher does
        refused = copied(data, tmp_path / "copy", "--processes", "2")
        assert (refused.exit_code, refused.stderr) == (1, f"a Falcon runs on {data}: stop it first\n")
    assert copied(data, tmp_path / "copy", "--processes", "2").exit_code == 0
    copy = {path.name for path in (tmp_path / "copy").iterdir()}
    assert copy == {"falcon.db", "falcon-1.db", "secret", "credentials.json"}
    assert all(stat.S_IMODE((tmp_path / "copy" / name).stat().st_mode) == 0o600 for name in copy if ".db" in name)
    assert files.check(tmp_path / "copy" / "falcon.db", PARTITIONS)


@pytest.mark.parametrize("processes", [0, 33])
def test_a_number_of_processes_that_makes_no_sense_is_refused(data: Path, tmp_path: Path, processes: int) -> None:
    database.prepare(data / "falcon.db", PARTITIONS)
    refused = copied(data, tmp_path / "copy", "--processes", f"{processes}")
    assert (refused.exit_code, refused.stderr) == (1, f"--processes={processes}: must be 1 to {min(32, PARTITIONS)}\n")


def test_a_copy_that_is_killed_at_any_point_may_be_repeated(data: Path, tmp_path: Path) -> None:
    with Embedded(data / "falcon.db") as falcon:
        falcon.append(a_group(), *(posted(seq) for seq in range(1, 20)))
    settings = Settings(data_dir=data, partitions=PARTITIONS)
    (tmp_path / "copies").mkdir()
    to = tmp_path / "copies" / "two"
    kills = 0
    while _killed(settings, to, kills + 1) and not to.exists():  # it may be killed when all is done
        kills += 1
        assert len(list(to.parent.iterdir())) <= 1, "what the last one left was removed"
    assert kills >= 5
    assert [path.name for path in to.parent.iterdir()] == ["two"]
    assert len(files.check(to / "falcon.db", PARTITIONS)) == 2
    assert files.check(data / "falcon.db", PARTITIONS) == [data / "falcon.db"]


def _killed(settings: Settings, to: Path, step: int) -> bool:
    """Copy in a process that is killed at so many changes of the file system or reports. Returns True if it was."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = step

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(lambda event, _: count() if event in ("os.mkdir", "os.rename", "shutil.rmtree") else None)
        embedded.copy(settings, to, count, processes=2)
    except BaseException:  # the parent must not run the rest of the tests twice
        os._exit(1)
    os._exit(0)
