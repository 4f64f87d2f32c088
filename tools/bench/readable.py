"""How long after its answer a message can be read, while the server has about half of the load that it can take.

A probe posts a message, and the clock starts with its answer. Then it either reads the newest message again and again
until it is the posted one, or reads once with the answer's `Falcon-Position`. Both include a read's round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import msgspec

from tools.bench import wrk
from tools.bench.bench import Bench
from tools.bench.figures import Figure
from tools.bench.throughput import ACCOUNTS
from tools.harness.calls import Address, Answer, Caller
from tools.harness.machine import Cores
from tools.harness.processes import register
from tools.harness.progress import say
from tools.harness.reports import percentile
from tools.harness.running import running
from tools.harness.servers import FalconServer, ServerFailed

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class ReadableRun:
    """One run of probes beside a load of about half of what the server can do. Times in ms."""

    full_rate: float
    half_rate: float
    polled_p50: float
    polled_p99: float
    positioned_p99: float
    unseen: int  # reads that named the position of a write and did not show the write


class Asked(Protocol):
    """The server under test, embedded or a cluster."""

    name: str

    @property
    def address(self) -> Address: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """The pause before each request that makes CONNECTIONS connections send about half of `full` a second."""

    full: float
    pause_ms: float


def section(bench: Bench) -> list[Figure]:
    """Raises ServerFailed, LoadFailed, CallRefused."""
    return told(_measure(bench, bench.falcon("readable")), 10.0, 50.0)


def told(runs: Sequence[ReadableRun], p50_max: float | None, p99_max: float | None) -> list[Figure]:
    """From the answer of a send to the answer of the read that shows it, so a read's round trip is part of each."""
    what = f"accepted → readable at {median(run.half_rate for run in runs):,.0f} sends a second, half of the most"
    return [
        Figure(f"{what}, p50", [run.polled_p50 for run in runs], "ms", most=p50_max),
        Figure(f"{what}, p99", [run.polled_p99 for run in runs], "ms", most=p99_max),
        Figure("the same by one read with its position, p99", [run.positioned_p99 for run in runs], "ms"),
        Figure("reads with a position that did not show its message", [sum(run.unseen for run in runs)], most=0),
    ]


def _measure(bench: Bench, server: FalconServer) -> list[ReadableRun]:
    cores, seconds, runs = bench.cores, bench.seconds, bench.fewer_runs
    targets = bench.folder / f"{server.name}.readable"
    found: list[ReadableRun] = []
    with running([server], cores):
        chosen = server.fill(bench.sizes["chat_rooms"], ACCOUNTS)
        wrk.write_targets(targets, chosen)
        wrk.send(cores.generator, server.address, targets, CONNECTIONS, 2)
        for turn in range(runs):
            # Find the pace for each run: the machine may have become faster or slower.
            pace = find_pace(server, cores, targets, seconds)
            run = probe_under_load(server, pace, chosen[0], seconds, cores, targets)
            found.append(run)
            say(f"{turn + 1}/{runs} readable, {server.name} {in_words(run)}")
    return found


def in_words(run: ReadableRun) -> str:
    return (
        f"at {run.half_rate:,.0f}/s of {run.full_rate:,.0f}/s: "
        f"p50 {run.polled_p50:.2f} p99 {run.polled_p99:.2f} ms by polling, p99 {run.positioned_p99:.2f} ms by position"
    )


def find_pace(server: Asked, cores: Cores, targets: Path, seconds: int) -> Pace:
    full = wrk.send(cores.generator, server.address, targets, CONNECTIONS, min(seconds, 3)).rate
    pause_ms = pause_for(
        full / 2,
        CONNECTIONS,
        lambda pause: wrk.send(cores.generator, server.address, targets, CONNECTIONS, 1, pause).rate,
    )
    return Pace(full=full, pause_ms=pause_ms)


def pause_for(rate: float, connections: int, send: Callable[[float], float]) -> float:
    """Before each send of a connection, in ms, so that all of them make that rate. ``send``: with such a pause; gives
    the rate that came of it."""
    pause = connections / rate * 1000
    for _ in range(3):
        pause = max(1.0, pause + connections * 1000 * (1 / rate - 1 / max(send(pause), 1.0)))
    return pause


def probe_under_load(
    server: Asked, pace: Pace, target: tuple[int, str], seconds: int, cores: Cores, targets: Path
) -> ReadableRun:
    room, token = target
    caller = Caller(server.address, token)
    path = f"/v1/rooms/{room}/messages"
    polled: list[float] = []
    positioned: list[float] = []
    unseen = 0
    load = wrk.start_sending(cores.generator, server.address, targets, CONNECTIONS, seconds + 1, pace.pause_ms)
    register(load.pid)
    time.sleep(0.5)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seq, accepted_at, _ = _post(caller, path)
        while _newest(caller.must("GET", f"{path}?limit=1")) < seq:
            if time.perf_counter() - accepted_at > 30:
                raise ServerFailed(f"{server.name}: message {seq} of room {room} cannot be read after 30 s")
        polled.append((time.perf_counter() - accepted_at) * 1000)
        time.sleep(0.003)
        seq, accepted_at, position = _post(caller, path)
        # Its own place and not the newest one: others speak there too, and their messages may be on their way yet.
        headers = {"Falcon-Position": position, "Falcon-Wait": "10"}
        answer = caller.must("GET", f"{path}?after={seq - 1}&limit=1", headers=headers)
        positioned.append((time.perf_counter() - accepted_at) * 1000)
        unseen += _newest(answer) < seq
        time.sleep(0.003)
    caller.close()
    beside = wrk.finish(load, seconds + 1)
    return ReadableRun(
        full_rate=pace.full,
        half_rate=beside.rate,
        polled_p50=percentile(polled, 0.5),
        polled_p99=percentile(polled, 0.99),
        positioned_p99=percentile(positioned, 0.99),
        unseen=unseen,
    )


def _post(caller: Caller, path: str) -> tuple[int, float, str]:
    """(seq, when the answer was there, the position that it carried)."""
    answer = caller.must("POST", path, {"text": "probe"})
    accepted_at = time.perf_counter()
    seq: int = answer.json()["seq"]
    return seq, accepted_at, answer.headers["Falcon-Position"]


def _newest(answer: Answer) -> int:
    messages: list[dict[str, Any]] = msgspec.json.decode(answer.body)["messages"]
    return messages[-1]["seq"] if messages else 0
