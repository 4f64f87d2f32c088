"""How costs grow with more messages in the rooms that are used, or more rooms around them.

There is a Falcon for each size. All of them run and are asked in turn, so that a machine that gets slower or faster
does so for all sizes alike.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tools.bench import journals, plots, wrk
from tools.bench.bench import Bench
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.bench.samples import FALCON, Sample, compared, cpu
from tools.bench.throughput import Ask, in_turn, in_words, measure_once
from tools.harness.machine import Cores
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer

# Sends to the rooms in use, pages of these, sends to all others in turn.
SEND: Final = "send"
PAGE: Final = "page"
SPREAD: Final = "send, all rooms in turn"
USED_ROOMS = 100
_FLAT: Final = 1.25  # what the largest size may cost of the smallest
_CONNECTIONS = 64
_WINDOWS = 20_000
_SPREAD_ROOMS = 20_000


@dataclass(frozen=True, slots=True)
class GrowthSize:
    """``messages``: in the rooms in use, before the ones that are sent to measure it; ``rooms``: with the idle ones."""

    messages: int
    rooms: int

    def __str__(self) -> str:
        return f"{self.messages:,} messages, {self.rooms:,} rooms"


# By size, the smallest first, then by workload.
Growth = Mapping[GrowthSize, Mapping[str, Sequence[Sample]]]


@dataclass(frozen=True, slots=True)
class _Falcon:
    """A server of one size; ``spread``: for sends to any of its rooms, where there are more than those in use."""

    size: GrowthSize
    server: FalconServer
    targets: Path
    pages: Path
    spread: Path | None


def sizes(messages: int, rooms: int) -> list[GrowthSize]:
    """Up to that many, by tens; the first is the smallest of both."""
    least = max(USED_ROOMS, messages // 100)
    return [
        GrowthSize(least, USED_ROOMS),
        *(GrowthSize(count, USED_ROOMS) for count in (messages // 10, messages) if count > least),
        *(GrowthSize(least, count) for count in (rooms // 100, rooms // 10, rooms) if count > USED_ROOMS),
    ]


def section(bench: Bench) -> Section:
    """Raises ServerFailed, LoadFailed, CallRefused."""
    chosen = sizes(bench.sizes["messages"], bench.sizes["growth_rooms"])
    servers = [
        (size, bench.falcon(f"growth-{number}", f"{FALCON}-{size.messages}-{size.rooms}"))
        for number, size in enumerate(chosen)
    ]
    found = _measure(servers, bench.runs, max(1, bench.seconds // 3), bench.cores, bench.folder)
    for _, server in servers:
        shutil.rmtree(server.data, ignore_errors=True)
    title = "What a send and a page cost as messages and rooms grow"
    pictures = bench.draw("bench-growth", title, lambda figure: _paint(figure, found))
    return Section("growth", [table(found)], judged(found), slower=slower(found), pictures=pictures)


def table(growth: Growth) -> Table:
    smallest = next(iter(growth.values()))
    rows: list[tuple[str, ...]] = []
    for size, found in growth.items():
        costs = [numbers(map(cpu, found.get(workload, ())), "{:.0f}") for workload in (SEND, PAGE, SPREAD)]
        times = [compared(found.get(workload, ()), smallest.get(workload, ()), cpu) for workload in (SEND, PAGE)]
        rows.append((str(size), *costs, *(f"{median(each):.2f}×" if each else "–" for each in times)))
    columns = (
        *("CPU, µs each", "a send", "a page", "a send, each to another room"),
        *("a send, of the smallest's", "a page, of the smallest's"),
    )
    note = (
        f"64 in flight. The messages are in {USED_ROOMS} rooms, to which the sends go; pages of 50 are read from "
        "anywhere in them, each another one, so that none is kept in memory. The other rooms are idle. *Each to "
        "another room* goes through the idle ones instead: each has to be brought into memory first. A Falcon of each "
        "size ran at the same time; the sends of the measurement add some thousand messages to each."
    )
    return Table("Growth", columns, rows, note)


def _ends(growth: Growth) -> tuple[GrowthSize, GrowthSize, GrowthSize]:
    """The smallest size, that with the most messages, that with the most rooms."""
    first = next(iter(growth))
    return first, max(growth, key=lambda size: size.messages), max(growth, key=lambda size: size.rooms)


def judged(growth: Growth) -> list[Target]:
    """Compares the largest size with the smallest: costs should stay flat."""
    first, longest, widest = _ends(growth)
    found: list[Target] = []
    for size, words in (
        (longest, f"{longest.messages:,} messages, of that with {first.messages:,}"),
        (widest, f"{widest.rooms:,} rooms, of that with {first.rooms:,}"),
    ):
        for workload in (SEND, PAGE):
            times = compared(growth[size].get(workload, ()), growth[first].get(workload, ()), cpu)
            if times and size != first:
                found.append(at_most(f"CPU a {workload} with {words}", times, _FLAT, "×"))
    return found


def slower(growth: Growth) -> list[str]:
    """Costs of rooms that were not used lately, and of pages far back."""
    first, longest, widest = _ends(growth)
    found: list[str] = []
    spread, sends = (growth[widest].get(workload, ()) for workload in (SPREAD, SEND))
    times = compared(spread, sends, cpu)
    if times and median(times) > 1.05:
        found.append(
            f"A send to a room that nobody has used lately costs {median(times):.1f}× the CPU of one to a room in use "
            f"({median(map(cpu, spread)):.0f} µs to {median(map(cpu, sends)):.0f}, with {widest.rooms:,} rooms): the "
            "room has to be brought into memory from its snapshot or its events, and another one has to leave."
        )
    times = compared(growth[longest].get(PAGE, ()), growth[first].get(PAGE, ()), cpu)
    if times and longest != first and median(times) > 1.1:
        found.append(
            f"A page from anywhere in {longest.messages:,} messages costs {median(times):.2f}× the CPU of one from "
            f"anywhere in {first.messages:,}: the look-ups are the same, but less of what they touch is in a cache."
        )
    return found


def _paint(figure: Any, growth: Growth) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    first, _, _ = _ends(growth)
    styles = {SEND: ("a send", "-"), PAGE: ("a page of 50", "--"), SPREAD: ("a send, each to another room", ":")}
    by_messages = [(size.messages, found) for size, found in growth.items() if size.rooms == first.rooms]
    by_rooms = [(size.rooms, found) for size, found in growth.items() if size.messages == first.messages]
    for axes, points, unit in (
        (left, by_messages, f"messages in {USED_ROOMS} rooms"),
        (right, by_rooms, f"rooms, of which {USED_ROOMS} are used"),
    ):
        for workload, (label, stroke) in styles.items():
            values = [(at, list(map(cpu, found.get(workload, ())))) for at, found in points]
            if axes is right or workload != SPREAD:
                plots.line(axes, FALCON, values, label=label, linestyle=stroke)
        axes.set_xscale("log")
        axes.set_xlabel(unit)
    left.set_ylim(bottom=0)  # behind both, which share it
    left.set_ylabel("CPU, µs each")
    right.legend(frameon=False)


def _measure(
    servers: list[tuple[GrowthSize, FalconServer]], runs: int, seconds: int, cores: Cores, folder: Path
) -> Growth:
    falcons = [_fill(size, server, cores, folder) for size, server in servers]
    samples: dict[GrowthSize, dict[str, list[Sample]]] = {falcon.size: {} for falcon in falcons}
    with running([falcon.server for falcon in falcons], cores):
        for falcon in falcons:
            wrk.send(cores.generator, falcon.server.address, falcon.targets, _CONNECTIONS, 1)
        for turn in range(runs):
            for number, workload in enumerate((SEND, PAGE, SPREAD)):
                for falcon in in_turn(falcons, turn + number):
                    ask = _ask(falcon, workload, turn, cores)
                    if ask is None:
                        continue
                    run = measure_once(
                        falcon.server,
                        ask,
                        seconds,
                        cores,
                        folder,
                        sends=workload != PAGE,
                        warm=workload == SPREAD and not turn,
                    )
                    samples[falcon.size].setdefault(workload, []).append(run)
                    say(f"{turn + 1}/{runs} {falcon.size}, {workload}: {in_words(run)}")
    return samples


def _fill(size: GrowthSize, server: FalconServer, cores: Cores, folder: Path) -> _Falcon:
    with running([server], cores):
        used = journals.fill(server, USED_ROOMS, size.messages, source="used")
        token = server.announcement.token
        targets = wrk.write_targets(folder / f"{server.name}.targets", [(room_id, token) for room_id in used.room_ids])
        windows = _distinct_windows(used.room_ids, size.messages // USED_ROOMS, _WINDOWS)
        pages = wrk.write_targets(folder / f"{server.name}.pages", [(path, token) for path in windows])
        spread = None
        if size.rooms > USED_ROOMS:
            others = journals.fill(server, size.rooms - USED_ROOMS, 0, source="idle").room_ids
            chosen = others[:: max(1, len(others) // _SPREAD_ROOMS)]
            spread = wrk.write_targets(folder / f"{server.name}.spread", [(room_id, token) for room_id in chosen])
    return _Falcon(size, server, targets, pages, spread)


def _ask(falcon: _Falcon, workload: str, turn: int, cores: Cores) -> Ask | None:
    address, core = falcon.server.address, cores.generator
    if workload == SEND:
        return lambda seconds: wrk.send(core, address, falcon.targets, _CONNECTIONS, seconds)
    if workload == PAGE:
        # Others than in the turn before, whose pages may still be kept in memory.
        return lambda seconds: wrk.get(core, address, falcon.pages, _CONNECTIONS, seconds, first=turn * _WINDOWS // 7)
    spread = falcon.spread
    return None if spread is None else lambda seconds: wrk.send(core, address, spread, _CONNECTIONS, seconds)


def _distinct_windows(room_ids: Sequence[int], messages: int, most: int) -> list[str]:
    """Paths of different pages anywhere in rooms of that many messages, well mixed and the same for each run."""
    places = [(room_id, before) for room_id in room_ids for before in range(min(50, messages) + 1, messages + 2)]
    chosen = random.Random(2).sample(places, min(most, len(places)))
    return [f"/v1/rooms/{room_id}/messages?limit=50&before={before}" for room_id, before in chosen]
