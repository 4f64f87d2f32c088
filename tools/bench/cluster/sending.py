"""Sends through one ``falcon api``, beside embedded Falcon and a producer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tools.bench import wrk
from tools.bench.cluster.bare import Measured
from tools.bench.cluster.figures import FALCON, SERVERS, medians
from tools.bench.cluster.metrics import mean_since
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.readable import pause_for
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.bench.samples import Spread, ratios
from tools.harness.machine import busy_seconds
from tools.harness.progress import say
from tools.harness.running import wait_until_quiet
from tools.harness.servers import FalconServer

ACCOUNTS: Final = 20
FLIGHTS: Final = (1, 16, 64, 256)
COMPARED: Final = (64, 256)  # in which a cluster is compared with ``falcon up``
CLUSTER: Final = "cluster"
EMBEDDED: Final = "falcon up"
PACED: Final = "falcon up, as many a second"
CPU_BOUND: Final = 2.0
P50_BOUND: Final = 6.0  # ms more than the bare producer
_COMMIT: Final = "falcon_journal_commit_events"


@dataclass(frozen=True, slots=True)
class SendSample:
    """``micros``: CPU by role, each message. ``batch``: events a commit, where the process tells. ``busy``: both cores'
    share of time at work, the server's first."""

    load: wrk.Load
    micros: Mapping[str, float]
    batch: float | None
    busy: tuple[float, float]

    @property
    def falcon(self) -> float:
        return sum(self.micros.get(role, 0.0) for role in (*FALCON, EMBEDDED, PACED))

    def __str__(self) -> str:
        parts = ", ".join(f"{role} {each:.0f}" for role, each in self.micros.items())
        failed = f", {self.load.refused} refused, {self.load.broken} broken"
        return (
            f"{self.load.rate:,.0f}/s, p50 {self.load.p50 / 1000:.2f} p99 {self.load.p99 / 1000:.2f} ms, µs: {parts}"
            + (failed if self.load.refused or self.load.broken else "")
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """A bare producer's figures with batches as large as Falcon's."""

    batch: int
    at_once: int
    measured: Measured


class Sends:
    """Samples by way and connections, in the order of the rounds."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, int], list[SendSample]] = {}
        self.bare: dict[int, list[Beside]] = {}

    def add(self, name: str, flight: int, sample: SendSample) -> None:
        self.samples.setdefault((name, flight), []).append(sample)
        say(f"send, {flight} in flight, {name}: {sample}")


def measure(running: RunningCluster, plan: Plan) -> Section:
    targets = wrk.write_targets(plan.folder / "send.targets", running.fill(plan.rooms, ACCOUNTS))
    embedded = _Embedded(running, plan)
    found = Sends()
    warm(running, plan, targets)
    for _ in range(plan.runs):
        wrk.send(running.cores.generator, running.address, targets, 64, 1)
        for flight in FLIGHTS:
            sample = _sample(running, plan, targets, flight)
            found.add(CLUSTER, flight, sample)
            if sample.batch is not None:
                found.bare.setdefault(flight, []).append(_produce(running, plan, flight, sample.batch))
        embedded.measure(found, {flight: found.samples[CLUSTER, flight][-1].load.rate for flight in COMPARED})
    return Section("send", _tables(found), _judge(found), _notes(found))


def warm(running: RunningCluster, plan: Plan, targets: Path) -> None:
    """Send for a while before measuring."""

    def load() -> None:
        for flight in COMPARED:
            wrk.send(running.cores.generator, running.address, targets, flight, 4)

    running.warm(load, plan.warm_seconds)


def _sample(running: RunningCluster, plan: Plan, targets: Path, flight: int) -> SendSample:
    wrk.send(running.cores.generator, running.address, targets, flight, 1)
    running.settle()
    scraped, busy, before = running.scrape("write"), _busy(running), running.work()
    load = wrk.send(running.cores.generator, running.address, targets, flight, plan.seconds)
    busy = tuple(now - then for now, then in zip(_busy(running), busy, strict=True))
    running.settle()
    work = running.work().since(before)
    return SendSample(
        load,
        work.micros_each(load.requests - load.refused),
        mean_since(scraped, running.scrape("write"), _COMMIT),
        (busy[0] / load.micros * 1e6, busy[1] / load.micros * 1e6),
    )


def _busy(running: RunningCluster) -> tuple[float, ...]:
    return busy_seconds(running.cores.server), busy_seconds(running.cores.generator)


def _produce(running: RunningCluster, plan: Plan, flight: int, batch: float) -> Beside:
    size, at_once = max(1, round(batch)), min(running.partitions, flight)
    options = (f"--batch={size}", f"--threads={at_once}", f"--seconds={min(plan.seconds, 3)}")
    measured = msgspec.convert(running.run("bare", "producer", *options), Measured)
    say(f"bare producer, {size} a batch, {at_once} at once: p50 {measured.p50:.2f} p99 {measured.p99:.2f} ms")
    return Beside(size, at_once, measured)


class _Embedded:
    """``falcon up`` on the same core, with the same load; it runs only while it is measured."""

    def __init__(self, running: RunningCluster, plan: Plan) -> None:
        self._site = running
        self._plan = plan
        self._targets = plan.folder / "embedded.targets"
        settings = {"FALCON_PARTITIONS": str(running.partitions)}
        self._server = FalconServer(EMBEDDED, running.cores.server, plan.folder / "embedded", settings)
        self._filled = False

    def measure(self, found: Sends, paces: Mapping[int, float]) -> None:
        """``paces``: by connections, a rate with which it is asked as well: few messages a second share less."""
        # It has no strays to claim: all of its processes descend from its launcher.
        cores, server = self._site.cores, self._server
        server.start()
        try:
            if not self._filled:
                wrk.write_targets(self._targets, server.fill(self._plan.rooms, ACCOUNTS))
                self._filled = True
            for flight in FLIGHTS:
                wrk.send(cores.generator, server.address, self._targets, flight, 1)
                found.add(EMBEDDED, flight, self._sample(EMBEDDED, flight))
            for flight, rate in paces.items():
                pause_ms = pause_for(rate, flight, partial(self._rate, flight))
                found.add(PACED, flight, self._sample(PACED, flight, pause_ms))
        finally:
            server.stop()

    def _sample(self, name: str, flight: int, pause_ms: float = 0.0) -> SendSample:
        server = self._server
        wait_until_quiet(server)
        cpu, busy = server.tree.cpu_seconds(), _busy(self._site)
        load = self._send(flight, self._plan.seconds, pause_ms)
        busy = tuple(now - then for now, then in zip(_busy(self._site), busy, strict=True))
        wait_until_quiet(server)
        used = (server.tree.cpu_seconds() - cpu) / max(1, load.requests - load.refused) * 1e6
        return SendSample(load, {name: used}, None, (busy[0] / load.micros * 1e6, busy[1] / load.micros * 1e6))

    def _rate(self, flight: int, pause_ms: float) -> float:
        return self._send(flight, 1, pause_ms).rate

    def _send(self, flight: int, seconds: int, pause_ms: float) -> wrk.Load:
        return wrk.send(self._site.cores.generator, self._server.address, self._targets, flight, seconds, pause_ms)


# --- in words ---------------------------------------------------------------------------------------------------------


def _tables(found: Sends) -> list[Table]:
    columns = ("", "a second", "p50, ms", "p99, ms", *FALCON, "Falcon, µs", "of falcon up's", *SERVERS)
    rows = [
        _row(found, name, found.samples[name, flight], flight)
        for flight in FLIGHTS
        for name in (CLUSTER, EMBEDDED, PACED)
        if (name, flight) in found.samples
    ]
    note = (
        "CPU in µs a message, of all processes of a role, what is projected after the answer included. The fewer "
        "messages come in a second, the fewer share a wake-up, a batch and a flush: so embedded Falcon is asked at the "
        "cluster's rate, too."
    )
    beside = [
        (
            f"{flight} in flight",
            numbers((each.batch for each in besides), "{:.0f}"),
            f"{besides[0].at_once}",
            numbers((each.measured.p50 for each in besides), "{:.2f}"),
            numbers((sample.load.p50 / 1000 for sample in found.samples[CLUSTER, flight]), "{:.2f}"),
            numbers(_more_than_bare(found, flight), "{:+.2f}"),
        )
        for flight, besides in found.bare.items()
    ]
    bare = Table(
        "Sending, beside a bare producer",
        ("", "records a batch", "partitions at once", "bare, p50 ms", "Falcon, p50 ms", "more, ms"),
        beside,
        "The bare producer is aiokafka's alone, idempotent with acks=all, with records from Falcon's log in batches of "
        "the mean size of Falcon's.",
    )
    return [Table("Sending a message, durable on two brokers when answered", columns, rows, note), bare]


def _row(found: Sends, name: str, samples: Sequence[SendSample], flight: int) -> tuple[str, ...]:
    micros = [sample.micros for sample in samples]
    embedded = [sample.falcon for sample in found.samples.get((EMBEDDED, flight), [])]
    times = ratios([sample.falcon for sample in samples], embedded)
    return (
        f"{flight} in flight, {name}",
        numbers((sample.load.rate for sample in samples), "{:,.0f}"),
        numbers((sample.load.p50 / 1000 for sample in samples), "{:.2f}"),
        numbers((sample.load.p99 / 1000 for sample in samples), "{:.2f}"),
        *(medians(micros, role) for role in FALCON),
        numbers((sample.falcon for sample in samples), "{:,.0f}"),
        numbers(times, "{:.2f}×") if times else "–",
        *(medians(micros, role) for role in SERVERS),
    )


def _more_than_bare(found: Sends, flight: int) -> list[float]:
    ours = found.samples[CLUSTER, flight]
    return [a.load.p50 / 1000 - b.measured.p50 for a, b in zip(ours, found.bare[flight], strict=False)]


def _judge(found: Sends) -> list[Target]:
    judged: list[Target] = []
    for flight in FLIGHTS:
        ours = [sample.falcon for sample in found.samples.get((CLUSTER, flight), [])]
        for name, way in ((EMBEDDED, ""), (PACED, " at the same rate")) if flight in COMPARED else ():
            times = ratios(ours, [sample.falcon for sample in found.samples.get((name, flight), [])])
            what = f"Falcon's CPU a message, {flight} in flight, of `falcon up`'s{way}"
            if times:
                judged.append(at_most(what, times, CPU_BOUND, "×"))
    if 64 in found.bare:
        more = _more_than_bare(found, 64)
        judged.append(at_most("p50 of a send, 64 in flight, above a bare producer's batch", more, P50_BOUND, " ms"))
    return judged


def _notes(found: Sends) -> list[str]:
    notes: list[str] = []
    samples = found.samples.get((CLUSTER, 64), [])
    if samples:
        server, generator = (Spread.of([sample.busy[i] for sample in samples]).middle for i in (0, 1))
        notes.append(
            f"With 64 in flight Falcon's core was at work for {server * 100:.0f} % of the time, the core of the "
            f"servers and of the load generator for {generator * 100:.0f} %. Where a core is at its limit, the median "
            "is the time in its queue: messages in flight divided by messages a second."
        )
    failed = [
        f"{flight} in flight, {name}: {refused:,} refused, {broken:,} broken"
        for (name, flight), each in found.samples.items()
        if (refused := sum(s.load.refused for s in each)) + (broken := sum(s.load.broken for s in each))
    ]
    notes.append("Failed sends: " + ("; ".join(failed) if failed else "none") + ".")
    return notes
