"""One room with many listeners: the cost of a delivery, and of an idle listener; compared with the chat in Go."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from tools.bench.bench import Bench
from tools.bench.figures import Figure, beside
from tools.bench.peers.go import GoServer
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
_IDLE = 5_000
_OF_GO = 1.15  # the CPU of a delivery by SSE, as a multiple of the Go chat's
_PUSHED_MS = 10.0
_FIGURES = {
    "cpu": ("CPU of a delivery", "µs"),
    "further_cpu": ("CPU of each delivery but the first", "µs"),
    "p50": ("from the request to the arrival, p50", "ms"),
    "p99": ("p99 of a delivery", "ms"),
}


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


def section(bench: Bench) -> list[Figure]:
    """Raises ServerFailed."""
    go = GoServer(bench.cores.server, bench.folder / "streams-go")
    found = _measure(bench.falcon("streams"), go, bench.fewer_runs, bench.seconds, bench.cores)
    told = [_idle(bench)]
    for name, runs in found.items():
        told += [Figure(f"{what}, {name} listen", _of(runs, figure), unit) for figure, (what, unit) in _FIGURES.items()]
        told.append(Figure(f"lost, {name} listen", [sum(run.lost for run in runs)], most=0))
    for count in SUBSCRIBERS:
        in_go = _of(found[f"go-sse, {count}"], "cpu")
        for kind, most in (("sse", _OF_GO), ("websocket", None)):
            ours = found[f"falcon-{kind}, {count}"]
            told.append(
                Figure(f"request → pushed by {kind}, p50, {count} listen", _of(ours, "p50"), "ms", most=_PUSHED_MS)
            )
            what = f"CPU of a delivery by {kind}, {count} listen, of the Go chat's by sse"
            told += beside(what, _of(ours, "cpu"), in_go, most=most)
    return told


def _of(runs: Sequence[FanOut], figure: str) -> list[float]:
    return [getattr(run, figure) for run in runs]


def _measure(server: FalconServer, go: GoServer, runs: int, seconds: int, cores: Cores) -> dict[str, list[FanOut]]:
    """By kind and number, in the order of the rounds."""
    found: dict[str, list[FanOut]] = {}
    with running([go], cores):
        (hall, token), *_ = go.fill(1, 1)
    for turn in range(runs):
        with running([server, go], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Hall"}).json()["room_id"]
            places: dict[str, tuple[FalconServer | GoServer, str, int]] = {
                "falcon": (server, server.announcement.token, room),
                "go": (go, token, hall),
            }
            kinds: tuple[Kind, ...] = ("falcon-sse", "go-sse", "falcon-websocket")
            for count, kind in itertools.product(SUBSCRIBERS, kinds):
                asked, token_of, room_of = places[kind.partition("-")[0]]
                plan = SubscribersPlan(kind, asked.address.port, count, seconds, _DELIVERIES / count, token_of, room_of)
                lone, _ = listen(msgspec.structs.replace(plan, subscribers=1), asked.tree, cores)
                wait_until_quiet(asked)
                run = _measure_once(plan, asked.tree, cores, lone)
                found.setdefault(f"{plan.kind}, {plan.subscribers}", []).append(run)
                say(f"{turn + 1}/{runs} {plan.kind}, {plan.subscribers}: {_in_words(run)}")
                wait_until_quiet(asked)
    return found


def _idle(bench: Bench) -> Figure:
    """What a listener takes who hears nothing: PSS of all of the server's processes, with them and without."""
    server, cores, count = bench.falcon("idle"), bench.cores, min(_IDLE, raise_open_files() - 500)
    with running([server], cores):
        caller = Caller(server.address, server.announcement.token)
        room: int = caller.must("POST", "/v1/rooms", {"name": "Waiting room"}).json()["room_id"]
        caller.close()
        plan = SubscribersPlan("falcon-sse", server.address.port, count, 0.0, 1.0, server.announcement.token, room)
        before = sum(each.pss for each in server.tree.memory())
        with _subscribers(plan, cores) as process:
            _expect(process, plan, b"begin\n")
            time.sleep(_SETTLE_SECONDS)
            during = sum(each.pss for each in server.tree.memory())
            _go_on(process)
            _expect(process, plan, b"end\n")
            _go_on(process)
            assert process.stdout is not None
            process.stdout.readline()  # their findings, which are empty here
    return Figure(f"memory of an idle stream, of {count:,}", [(during - before) * 1024 / count], "KiB")


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
