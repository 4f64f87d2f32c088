"""What work costs when there is more: more messages in the rooms that are used, or more rooms around them.

A Falcon for each size, all of them running and asked in turn, so that a machine that gets slower or faster does so for
all sizes alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.bench import journals, wrk
from tools.bench.figures import PAGE, SEND, SPREAD, Grown, Growth, Sample
from tools.bench.running import running
from tools.bench.servers import FalconServer
from tools.bench.throughput import Ask, in_turn, in_words, measure_once
from tools.bench.walks import distinct_windows
from tools.harness.machine import Cores
from tools.harness.progress import say

USED_ROOMS = 100
_CONNECTIONS = 64
_WINDOWS = 20_000
_SPREAD_ROOMS = 20_000


@dataclass(frozen=True, slots=True)
class Size:
    messages: int
    rooms: int


@dataclass(frozen=True, slots=True)
class _Site:
    """A server of one size; ``spread``: for sends to any of its rooms, where there are more than those in use."""

    size: Size
    server: FalconServer
    targets: Path
    pages: Path
    spread: Path | None

    @property
    def name(self) -> str:
        return f"{self.size.messages:,} messages, {self.size.rooms:,} rooms"


def sizes(messages: int, rooms: int) -> list[Size]:
    """Up to that many, by tens; the first is the smallest of both."""
    least = max(USED_ROOMS, messages // 100)
    return [
        Size(least, USED_ROOMS),
        *(Size(count, USED_ROOMS) for count in (messages // 10, messages) if count > least),
        *(Size(least, count) for count in (rooms // 100, rooms // 10, rooms) if count > USED_ROOMS),
    ]


def measure(servers: list[tuple[Size, FalconServer]], runs: int, seconds: int, cores: Cores, folder: Path) -> Growth:
    """Raises ServerFailed, LoadFailed and CallRefused."""
    sites = [_fill(size, server, cores, folder) for size, server in servers]
    samples: dict[Size, dict[str, list[Sample]]] = {site.size: {} for site in sites}
    with running([site.server for site in sites], cores):
        for site in sites:
            wrk.send(cores.generator, site.server.address, site.targets, _CONNECTIONS, 1)
        for turn in range(runs):
            for number, workload in enumerate((SEND, PAGE, SPREAD)):
                for site in in_turn(sites, turn + number):
                    ask = _ask(site, workload, turn, cores)
                    if ask is None:
                        continue
                    run = measure_once(
                        site.server,
                        ask,
                        seconds,
                        cores,
                        folder,
                        sends=workload != PAGE,
                        warm=workload == SPREAD and not turn,
                    )
                    samples[site.size].setdefault(workload, []).append(run)
                    say(f"{turn + 1}/{runs} {site.name}, {workload}: {in_words(run)}")
    points = [Grown(size.messages, size.rooms, found) for size, found in samples.items()]
    return Growth(used_rooms=USED_ROOMS, points=points)


def _fill(size: Size, server: FalconServer, cores: Cores, folder: Path) -> _Site:
    with running([server], cores):
        used = journals.fill(server, USED_ROOMS, size.messages, source="used")
        token = server.announcement.token
        targets = wrk.write_targets(folder / f"{server.name}.targets", [(room_id, token) for room_id in used.room_ids])
        windows = distinct_windows(used.room_ids, size.messages // USED_ROOMS, _WINDOWS)
        pages = wrk.write_paths(folder / f"{server.name}.pages", [(path, token) for path in windows])
        spread = None
        if size.rooms > USED_ROOMS:
            others = journals.fill(server, size.rooms - USED_ROOMS, 0, source="idle").room_ids
            chosen = others[:: max(1, len(others) // _SPREAD_ROOMS)]
            spread = wrk.write_targets(folder / f"{server.name}.spread", [(room_id, token) for room_id in chosen])
    return _Site(size, server, targets, pages, spread)


def _ask(site: _Site, workload: str, turn: int, cores: Cores) -> Ask | None:
    address, core = site.server.address, cores.generator
    if workload == SEND:
        return lambda seconds: wrk.send(core, address, site.targets, _CONNECTIONS, seconds)
    if workload == PAGE:
        # Others than in the turn before, whose pages may still be kept in memory.
        return lambda seconds: wrk.get(core, address, site.pages, _CONNECTIONS, seconds, first=turn * _WINDOWS // 7)
    spread = site.spread
    return None if spread is None else lambda seconds: wrk.send(core, address, spread, _CONNECTIONS, seconds)
