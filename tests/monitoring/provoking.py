"""Provokes real faults of Falcon, and asks a real Prometheus about them."""

import math
import os
import resource
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import apsw
import httpx
import msgspec

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.journal.ports import JournalUnavailable
from tests.monitoring.faults.sitecustomize import __file__ as _FAULTS_FILE
from tests.monitoring.prometheus import Prometheus
from tests.support.certificates import Authority, Pair
from tools.harness.falcon import Falcon

_POLL_SECONDS: Final = 0.5  # rules are evaluated each second
_SECONDS: Final = 150.0  # for each wait: a maximum is that of the last minute, and a busy machine makes more of them
_AFTERWARDS_SECONDS: Final = 60.0  # late work ends soon, and no alert waits until its window is full
# An alert needs some scrapes in a row, and a busy machine misses some. What has passed unseen is provoked again.
_TRIES: Final = 3
_MONTH_DAYS: Final = 30
_IMPORTED: Final = 2_000  # messages of a room
_FIRING: Final = 'ALERTS{alertstate="firing"}'


class Ended(Exception):
    """The tests end: nothing is waited for any more."""


class Missed(AssertionError):
    """What was waited for has not come in time."""


@dataclass
class FaultyFalcon(Falcon):
    """Its code has faults (``faults/sitecustomize``), each for as long as a file of that name is in a folder."""

    @property
    def faults(self) -> Path:
        return self.data_dir / "faults"

    def environment(self) -> dict[str, str]:
        self.faults.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(filter(None, (str(Path(_FAULTS_FILE).parent), os.environ.get("PYTHONPATH"))))
        return {**super().environment(), "PYTHONPATH": path, "PROVOKED_FAULTS": str(self.faults)}

    @property
    def database(self) -> Path:
        return self.data_dir / "falcon.db"

    @property
    def serving(self) -> int:
        """The pid of the one process that serves."""
        (pid,) = self.pids("serve")
        return pid

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.info["url"].removeprefix("http://").partition(":")
        return host, int(port)

    def client(self, *, admin: bool = False) -> httpx.Client:
        token = self.info["admin_token" if admin else "token"]
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.info["url"], headers=headers, timeout=60, verify=False)


# --- one Falcon that is watched ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """For an alert: seconds from the beginning of its cause until it fired, and from the end of the cause until it
    cleared."""

    alert: str
    cause: str
    fired: float
    cleared: float


@dataclass
class Stage:
    """A Falcon with a chat, and its Prometheus. ``rules``: their text. ``ending``: set when the tests end before it
    does. ``tls``: Falcon has a certificate for a month."""

    folder: Path
    rules: str
    settings: Mapping[str, Any]
    ending: threading.Event
    tls: bool = False
    falcon: FaultyFalcon = field(init=False)
    prometheus: Prometheus = field(init=False)
    room: int = 0
    _seen: "list[tuple[str, Cause, float, float]]" = field(default_factory=list)

    def __enter__(self) -> "Stage":
        certificate = {}
        if self.tls:
            pair = self.renew_certificate(_MONTH_DAYS)
            certificate = {"tls_cert": pair.certificate, "tls_key": pair.key}
        self.falcon = FaultyFalcon(self.folder / "data", {**self.settings, **certificate})
        self.falcon.start()
        try:
            self.room = _make_room(self.falcon)
            made = self.folder / "rules.yaml"
            made.write_text(self.rules)
            target = self.falcon.info["ops_url"].removeprefix("http://")
            self.prometheus = Prometheus(self.folder / "prometheus").start([target], [made])
        except BaseException:
            self.falcon.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.prometheus.end()
        self.falcon.stop()

    def renew_certificate(self, days: int) -> Pair:
        """Replace Falcon's certificate by one for so many days."""
        return Authority(self.folder / "tls").issue("chat", "IP:127.0.0.1", days)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """A pace, not a wait for a condition. Raises Ended."""
        if self.ending.wait(seconds):
            raise Ended

    def until(self, holds: Callable[[], bool], what: Callable[[], str], seconds: float = _SECONDS) -> None:
        """Raises Missed."""
        until = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > until:
                raise Missed(f"not within {seconds:g} s: {what()}\n{self.falcon.log()[-2000:]}")
            self.wait(_POLL_SECONDS)

    # --- alerts -------------------------------------------------------------------------------------------------------

    def firing(self) -> set[str]:
        return {name for name, state in self.prometheus.alerts().items() if state == "firing"}

    def fired(self, since: float) -> set[str]:
        """Every alert that has fired, however shortly, after this time."""
        milliseconds = max(1, round(1000 * (time.time() - since)))
        found = self.prometheus.query(f"count by (alertname) (count_over_time({_FIRING}[{milliseconds}ms]))")
        return {each.labels["alertname"] for each in found}

    def undergo(self, cause: "Cause") -> None:
        """It continues until each of its alerts has fired, which none of them did before. Raises Missed."""
        for _ in range(_TRIES - 1):
            with suppress(Missed):
                return self._undergo_once(cause)
        return self._undergo_once(cause)

    def _undergo_once(self, cause: "Cause") -> None:
        self._until_none_fires((*cause.alerts, *cause.afterwards))
        began = time.time()
        with cause.provoke(self):
            self._until_fired(cause.alerts, began, cause)
            ended = time.time()
        self._until_fired(cause.afterwards, ended, cause, _AFTERWARDS_SECONDS)
        self._seen += [(alert, cause, began, ended) for alert in cause.alerts]
        self._seen += [(alert, cause, ended, ended) for alert in cause.afterwards]

    def _until_fired(self, alerts: tuple[str, ...], since: float, cause: "Cause", seconds: float = _SECONDS) -> None:
        missing = set(alerts)

        def all_fired() -> bool:
            missing.difference_update(self.fired(since))
            return not missing

        self.until(all_fired, lambda: f"{sorted(missing)} fire because {cause.what}", seconds)

    def _until_none_fires(self, alerts: tuple[str, ...]) -> None:
        self.until(
            lambda: self.firing().isdisjoint(alerts),
            lambda: f"{sorted(self.firing().intersection(alerts))} clear",
        )

    def until_clear(self) -> None:
        """None fires any more of the ones that were provoked."""
        self._until_none_fires(tuple(alert for alert, *_ in self._seen))

    def seen(self) -> list[Seen]:
        """The course of an alert, according to Prometheus."""
        return [
            Seen(alert, cause.what, self._time("min", alert, began) - began, self._time("max", alert, began) - ended)
            for alert, cause, began, ended in self._seen
        ]

    def _time(self, which: str, alert: str, since: float) -> float:
        """The first or last time at which it has fired since then."""
        seconds = math.ceil(time.time() - since)
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        times = f"(timestamp({firing}) > {since})[{seconds}s:500ms]"
        found = self.prometheus.query(f"{which}({which}_over_time({times}))")
        return found[0].value

    # --- chat ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def chat(self, people: int, text: str = "Tea is ready") -> Iterator[None]:
        """So many clients write into the room and read it at a leisurely pace, whatever the answers."""
        ending = threading.Event()
        threads = [threading.Thread(target=self._chat, args=(text, ending), daemon=True) for _ in range(people)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ending.set()
            for thread in threads:
                thread.join()

    def _chat(self, text: str, ending: threading.Event) -> None:
        path = f"/v1/rooms/{self.room}/messages"
        with self.falcon.client() as client:
            while not ending.wait(0.2) and not self.ending.is_set():
                with suppress(httpx.TransportError):
                    client.post(path, json={"text": text})
                    client.get(path, params={"limit": 5})


def _make_room(falcon: FaultyFalcon) -> int:
    with falcon.client() as client:
        answer = client.post("/v1/rooms", json={"name": "Tea kitchen"})
    assert answer.status_code == 201, answer.text
    room: int = answer.json()["room_id"]
    return room


# --- causes -----------------------------------------------------------------------------------------------------------

# It begins when it is entered, and is over when it is left.
Provoke: TypeAlias = Callable[[Stage], AbstractContextManager[None]]


@dataclass(frozen=True)
class Cause:
    """``what``: completes "it fires because ...". ``alerts``: fire meanwhile, all of them.
    ``afterwards``: when it is over, since what had to wait is done late."""

    what: str
    provoke: Provoke
    alerts: tuple[str, ...]
    afterwards: tuple[str, ...] = ()


@contextmanager
def again_and_again(stage: Stage, act: Callable[[], None], pause: float) -> Iterator[None]:
    """On a thread of its own. What it raises is raised at the end."""
    ending = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not ending.is_set():
                act()
                if ending.wait(pause) or stage.ending.is_set():
                    return
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        for failure in failures:
            raise failure


def fault(name: str) -> Provoke:
    """One of ``faults/sitecustomize``."""

    @contextmanager
    def provoke(stage: Stage) -> Iterator[None]:
        file = stage.falcon.faults / name
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    return provoke


@contextmanager
def certificate_ends_soon(stage: Stage) -> Iterator[None]:
    """Until it is renewed."""
    stage.renew_certificate(2)
    try:
        yield
    finally:
        stage.renew_certificate(_MONTH_DAYS)


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    """Another process writes into the file, and does not come to its end."""
    connection = database.connect(stage.falcon.database)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@contextmanager
def locked_under_a_crowd(stage: Stage) -> Iterator[None]:
    """While more people want to write than may wait. The mailbox is full until the first commands have waited for long
    enough; later ones are refused at once until the file is free. So it is held again and again: on a busy machine the
    people may come too late for the first time."""
    longer_than_commands_wait = stage.settings["command_seconds"] + 2.0
    with stage.chat(16), locked_for_moments(stage, longer_than_commands_wait, pause=3.0):  # a takeover needs a second
        yield


def locked_for_moments(stage: Stage, seconds: float = 0.9, pause: float = 0.25) -> AbstractContextManager[None]:
    """Another process writes into the file most of the time."""

    def write() -> None:
        with locked(stage):
            stage.wait(seconds)

    return again_and_again(stage, write, pause)


@contextmanager
def limited(stage: Stage, limit: int, most: int) -> Iterator[None]:
    pid = stage.falcon.serving
    before = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (most, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # its limits have ended with it
            resource.prlimit(pid, limit, before)


@contextmanager
def disk_full(stage: Stage) -> Iterator[None]:
    """No file may grow past what the smallest part of the log needs."""
    with limited(stage, resource.RLIMIT_FSIZE, 32 << 10):
        yield


@contextmanager
def few_files(stage: Stage) -> Iterator[None]:
    """Silent connections leave few descriptors. Falcon closes each after some seconds, so others follow."""
    most = 120
    ending = threading.Event()
    folder = Path(f"/proc/{stage.falcon.serving}/fd")

    def connect() -> None:
        connections: deque[socket.socket] = deque(maxlen=most)  # those before are closed
        while not ending.wait(0.01):
            if len(list(folder.iterdir())) < 0.9 * most:
                connections.append(socket.create_connection(stage.falcon.address, 10))
        for connection in connections:
            connection.close()

    connecting = threading.Thread(target=connect, daemon=True)
    with limited(stage, resource.RLIMIT_NOFILE, most):
        connecting.start()
        try:
            yield
        finally:
            ending.set()
            connecting.join()


@contextmanager
def table_away(stage: Stage) -> Iterator[None]:
    """The table of messages has another name, and much is imported meanwhile, which cannot be read then."""
    rooms = _imported_rooms(stage.falcon, 6)
    connection = database.connect(stage.falcon.database)
    before = _next_offset(connection)
    connection.execute("ALTER TABLE timeline RENAME TO timeline_away")
    threads = [threading.Thread(target=_import_messages, args=(stage.falcon, room), daemon=True) for room in rooms]
    for thread in threads:
        thread.start()
    try:
        stage.until(lambda: _next_offset(connection) - before > len(rooms) * _IMPORTED, lambda: "it is in the log")
        yield
    finally:
        connection.execute("ALTER TABLE timeline_away RENAME TO timeline")
        connection.close()
        for thread in threads:
            thread.join()


def _next_offset(connection: apsw.Connection) -> int:
    ((found,),) = connection.execute("SELECT next FROM log")
    return int(found)


@contextmanager
def message_lost(stage: Stage) -> Iterator[None]:
    """The table of messages has lost the first one, and a client reads it."""
    connection = database.connect(stage.falcon.database)
    connection.execute("DELETE FROM timeline WHERE place = ? << 32 | 1", (stage.room,))
    connection.close()

    def read() -> None:
        with stage.falcon.client() as client:
            page = client.get(f"/v1/rooms/{stage.room}/messages", params={"after": 0, "limit": 1})
            assert page.json()["messages"][0]["missing"]

    with again_and_again(stage, read, 0.5):
        yield


def _imported_rooms(falcon: FaultyFalcon, count: int) -> list[int]:
    now = datetime.now(UTC).isoformat()
    members = [{"account_id": falcon.info["account_id"], "role": "admin"}]
    common = {"type": "room", "source": "elsewhere", "kind": "group", "description": "", "created_at": now}
    lines = [{**common, "ref": f"room-{i}", "name": f"Room {i}", "members": members} for i in range(count)]
    answer = _import(falcon, lines)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rooms"].values())


def _import_messages(falcon: FaultyFalcon, room: int) -> None:
    """They are in the log then; the answer, that they cannot be read, comes late and does not matter."""
    message = {"type": "message", "room_id": room, "author_id": falcon.info["account_id"], "text": "Tea?"}
    now = datetime.now(UTC).isoformat()
    _import(falcon, [{**message, "seq": seq, "posted_at": now} for seq in range(1, _IMPORTED + 1)])


def _import(falcon: FaultyFalcon, lines: list[dict[str, Any]]) -> httpx.Response:
    with falcon.client(admin=True) as client:
        body = b"\n".join(map(msgspec.json.encode, lines))
        return client.post("/v1/import", content=body, headers={"content-type": "application/x-ndjson"})


@contextmanager
def standing_still(stage: Stage) -> Iterator[None]:
    """The launcher kills it after a while; its successor is stopped, too, since a busy machine may not have looked."""
    stopped: set[int] = set()

    def stop() -> None:
        for pid in set(stage.falcon.pids("serve")) - stopped:
            stopped.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    try:
        with again_and_again(stage, stop, 10.0):  # a new one needs some seconds until it is looked at
            yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def late_for_listeners(stage: Stage) -> Iterator[None]:
    """Listen while messages take more than a second to be written."""
    with _stream(stage.falcon) as connection:

        def listen() -> None:
            with suppress(OSError):
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            with locked_for_moments(stage, 1.6):
                yield
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def slow_listeners(stage: Stage) -> Iterator[None]:
    """One after the other begins to listen, and reads nothing, while others have much to say."""
    connections: list[socket.socket] = []

    def listen() -> None:
        connections.append(_stream(stage.falcon))

    try:
        with stage.chat(6, "Tea is ready. " * 4_000), again_and_again(stage, listen, 1.0):
            yield
    finally:
        for connection in connections:
            connection.close()


def _stream(falcon: FaultyFalcon) -> socket.socket:
    """A stream that has been asked for; little of it is taken in before it is read."""
    host, port = falcon.address
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(40)
    connection.connect((host, port))
    head = f"GET /v1/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {falcon.info['token']}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def killed(role: str) -> Provoke:
    """kill -9 again and again, each replacement in turn, in the midst of its work."""

    def provoke(stage: Stage) -> AbstractContextManager[None]:
        def kill() -> None:
            for pid in stage.falcon.pids(role):
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(pid, signal.SIGSTOP)
                    stage.wait(0.3)  # meanwhile something is sent to it
                    os.kill(pid, signal.SIGKILL)

        return again_and_again(stage, kill, 0.5)

    return provoke


def started_anew(stage: Stage) -> AbstractContextManager[None]:
    """``falcon up`` is ended and started, each time when its Prometheus has seen it run."""

    def start_anew() -> None:
        uptime = 'falcon_process_uptime_seconds{process="launcher-0"} > 3'
        stage.until(lambda: bool(stage.prometheus.query(uptime)), lambda: "it is seen to run")
        stage.falcon.stop()
        stage.falcon.start()

    return again_and_again(stage, start_anew, 0.0)


@contextmanager
def not_running(stage: Stage) -> Iterator[None]:
    stage.falcon.stop()
    try:
        yield
    finally:
        stage.falcon.start()


def taken_over(stage: Stage) -> AbstractContextManager[None]:
    """A second Falcon on the same file takes the partitions over, and then the first one again, and so on."""

    def take_over() -> None:
        journal = SqliteJournal(database.connect(stage.falcon.database), lambda: None, name="rival")
        try:
            with suppress(JournalUnavailable):  # the other one is writing: next time
                journal.takeover(range(64), "a rival")
        finally:
            journal.close()

    return again_and_again(stage, take_over, 1.0)
