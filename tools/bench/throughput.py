"""Sends and reads, as many as a core can take: Falcon beside the ceiling and the neighbour, or beside an older Falcon.

All servers run at once and are asked in turn, workload by workload, so that a machine that gets slower or faster
does so for each of them alike; ratios are formed within a round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tools.bench import wrk
from tools.bench.bench import Bench, in_turn
from tools.bench.figures import Figure, beside
from tools.bench.neighbours import BareServer, crud_server, prove
from tools.bench.peers.go import GoServer
from tools.harness.calls import Address
from tools.harness.machine import Cores
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import FalconServer, Server, ServerFailed, Service

ACCOUNTS = 20
FALCON: Final = "falcon"
Ask: TypeAlias = Callable[[int], wrk.Load]  # for that many seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one workload against one server. Times in ms; ``cpu``: µs of all its processes, per answer;
    ``generator``: the share of its core that the load generator used."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int
    generator: float

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.rate:,.0f}/s, p50 {self.p50:.2f} p99 {self.p99:.2f} ms, {self.cpu:.0f} µs CPU{failed}"


# By server, then by workload, in the order of the rounds.
Samples: TypeAlias = Mapping[str, Mapping[str, Sequence[Sample]]]
_FIGURES: Final = {"rate": "a second", "p50": "ms, p50", "p99": "ms, p99", "cpu": "µs of CPU each"}


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    ask: Callable[[int, Address, Path, int, int], wrk.Load]
    connections: int

    def seconds(self, usual: int) -> int:
        """Longer with very many connections: all connect at once, and their first answers, which come late, would else
        be more than one in a hundred and make the 99th percentile."""
        return usual * 2 if self.connections > 100 else usual


SENDS: Final = tuple(Workload(f"send, {count} in flight", wrk.send, count) for count in (1, 16, 64, 256))
READS: Final = (Workload("latest 50, 64 in flight", wrk.read, 64),)
# Of Falcon's figure at a workload, the bounds as a multiple of another server's.
_AIMS: Final[tuple[tuple[str, str, str, float | None, float | None], ...]] = (
    *(
        (f"send, {flight} in flight", *rest)
        for flight in (64, 256)
        for rest in (("rate", "crud", 3, None), ("rate", "bare", 0.25, None), ("cpu", "crud", None, 0.35))
    ),
    ("send, 16 in flight", "p99", "crud", None, 1),
    ("send, 1 in flight", "p50", "crud", None, 1.5),
    ("send, 64 in flight", "rate", "go", 0.85, None),
    ("send, 1 in flight", "cpu", "go", None, None),
    (READS[0].name, "rate", "crud", 6, None),
    (READS[0].name, "rate", "go", 0.9, None),
    (READS[0].name, "rate", "bare", 0.4, None),
    (READS[0].name, "cpu", "bare", None, 1.6),
)


def sends(bench: Bench) -> list[Figure]:
    """Raises ServerFailed, LoadFailed."""
    return _beside_neighbours(bench, SENDS)


def reads(bench: Bench) -> list[Figure]:
    """Raises ServerFailed, LoadFailed."""
    return _beside_neighbours(bench, READS)


def _beside_neighbours(bench: Bench, workloads: Sequence[Workload]) -> list[Figure]:
    name = workloads[0].name
    servers: list[Server] = [
        BareServer(bench.cores.server, bench.folder),
        crud_server(bench, name.partition(",")[0]),
        GoServer(bench.cores.server, bench.folder / f"{name.partition(',')[0]}-go"),
        bench.falcon(f"throughput-{name}"),
    ]
    samples = _measure(bench, servers, workloads, bench.runs)
    return [*told(samples), *(each for aim in _AIMS for each in compared(samples, *aim))]


def before_and_now(bench: Bench) -> list[Figure]:
    """An older version, and this one. Raises ServerFailed, LoadFailed."""
    if bench.before is None:
        return []
    servers = [
        FalconServer("before", bench.cores.server, bench.folder / "before", older(bench.before)),
        FalconServer(FALCON, bench.cores.server, bench.folder / "now"),
    ]
    samples = _measure(bench, servers, (SENDS[2], SENDS[0], *READS), bench.runs + 2)
    return [
        *told(samples),
        *(
            each
            for load in samples["before"]
            for figure in _FIGURES
            for each in compared(samples, load, figure, "before")
        ),
    ]


def older(version: Path) -> dict[str, str]:
    """The environment in which processes run another version than the one of the working directory, which `python -m`
    would take first."""
    return {"PYTHONPATH": str(version), "PYTHONSAFEPATH": "1"}


def compared(samples: Samples, workload: str, figure: str, other: str, *bounds: float | None) -> list[Figure]:
    """A figure of Falcon's as a multiple of another server's."""
    ours, theirs = (
        [getattr(each, figure) for each in samples.get(server, {}).get(workload, ())] for server in (FALCON, other)
    )
    return beside(f"{workload}: {figure} of that of {other}", ours, theirs, *bounds)


def told(samples: Samples) -> list[Figure]:
    """Each figure by itself, what failed, and how near the load generator was to its own limit."""
    every = [each for of_server in samples.values() for some in of_server.values() for each in some]
    return [
        *(
            Figure(f"{workload}, {server}", [getattr(each, figure) for each in found], unit)
            for server, by_workload in samples.items()
            for workload, found in by_workload.items()
            for figure, unit in _FIGURES.items()
        ),
        Figure("requests that failed", [sum(each.failed for each in every)], most=0),
        Figure("the load generator's share of its core, at most", [max(each.generator for each in every)], most=0.9),
    ]


def _measure(bench: Bench, servers: Sequence[Server], workloads: Sequence[Workload], runs: int) -> Samples:
    cores = bench.cores
    samples: dict[str, dict[str, list[Sample]]] = {
        server.name: {workload.name: [] for workload in workloads} for server in servers
    }
    targets = {server.name: bench.folder / f"{server.name}.targets" for server in servers}
    _prepare(servers, bench.sizes["chat_rooms"], cores, targets)
    for turn in range(runs):
        with running(servers, cores):
            for server in servers:
                wrk.send(cores.generator, server.address, targets[server.name], 64, 1)
            for number, workload in enumerate(workloads):
                for server in in_turn(servers, turn + number):
                    place = targets[server.name]

                    def ask(
                        seconds: int, server: Server = server, place: Path = place, by: Workload = workload
                    ) -> wrk.Load:
                        return by.ask(cores.generator, server.address, place, by.connections, seconds)

                    sample = measure_once(server, ask, workload.seconds(bench.seconds))
                    samples[server.name][workload.name].append(sample)
                    say(f"{turn + 1}/{runs} {workload.name}, {server.name}: {sample}")
    return samples


def _prepare(servers: Sequence[Server], rooms: int, cores: Cores, targets: Mapping[str, Path]) -> None:
    """Fill each server, see that it does its work, and give the ceiling a real page to send."""
    page = b""
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
            page = prove(server, chosen)
    for server in servers:
        if isinstance(server, BareServer):
            server.page = targets[server.name].with_suffix(".page")
            server.page.write_bytes(page)


def measure_once(server: Service, ask: Ask, seconds: int) -> Sample:
    """One run, and what it took of the server. Raises ServerFailed, LoadFailed."""
    wait_until_quiet(server)
    os.sync()  # data that other servers have written must not be flushed in this one's time
    cpu = server.tree.cpu_seconds()
    load = ask(seconds)
    wait_until_quiet(server)
    cpu = server.tree.cpu_seconds() - cpu
    if not server.tree.pids():
        raise ServerFailed(f"{server.name} ended while it was measured\n{server.last_words()}")
    return Sample(
        rate=load.rate,
        p50=load.p50 / 1000,
        p99=load.p99 / 1000,
        cpu=cpu / max(1, load.requests - load.refused) * 1e6,
        failed=load.refused + load.broken,
        generator=load.cpu / (load.micros / 1e6),
    )
