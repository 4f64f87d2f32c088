"""The same offered load on one, two and three ``falcon write``: what it costs, and what memory they take."""

from __future__ import annotations

import time
from typing import Final

from load_tests import readable, wrk
from load_tests.cluster.figures import FALCON, SERVERS, Section, Target, at_most, medians, ratios
from load_tests.cluster.plan import Plan
from load_tests.cluster.sending import ACCOUNTS
from load_tests.cluster.site import Site
from load_tests.figures import ProcessMemory
from load_tests.progress import say
from load_tests.tables import Table, numbers

COUNTS: Final = (1, 2, 3)
_IDLE_SECONDS: Final = 2.0
GROWTH_BOUND: Final = 1.05  # what may be noise


def measure(site: Site, plan: Plan) -> Section:
    targets = wrk.write_targets(plan.folder / "scale.targets", site.fill(plan.rooms, ACCOUNTS))
    cores = site.cores
    micros: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    loads: dict[int, list[wrk.Load]] = {count: [] for count in COUNTS}
    idle: dict[int, list[float]] = {count: [] for count in COUNTS}
    memory: dict[int, list[ProcessMemory]] = {}
    wrk.send(cores.generator, site.address, targets, readable.CONNECTIONS, 1)
    pause = readable.find_pace(site, cores, targets, plan.seconds).pause_ms
    try:
        for _ in range(plan.runs):
            for count in COUNTS:
                site.scale_write(count)
                wrk.send(cores.generator, site.address, targets, readable.CONNECTIONS, 1, pause)
                site.settle()
                idle[count].append(_idle_share(site))
                before = site.work()
                load = wrk.send(cores.generator, site.address, targets, readable.CONNECTIONS, plan.seconds, pause)
                site.settle()
                work = site.work().since(before)
                micros[count].append(work.micros_each(load.requests - load.refused))
                loads[count].append(load)
                memory[count] = site.memory()
                say(f"scale, {count} falcon write: {load.rate:,.0f}/s, {_falcon(micros[count][-1]):.0f} µs a message")
    finally:
        site.scale_write(1)
    return Section("scale", plan.date, [_costs(micros, loads, idle), _memory(memory)], [_target(micros)])


def _idle_share(site: Site) -> float:
    """What Falcon's processes take of a core while nobody asks them anything."""
    before = site.work()
    time.sleep(_IDLE_SECONDS)
    return site.work().since(before).falcon / _IDLE_SECONDS


def _falcon(micros: dict[str, float]) -> float:
    return sum(micros[role] for role in FALCON)


def _target(micros: dict[int, list[dict[str, float]]]) -> Target:
    one, most = min(micros), max(micros)
    growth = ratios([_falcon(each) for each in micros[most]], [_falcon(each) for each in micros[one]])
    return at_most(f"Falcon's CPU a message with {most} `falcon write`, of that with one", growth, GROWTH_BOUND, "×")


def _costs(
    micros: dict[int, list[dict[str, float]]], loads: dict[int, list[wrk.Load]], idle: dict[int, list[float]]
) -> Table:
    rows = [
        (
            f"{count} `falcon write`",
            numbers((load.rate for load in loads[count]), "{:,.0f}"),
            numbers((load.p50 / 1000 for load in loads[count]), "{:.2f}"),
            numbers((load.p99 / 1000 for load in loads[count]), "{:.2f}"),
            numbers((_falcon(each) / 1000 for each in works), "{:.3f}"),
            *(medians(works, role) for role in (*FALCON, *SERVERS)),
            numbers((share * 100 for share in idle[count]), "{:.1f}"),
        )
        for count, works in micros.items()
    ]
    columns = ("", "a second", "p50, ms", "p99, ms", "CPU s, 1,000 messages", *FALCON, *SERVERS)
    note = (
        "The same pauses between sends for all, chosen so that one `falcon write` is at half of its rate. By role: µs. "
        "What Falcon's processes take of a core when idle is in these figures too; it stands in the last column."
    )
    return Table("One, two and three `falcon write`, the same load offered", columns, rows, note)


def _memory(memory: dict[int, list[ProcessMemory]]) -> Table:
    names = dict.fromkeys(each.title for found in memory.values() for each in found)
    rows: list[tuple[str, ...]] = []
    for name in sorted(names):
        cells = ["–"] * len(memory)
        for place, found in enumerate(memory.values()):
            sizes = [each.pss for each in found if each.title == name]
            if sizes:
                cells[place] = f"{sum(sizes):,.0f}"
        rows.append((name, *cells))
    columns = ("MiB, PSS", *(f"{count} `falcon write`" for count in memory))
    return Table("Memory of each process", columns, rows, "After the last run with each number.")
