"""Before anything serves, ``falcon up`` decides how many files the data folder has."""

import asyncio
import errno
import itertools
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import pytest

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.database import SCHEMA_VERSION
from falcon.base.process import start_ticks
from falcon.cli.calling import find_running
from falcon.http.server.serving import FalconServer
from falcon.run import launcher, roles
from falcon.run.launcher import Launcher, listening, processes
from falcon.run.launcher.processes import ProcessGroup, Role
from falcon.run.launcher.telling import Address, CannotStart
from falcon.run.settings import Settings
from falcon.telemetry.health import Health
from tests.history.test_folders import FOLDERS, SCHEMAS


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FALCON_PROCESSES", raising=False)
    monkeypatch.setattr("falcon.run.settings.cores", lambda: 8)


def started(folder: Path, **settings: object) -> int:
    """A start as far as the files. Returns how many processes will serve."""
    found = replace(Settings.from_env(), data_dir=folder, **settings)  # type: ignore[arg-type]
    starting = Launcher(found, "up", as_json=True)
    starting._prepare_database()
    assert len(files.present(found.database)) == starting._count()
    return starting._count()


def test_a_falcon_on_one_machine_does_not_import_the_libraries_of_a_cluster() -> None:
    libraries = {"aiohttp", "aiokafka", "happybase"}
    program = f"import sys, falcon.run.bootstrap.embedded; print({libraries} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_new_folder_has_as_many_files_as_the_cores_say(tmp_path: Path) -> None:
    assert started(tmp_path) == 7


def test_a_folder_keeps_its_number_of_files_on_a_machine_with_other_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started(tmp_path) == 7
    (tmp_path / "credentials.json").write_text("{}")  # it has served
    monkeypatch.setattr("falcon.run.settings.cores", lambda: 2)
    assert started(tmp_path) == 7
    for count in (1, 8):
        with monkeypatch.context() as said:
            said.setenv("FALCON_PROCESSES", str(count))
            with pytest.raises(CannotStart, match=f"falcon copy --processes {count} --data-dir {tmp_path} NEW_FOLDER"):
                started(tmp_path)
    monkeypatch.setenv("FALCON_PROCESSES", "7")
    assert started(tmp_path) == 7


def test_a_folder_of_an_earlier_falcon_keeps_its_one_file(tmp_path: Path) -> None:
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], tmp_path / "falcon.db")
    assert started(tmp_path) == 1


def test_a_folder_whose_first_start_was_interrupted_is_a_new_one(tmp_path: Path) -> None:
    database.prepare(tmp_path / "falcon.db", Settings().partitions)
    assert started(tmp_path) == 7


def _lose(database_file: Path) -> None:
    for name in ("", "-wal", "-shm"):
        database_file.with_name(database_file.name + name).unlink(missing_ok=True)


def _lose_content(database_file: Path) -> None:
    _lose(database_file)
    database_file.touch()


def _lose_messages(database_file: Path) -> None:
    """As a copy of the file without its WAL."""
    _lose(database_file)
    database.prepare(database_file, Settings().partitions)


@pytest.mark.parametrize(("lose", "said"), [(_lose, "missing"), (_lose_content, "empty"), (_lose_messages, "empty")])
def test_a_folder_that_has_lost_its_messages_is_not_taken_for_a_new_one(
    tmp_path: Path, lose: Callable[[Path], None], said: str
) -> None:
    first = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / SCHEMAS[SCHEMA_VERSION], first)
    (tmp_path / "credentials.json").write_text("{}")
    assert started(tmp_path) == 1
    lose(first)
    with pytest.raises(CannotStart, match=f"falcon.db is {said}, but credentials.json is there: put falcon.db back"):
        started(tmp_path)
    assert first.exists() == (lose is not _lose)
    (tmp_path / "credentials.json").unlink()
    assert started(tmp_path) == 7


def used(folder: Path, count: int) -> None:
    files.prepare(folder / "falcon.db", 64, count)
    (folder / "credentials.json").write_text("{}")


def test_a_folder_of_several_files_does_not_serve_a_cluster(tmp_path: Path) -> None:
    used(tmp_path, 2)
    with pytest.raises(CannotStart, match=r"has 2 database files.*falcon copy --processes 1 "):
        started(tmp_path, kafka=("broker:9092",))


def test_a_limit_of_open_files_that_is_too_low_is_named_before_files_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FALCON_PROCESSES", "3")
    monkeypatch.setattr(launcher, "descriptors_max", lambda: 152)
    with pytest.raises(CannotStart, match=r"only 152 files open, and needs 164: .*/etc/security/limits.conf"):
        started(tmp_path)
    assert not (tmp_path / "falcon-1.db").exists()
    monkeypatch.setenv("FALCON_PROCESSES", "2")
    assert started(tmp_path) == 2


def test_a_stop_says_in_one_line_that_the_data_folder_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    stopping = Launcher(replace(Settings.from_env(), data_dir=tmp_path), "up", as_json=True)
    monkeypatch.setattr(database, "is_made", unreadable)
    stopping._close_database()
    assert capsys.readouterr().err == f"falcon: [Errno 13] Permission denied: '{tmp_path}/falcon.db'\n"


class Hosted:
    """A role whose process runs a program, and that is ready. ``beat``: what the process does each second."""

    def __init__(self, group: ProcessGroup, program: str = "import signal; print(flush=True); signal.pause()") -> None:
        self.role = Role("serve", "serve")
        self.role.pipe, self._writing = os.pipe()
        self.process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        with self.process.stdout as told:
            told.readline()
        self.role.process, self.role.pidfd = self.process, os.pidfd_open(self.process.pid)
        for handle in (self.role.pidfd, self.role.pipe):
            group._selector.register(handle, selectors.EVENT_READ, self.role)
        group._roles = [self.role]
        os.write(self._writing, b"{}\n")
        assert group._look() == [] and self.role.is_ready

    def beat(self) -> None:
        os.write(self._writing, b".")


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessGroup]:
    monkeypatch.setattr(processes, "_kill_all", lambda pids: None)  # they are those of the tests
    made = ProcessGroup()
    yield made
    made.stop(0.0)


def test_a_stop_says_which_process_crashed_where_it_was_to_end(
    group: ProcessGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import os, signal\n"
    program += "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGSEGV))\n"
    program += "print(flush=True)\n"
    program += "signal.pause()"
    Hosted(group, program)
    group.stop(60.0)
    assert capsys.readouterr().err == "falcon: serve crashed when it was to stop (signal SIGSEGV)\n"


# --- a process that hangs ---------------------------------------------------------------------------------------------


def test_a_process_that_has_not_answered_for_30_s_is_killed_as_if_it_had_died(
    group: ProcessGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    hosted = Hosted(group)
    for _ in range(30):
        group._end_if_it_hangs(hosted.role, 1.0)
    assert hosted.process.poll() is None
    group._end_if_it_hangs(hosted.role, 1.0)
    assert hosted.process.wait(60) == -signal.SIGKILL
    assert capsys.readouterr().err == "falcon: serve has not answered for 30 s; it is killed\n"
    assert group._look() == [hosted.role]


def test_a_process_that_shows_a_sign_of_life_has_another_30_s(group: ProcessGroup) -> None:
    hosted = Hosted(group)
    for _ in range(3):
        group._end_if_it_hangs(hosted.role, 29.0)
        hosted.beat()
        assert group._look() == []
    assert hosted.process.poll() is None


def test_no_process_is_killed_because_the_machine_was_suspended(
    group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted, looks = Hosted(group), iter(range(20))

    def look() -> list[Role]:
        group.stopping = next(looks) == 19
        return []

    hours = itertools.count(0, 3_600.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(hours))
    monkeypatch.setattr(group, "_look", look)
    group.supervise(lambda: None)
    assert hosted.process.poll() is None


def test_a_process_that_begins_is_given_the_time_that_it_needs(group: ProcessGroup) -> None:
    """It may have a large log to read before it is ready."""
    hosted = Hosted(group)
    hosted.role.line, looks = b"", iter(range(2_000))

    def look() -> list[Role]:
        group.stopping = next(looks) == 1_999
        hosted.role.silent_seconds += 1.0
        return []

    group._look = look  # type: ignore[method-assign]
    group.supervise(lambda: None)
    assert hosted.process.poll() is None


def test_a_process_shows_that_it_lives_by_its_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_BEAT_SECONDS", 0.0)
    reading, writing = os.pipe()

    async def serve() -> None:
        roles._ready(writing, b"{}")
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(serve())
    assert os.read(reading, 100).startswith(b"{}\n..")
    for handle in (reading, writing):
        os.close(handle)


def test_a_second_falcon_is_turned_away_also_before_the_first_has_written_its_number(tmp_path: Path) -> None:
    first, second = (Launcher(replace(Settings.from_env(), data_dir=tmp_path), "up", as_json=True) for _ in range(2))
    first._lock_data_dir()
    with pytest.raises(CannotStart, match=rf"another falcon \(process {os.getpid()}\) runs on"):
        second._lock_data_dir()
    (tmp_path / "lock").write_text("")
    with pytest.raises(CannotStart, match="another falcon runs on"):
        second._lock_data_dir()


def test_a_data_folder_that_every_user_can_write_to_is_refused(tmp_path: Path) -> None:
    launcher = Launcher(replace(Settings.from_env(), data_dir=tmp_path), "up", as_json=True)
    tmp_path.chmod(0o777)
    with pytest.raises(CannotStart, match=r"every user of this machine can write to the data folder .*; chmod o-w "):
        launcher._lock_data_dir()
    tmp_path.chmod(0o775)
    launcher._lock_data_dir()


def test_a_process_that_is_ready_when_the_launcher_stops_tells_no_one() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    asyncio.run(said_ready(writing))
    os.close(writing)


async def said_ready(writing: int) -> None:
    roles._ready(writing, b"{}")


def test_a_process_that_is_to_stop_before_it_serves_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> NoReturn:
        raise SystemExit(code)

    async def drain() -> None:
        raise AssertionError("it has served nothing")

    monkeypatch.setattr(os, "_exit", end)
    starting = roles._Server(Namespace(socket=-1), cast(FalconServer, None), Health(), drain)
    with pytest.raises(SystemExit) as ended:
        asyncio.run(starting._close())
    assert ended.value.code == 0


def test_a_process_that_has_just_said_that_it_serves_ends_in_order() -> None:
    class Serving:
        should_exit = False

        async def serve(self, sockets: list[socket.socket]) -> None:
            for each in sockets:
                each.close()
            while not self.should_exit:
                await asyncio.sleep(0)

    health, drained = Health(), list[bool]()

    def started() -> None:
        health.started = True
        signal.raise_signal(signal.SIGTERM)

    async def drain() -> None:
        drained.append(health.draining)

    arguments = Namespace(socket=socket.socket().detach())
    asyncio.run(roles._Server(arguments, cast(FalconServer, Serving()), health, drain).run(started))
    assert drained == [True]


def test_the_command_line_knows_the_process_that_serves_an_address_by_its_start(tmp_path: Path) -> None:
    starting = Launcher(replace(Settings.from_env(), data_dir=tmp_path), "up", as_json=True)
    with socket.create_server(("127.0.0.1", 0)) as public:
        starting._announce({}, public, None)
    running = find_running(tmp_path)
    assert running is not None
    assert (running.pid, running.start_ticks) == (os.getpid(), start_ticks(os.getpid()))


def test_the_command_line_finds_a_falcon_that_began_on_a_full_disk_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = Address(tmp_path)

    def full(path: Path, text: str) -> NoReturn:
        path.touch()  # a full disk often has room for the name of a file
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        address.write({"url": "http://127.0.0.1:8080", "ops_url": ""})
        address.write_again()
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
    address.write_again()
    running = find_running(tmp_path)
    assert running is not None
    assert running.alive


def test_a_start_waits_for_the_port_that_a_killed_predecessors_process_still_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = listening.bind("127.0.0.1", 0, "FALCON_OPS_PORT")
    port = holder.getsockname()[1]
    monkeypatch.setattr("time.sleep", lambda seconds: holder.close())  # it ends while the next one waits

    with closing(listening.bind("127.0.0.1", port, "FALCON_OPS_PORT")) as bound:
        assert bound.getsockname()[1] == port


def test_a_port_that_another_program_keeps_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_PREDECESSOR_SECONDS", 0.0)
    with closing(listening.bind("127.0.0.1", 0, "FALCON_HTTP_PORT")) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"cannot listen on 127.0.0.1:{port} .* or set FALCON_HTTP_PORT"):
            listening.bind("127.0.0.1", port, "FALCON_HTTP_PORT")


@pytest.mark.parametrize(("host", "named"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.2", "127.0.0.2")])
def test_who_listens_on_every_address_is_found_on_loopback(host: str, named: str) -> None:
    with closing(listening.bind(host, 0, "FALCON_HTTP_PORT")) as bound:
        assert listening.url("http", bound) == f"http://{named}:{bound.getsockname()[1]}"
