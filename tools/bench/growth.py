"""How costs grow with more messages in the rooms that are used, or more rooms around them.

There is a Falcon for each size. All of them run and are asked in turn, so that a machine that gets slower or faster
does so for all sizes alike.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench import journals, wrk
from tools.bench.bench import Bench, in_turn
from tools.bench.figures import Figure, beside
from tools.bench.throughput import Sample, measure_once
from tools.harness.machine import Cores
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer

SEND: Final = "send"
PAGE: Final = "page"
USED_ROOMS: Final = 100
_FLAT: Final = 1.25  # what a larger size may cost of the smallest
_CONNECTIONS: Final = 64
_WINDOWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class GrowthSize:
    """``messages``: in the rooms in use, before the ones that are sent to measure it; ``rooms``: with the idle ones."""

    messages: int
    rooms: int

    def __str__(self) -> str:
        return f"{self.messages:,} messages, {self.rooms:,} rooms"


@dataclass(frozen=True, slots=True)
class _Falcon:
    """A server of one size."""

    size: GrowthSize
    server: FalconServer
    cores: Cores
    targets: Path
    pages: Path


def section(bench: Bench) -> list[Figure]:
    """The smallest size, one with many messages, and one with many rooms. Raises ServerFailed, LoadFailed,
    CallRefused."""
    messages, rooms = bench.sizes["messages"], bench.sizes["growth_rooms"]
    smallest, *larger = (
        GrowthSize(messages // 100, USED_ROOMS),
        GrowthSize(messages, USED_ROOMS),
        GrowthSize(messages // 100, rooms),
    )
    falcons = [_fill(size, bench.falcon(f"growth-{n}"), bench.cores) for n, size in enumerate((smallest, *larger))]
    found = _measure(falcons, bench.runs, bench.seconds)
    for falcon in falcons:
        shutil.rmtree(falcon.server.data, ignore_errors=True)
    return [
        each
        for workload, by_size in found.items()
        for size in (smallest, *larger)
        for each in (
            Figure(f"CPU of a {workload}, {size}", by_size[size], "µs"),
            *beside(f"the same, of that of {smallest}", by_size[size], by_size[smallest], most=_FLAT),
        )
    ]


def _measure(falcons: Sequence[_Falcon], runs: int, seconds: int) -> dict[str, dict[GrowthSize, list[float]]]:
    """µs of CPU for each answer, by round."""
    found: dict[str, dict[GrowthSize, list[float]]] = {SEND: {}, PAGE: {}}
    cores = falcons[0].cores
    with running([falcon.server for falcon in falcons], cores):
        for falcon in falcons:
            wrk.send(cores.generator, falcon.server.address, falcon.targets, _CONNECTIONS, 1)
        for turn in range(runs):
            for number, workload in enumerate(found):
                for falcon in in_turn(falcons, turn + number):
                    run = _measure_once(falcon, workload, turn, seconds)
                    found[workload].setdefault(falcon.size, []).append(run.cpu)
                    say(f"{turn + 1}/{runs} {falcon.size}, {workload}: {run}")
    return found


def _measure_once(falcon: _Falcon, workload: str, turn: int, seconds: int) -> Sample:
    address, core = falcon.server.address, falcon.cores.generator

    def ask(seconds: int) -> wrk.Load:
        if workload == SEND:
            return wrk.send(core, address, falcon.targets, _CONNECTIONS, seconds)
        # Others than in the turn before, whose pages may still be kept in memory.
        return wrk.get(core, address, falcon.pages, _CONNECTIONS, seconds, first=turn * _WINDOWS // 7)

    return measure_once(falcon.server, ask, seconds)


def _fill(size: GrowthSize, server: FalconServer, cores: Cores) -> _Falcon:
    with running([server], cores):
        used = journals.fill(server, USED_ROOMS, size.messages, source="used")
        token = server.announcement.token
        targets = [(room_id, token) for room_id in used.room_ids]
        pages = [(path, token) for path in _distinct_windows(used.room_ids, size.messages // USED_ROOMS, _WINDOWS)]
        if size.rooms > USED_ROOMS:
            journals.fill(server, size.rooms - USED_ROOMS, 0, source="idle")
    return _Falcon(
        size,
        server,
        cores,
        wrk.write_targets(server.data.with_suffix(".targets"), targets),
        wrk.write_targets(server.data.with_suffix(".pages"), pages),
    )


def _distinct_windows(room_ids: Sequence[int], messages: int, most: int) -> list[str]:
    """Paths of different pages anywhere in rooms of that many messages, well mixed and the same for each run."""
    places = [(room_id, before) for room_id in room_ids for before in range(min(50, messages) + 1, messages + 2)]
    chosen = random.Random(2).sample(places, min(most, len(places)))
    return [f"/v1/rooms/{room_id}/messages?limit=50&before={before}" for room_id, before in chosen]
