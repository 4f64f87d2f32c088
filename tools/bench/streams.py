"""One room with many listeners: the cost of a delivery, and of an idle listener; compared with Centrifugo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from tools.bench import plots
from tools.bench.bench import Bench
from tools.bench.peers.centrifugo import CHANNEL, CentrifugoServer, build
from tools.bench.peers.installing import PeerMissing
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.bench.samples import NAMES, ratios
from tools.bench.subscribers import Found, Kind, SubscribersPlan
from tools.harness.calls import Caller
from tools.harness.machine import Cores, raise_open_files
from tools.harness.processes import Tree, spawn
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import FalconServer, ServerFailed

# So many that one core of each is busy, and not full.
_DELIVERIES = 20_000.0
SUBSCRIBERS = (200, 1000)
_SETTLE_SECONDS = 2.0
_IDLE_SECONDS = 3.0
_BOUNDS = ("sse", 0.6), ("websocket", 1.0)  # of Centrifugo's CPU
_PUSHED_MS = 10.0
_WHY = "Falcon takes each message in, makes it durable, reads it from the log and looks who may see it."


@dataclass(frozen=True, slots=True)
class FanOut:
    """One run of deliveries to many who listen to one room. Times in ms, from the request to the arrival."""

    subscribers: int
    lost: int
    cpu: float  # µs of all the server's processes, per delivery; taking the messages in is part of it
    lone_cpu: float  # µs of a message that only one listens to, as many of them a second
    p50: float
    p99: float

    @property
    def further_cpu(self) -> float:
        """µs, of a delivery to one who listens beside the first: without what the message itself costs."""
        return (self.cpu * self.subscribers - self.lone_cpu) / (self.subscribers - 1)


@dataclass(frozen=True, slots=True)
class Idle:
    """What idle listeners use on a server."""

    subscribers: int
    before: float  # MiB of PSS, of all the server's processes, without them
    during: float  # and with them
    share: float  # of the server's core, while nothing happens

    @property
    def kib_each(self) -> float:
        return (self.during - self.before) * 1024 / self.subscribers


def section(bench: Bench) -> Section:
    """Raises ServerFailed."""
    found = _measure(bench.falcon("streams"), bench.fewer_runs, bench.seconds, bench.cores, bench.folder)
    title = "What a delivery to one of many subscribers costs"
    pictures = bench.draw("bench-streams", title, lambda figure: _paint(figure, found))
    return Section("streams", [table(found)], judged(found), slower=slower(found), pictures=pictures)


def table(found: dict[str, list[FanOut]]) -> Table:
    """By kind and number."""
    figures = {"cpu": "{:.1f}", "lone_cpu": "{:.0f}", "further_cpu": "{:.1f}", "p50": "{:.1f}", "p99": "{:.1f}"}
    rows = [
        (
            name,
            *(numbers((getattr(run, figure) for run in runs), form) for figure, form in figures.items()),
            f"{sum(run.lost for run in runs):,}",
        )
        for name, runs in found.items()
    ]
    columns = (
        f"{_DELIVERIES:,.0f} deliveries a second, and who listens",
        *("CPU a delivery, µs", "of a message with one listener", "of each further delivery"),
        *("p50, ms", "p99, ms", "lost"),
    )
    note = (
        "From the request that sends a message to its arrival. Falcon's CPU is that of taking the messages in, making "
        "them durable and reading them from the log, too; Centrifugo keeps none. So a message that only one listens "
        "to, as many of them a second, is measured as well: what is left for each of the others is fan-out alone."
    )
    return Table("Fan-out of one room", columns, rows, note)


def judged(found: dict[str, list[FanOut]]) -> list[Target]:
    """The figures beside Centrifugo's, if Centrifugo was measured."""
    targets: list[Target] = []
    for count in SUBSCRIBERS:
        for kind, bound in _BOUNDS:
            ours, theirs = (found.get(f"{server}-{kind}, {count}", []) for server in ("falcon", "centrifugo"))
            for what, limit, figure in (
                ("CPU of a delivery", bound, "cpu"),
                ("CPU of each delivery but the first", bound, "further_cpu"),
                ("p99 of a delivery", 1.0, "p99"),
            ):
                times = ratios(*([getattr(run, figure) for run in runs] for runs in (ours, theirs)))
                if times:
                    name = f"{what} by {kind}, {count} listen, of Centrifugo's"
                    targets.append(at_most(name, times, limit, "×"))
            if ours:
                lost, pushed = float(sum(run.lost for run in ours)), [run.p50 for run in ours]
                targets.append(at_most(f"lost by {kind}, {count} listen", [lost], 0, "", "{:.0f}"))
                name = f"request → pushed by {kind}, p50, {count} listen"
                targets.append(at_most(name, pushed, _PUSHED_MS, " ms", "{:.1f}"))
    return targets


def slower(found: dict[str, list[FanOut]]) -> list[str]:
    behind: list[str] = []
    for name, ours in found.items():
        server, _, way = name.partition("-")
        theirs = found.get(f"centrifugo-{way}", [])
        for what, figure in (("µs of CPU a delivery", "cpu"), ("ms at the 99th percentile", "p99")):
            values, others = ([getattr(run, figure) for run in runs] for runs in (ours, theirs))
            times = ratios(values, others)
            if server == "falcon" and times and median(times) > 1:
                shown = f"{median(values):.1f} {what} to {median(others):.1f}"
                behind.append(f"{way} listeners: {shown}, {median(times):.2f}×")
    if not behind:
        return []
    return [
        f"Beside Centrifugo, which is written in Go and keeps nothing, Falcon is behind in: {'; '.join(behind)}. {_WHY}"
    ]


def _paint(figure: Any, found: dict[str, list[FanOut]]) -> None:
    left, right = figure.subplots(1, 2)
    groups = list(dict.fromkeys(name.partition("-")[2] for name in found))
    servers = list(dict.fromkeys(name.partition("-")[0] for name in found))
    for axes, unit, value in (
        (left, "CPU a delivery, µs", "cpu"),
        (right, "p99 from the request to the arrival, ms", "p99"),
    ):
        series = {
            server: [[getattr(run, value) for run in found.get(f"{server}-{group}", ())] for group in groups]
            for server in servers
        }
        plots.bars(axes, groups, series, unit)
    plots.legend(figure, left)


def _measure(server: FalconServer, runs: int, seconds: int, cores: Cores, folder: Path) -> dict[str, list[FanOut]]:
    """By kind and number, in the order of the rounds."""
    centrifugo = _centrifugo(cores, folder)
    found: dict[str, list[FanOut]] = {}
    for turn in range(runs):
        with running([server] if centrifugo is None else [server, centrifugo], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Hall"}).json()["room_id"]
            plans = [
                SubscribersPlan(
                    kind, server.address.port, count, seconds, _DELIVERIES / count, server.announcement.token, room
                )
                for count in SUBSCRIBERS
                for kind in ("falcon-sse", "falcon-websocket")
            ]
            if centrifugo is not None:
                plans += [
                    SubscribersPlan(kind, centrifugo.address.port, count, seconds, _DELIVERIES / count, channel=CHANNEL)
                    for count in SUBSCRIBERS
                    for kind in ("centrifugo-sse", "centrifugo-websocket")
                ]
            for plan in sorted(plans, key=lambda plan: (plan.subscribers, plan.kind.rpartition("-")[2])):
                tree = server.tree if plan.kind.startswith("falcon") or centrifugo is None else centrifugo.tree
                lone, _ = listen(msgspec.structs.replace(plan, subscribers=1), tree, cores)
                wait_until_quiet(server)
                run = _measure_once(plan, tree, cores, lone)
                found.setdefault(f"{plan.kind}, {plan.subscribers}", []).append(run)
                say(f"{turn + 1}/{runs} {plan.kind}, {plan.subscribers}: {_in_words(run)}")
                wait_until_quiet(server)
    return found


def _centrifugo(cores: Cores, folder: Path) -> CentrifugoServer | None:
    try:
        build()
    except PeerMissing as missing:
        say(f"without Centrifugo: {missing}")
        return None
    return CentrifugoServer(cores.server, folder)


def idle(bench: Bench) -> Section:
    """Raises ServerFailed."""
    # One connection each on both sides, and what a server has open besides.
    wanted, most = bench.sizes["subscribers"], raise_open_files() - 500
    if wanted > most:
        say(f"{most:,} idle subscribers and not {wanted:,}: more files cannot be open at once here")
    found = _measure_idle(bench.falcon("idle"), min(wanted, most), bench.cores, bench.folder)
    return Section("idle", [idle_table(found)], slower=idle_slower(found))


def idle_table(found: dict[Kind, Idle]) -> Table:
    rows = []
    for kind, each in found.items():
        server, _, way = kind.partition("-")
        name = f"{NAMES[server]}: a subscriber by {way} who hears nothing, of {each.subscribers:,}"
        rows.append((name, f"{each.kib_each:.1f}", f"{each.share * 100:.1f} %"))
    note = (
        "From the PSS of all of a server's processes, with them and without. The kernel's own memory for connections "
        "does not count."
    )
    return Table("What a subscriber takes", ("", "KiB each", "CPU of all of them, of a core"), rows, note)


def idle_slower(found: dict[Kind, Idle]) -> list[str]:
    words = [
        f"an idle subscriber by {kind.partition('-')[2]}: {ours.kib_each:.1f} KiB to {theirs.kib_each:.1f}"
        for kind, ours in found.items()
        for other, theirs in found.items()
        if kind.startswith("falcon")
        and other == kind.replace("falcon", "centrifugo")
        and ours.kib_each > theirs.kib_each
    ]
    return [f"Beside Centrifugo Falcon takes more for: {'; '.join(words)}."] if words else []


def _measure_idle(server: FalconServer, count: int, cores: Cores, folder: Path) -> dict[Kind, Idle]:
    """By kind: so many connections to one silent room.

    Each is measured on a new server, since memory that was used once is not given back.
    """
    found: dict[Kind, Idle] = {}
    falcon_kinds: tuple[Kind, ...] = ("falcon-sse", "falcon-websocket")
    for kind in falcon_kinds:
        with running([server], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Waiting room"}).json()["room_id"]
            caller.close()
            plan = SubscribersPlan(kind, server.address.port, count, 0.0, 1.0, server.announcement.token, room)
            found[kind] = _measure_idle_once(plan, server.tree, cores)
    centrifugo = _centrifugo(cores, folder)
    centrifugo_kinds: tuple[Kind, ...] = ("centrifugo-sse", "centrifugo-websocket")
    for kind in centrifugo_kinds if centrifugo is not None else ():
        assert centrifugo is not None
        with running([centrifugo], cores):
            plan = SubscribersPlan(kind, centrifugo.address.port, count, 0.0, 1.0, channel=CHANNEL)
            found[kind] = _measure_idle_once(plan, centrifugo.tree, cores)
    return found


def _measure_idle_once(plan: SubscribersPlan, tree: Tree, cores: Cores) -> Idle:
    before = sum(each.pss for each in tree.memory())
    with _subscribers(plan, cores) as process:
        _expect(process, plan, b"begin\n")
        time.sleep(_SETTLE_SECONDS)
        during, cpu = sum(each.pss for each in tree.memory()), tree.cpu_seconds()
        time.sleep(_IDLE_SECONDS)
        share = (tree.cpu_seconds() - cpu) / _IDLE_SECONDS
        _go_on(process)
        _expect(process, plan, b"end\n")
        _go_on(process)
        assert process.stdout is not None
        process.stdout.readline()  # their findings, which are empty here
    found = Idle(plan.subscribers, before, during, share)
    say(f"{plan.kind}, {plan.subscribers:,} idle: {found.kib_each:.1f} KiB each, {share * 100:.1f} % of a core")
    return found


def _measure_once(plan: SubscribersPlan, tree: Tree, cores: Cores, lone_cpu: float) -> FanOut:
    cpu, found = listen(plan, tree, cores)
    return FanOut(plan.subscribers, found.expected - found.delivered, cpu, lone_cpu, found.p50, found.p99)


def listen(plan: SubscribersPlan, tree: Tree, cores: Cores) -> tuple[float, Found]:
    """The cost of a delivery in µs of the server's CPU, and the listeners' figures."""
    with _subscribers(plan, cores) as process:
        cpu = [0.0, 0.0]
        for at, word in enumerate((b"begin\n", b"end\n")):
            _expect(process, plan, word)
            cpu[at] = tree.cpu_seconds()
            _go_on(process)
        assert process.stdout is not None
        found = msgspec.json.decode(process.stdout.readline(), type=Found)
    return (cpu[1] - cpu[0]) / max(found.delivered, 1) * 1e6, found


@contextmanager
def _subscribers(plan: SubscribersPlan, cores: Cores) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tools.bench.subscribers"]
    with spawn(command, cores.generator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan))
        _go_on(process)
        yield process


def _expect(process: subprocess.Popen[bytes], plan: SubscribersPlan, word: bytes) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != word:
        raise ServerFailed(f"{plan.kind}: the subscribers ended: {line!r}")


def _go_on(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def _in_words(run: FanOut) -> str:
    words = f"{run.cpu:.1f} µs CPU a delivery, {run.further_cpu:.1f} each but the first"
    words += f", p50 {run.p50:.1f} p99 {run.p99:.1f} ms"
    return words + (f", {run.lost} lost" if run.lost else "")
