"""Large journals: filling them, importing, rebuilding a projection, and starting again after everything was killed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tools.bench import wrk
from tools.bench.calls import Caller
from tools.bench.figures import Import, Rebuild, RecoveryRun
from tools.bench.running import running, wait_until_quiet
from tools.bench.servers import FalconServer
from tools.harness.machine import Cores
from tools.harness.processes import register
from tools.harness.progress import say

LINES_PER_REQUEST = 2000
PARTITIONS = 64
Item = TypeVar("Item")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Filled:
    """What a journal was filled with."""

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
    for numbers in _parts(range(rooms), LINES_PER_REQUEST):
        lines = b"\n".join(_encode(_room_line(source, number, members)) for number in numbers)
        made: dict[str, int] = _import(admin, lines)["rooms"]
        room_ids += [made[f"room-{number}"] for number in numbers]
    say(f"{server.name}: {rooms:,} rooms imported in {time.perf_counter() - start:.0f} s")
    imported = 0
    for part in _parts(_message_lines(room_ids, messages, (author, other)), LINES_PER_REQUEST):
        imported += _import(admin, b"\n".join(part))["imported"]
        if imported % 200_000 == 0:
            say(f"{server.name}: {imported:,} of {messages:,} messages imported")
    admin.close()
    return Filled(room_ids=room_ids, messages=imported, seconds=time.perf_counter() - start)


def _room_line(source: str, number: int, members: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "room",
        "source": source,
        "ref": f"room-{number}",
        "kind": "group",
        "name": f"room {number}",
        "description": "",
        "created_at": _time(0),
        "members": members,
    }


def _message_lines(room_ids: list[int], messages: int, authors: tuple[int, int]) -> Iterator[bytes]:
    per_room = messages // max(1, len(room_ids))
    count = 0
    for room_id in room_ids if per_room else ():
        for seq in range(1, per_room + 1):
            count += 1
            yield _encode(
                {
                    "type": "message",
                    "room_id": room_id,
                    "seq": seq,
                    "author_id": authors[seq % 2],
                    "text": _text(count),
                    "posted_at": _time(count),
                    "edited_at": None,
                    "deleted": False,
                    "reply_to": None,
                    "mentions": [],
                }
            )


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
    with file.open("wb") as out:

        def line(**fields: Any) -> None:
            out.write(_encode(fields) + b"\n")

        line(
            type="falcon-export",
            version=1,
            source=f"benchmark-{file.stem}",
            accounts=2,
            rooms=rooms,
            messages=per_room * rooms,
        )
        for ref in refs:
            line(type="account", ref=ref, name=ref)
        for room in range(rooms):
            line(
                type="room",
                ref=f"room-{room}",
                kind="group",
                name=f"room {room}",
                description="",
                created_at=_time(0),
                members=members,
            )
        count = 0
        for room in range(rooms):
            for seq in range(1, per_room + 1):
                count += 1
                line(
                    type="message",
                    room=f"room-{room}",
                    seq=seq,
                    author=refs[seq % 2],
                    text=_text(count),
                    posted_at=_time(count),
                    edited_at=None,
                    deleted=False,
                    reply_to=None,
                    mentions=[],
                )


def measure_import(server: FalconServer, rooms: int, messages: int, runs: int, cores: Cores, folder: Path) -> Import:
    """`falcon import` of a file into a server that has those of the earlier runs already; sources differ."""
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
    return Import(messages=messages, rooms=rooms, rates=rates)


def measure_rebuild(server: FalconServer, messages: int, runs: int) -> Rebuild:
    """`falcon rebuild timeline` on the servers' core, beside the running server, which must hold that many messages."""
    rates: list[float] = []
    for turn in range(runs):
        rates.append(messages / server.run("rebuild", "timeline"))
        say(f"{turn + 1}/{runs} falcon rebuild timeline of {messages:,} messages: {rates[-1]:,.0f}/s")
        wait_until_quiet(server, 30)
    return Rebuild(messages=messages, rates=rates)


def measure_recovery(server: FalconServer, filled: Filled, runs: int, cores: Cores, folder: Path) -> list[RecoveryRun]:
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
        announced = time.perf_counter() - server.started_at
        caller = Caller(server.address, server.announcement.token)
        caller.until_accepted("POST", path.format(filled.room_ids[0]), {"text": "first"})
        accepted = time.perf_counter() - server.started_at
        for room_id in everywhere.values():
            caller.until_accepted("POST", path.format(room_id), {"text": "everywhere"})
        run = RecoveryRun(announced, accepted, time.perf_counter() - server.started_at)
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
