"""Fan-out: one room, many who listen, and what a delivery costs, beside Centrifugo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from load_tests.calls import Caller
from load_tests.figures import FanOut
from load_tests.machine import Cores
from load_tests.peers.centrifugo import CHANNEL, CentrifugoMissing, CentrifugoServer, build
from load_tests.processes import Tree, spawn
from load_tests.progress import say
from load_tests.running import running, wait_until_quiet
from load_tests.servers import FalconServer, ServerFailed
from load_tests.subscribers import Found, Kind, Plan

# So many that one core of each has something to do, and is not full.
_DELIVERIES = 20_000.0
SUBSCRIBERS = (200, 1000)


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
                run = _measure_once(plan, tree, cores)
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


def _measure_once(plan: Plan, tree: Tree, cores: Cores) -> FanOut:
    command = [sys.executable, "-m", "load_tests.subscribers"]
    with spawn(command, cores.generator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        cpu = [0.0, 0.0]
        for at, word in enumerate((b"begin\n", b"end\n")):
            line = process.stdout.readline()
            if line != word:
                raise ServerFailed(f"{plan.kind}: the subscribers ended: {line!r}")
            cpu[at] = tree.cpu_seconds()
            process.stdin.write(b"\n")
            process.stdin.flush()
        found = msgspec.json.decode(process.stdout.readline(), type=Found)
    return FanOut(
        subscribers=plan.subscribers,
        sent=found.sent,
        lost=found.expected - found.delivered,
        cpu=(cpu[1] - cpu[0]) / max(found.delivered, 1) * 1e6,
        p50=found.p50,
        p99=found.p99,
        most=found.most,
    )


def _in_words(run: FanOut) -> str:
    words = f"{run.cpu:.1f} µs CPU a delivery, p50 {run.p50:.1f} p99 {run.p99:.1f} ms"
    return words + (f", {run.lost} lost" if run.lost else "")
