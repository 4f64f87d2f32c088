"""Reading everything: rooms back to their first message, and the whole list of one's rooms with what is unread in each.

One request at a time, as one person's client asks. There are more pages than Falcon keeps in memory, and they are read
in turn, so that none is there when its turn comes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench import journals, wrk
from tools.bench.bench import Bench
from tools.bench.neighbours import CrudServer, crud_servers
from tools.bench.peers import crud
from tools.bench.report import Section, Table, behind_the_chats, doubts, numbers
from tools.bench.samples import NAMES, Sample, Samples, cpu, p50, p99, workloads
from tools.bench.throughput import in_turn, in_words, measure_once
from tools.harness.calls import Caller
from tools.harness.machine import Cores
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer, Server, ServerFailed

PAGE = 50
LONG_ROOMS = 20
LISTED_ROOMS = 1_000
_SHORT_MESSAGES = 3  # in each of the other rooms
BACK = "back through {:,} messages"
LIST = "list {:,} rooms"


@dataclass(frozen=True, slots=True)
class Past:
    """The data to read: ``rooms`` with few messages, except the first ones, which are long."""

    token: str
    room_ids: list[int]
    messages: int  # of a long room

    @property
    def long(self) -> list[int]:
        return self.room_ids[:LONG_ROOMS]

    def marks(self) -> list[tuple[int, int]]:
        """Read marks: most rooms have unread messages."""
        return [(room_id, number % (_SHORT_MESSAGES + 1)) for number, room_id in enumerate(self.room_ids)]

    def unread(self) -> int:
        """In all rooms together."""
        lengths = [self.messages] * LONG_ROOMS + [_SHORT_MESSAGES] * (len(self.room_ids) - LONG_ROOMS)
        return sum(length - mark for length, (_, mark) in zip(lengths, self.marks(), strict=True))


def section(bench: Bench) -> Section:
    """Raises ServerFailed, LoadFailed, CallRefused."""
    messages = bench.sizes["walk_messages"]
    samples = _measure(bench, messages)
    note = (
        f"One request at a time, {PAGE} messages or rooms each; every room with what is unread in it and its newest "
        "message. Falcon counts unread mentions as well, the CRUD chats do not. The pages of messages were not in "
        f"Falcon's memory. {doubts(samples)}"
    )
    columns = ("", "all of it, ms", "a page: p50, ms", "p99, ms", "CPU, µs a page")
    table = Table("Reading everything", columns, rows(samples, messages), note)
    return Section("walks", [table], slower=behind_the_chats(samples))


def rows(samples: Samples, messages: int) -> list[tuple[str, ...]]:
    pages = {BACK.format(messages): -(-messages // PAGE), LIST.format(LISTED_ROOMS): -(-LISTED_ROOMS // PAGE)}
    return [
        (
            f"{name}, {NAMES[server]}",
            numbers((pages[name] / sample.rate * 1000 for sample in found), "{:,.0f}"),
            numbers(map(p50, found), "{:.2f}"),
            numbers(map(p99, found), "{:.2f}"),
            numbers(map(cpu, found), "{:.0f}"),
        )
        for name in workloads(samples)
        for server, each in samples.items()
        if (found := each.get(name))
    ]


def _measure(bench: Bench, messages: int) -> Samples:
    cores, folder, runs, seconds, rooms = bench.cores, bench.folder, bench.runs, bench.seconds, LISTED_ROOMS
    servers: list[FalconServer | CrudServer] = [bench.falcon("walks"), *crud_servers(bench, "walks")]
    names = (BACK.format(messages), LIST.format(rooms))
    samples: dict[str, dict[str, list[Sample]]] = {server.name: {name: [] for name in names} for server in servers}
    paths = {(server.name, name): folder / f"{server.name}-{name[:4]}.paths" for server in servers for name in names}
    for server in servers:
        with running([server], cores):
            past = _fill(server, messages, rooms)
            back, listed = _walk(server, past)
            wrk.write_targets(paths[server.name, names[0]], [(path, past.token) for path in back])
            wrk.write_targets(paths[server.name, names[1]], [(path, past.token) for path in listed])
    for turn in range(runs):
        with running(servers, cores):
            for number, name in enumerate(names):
                for server in in_turn(servers, turn + number):
                    run = _measure_once(server, paths[server.name, name], seconds, cores, folder)
                    samples[server.name][name].append(run)
                    say(f"{turn + 1}/{runs} {name}, {server.name}: {in_words(run)}")
    return samples


def _measure_once(server: Server, paths: Path, seconds: int, cores: Cores, folder: Path) -> Sample:
    count = len(paths.read_text().splitlines())
    begins = iter((count // 2, 0))  # the pages of the warm-up are others

    def ask(seconds: int) -> wrk.Load:
        return wrk.get(cores.generator, server.address, paths, 1, seconds, next(begins))

    return measure_once(server, ask, seconds, cores, folder, sends=False)


# --- what is read -----------------------------------------------------------------------------------------------------


def _fill(server: FalconServer | CrudServer, messages: int, rooms: int) -> Past:
    say(f"filling {server.name}: {rooms:,} rooms, {messages:,} messages in each of {LONG_ROOMS}")
    if isinstance(server, CrudServer):
        past = Past(*asyncio.run(_fill_crud(server.database.dsn, messages, rooms)), messages)
    else:
        long = journals.fill(server, LONG_ROOMS, LONG_ROOMS * messages, source="long")
        short = journals.fill(server, rooms - LONG_ROOMS, (rooms - LONG_ROOMS) * _SHORT_MESSAGES, source="short")
        past = Past(server.announcement.token, long.room_ids + short.room_ids, messages)
        caller = Caller(server.address, past.token)
        for room_id, seq in past.marks():
            caller.must("PUT", f"/v1/rooms/{room_id}/read", {"seq": seq, "force": True})
        caller.close()
    return past


async def _fill_crud(dsn: str, messages: int, rooms: int) -> tuple[str, list[int]]:
    tokens, room_ids = await crud.fill(dsn, 2, rooms)
    await crud.fill_history(dsn, room_ids[:LONG_ROOMS], messages, author=1)
    await crud.fill_history(dsn, room_ids[LONG_ROOMS:], _SHORT_MESSAGES, author=1)
    await crud.move_read(dsn, Past(tokens[0], room_ids, messages).marks())
    return tokens[0], room_ids


def _walk(server: Server, past: Past) -> tuple[list[str], list[str]]:
    """The paths of both walks, walked once: everything must be there, in order. Raises ServerFailed, CallRefused."""
    caller = Caller(server.address, past.token)
    try:
        back = [path for room_id in past.long for path in _walk_back(server, caller, room_id, past.messages)]
        listed = _walk_list(server, caller, past)
    finally:
        caller.close()
    return back, listed


def _walk_back(server: Server, caller: Caller, room_id: int, messages: int) -> list[str]:
    paths: list[str] = []
    seqs: list[int] = []
    while not seqs or seqs[0] > 1:
        before = f"&before={seqs[0]}" if seqs else ""
        paths.append(f"/v1/rooms/{room_id}/messages?limit={PAGE}{before}")
        page: list[dict[str, Any]] = caller.must("GET", paths[-1]).json()["messages"]
        if not page or (seqs and page[-1]["seq"] >= seqs[0]):
            break
        seqs[:0] = [message["seq"] for message in page]
    if seqs != list(range(1, messages + 1)):
        raise ServerFailed(
            f"{server.name} shows {len(seqs):,} messages of a room that has {messages:,}, or not in order"
        )
    return paths


def _walk_list(server: Server, caller: Caller, past: Past) -> list[str]:
    paths = [f"/v1/rooms?limit={PAGE}"]
    found: dict[int, int] = {}
    while True:
        answer = caller.must("GET", paths[-1]).json()
        found.update({room["room_id"]: room["unread"] for room in answer["rooms"]})
        if answer["next_cursor"] is None:
            break
        paths.append(f"/v1/rooms?limit={PAGE}&cursor={answer['next_cursor']}")
    if set(found) != set(past.room_ids) or sum(found.values()) != past.unread():
        raise ServerFailed(
            f"{server.name} lists {len(found):,} rooms with {sum(found.values()):,} unread, "
            f"and not {len(past.room_ids):,} with {past.unread():,}"
        )
    return paths


def distinct_windows(room_ids: Sequence[int], messages: int, most: int) -> list[str]:
    """Paths of different pages anywhere in rooms of that many messages, well mixed and the same for each run."""
    chance = random.Random(2)
    places = [(room_id, before) for room_id in room_ids for before in range(min(PAGE, messages) + 1, messages + 2)]
    chosen = chance.sample(places, min(most, len(places)))
    return [f"/v1/rooms/{room_id}/messages?limit={PAGE}&before={before}" for room_id, before in chosen]
