"""The torture of streams: listeners who stall, go and come back, while members come and go and processes are killed.

``python -m tools.faults.streams --seconds 300 --subscribers 200 --seed 1`` runs a real ``falcon up`` with one process,
whose tokens name one place in the log. It prints what happened and what was found, and exits 1 on a violation.
Streams of several processes are in ``tools/simulation/lives.py``.

Each listener resumes from its last event. In the end the events that it got, over all of its connections, are held
against the log: all events that its account may see, in their order, each once, and no others.
"""

import argparse
import asyncio
import base64
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from falcon.features.catalogue import Event
from falcon.features.messages.bodies import stored
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, Role, RoomChanged, RoomCreated
from falcon.journal.envelope import aggregate_of
from falcon.read.times import rfc3339
from falcon.varints import varints
from tools.faults.chaos import PARTITIONS, log_in
from tools.harness.falcon import Falcon, alive
from tools.harness.reports import counts_in_words
from tools.harness.waiting import eventually, eventually_within

Json: TypeAlias = dict[str, Any]

ACCOUNTS: Final = 16
ROOMS: Final = 8
WORKERS: Final = 6
GRACE_SECONDS: Final = 60.0
STALLED_SECONDS: Final = (0.5, 8.0)
VICTIMS: Final = ("serve", "ops")
# So few events that a stream which was away for long has to read the history instead, and so little room that one which
# stalls is cut off.
SMALL: Final = {"stream_events": 1_500, "stream_buffer": 65_536}

_SHOWN_OF_A_KIND: Final = 5
_ROLES: Final = ("member", "readonly", "admin")
_SHOWN: Final = {
    MessagePosted: "message.posted",
    MessageEdited: "message.edited",
    MessageDeleted: "message.deleted",
    MemberJoined: "member.joined",
    MemberChanged: "member.changed",
    MemberLeft: "member.left",
    RoomCreated: "room.created",
    RoomChanged: "room.changed",
    ReadMoved: "read.moved",
}


class Got(NamedTuple):
    """An event as a listener got it. ``place``: the offset in the log behind it, which its id says."""

    place: int
    name: str
    data: Json


@dataclass
class Report:
    events: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    deliveries: int = 0
    connections: Counter[str] = field(default_factory=Counter)
    byes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    longest_to_live: float = 0.0
    longest_away: float = 0.0
    serve_mib: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.events} events in the log, {self.acknowledged} messages acknowledged",
            f"commands {counts_in_words(self.commands)}",
            f"deliveries {self.deliveries}, connections {counts_in_words(self.connections)}",
            f"refused {counts_in_words(self.refused)}",
            f"sent away {counts_in_words(self.byes)}, killed {counts_in_words(self.kills)}",
            f"from a connection to live at most {self.longest_to_live:.2f} s, from one live to the next at most "
            f"{self.longest_away:.2f} s; a serve process has {self.serve_mib:.0f} MiB",
            f"violations: {len(self.violations)} ({counts_in_words(Counter(map(kind, self.violations)))})",
        ]
        for each in dict.fromkeys(map(kind, self.violations)):
            lines += [violation for violation in self.violations if kind(violation) == each][:_SHOWN_OF_A_KIND]
        return "\n".join(lines)


def kind(violation: str) -> str:
    """The word that it begins with."""
    return violation.partition(":")[0]


# --- connections ------------------------------------------------------------------------------------------------------


class Refused(Exception):
    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status


class Connection(Protocol):
    async def next(self) -> tuple[str, str, Json]:
        """Id, name and data of the next event. Raises OSError, EOFError when it is over."""

    async def close(self, *, roughly: bool) -> None: ...


class Sse:
    """Over a bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._found: dict[str, str] = {}  # of an event that is not there whole yet

    @classmethod
    async def open(cls, url: str, token: str, since: str | None) -> "Sse":
        host = urlsplit(url)
        reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=1 << 22)
        last = "" if since is None else f"Last-Event-ID: {since}\r\n"
        writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n".encode())
        made = cls(reader, writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split()[1])
            if status != 200:
                raise Refused(status, (await reader.read(1_000)).decode())
        except BaseException:
            writer.close()
            raise
        return made

    async def next(self) -> tuple[str, str, Json]:
        while "data" not in self._found:
            line = await self._reader.readuntil(b"\n")
            name, colon, value = line.rstrip(b"\r\n").decode().partition(": ")
            if colon:
                self._found[name] = value
        found, self._found = self._found, {}
        return found["id"], found["event"], msgspec.json.decode(found["data"])

    async def close(self, *, roughly: bool) -> None:
        if roughly:
            self._writer.transport.abort()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class WebSocket:
    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    @classmethod
    async def open(cls, url: str, token: str, since: str | None) -> "WebSocket":
        address = url.replace("http", "ws", 1) + "/v1/stream" + ("" if since is None else f"?resume={since}")
        headers = {"Authorization": f"Bearer {token}"}
        try:
            return cls(await connect(address, additional_headers=headers, max_size=None, max_queue=4, open_timeout=20))
        except InvalidStatus as error:
            raise Refused(error.response.status_code, str(error.response.body)) from error
        except (InvalidHandshake, TimeoutError) as error:
            raise EOFError from error

    async def next(self) -> tuple[str, str, Json]:
        try:
            frame = msgspec.json.decode(await self._client.recv())
        except ConnectionClosed as error:
            raise EOFError from error
        return frame["id"], frame["event"], frame["data"]

    async def close(self, *, roughly: bool) -> None:
        if roughly:
            self._client.transport.abort()
        await self._client.close()


def place_of(token: str) -> int:
    """On one machine a token names one offset, that of segment 0; or none, where nothing has been read."""
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[1:-4]
    return next(varints(body[1:]), 0) if body else 0


# --- listeners --------------------------------------------------------------------------------------------------------


class Person(NamedTuple):
    account_id: int
    token: str


class Listener:
    """A client that reconnects. ``got``: everything, over all connections."""

    def __init__(self, number: int, url: str, person: Person, report: Report, seed: int) -> None:
        self.number = number
        self.person = person
        self.got: list[Got] = []
        self.last: str | None = None
        self.staying = asyncio.Event()  # set: listeners disconnect no more
        self._url = url
        self._report = report
        self._random = random.Random(seed * 1_000 + number)
        self._transport: type[Sse] | type[WebSocket] = WebSocket if number % 4 == 3 else Sse
        self._live_at = 0.0

    def __str__(self) -> str:
        return f"listener {self.number} (account {self.person.account_id}, {self._transport.__name__})"

    @property
    def place(self) -> int:
        return self.got[-1].place if self.got else 0

    async def listen(self) -> None:
        while True:
            began = time.monotonic()
            try:
                connection = await self._transport.open(self._url, self.person.token, self.last)
            except Refused as refusal:
                self._refused(refusal)
            except (OSError, EOFError):
                self._report.refused["no connection"] += 1
            else:
                await self._stay(connection, began)
            await asyncio.sleep(self._random.uniform(0.0, 0.2))

    def _refused(self, refusal: Refused) -> None:
        self._report.refused[str(refusal.status)] += 1
        if refusal.status != 503:
            self._report.violations.append(f"refused: {self}, {refusal}")

    async def _stay(self, connection: Connection, began: float) -> None:
        """Listen until it has enough, or is cut off."""
        until = time.monotonic() + self._random.expovariate(1 / 4)
        stall_at = time.monotonic() + self._random.expovariate(1 / 20)
        try:
            while self.staying.is_set() or time.monotonic() < until:
                if not self.staying.is_set() and time.monotonic() > stall_at:
                    stall_at = time.monotonic() + self._random.expovariate(1 / 20)
                    await asyncio.sleep(self._random.uniform(*STALLED_SECONDS))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5 if not self.staying.is_set() else 30):
                        event = await connection.next()
                    if not self._take(*event, began):
                        break
        except (OSError, EOFError):
            self._report.byes["cut off"] += 1
        finally:
            await connection.close(roughly=self._random.random() < 0.5)

    def _take(self, id: str, name: str, data: Json, began: float) -> bool:
        """False for a bye."""
        if name in ("hello", "caught_up", "catch_up"):
            self._live(name, began)
        if name == "bye":
            self._report.byes[data["reason"]] += 1
            if self.got and place_of(id) != self.place:
                self._report.violations.append(
                    f"bye: {self} was sent away with {place_of(id)}, having got {self.place}"
                )
        elif name != "caught_up":
            self.got.append(Got(place_of(id), name, data))
            self._report.deliveries += 1
        self._live_at = time.monotonic()
        self.last = id
        return name != "bye"

    def _live(self, how: str, began: float) -> None:
        now = time.monotonic()
        self._report.connections[how] += 1
        self._report.longest_to_live = max(self._report.longest_to_live, now - began)
        if self._live_at:
            self._report.longest_away = max(self._report.longest_away, now - self._live_at)


# --- commands and kills -----------------------------------------------------------------------------------------------


class Torture:
    def __init__(self, falcon: Falcon, subscribers: int, seed: int) -> None:
        self.falcon = falcon
        self.report = Report()
        self._subscribers = subscribers
        self._seed = seed
        self._random = random.Random(seed)
        self._url: str = falcon.info["url"]
        self._client = httpx.AsyncClient(base_url=self._url, timeout=10)
        self._owner = Person(falcon.info["account_id"], falcon.info["token"])
        self._people: list[Person] = []
        self._rooms: list[int] = []
        self._posted: list[tuple[int, int, str]] = []
        self._numbers = iter(range(10**9))
        self._ending = False

    async def run(self, seconds: float, rate: float) -> Report:
        """``rate``: commands a second, of all."""
        await self._furnish()
        listeners = [
            Listener(i, self._url, self._random.choice(self._people), self.report, self._seed)
            for i in range(self._subscribers)
        ]
        listening = [asyncio.create_task(listener.listen()) for listener in listeners]
        working = [asyncio.create_task(self._work(rate / WORKERS)) for _ in range(WORKERS)]
        await self._kill(seconds)
        self._ending = True
        await asyncio.gather(*working)
        for listener in listeners:
            listener.staying.set()
        for room in self._rooms:
            await self._post(room, self._owner, "The end")
        self.report.serve_mib = max(map(resident_mib, self.falcon.pids("serve")))
        log = Log(self.falcon.data_dir)
        await self._await_all(listeners, log)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        self._judge(listeners, log)
        await self._client.aclose()
        return self.report

    async def _furnish(self) -> None:
        admin = Person(0, self.falcon.info["admin_token"])
        for i in range(ACCOUNTS):
            made = await self._ask("POST", "/v1/accounts", admin, {"name": f"Account {i}"})
            self._people.append(Person(made["account_id"], made["token"]))
        for i in range(ROOMS):
            members = [
                {"account_id": person.account_id, "role": "member"} for person in self._random.sample(self._people, 8)
            ]
            self._rooms.append(await self._make_room({"name": f"Room {i}", "members": members}))

    async def _make_room(self, room: Json) -> int:
        """Make the room as soon as the tables show its accounts."""
        async with asyncio.timeout(GRACE_SECONDS):
            while not (made := await self._ask("POST", "/v1/rooms", self._owner, room)):
                await asyncio.sleep(0.05)
        room_id: int = made["room_id"]
        return room_id

    async def _ask(self, method: str, path: str, by: Person, body: Json | None = None) -> Json:
        """Ask until there is an answer. Empty if the request is refused for good."""
        headers = {"Authorization": f"Bearer {by.token}", "Idempotency-Key": f"{next(self._numbers)}"}
        until = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                answer = await self._client.request(method, path, json=body, headers=headers)
                if answer.is_success:
                    return dict(answer.json()) if answer.content else {}
                if answer.status_code < 500:
                    return {}
            await asyncio.sleep(0.05)
        self.report.violations.append(f"unanswered: {method} {path}")
        return {}

    async def _work(self, rate: float) -> None:
        while not self._ending:
            await asyncio.sleep(self._random.expovariate(rate))
            room, person = self._random.choice(self._rooms), self._random.choice(self._people)
            (what,) = self._random.choices(
                ("post", "edit", "delete", "join", "leave", "role", "rename", "read"),
                weights=(62, 8, 4, 7, 6, 5, 4, 4),
            )
            self.report.commands[what] += 1
            member = f"/v1/rooms/{room}/members/{person.account_id}"
            match what:
                case "post":
                    await self._post(room, self._owner, f"{next(self._numbers)} {'x' * self._random.randrange(900)}")
                case "join":
                    await self._ask("PUT", member, self._owner, {"role": "member"})
                case "leave":
                    await self._ask("DELETE", member, self._owner)
                case "role":
                    await self._ask("PUT", member, self._owner, {"role": self._random.choice(_ROLES)})
                case "rename":
                    name = {"name": f"Room {next(self._numbers)}"}
                    await self._ask("PATCH", f"/v1/rooms/{room}", self._owner, name)
                case "read" if self._posted:
                    room, seq, _ = self._random.choice(self._posted[-200:])
                    mark = {"seq": seq, "force": True}
                    await self._ask("PUT", f"/v1/rooms/{room}/read", person, mark)
                case _ if self._posted:
                    room, seq, _ = self._random.choice(self._posted[-200:])
                    body = {"text": f"edited {next(self._numbers)}"} if what == "edit" else None
                    method = "PATCH" if what == "edit" else "DELETE"
                    await self._ask(method, f"/v1/rooms/{room}/messages/{seq}", self._owner, body)

    async def _post(self, room: int, by: Person, text: str) -> None:
        told = await self._ask("POST", f"/v1/rooms/{room}/messages", by, {"text": text})
        if told:
            self._posted.append((room, told["seq"], text))
            self.report.acknowledged += 1

    async def _kill(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        victims = list(VICTIMS)
        while time.monotonic() < until:
            await asyncio.sleep(self._random.uniform(2, 8))
            role = victims.pop() if victims else self._random.choice(VICTIMS)
            if running := await asyncio.to_thread(self.falcon.pids, role):
                await self._kill_one(role, self._random.choice(running))

    async def _kill_one(self, role: str, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.report.kills[role] += 1
        await eventually(lambda: not alive(pid), f"{role} is gone", GRACE_SECONDS)

    async def _await_all(self, listeners: list[Listener], log: "Log") -> None:
        """Wait until each listener has got the last event for it."""
        last = {person.account_id: log.last_for(person.account_id) for person in self._people}

        def behind() -> list[Listener]:
            return [each for each in listeners if each.place < last[each.person.account_id]]

        await eventually_within(lambda: not behind(), GRACE_SECONDS, every=0.1)
        for each in behind():
            self.report.violations.append(f"stuck: {each} at {each.place}, short of {last[each.person.account_id]}")

    def _judge(self, listeners: list[Listener], log: "Log") -> None:
        self.report.events = len(log.events)
        self.report.violations += log.lacks(self._posted)
        for listener in listeners:
            self.report.violations += [wrong.format(listener) for wrong in log.faults(listener)]


def resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except OSError:
        return 0.0


# --- the log ----------------------------------------------------------------------------------------------------------


class Visible(NamedTuple):
    """``role``: that the account has in its room, behind the event."""

    place: int
    event: Event
    role: Role = "member"


class Log:
    """The log at the end of the run."""

    def __init__(self, data_dir: Path) -> None:
        self.events = [Visible(recorded.offset + 1, recorded.envelope.event) for recorded in log_in(data_dir)]
        self._seen_by: dict[int, list[Visible]] = {}
        self.deleted = {
            (each.event.message.room_id, each.event.message.seq)
            for each in self.events
            if isinstance(each.event, MessageDeleted)
        }

    def lacks(self, posted: Iterable[tuple[int, int, str]]) -> list[str]:
        """Acknowledged messages that the log lacks, and rooms whose seqs have a gap."""
        there: dict[tuple[int, int], str] = {}
        wrong: list[str] = []
        for _, event, _ in self.events:
            if isinstance(event, MessagePosted):
                room, seq = event.message.room_id, event.message.seq
                if (room, seq) in there or (seq > 1 and (room, seq - 1) not in there):
                    wrong.append(f"log: message {seq} of room {room} is out of order")
                there[room, seq] = event.message.text
        return wrong + [f"log: message {each} is lost" for each in posted if there.get(each[:2]) != each[2]]

    def seen_by(self, account_id: int) -> list[Visible]:
        """The events of the whole log that an account should see."""
        if account_id not in self._seen_by:
            self._seen_by[account_id] = list(self._follow(account_id))
        return self._seen_by[account_id]

    def last_for(self, account_id: int) -> int:
        return self.seen_by(account_id)[-1].place

    def _follow(self, account_id: int) -> Iterator[Visible]:
        roles: dict[int, Role] = {}
        for place, event, _ in self.events:
            room = aggregate_of(event)
            match event:
                case RoomCreated(members=members):
                    roles.update((room, each.role) for each in members if each.account_id == account_id)
                case MemberJoined() | MemberChanged() if event.account_id == account_id:
                    roles[room] = event.role
                case ReadMoved() if event.account_id != account_id:
                    continue
            if room in roles and type(event) in _SHOWN:
                yield Visible(place, event, roles[room])
            if isinstance(event, MemberLeft) and event.account_id == account_id:
                roles.pop(room, None)

    def faults(self, listener: Listener) -> Iterator[str]:
        """Part by part: each begins with a state, and the rest has to follow from there. {} stands for the listener."""
        starts = [i for i, got in enumerate(listener.got) if got.name in ("hello", "catch_up")]
        for start, end in zip(starts, [*starts[1:], len(listener.got)], strict=True):
            cut = end < len(listener.got)
            yield from self._faults_of(listener.person.account_id, listener.got[start:end], cut)

    def _faults_of(self, account_id: int, part: list[Got], cut: bool) -> Iterator[str]:
        state, got = part[0], part[1:]
        last = max((each.place for each in got), default=state.place)
        due = {
            each.place: each
            for each in self.seen_by(account_id)
            if state.place < each.place and (each.place <= last or not cut)
        }
        places = [each.place for each in got]
        if places != sorted(set(places)):
            twice = [place for place, times in Counter(places).items() if times > 1]
            yield f"twice: {{}}, {twice[:10]}" if twice else f"order: {{}}, {places}"
        for place in sorted(due.keys() - set(places)):
            yield f"missing: {{}}, {type(due[place].event).__name__} at {place}, having begun at {state.place}"
        for each in got:
            if each.place not in due:
                yield f"strange: {{}}, {each.name} at {each.place} was not for it"
            elif not self._same(each, due[each.place]):
                yield f"changed: {{}}, {each.name} at {each.place} is not what it was"

    def _same(self, got: Got, due: Visible) -> bool:
        event = due.event
        if got.name != _SHOWN[type(event)]:
            return False
        if isinstance(event, MessagePosted | MessageEdited | MessageDeleted):
            expected = msgspec.to_builtins(stored(event.message))
            gone = (event.message.room_id, event.message.seq) in self.deleted
            return bool(
                got.data == {**expected, "mentions": list(expected["mentions"])}
                or (gone and got.data["text"] == "" and got.data["seq"] == event.message.seq)
            )
        if isinstance(event, RoomCreated | RoomChanged):
            last_seq = event.last_seq if isinstance(event, RoomChanged) else 0
            room = {"room_id": event.room_id, "kind": "group", "name": event.name, "description": event.description}
            return got.data == {**room, "role": due.role, "last_seq": last_seq, "created_at": rfc3339(event.created_at)}
        if isinstance(event, ReadMoved):
            left = {"unread": event.unread, "mentions": event.mentions}
            return got.data == {"room_id": event.room_id, "read_seq": event.read_seq, **left}
        assert isinstance(event, MemberJoined | MemberChanged | MemberLeft)
        return got.data == {"room_id": event.room_id, "account_id": event.account_id, "role": event.role}


# --- from the command line --------------------------------------------------------------------------------------------


def torture(folder: Path, *, seconds: float, subscribers: int, seed: int, rate: float = 40.0) -> Report:
    falcon = Falcon(folder, {"partitions": PARTITIONS, "command_seconds": 5.0, **SMALL}).start()
    try:
        report = asyncio.run(Torture(falcon, subscribers, seed).run(seconds, rate))
    finally:
        falcon.stop()
    if left := falcon.left():
        report.violations.append(f"left behind: processes {left}")
    report.violations += [f"error: {line}" for line in errors(falcon)]
    return report


def errors(falcon: Falcon) -> Iterator[str]:
    """The error lines of the log, each without its variable parts."""
    for line in falcon.log().splitlines():
        with suppress(msgspec.DecodeError):
            logged = msgspec.json.decode(line)
            if logged["level"] == "error":
                yield f"{logged['process']} {logged['message']} {logged.get('exception', '')[-200:]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.faults.streams", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=40, help="commands a second")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="falcon-streams-") as folder:
        report = torture(
            Path(folder),
            seconds=arguments.seconds,
            subscribers=arguments.subscribers,
            seed=arguments.seed,
            rate=arguments.rate,
        )
    print(f"\n{report}", flush=True)
    outcome = "FAILED" if report.violations else "passed"
    print(
        f"\n{outcome}: python -m tools.faults.streams --seconds {arguments.seconds:g} "
        f"--subscribers {arguments.subscribers} --rate {arguments.rate:g} --seed {arguments.seed}"
    )
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
