"""A data folder is copied while Falcon runs on it, and Falcon goes on from the copy."""

import stat
import threading
import time
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner, Result

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.source import SqliteSource
from falcon.cli import app
from falcon.journal import naming
from falcon.journal.ports import JournalUnavailable
from falcon.settings import Settings
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


def copied(data: Path, to: Path) -> Result:
    return CliRunner().invoke(app, ["copy", str(to), "--data-dir", str(data)])


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
            assert copying.wait(30)
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
    files = {path.name: path for path in (tmp_path / "copy").iterdir()}
    assert files.keys() == {"falcon.db", "secret", "credentials.json"}
    assert stat.S_IMODE(files["falcon.db"].stat().st_mode) == 0o600
    assert files["secret"].read_bytes() == b"a secret"
    renamed = SqliteSource(database.connect(files["falcon.db"], writable=False)).instance
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
