"""One room and many who listen: what a delivery costs, and what somebody who only waits for one; beside Centrifugo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tools.bench.calls import Caller
from tools.bench.figures import FanOut, IdleSubscribers
from tools.bench.peers.centrifugo import CHANNEL, CentrifugoMissing, CentrifugoServer, build
from tools.bench.running import running, wait_until_quiet
from tools.bench.servers import FalconServer, ServerFailed
from tools.bench.subscribers import Found, Kind, Plan
from tools.harness.machine import Cores
from tools.harness.processes import Tree, spawn
from tools.harness.progress import say

# So many that one core of each has something to do, and is not full.
_DELIVERIES = 20_000.0
SUBSCRIBERS = (200, 1000)
_SETTLE_SECONDS = 2.0
_IDLE_SECONDS = 3.0


def measure(server: FalconServer, runs: int, seconds: int, cores: Cores, folder: Path) -> dict[str, list[FanOut]]:
    """By kind and number, in the order of the rounds. Raises ServerFailed."""
    centrifugo = _centrifugo(cores, folder)
    found: dict[str, list[FanOut]] = {}
    for turn in range(runs):
        with running([server] if centrifugo is None else [server, centrifugo], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Hall"}).json()["room_id"]
            plans = [
                Plan(kind, server.address.port, count, seconds, _DELIVERIES / count, server.announcement.token, room)
                for count in SUBSCRIBERS
                for kind in ("falcon-sse", "falcon-websocket")
            ]
            if centrifugo is not None:
                plans += [
                    Plan(kind, centrifugo.address.port, count, seconds, _DELIVERIES / count, channel=CHANNEL)
                    for count in SUBSCRIBERS
                    for kind in ("centrifugo-sse", "centrifugo-websocket")
                ]
            for plan in sorted(plans, key=lambda plan: (plan.subscribers, plan.kind.rpartition("-")[2])):
                tree = server.tree if plan.kind.startswith("falcon") or centrifugo is None else centrifugo.tree
                lone, _ = listen(msgspec.structs.replace(plan, subscribers=1), tree, cores)
                wait_until_quiet(server)
                run = _measure_once(plan, tree, cores, lone)
                found.setdefault(name_of(plan.kind, plan.subscribers), []).append(run)
                say(f"{turn + 1}/{runs} {plan.kind}, {plan.subscribers}: {_in_words(run)}")
                wait_until_quiet(server)
    return found


def name_of(kind: Kind, subscribers: int) -> str:
    return f"{kind}, {subscribers}"


def _centrifugo(cores: Cores, folder: Path) -> CentrifugoServer | None:
    try:
        build()
    except CentrifugoMissing as missing:
        say(f"without Centrifugo: {missing}")
        return None
    return CentrifugoServer(cores.server, folder)


def measure_idle(server: FalconServer, count: int, cores: Cores, folder: Path) -> dict[str, IdleSubscribers]:
    """By kind: so many connections to one room in which nothing is said. Raises ServerFailed.

    Each is measured on a server of its own, since memory that was used once is used again and not given back.
    """
    found: dict[str, IdleSubscribers] = {}
    falcon_kinds: tuple[Kind, ...] = ("falcon-sse", "falcon-websocket")
    for kind in falcon_kinds:
        with running([server], cores):
            caller = Caller(server.address, server.announcement.token)
            room: int = caller.must("POST", "/v1/rooms", {"name": "Waiting room"}).json()["room_id"]
            caller.close()
            plan = Plan(kind, server.address.port, count, 0.0, 1.0, server.announcement.token, room)
            found[kind] = _measure_idle_once(plan, server.tree, cores)
    centrifugo = _centrifugo(cores, folder)
    centrifugo_kinds: tuple[Kind, ...] = ("centrifugo-sse", "centrifugo-websocket")
    for kind in centrifugo_kinds if centrifugo is not None else ():
        assert centrifugo is not None
        with running([centrifugo], cores):
            plan = Plan(kind, centrifugo.address.port, count, 0.0, 1.0, channel=CHANNEL)
            found[kind] = _measure_idle_once(plan, centrifugo.tree, cores)
    return found


def _measure_idle_once(plan: Plan, tree: Tree, cores: Cores) -> IdleSubscribers:
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
    idle = IdleSubscribers(subscribers=plan.subscribers, before=before, during=during, share=share)
    say(f"{plan.kind}, {plan.subscribers:,} idle: {idle.kib_each:.1f} KiB each, {share * 100:.1f} % of a core")
    return idle


def _measure_once(plan: Plan, tree: Tree, cores: Cores, lone_cpu: float) -> FanOut:
    cpu, found = listen(plan, tree, cores)
    return FanOut(
        subscribers=plan.subscribers,
        sent=found.sent,
        lost=found.expected - found.delivered,
        cpu=cpu,
        lone_cpu=lone_cpu,
        p50=found.p50,
        p99=found.p99,
        most=found.most,
    )


def listen(plan: Plan, tree: Tree, cores: Cores) -> tuple[float, Found]:
    """What a delivery cost the server in µs of CPU, and what those who listened found."""
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
def _subscribers(plan: Plan, cores: Cores) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tools.bench.subscribers"]
    with spawn(command, cores.generator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan))
        _go_on(process)
        yield process


def _expect(process: subprocess.Popen[bytes], plan: Plan, word: bytes) -> None:
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
