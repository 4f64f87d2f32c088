"""Sends through one ``falcon api``, beside embedded Falcon and a producer, and with up to three ``falcon write``; and
how soon a message can be read, and is pushed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tools.bench import readable, subscribers, wrk
from tools.bench.bench import Bench
from tools.bench.cluster.bare import Measured
from tools.bench.cluster.running import FALCON, RunningCluster
from tools.bench.figures import Figure, beside, ratios
from tools.bench.readable import CONNECTIONS, pause_for
from tools.bench.streams import listen
from tools.bench.throughput import ACCOUNTS
from tools.harness.processes import Tree
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import FalconServer

_FLIGHTS: Final = (1, 16, 64, 256)
_COMPARED: Final = (64, 256)  # in which a cluster is compared with ``falcon up``
_CPU_BOUND: Final = 2.0
_P50_BOUND: Final = 6.0  # ms more than the bare producer
_GROWTH_BOUND: Final = 1.05  # smaller growth may be noise
_LISTENERS: Final = 20
_PUSHES: Final = 20.0  # a second
_PUSHED_MS: Final = 20.0
_COMMIT: Final = "falcon_journal_commit_events"


def _targets(cluster: RunningCluster, bench: Bench) -> tuple[Path, tuple[int, str]]:
    """A file of rooms with tokens, after the servers have warmed up; and the first of them."""
    chosen = cluster.fill(bench.sizes["chat_rooms"], ACCOUNTS)
    targets = wrk.write_targets(bench.folder / "send.targets", chosen)
    cluster.warm(lambda: [_send(cluster, targets, flight, 4) for flight in _COMPARED], bench.sizes["warm_seconds"])
    return targets, chosen[0]


def _send(cluster: RunningCluster, targets: Path, flight: int, seconds: int, pause_ms: float = 0.0) -> wrk.Load:
    return wrk.send(cluster.cores.generator, cluster.address, targets, flight, seconds, pause_ms)


def _sample(
    cluster: RunningCluster, targets: Path, flight: int, seconds: int, pause_ms: float = 0.0
) -> tuple[wrk.Load, Mapping[str, float]]:
    """A load, and the CPU in µs of each role for a message, what is projected after the answer included."""
    cluster.settle()
    before = cluster.work()
    load = _send(cluster, targets, flight, seconds, pause_ms)
    cluster.settle()
    sent = max(1, load.requests - load.refused)
    return load, {role: (used - before[role]) / sent * 1e6 for role, used in cluster.work().items()}


def sends(cluster: RunningCluster, bench: Bench) -> list[Figure]:
    targets, _ = _targets(cluster, bench)
    embedded = _Embedded(cluster, bench)
    loads: dict[int, list[wrk.Load]] = {flight: [] for flight in _FLIGHTS}
    cpu: dict[int, list[float]] = {flight: [] for flight in _FLIGHTS}
    roles: dict[str, list[float]] = {}
    of_embedded: dict[str, list[float]] = {}
    above_bare: list[float] = []
    for _ in range(bench.runs):
        _send(cluster, targets, 64, 1)
        for flight in _FLIGHTS:
            committed = _commits(cluster)
            load, micros = _sample(cluster, targets, flight, bench.seconds)
            loads[flight].append(load)
            cpu[flight].append(sum(micros[role] for role in FALCON))
            say(f"send, {flight} in flight: {load.rate:,.0f}/s, p50 {load.p50 / 1000:.2f} ms, {cpu[flight][-1]:.0f} µs")
            if flight == 64:
                events, commits = (now - then for now, then in zip(_commits(cluster), committed, strict=True))
                bare = _produce(cluster, bench, flight, events / max(1, commits))
                above_bare.append(load.p50 / 1000 - bare.p50)
                for role, each in micros.items():
                    roles.setdefault(role, []).append(each)
        paces = {flight: loads[flight][-1].rate for flight in _COMPARED}
        for name, each in embedded.measure(paces).items():
            of_embedded.setdefault(name, []).append(each)
    return [
        *(
            Figure(f"send, {flight} in flight", [load.rate for load in loads[flight]], "a second")
            for flight in _FLIGHTS
        ),
        *(Figure(f"p50, {flight} in flight", [load.p50 / 1000 for load in loads[flight]], "ms") for flight in _FLIGHTS),
        *(Figure(f"p99, {flight} in flight", [load.p99 / 1000 for load in loads[flight]], "ms") for flight in _FLIGHTS),
        *(Figure(f"Falcon's CPU a message, {flight} in flight", cpu[flight], "µs") for flight in _FLIGHTS),
        *(Figure(f"CPU of {role} a message, 64 in flight", found, "µs") for role, found in roles.items()),
        *(
            Figure(
                f"CPU a message, {flight} in flight, of `falcon up`'s{way}",
                ratios(cpu[flight], of_embedded[key]),
                "×",
                most=_CPU_BOUND,
            )
            for flight in _COMPARED
            for way, key in (("", f"{flight}"), (" at the same rate", f"{flight} paced"))
        ),
        Figure("p50 of a send, 64 in flight, above a bare producer's batch", above_bare, "ms", most=_P50_BOUND),
        Figure(
            "sends that failed", [sum(load.refused + load.broken for some in loads.values() for load in some)], most=0
        ),
    ]


def _commits(cluster: RunningCluster) -> tuple[float, float]:
    """Events that were committed, and commits."""
    scraped = cluster.scrape("write")
    return scraped.total(f"{_COMMIT}_sum"), scraped.total(f"{_COMMIT}_count")


def _produce(cluster: RunningCluster, bench: Bench, flight: int, batch: float) -> Measured:
    """aiokafka alone, idempotent with acks=all, with records from the log in batches of the mean size of Falcon's."""
    size, at_once = max(1, round(batch)), min(cluster.partitions, flight)
    options = (f"--batch={size}", f"--threads={at_once}", f"--seconds={min(bench.seconds, 3)}")
    measured = msgspec.convert(cluster.run("bare", "producer", *options), Measured)
    say(f"bare producer, {size} a batch, {at_once} at once: p50 {measured.p50:.2f} p99 {measured.p99:.2f} ms")
    return measured


class _Embedded:
    """``falcon up`` on the same core, with the same load; it runs only while it is measured."""

    def __init__(self, cluster: RunningCluster, bench: Bench) -> None:
        self._cores, self._bench = cluster.cores, bench
        self._targets = bench.folder / "embedded.targets"
        settings = {"FALCON_PARTITIONS": str(cluster.partitions)}
        self._server = FalconServer("falcon up", cluster.cores.server, bench.folder / "embedded", settings)
        self._filled = False

    def measure(self, paces: Mapping[int, float]) -> dict[str, float]:
        """µs of CPU a message, as fast as it can and at that rate: few messages a second share less. ``paces``: by
        connections."""
        found: dict[str, float] = {}
        with running([self._server], self._cores):
            if not self._filled:
                wrk.write_targets(self._targets, self._server.fill(self._bench.sizes["chat_rooms"], ACCOUNTS))
                self._filled = True
            for flight, rate in paces.items():
                self._send(flight, 1)
                found[f"{flight}"] = self._cpu(flight)
                pause_ms = pause_for(rate, flight, partial(self._rate, flight))
                found[f"{flight} paced"] = self._cpu(flight, pause_ms)
        return found

    def _cpu(self, flight: int, pause_ms: float = 0.0) -> float:
        server = self._server
        wait_until_quiet(server)
        cpu = server.tree.cpu_seconds()
        load = self._send(flight, self._bench.seconds, pause_ms)
        wait_until_quiet(server)
        return (server.tree.cpu_seconds() - cpu) / max(1, load.requests - load.refused) * 1e6

    def _rate(self, flight: int, pause_ms: float) -> float:
        return self._send(flight, 1, pause_ms).rate

    def _send(self, flight: int, seconds: int, pause_ms: float = 0.0) -> wrk.Load:
        return wrk.send(self._cores.generator, self._server.address, self._targets, flight, seconds, pause_ms)


def soon(cluster: RunningCluster, bench: Bench) -> list[Figure]:
    """How long after its answer a message can be read at half load, and is pushed without."""
    targets, first = _targets(cluster, bench)
    runs: list[readable.ReadableRun] = []
    for turn in range(bench.runs):
        pace = readable.find_pace(cluster, cluster.cores, targets, bench.seconds)
        cluster.settle()
        runs.append(readable.probe_under_load(cluster, pace, first, bench.seconds, cluster.cores, targets))
        say(f"{turn + 1}/{bench.runs} readable {readable.in_words(runs[-1])}")
    room, token = first
    plan = subscribers.SubscribersPlan(
        "falcon-sse", cluster.address.port, _LISTENERS, float(bench.seconds), _PUSHES, token, room
    )
    pushed = [listen(plan, Tree(), cluster.cores)[1] for _ in range(bench.runs)]
    what = f"request → pushed to {_LISTENERS} who listen, at {_PUSHES:.0f} a second and no other load"
    return [
        *readable.told(runs, None, None),
        Figure(f"{what}, p50", [each.p50 for each in pushed], "ms", most=_PUSHED_MS),
        Figure(f"{what}, p99", [each.p99 for each in pushed], "ms"),
        Figure("lost of what was pushed", [sum(each.expected - each.delivered for each in pushed)], most=0),
    ]


def scale(cluster: RunningCluster, bench: Bench) -> list[Figure]:
    """One, two and three ``falcon write``, offered half of what one can do. The more share it, the fewer messages share
    a wake-up, a batch and a flush."""
    targets, _ = _targets(cluster, bench)
    half = _send(cluster, targets, CONNECTIONS, min(bench.seconds, 3)).rate / 2
    found: dict[int, list[float]] = {1: [], 2: [], 3: []}
    try:
        for _ in range(bench.runs):
            for count, micros in found.items():
                cluster.scale_write(count)
                rate = partial(_rate, cluster, targets)
                _, used = _sample(cluster, targets, CONNECTIONS, bench.seconds, pause_for(half, CONNECTIONS, rate))
                micros.append(sum(used[role] for role in FALCON))
                say(f"scale, {count}: {micros[-1]:.0f} µs a message")
    finally:
        cluster.scale_write(1)
    what = "Falcon's CPU a message at the same load"
    return [
        *(Figure(f"{what}, {count} `falcon write`", micros, "µs") for count, micros in found.items()),
        *beside(f"{what}, three `falcon write`, of that with one", found[3], found[1], most=_GROWTH_BOUND),
    ]


def _rate(cluster: RunningCluster, targets: Path, pause_ms: float) -> float:
    return _send(cluster, targets, CONNECTIONS, 1, pause_ms).rate
