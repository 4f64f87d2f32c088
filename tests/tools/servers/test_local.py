"""What starts Kafka and HBase on this machine. That they start, come back and end is seen by all tests on them."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.servers import start_or_skip
from tools.harness.ports import free_port
from tools.servers import jars, tables
from tools.servers.daemon import Daemon, ServerFault, locked
from tools.servers.kafka import Kafka


def test_tables_need_an_hbase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.main(["--hbase", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"tables: no HBase has been started in {tmp_path}\n"


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


def test_ending_what_never_ran_is_nothing(daemon: Daemon) -> None:
    daemon.end()
    assert daemon.pid() is None


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


def test_a_server_that_ends_while_starting_shows_its_last_words(daemon: Daemon) -> None:
    _launch(daemon, "print('old words', flush=True); signal.pause()")
    daemon.wait_for(lambda: "old words" in daemon.said(), "said so", 60)
    daemon.kill()
    program = _program(daemon.folder / "java", f"#!{sys.executable}\nprint('no room')\n")
    daemon.launch(str(program), [], {})
    with pytest.raises(ServerFault, match="no room") as fault:
        daemon.wait_for(lambda: False, "served", 10)
    assert "old words" not in str(fault.value)


def test_a_port_that_is_taken_is_named(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", daemon.port)), pytest.raises(ServerFault, match=f"{daemon.port} is taken"):
        daemon.launch(sys.executable, [], {})


# --- jars -------------------------------------------------------------------------------------------------------------

_WHOLE = 'for a; do case $a in -Dlib=*) mkdir -p "${a#-Dlib=}"; echo jar > "${a#-Dlib=}/a.jar";; esac; done'


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Comes first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def _fetch(said: list[str] | None = None) -> Path:
    return jars.jars("thing-1", Path("pom.xml"), {}, (said if said is not None else []).append)


def test_jars_are_fetched_once(bin_folder: Path, tmp_path: Path) -> None:
    _program(bin_folder / "mvn", f"#!/bin/sh\necho once >> {tmp_path}/count\n{_WHOLE}\n")
    said: list[str] = []
    assert [jar.name for jar in _fetch(said).glob("*")] == ["a.jar"]
    assert said[-1].startswith("fetched 1 jars")
    assert _fetch() == tmp_path / "cache" / "falcon" / "thing-1"
    assert (tmp_path / "count").read_text() == "once\n"


def test_half_a_fetch_is_never_taken_for_all_of_it(bin_folder: Path) -> None:
    _program(bin_folder / "mvn", f"#!/bin/sh\n{_WHOLE}\necho '[ERROR] the line is dead'\nexit 1\n")
    with pytest.raises(ServerFault, match="the line is dead"):
        _fetch()
    assert not (jars.cache() / "thing-1").exists()
    (jars.cache() / ".thing-1-killed" / "lib").mkdir(parents=True)
    _program(bin_folder / "mvn", f"#!/bin/sh\n{_WHOLE}\n")
    _fetch()
    assert sorted(path.name for path in jars.cache().iterdir()) == ["thing-1", "thing-1.lock"]


def test_of_two_who_fetch_one_waits_for_the_other(bin_folder: Path, tmp_path: Path) -> None:
    _program(bin_folder / "mvn", f"#!/bin/sh\necho once >> {tmp_path}/count\n{_WHOLE}\n")
    waits = threading.Event()
    second = threading.Thread(target=jars.jars, args=("thing-1", Path("pom.xml"), {}, lambda line: waits.set()))
    with locked(jars.cache() / "thing-1.lock"):
        second.start()
        assert waits.wait(60)
        assert not (tmp_path / "count").exists()
    second.join()
    assert (tmp_path / "count").read_text() == "once\n"


def test_without_java_it_says_what_to_install(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bin_folder))
    with pytest.raises(jars.ToolMissing, match=r"17 or newer is needed and there is no java on the PATH; .*jdk"):
        jars.java()


def test_java_home_comes_before_the_path(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(bin_folder / "java", "#!/bin/sh\necho 'openjdk version \"21\"' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(bin_folder.parent))
    assert jars.java() == str(bin_folder / "java")


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
