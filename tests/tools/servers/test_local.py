"""What starts Kafka and HBase on this machine. That they start, come back and end is seen by all tests on them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.servers import start_or_skip
from tools.harness.ports import free_port
from tools.servers import jars
from tools.servers.daemon import Daemon
from tools.servers.kafka import Kafka

# --- a server's process -----------------------------------------------------------------------------------------------

_PAUSE = "signal.pause()"
_SLOW_TO_END = (
    "import sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit())); "
    "print('up', flush=True); signal.pause()"
)
_DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("server", free_port(), tmp_path)
    yield daemon
    daemon.kill()


def _launch(daemon: Daemon, does: str = _PAUSE) -> int:
    """Start a program in place of Java; its pid."""
    program = _program(daemon.folder / "java", f"#!{sys.executable}\nimport signal\n{does}\n")
    daemon.launch(str(program), [], {})
    pid = daemon.pid()
    assert pid is not None
    return pid


def test_the_pid_file_of_a_foreign_process_is_not_believed(daemon: Daemon) -> None:
    _launch(daemon)
    daemon.kill()
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        (daemon.folder / "run" / "server.pid").write_text(f"{stranger.pid}\n0\n")
        assert daemon.pid() is None
        daemon.kill()
        daemon.end()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_is_found_by_another_process_and_ended_by_it(daemon: Daemon) -> None:
    pid = _launch(daemon)
    other = Daemon(daemon.name, daemon.port, daemon.folder)
    assert other.pid() == pid
    other.end()
    assert daemon.pid() is None
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_on_its_way_out_is_waited_for(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = _launch(daemon, _SLOW_TO_END)
    daemon.wait_for(lambda: "up" in daemon.said(), "said so", 60)
    other = Daemon(daemon.name, daemon.port, daemon.folder)
    with other.ending():
        # The kernel's steps for a process that ends, before its files are closed and its parent hears.
        monkeypatch.setattr("tools.servers.daemon._arguments", lambda pid: [])
        assert other.pid() is None
    assert daemon.pid() is None
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_inherits_no_descriptor(daemon: Daemon, tmp_path: Path) -> None:
    with (tmp_path / "held").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        pid = _launch(daemon, "print('up', flush=True); signal.pause()")
        daemon.wait_for(lambda: "up" in daemon.said(), "said so", 60)
        assert tmp_path / "held" not in _opened(pid)
        assert os.getsid(pid) == pid


def test_a_server_that_does_not_hear_is_ended_all_the_same(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.servers.daemon._END_SECONDS", 0.2)
    pid = _launch(daemon, _DEAF)
    daemon.wait_for(lambda: "deaf" in daemon.said(), "said so", 60)
    daemon.end()
    assert not Path(f"/proc/{pid}").exists()


# --- jars -------------------------------------------------------------------------------------------------------------


def _no_java() -> Kafka:
    raise jars.ToolMissing("there is no java")


def test_without_java_a_test_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is no java"):
        start_or_skip(_no_java)


def test_without_java_a_test_fails_where_everything_must_be_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(jars.ToolMissing):
        start_or_skip(_no_java)


# --- under the bonnet -------------------------------------------------------------------------------------------------


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def _opened(pid: int | None) -> set[Path]:
    opened = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed by now
            opened.add(link.readlink())
    assert opened
    return opened
