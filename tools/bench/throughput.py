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
from typing import TypeAlias, TypeVar

from tools.bench import wrk
from tools.bench.figures import Sample, Throughput
from tools.bench.running import running, wait_until_quiet
from tools.bench.servers import BareServer, Server, ServerFailed, Service, prove
from tools.harness.machine import Cores, Disk, busy_seconds, speed
from tools.harness.progress import say

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


@dataclass(frozen=True, slots=True)
class Plan:
    workloads: Sequence[Workload]
    runs: int
    seconds: int
    rooms: int


def measure(servers: Sequence[Server], plan: Plan, cores: Cores, folder: Path) -> Throughput:
    """Run the plan. Raises ServerFailed and LoadFailed."""
    samples: dict[str, dict[str, list[Sample]]] = {
        server.name: {workload.name: [] for workload in plan.workloads} for server in servers
    }
    targets = {server.name: folder / f"{server.name}.targets" for server in servers}
    page_bytes = _prepare(servers, plan, cores, targets)
    idle: dict[str, float] = {}
    for turn in range(plan.runs):
        with running(servers, cores):
            if turn == 0:
                idle = _idle_shares(servers)
            for server in servers:
                wrk.send(cores.generator, server.address, targets[server.name], 64, 1)
            for number, workload in enumerate(plan.workloads):
                for server in in_turn(servers, turn + number):
                    ask = _ask(server, workload, cores, targets[server.name])
                    seconds = workload.seconds(plan.seconds)
                    sample = measure_once(server, ask, seconds, cores, folder, sends=workload.sends, warm=False)
                    samples[server.name][workload.name].append(sample)
                    say(f"{turn + 1}/{plan.runs} {workload.name}, {server.name}: {in_words(sample)}")
    return Throughput(
        seconds=plan.seconds,
        rooms=plan.rooms,
        accounts=ACCOUNTS,
        text_bytes=wrk.TEXT_BYTES,
        samples=samples,
        page_bytes=page_bytes,
        idle=idle,
    )


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


def _prepare(servers: Sequence[Server], plan: Plan, cores: Cores, targets: dict[str, Path]) -> dict[str, int]:
    """Fill each server, see that it does its work, and give the ceiling a real page to send; gives the pages' sizes."""
    pages: dict[str, bytes] = {}
    for server in servers:
        if isinstance(server, BareServer):
            wrk.write_targets(targets[server.name], server.fill(plan.rooms, ACCOUNTS))
            continue
        say(f"filling {server.name}: {plan.rooms} rooms, {ACCOUNTS} members each")
        with running([server], cores):
            chosen = server.fill(plan.rooms, ACCOUNTS)
            wrk.write_targets(targets[server.name], chosen)
            prove(server, chosen)
            # Every room gets more than the 50 messages that the reads want.
            sent = 0
            while sent < 60 * plan.rooms:
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
    """What each server uses of its core when nobody asks it anything."""
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
    # What other servers have written is not to be flushed in this one's time.
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
