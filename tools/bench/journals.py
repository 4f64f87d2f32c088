"""Large journals: filling them, importing, rebuilding a projection, and starting, also after everything was killed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tools.bench import wrk
from tools.bench.bench import Bench
from tools.bench.figures import Figure
from tools.harness.calls import Caller
from tools.harness.machine import Cores
from tools.harness.processes import register
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import FalconServer

LINES_PER_REQUEST = 2000
PARTITIONS = 64
_IMPORTED, _REBUILT = 20_000, 50_000  # a second, at the least
_FIRST_SECONDS, _MORE_SECONDS = 5, 0.3
_START_SECONDS = 1.5
Item = TypeVar("Item")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class RecoveryRun:
    """Seconds from the start of the process, after a kill -9 under load."""

    accepted: float  # it accepted a first command
    everywhere: float  # it had accepted one in each partition that has rooms


@dataclass(frozen=True, slots=True)
class Filled:
    """The contents of a journal."""

    room_ids: list[int]
    messages: int
    seconds: float


def fill(server: FalconServer, rooms: int, messages: int, source: str = "benchmark") -> Filled:
    """Import rooms with two members and, spread over them evenly, messages; other rooms for each source.

    Raises CallRefused.
    """
    start = time.perf_counter()
    admin = Caller(server.address, server.announcement.admin_token)
    author = server.announcement.account_id
    other: int = admin.must("POST", "/v1/accounts", {"name": "the other"}).json()["account_id"]
    members = [{"account_id": author, "role": "admin"}, {"account_id": other, "role": "member"}]
    room_ids: list[int] = []
    for some in _parts(range(rooms), LINES_PER_REQUEST):
        lines = b"\n".join(_room_line(number, source=source, members=members) for number in some)
        made: dict[str, int] = _import(admin, lines)["rooms"]
        room_ids += [made[f"room-{number}"] for number in some]
    say(f"{server.name}: {rooms:,} rooms imported in {time.perf_counter() - start:.0f} s")
    imported = 0
    for part in _parts(_message_lines(room_ids, messages, (author, other)), LINES_PER_REQUEST):
        imported += _import(admin, b"\n".join(part))["imported"]
        if imported % 200_000 == 0:
            say(f"{server.name}: {imported:,} of {messages:,} messages imported")
    admin.close()
    return Filled(room_ids=room_ids, messages=imported, seconds=time.perf_counter() - start)


def _room_line(number: int, **more: Any) -> bytes:
    room = {"type": "room", "ref": f"room-{number}", "kind": "group", "name": f"room {number}", "description": ""}
    return _encode({**room, "created_at": _time(0), **more})


def _message_line(count: int, seq: int, **more: Any) -> bytes:
    """The ``count``-th of all; ``more``: its room and its author, as that kind of import names them."""
    message = {"type": "message", "seq": seq, "text": _text(count), "posted_at": _time(count), "edited_at": None}
    return _encode({**message, "deleted": False, "reply_to": None, "mentions": [], **more})


def _message_lines(room_ids: list[int], messages: int, authors: tuple[int, int]) -> Iterator[bytes]:
    per_room = messages // max(1, len(room_ids))
    for number, room_id in enumerate(room_ids):
        for seq in range(1, per_room + 1):
            yield _message_line(number * per_room + seq, seq, room_id=room_id, author_id=authors[seq % 2])


def _text(number: int) -> str:
    return f"{number:08d} " + "x" * (wrk.TEXT_BYTES - 9)


def _time(milliseconds: int) -> str:
    return (_BEGIN + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    part: list[Item] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _import(admin: Caller, lines: bytes) -> dict[str, Any]:
    answer = admin.must("POST", "/v1/import", lines, content_type="application/x-ndjson")
    found: dict[str, Any] = answer.json()
    return found


def write_export(file: Path, rooms: int, messages: int) -> None:
    """A file as `falcon export` writes it, with two accounts that are members of each room."""
    per_room = messages // rooms
    refs = ["account-a", "account-b"]
    members = [{"account": refs[0], "role": "admin"}, {"account": refs[1], "role": "member"}]
    header = {"type": "falcon-export", "version": 1, "source": f"benchmark-{file.stem}", "accounts": 2}
    with file.open("wb") as out:

        def write(line: bytes) -> None:
            out.write(line + b"\n")

        write(_encode({**header, "rooms": rooms, "messages": per_room * rooms}))
        for ref in refs:
            write(_encode({"type": "account", "ref": ref, "name": ref}))
        for room in range(rooms):
            write(_room_line(room, members=members))
        for room in range(rooms):
            for seq in range(1, per_room + 1):
                write(_message_line(room * per_room + seq, seq, room=f"room-{room}", author=refs[seq % 2]))


def imports(bench: Bench) -> list[Figure]:
    """`falcon import` of a file into a server that has those of the earlier runs already; sources differ. Raises
    ServerFailed."""
    messages = max(bench.sizes["messages"] // 5, 1)
    rooms = max(1, min(bench.sizes["journal_rooms"] // 10, messages))
    server, cores, folder, runs = bench.falcon("import"), bench.cores, bench.folder, bench.fewer_runs
    rates: list[float] = []
    with running([server], cores):
        for turn in range(runs):
            file = folder / f"import-{turn}.ndjson"
            write_export(file, rooms, messages)
            seconds = server.run("import", str(file), core=cores.generator)
            file.unlink()
            rates.append(messages / seconds)
            say(f"{turn + 1}/{runs} falcon import of {messages:,} messages: {rates[-1]:,.0f}/s")
            wait_until_quiet(server, 30)
    return [Figure(f"falcon import, {messages:,} messages in {rooms:,} rooms", rates, "messages/s", least=_IMPORTED)]


def journals(bench: Bench) -> list[Figure]:
    """Journals of two sizes. Raises ServerFailed, LoadFailed, CallRefused."""
    messages, rooms = bench.sizes["messages"], bench.sizes["journal_rooms"]
    recovered: dict[int, list[RecoveryRun]] = {}
    rebuilt: list[float] = []
    for size in (messages // 10, messages):
        server = bench.falcon(f"journal-{size}")
        with running([server], bench.cores):
            filled = fill(server, min(rooms, size), size)
            say(f"{filled.messages:,} messages imported in {filled.seconds:.0f} s")
            recovered[size] = _recover(server, filled, bench.runs, bench.cores, bench.folder)
            if size == messages:
                rebuilt = _rebuild(server, filled.messages, bench.fewer_runs)
        shutil.rmtree(server.data, ignore_errors=True)
    small, large = ([run.accepted for run in runs] for runs in recovered.values())
    # Starting the processes takes most of it and varies by tenths of a second from run to run.
    more = [b - a for a, b in zip(small, large, strict=True)]
    everywhere = [run.everywhere for run in recovered[messages]]
    first = "kill -9 under load → first command accepted"
    return [
        Figure(f"falcon rebuild timeline, {messages:,} messages", rebuilt, "messages/s", least=_REBUILT),
        Figure(f"{first}, {messages // 10:,} messages", small, "s"),
        Figure(f"{first}, {messages:,} messages", large, "s", most=_FIRST_SECONDS),
        Figure("the same, more than with a tenth", more, "s", most=_MORE_SECONDS),
        Figure(f"the same in every partition, {messages:,} messages", everywhere, "s"),
    ]


def starts(bench: Bench) -> list[Figure]:
    """From the start of the process to the first accepted message, on no data and again on what that left. Raises
    ServerFailed, CallRefused."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(bench.runs):
        server = bench.falcon(f"start-{turn}")
        for of_state in times:
            with running([server], bench.cores):
                of_state.append(_first_message(server))
    what = "cold start → first accepted message"
    return [Figure(what, times[0], "s", most=_START_SECONDS), Figure(f"{what}, on older data", times[1], "s")]


def _first_message(server: FalconServer) -> float:
    caller = Caller(server.address, server.announcement.token)
    room = caller.must("POST", "/v1/rooms", {"name": "first"}).json()["room_id"]
    caller.must("POST", f"/v1/rooms/{room}/messages", {"text": "first"})
    seconds = time.perf_counter() - server.started_at
    caller.close()
    return seconds


def _rebuild(server: FalconServer, messages: int, runs: int) -> list[float]:
    """`falcon rebuild timeline` on the servers' core, beside the running server, which must hold that many messages."""
    rates: list[float] = []
    for turn in range(runs):
        rates.append(messages / server.run("rebuild", "timeline"))
        say(f"{turn + 1}/{runs} falcon rebuild timeline of {messages:,} messages: {rates[-1]:,.0f}/s")
        wait_until_quiet(server, 30)
    return rates


def _recover(server: FalconServer, filled: Filled, runs: int, cores: Cores, folder: Path) -> list[RecoveryRun]:
    """Kill everything under load and start again, several times. The server runs before and afterwards."""
    found: list[RecoveryRun] = []
    path = "/v1/rooms/{}/messages"
    everywhere = {room_id % PARTITIONS: room_id for room_id in filled.room_ids}
    for turn in range(runs):
        token = server.announcement.token
        targets = wrk.write_targets(
            folder / f"{server.name}.recovery",
            [(room, token) for room in filled.room_ids[:: max(1, len(filled.room_ids) // 1000)]],
        )
        load = wrk.start_sending(cores.generator, server.address, targets, 64, 30)
        register(load.pid)
        time.sleep(1)
        server.kill()
        load.kill()
        load.communicate()
        server.start()
        caller = Caller(server.address, server.announcement.token)
        caller.until_accepted("POST", path.format(filled.room_ids[0]), {"text": "first"})
        accepted = time.perf_counter() - server.started_at
        for room_id in everywhere.values():
            caller.until_accepted("POST", path.format(room_id), {"text": "everywhere"})
        run = RecoveryRun(accepted, time.perf_counter() - server.started_at)
        caller.close()
        server.tree.claim_strays(())
        found.append(run)
        say(
            f"{turn + 1}/{runs} recovery, {filled.messages:,} messages in {len(filled.room_ids):,} rooms: "
            f"first command after {run.accepted:.2f} s, in each of {len(everywhere)} partitions after "
            f"{run.everywhere:.2f} s"
        )
        wait_until_quiet(server, 10)
    return found
