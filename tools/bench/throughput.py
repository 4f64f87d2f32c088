"""Sends and reads, as many as a core can take: Falcon in both system bases beside the ceiling and the neighbour.

All servers run at once and are asked in turn, workload by workload, so that a machine that gets slower or faster
does so for each of them alike; ratios are formed within a round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias, TypeVar

from tools.bench import plots, wrk
from tools.bench.bench import Bench
from tools.bench.neighbours import BareServer, crud_server, prove
from tools.bench.report import Section, Target, asked, at_least, at_most, behind_the_chat, drift, named
from tools.bench.samples import CRUD, FALCON, Figure, Sample, Samples, against, cpu, p50, p99, rate
from tools.harness.machine import Cores, Disk, busy_seconds, speed
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import Server, ServerFailed, Service

ACCOUNTS = 20
Ask: TypeAlias = Callable[[int], wrk.Load]  # for that many seconds
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    sends: bool
    connections: int

    def seconds(self, usual: int) -> int:
        """Longer with very many connections: all connect at once, and their first answers, which come late, would else
        be more than one in a hundred and make the 99th percentile."""
        return usual * 2 if self.connections > 100 else usual


SENDS = tuple(Workload(f"send, {count} in flight", True, count) for count in (1, 16, 64, 256))
READS = (Workload("latest 50, 64 in flight", False, 64),)


def sends(bench: Bench) -> Section:
    """Raises ServerFailed, LoadFailed."""
    samples, notes = _measure(bench, SENDS)
    title = "Sending: messages a second, and the time to the answer, by requests in flight"
    return Section(
        "send",
        [asked("Sending a message, durable when answered", samples)],
        [*_judge(samples, _SEND_TARGETS), *_judge_flushes(samples)],
        notes,
        [*_beside_the_ceiling(samples), *_beside_the_chat(samples)],
        bench.draw("bench-sends", title, lambda figure: _paint(figure, samples)),
    )


def reads(bench: Bench) -> Section:
    """Raises ServerFailed, LoadFailed."""
    samples, notes = _measure(bench, READS)
    share = against(samples, READS[0].name, "bare", rate)
    slower = [
        f"Pages come at {median(share) * 100:.0f} % of the rate of a route that only answers: account, membership and "
        "the room's state are looked up for each, so that nobody reads what they may no longer read."
    ]
    return Section(
        "read",
        [asked("Reading the newest 50 messages", samples)],
        [*_judge(samples, _READ_TARGETS), *_judge_tail(samples)],
        notes,
        [*(slower if share else ()), *_beside_the_chat(samples)],
    )


def _servers(bench: Bench) -> list[Server]:
    bare = [BareServer(bench.cores.server, bench.folder)] if "bare" in bench.servers else []
    falcons = [bench.falcon(f"throughput-{name}", name) for name in bench.falcons]
    return [*bare, *crud_server(bench, "throughput"), *falcons]


def _measure(bench: Bench, workloads: Sequence[Workload]) -> tuple[Samples, list[str]]:
    """Measures all servers. Returns the samples, with notes on sizes and the machine."""
    servers, cores, runs = _servers(bench), bench.cores, bench.runs
    samples: dict[str, dict[str, list[Sample]]] = {
        server.name: {workload.name: [] for workload in workloads} for server in servers
    }
    targets = {server.name: bench.folder / f"{server.name}.targets" for server in servers}
    page_bytes = _prepare(servers, bench.sizes["chat_rooms"], cores, targets)
    idle: dict[str, float] = {}
    for turn in range(runs):
        with running(servers, cores):
            if turn == 0:
                idle = _idle_shares(servers)
            for server in servers:
                wrk.send(cores.generator, server.address, targets[server.name], 64, 1)
            for number, workload in enumerate(workloads):
                for server in in_turn(servers, turn + number):
                    ask = _ask(server, workload, cores, targets[server.name])
                    seconds = workload.seconds(bench.seconds)
                    sample = measure_once(server, ask, seconds, cores, bench.folder, sends=workload.sends, warm=False)
                    samples[server.name][workload.name].append(sample)
                    say(f"{turn + 1}/{runs} {workload.name}, {server.name}: {in_words(sample)}")
    sizes = named({name: f"{size:,} bytes" for name, size in page_bytes.items()})
    shares = named({name: f"{share * 100:.1f} %" for name, share in idle.items()})
    notes = [
        f"{runs} runs of {bench.seconds} s, twice as long with 256 in flight; {bench.sizes['chat_rooms']} rooms, "
        f"{ACCOUNTS} members in each, {wrk.TEXT_BYTES} bytes of text. A page of 50: {sizes}. Of a core, while nobody "
        f"asks: {shares}.",
        drift(samples),
    ]
    return samples, notes


# --- in words ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Falcon's figure as a multiple of another server's, or in percent of it."""

    what: str
    workload: str
    other: str
    figure: Figure
    bound: float
    at_least: bool = True
    percent: bool = False


_SEND_TARGETS: Final = (
    *(
        wanted
        for flight in (64, 256)
        for wanted in (
            _Wanted(f"sends/s, {flight} in flight", f"send, {flight} in flight", CRUD, rate, 3),
            _Wanted(f"sends/s, {flight} in flight", f"send, {flight} in flight", "bare", rate, 25, percent=True),
            _Wanted(f"CPU a message, {flight} in flight", f"send, {flight} in flight", CRUD, cpu, 0.35, False),
        )
    ),
    _Wanted("p99 of a send, 16 in flight", "send, 16 in flight", CRUD, p99, 1, False),
    _Wanted("p50 of a send, 1 in flight", "send, 1 in flight", CRUD, p50, 1.5, False),
)
_READ_TARGETS: Final = (
    _Wanted("pages/s, 64 in flight", READS[0].name, CRUD, rate, 6),
    _Wanted("pages/s, 64 in flight", READS[0].name, "bare", rate, 40, percent=True),
    _Wanted("CPU a page, 64 in flight", READS[0].name, "bare", cpu, 1.6, False),
)
_OTHERS: Final = {CRUD: "of the CRUD chat's", "bare": "of the bare route's"}
_FLUSH_BOUND: Final = 8


def _judge(samples: Samples, wanted: Sequence[_Wanted]) -> list[Target]:
    found: list[Target] = []
    for item in wanted:
        factor, unit, form = (100, " %", "{:.0f}") if item.percent else (1, "×", "{:.2f}")
        ours = [each * factor for each in against(samples, item.workload, item.other, item.figure)]
        if ours:
            judge = at_least if item.at_least else at_most
            found.append(judge(f"{item.what}, {_OTHERS[item.other]}", ours, item.bound, unit, form))
    return found


def _judge_flushes(samples: Samples) -> list[Target]:
    shared = [each.per_flush for each in samples.get(FALCON, {}).get("send, 64 in flight", ()) if each.per_flush]
    what = "messages a flush of the disk, 64 in flight"
    return [at_least(what, shared, _FLUSH_BOUND, "", "{:.1f}")] if shared else []


def _judge_tail(samples: Samples) -> list[Target]:
    tails = [each.p99 / each.p50 for each in samples.get(FALCON, {}).get(READS[0].name, ())]
    return [at_most("p99 of a page, 64 in flight, of its p50", tails, 4, "×")] if tails else []


def _beside_the_ceiling(samples: Samples) -> list[str]:
    share = against(samples, "send, 64 in flight", "bare", rate)
    if not share:
        return []
    return [
        f"Falcon sends at {median(share) * 100:.0f} % of the rate of a route that only parses and answers: the rest is "
        "spent on authorising, deciding and storing the message, in Python, and on waiting for the disk."
    ]


def _beside_the_chat(samples: Samples) -> list[str]:
    found = behind_the_chat(samples)
    if any("send, 1 in flight" in words for words in found):
        found.append(
            "With one request in flight there is nothing to share: a message pays for its way through queue, actor "
            "and journal, and for a flush of the disk, alone. What Falcon gains it gains by doing these for many at "
            "once."
        )
    return found


def _paint(figure: Any, samples: Samples) -> None:
    left, right = figure.subplots(1, 2)
    for server, each in samples.items():
        found = [(workload.connections, each.get(workload.name, ())) for workload in SENDS]
        plots.line(left, server, [(flight, list(map(rate, some))) for flight, some in found])
        plots.line(right, server, [(flight, list(map(p50, some))) for flight, some in found])
        points = [(flight, list(map(p99, some))) for flight, some in found]
        plots.line(right, server, points, linestyle=":", label=None)
    flights = [workload.connections for workload in SENDS]
    for axes, unit in ((left, "messages a second"), (right, "ms: p50, and p99 dotted")):
        axes.set_xscale("log", base=4)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.minorticks_off()
        axes.set_xticks(flights, [str(flight) for flight in flights])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel(unit)
    plots.legend(figure, left)


# --- one run ----------------------------------------------------------------------------------------------------------


def in_turn(servers: Sequence[Item], number: int) -> list[Item]:
    """Another one begins each time, so that none always follows the same one."""
    first = number % max(1, len(servers))
    return [*servers[first:], *servers[:first]]


def _ask(server: Server, workload: Workload, cores: Cores, targets: Path) -> Ask:
    if workload.sends:
        return lambda seconds: wrk.send(cores.generator, server.address, targets, workload.connections, seconds)
    return lambda seconds: wrk.read(cores.generator, server.address, targets, workload.connections, seconds)


def in_words(sample: Sample) -> str:
    words = f"{sample.rate:,.0f}/s, p50 {sample.p50:.2f} p99 {sample.p99:.2f} ms, {sample.cpu:.0f} µs CPU"
    if sample.refused or sample.broken:
        words += f", {sample.refused} refused, {sample.broken} broken"
    return words


def _prepare(servers: Sequence[Server], rooms: int, cores: Cores, targets: dict[str, Path]) -> dict[str, int]:
    """Fill each server, see that it does its work, and give the ceiling a real page to send; gives the pages' sizes."""
    pages: dict[str, bytes] = {}
    for server in servers:
        if isinstance(server, BareServer):
            wrk.write_targets(targets[server.name], server.fill(rooms, ACCOUNTS))
            continue
        say(f"filling {server.name}: {rooms} rooms, {ACCOUNTS} members each")
        with running([server], cores):
            chosen = server.fill(rooms, ACCOUNTS)
            wrk.write_targets(targets[server.name], chosen)
            prove(server, chosen)
            # Every room gets more than the 50 messages that the reads want.
            sent = 0
            while sent < 60 * rooms:
                load = wrk.send(cores.generator, server.address, targets[server.name], 64, 1)
                if load.refused == load.requests:
                    raise wrk.LoadFailed(f"{server.name} refuses every message")
                sent += load.requests - load.refused
            pages[server.name] = prove(server, chosen)
    ours = next((pages[name] for name in pages if name.startswith("falcon")), None) or next(iter(pages.values()), None)
    for server in servers:
        if isinstance(server, BareServer) and ours is not None:
            server.page = targets[server.name].with_suffix(".page")
            server.page.write_bytes(ours)
            pages[server.name] = ours
    return {name: len(page) for name, page in pages.items()}


def _idle_shares(servers: Sequence[Server]) -> dict[str, float]:
    """What each server uses of its core without requests."""
    time.sleep(1)
    before = {server.name: server.tree.cpu_seconds() for server in servers}
    time.sleep(3)
    return {server.name: (server.tree.cpu_seconds() - before[server.name]) / 3 for server in servers}


def measure_once(
    server: Service, ask: Ask, seconds: int, cores: Cores, folder: Path, *, sends: bool, warm: bool = True
) -> Sample:
    """One run, and what it took of the server. Raises ServerFailed, LoadFailed."""
    if warm:
        ask(1)
    wait_until_quiet(server)
    # Data that other servers have written must not be flushed in this one's time.
    os.sync()
    steps = speed(cores.server)
    disk = Disk.under(folder)
    begun, busy, cpu, flushes = time.monotonic(), busy_seconds(cores.server), server.tree.cpu_seconds(), disk.flushes()
    load = ask(seconds)
    wait_until_quiet(server)
    cpu = server.tree.cpu_seconds() - cpu
    busy = busy_seconds(cores.server) - busy
    elapsed = time.monotonic() - begun
    flushed = (disk.flushes() or 0) - flushes if flushes is not None else 0
    if not server.tree.pids():
        raise ServerFailed(f"{server.name} ended while it was measured\n{server.last_words()}")
    answered = max(1, load.requests - load.refused)
    return Sample(
        rate=load.rate,
        p50=load.p50 / 1000,
        p99=load.p99 / 1000,
        cpu=cpu / answered * 1e6,
        per_flush=answered / flushed if sends and flushed and not isinstance(server, BareServer) else None,
        refused=load.refused,
        broken=load.broken,
        generator=load.cpu / (load.micros / 1e6),
        others=max(0.0, busy - cpu) / elapsed,
        speed=steps,
    )
