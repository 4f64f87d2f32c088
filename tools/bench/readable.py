"""How long after its answer a message can be read, while the server has about half of the load that it can take.

A probe posts a message, and the clock starts with its answer. Then it either reads the newest message again and again
until it is the posted one, or reads once with the answer's `Falcon-Position`. Both include a read's round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tools.bench import wrk
from tools.bench.bench import Bench
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.bench.samples import FALCON, NAMES
from tools.bench.throughput import ACCOUNTS
from tools.harness.calls import Address, Answer, Caller
from tools.harness.machine import Cores
from tools.harness.processes import register
from tools.harness.progress import say
from tools.harness.reports import percentile
from tools.harness.running import running
from tools.harness.servers import FalconServer, ServerFailed

CONNECTIONS = 64
_BOUNDS = ("p50", 10.0), ("p99", 50.0)  # ms


@dataclass(frozen=True, slots=True)
class ReadableRun:
    """One run of probes beside a load of about half of what the server can do. Times in ms."""

    full_rate: float
    half_rate: float
    accepted_p50: float
    accepted_p99: float
    polled_p50: float
    polled_p99: float
    positioned_p50: float
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


def section(bench: Bench) -> Section:
    """Raises ServerFailed, LoadFailed, CallRefused."""
    found = {name: _measure(bench, bench.falcon(f"readable-{name}", name)) for name in bench.falcons}
    table = Table(
        "Accepted → readable at half load",
        ("", "p50, ms", "p99, ms"),
        [row for name, runs in found.items() for row in rows(runs, f"{NAMES[name]}, ", "{:.2f}")],
        " ".join(f"{NAMES[name]}: {note(runs)}" for name, runs in found.items()),
    )
    targets: list[Target] = []
    for quantile, bound in _BOUNDS if FALCON in found else ():
        ours = [getattr(run, f"polled_{quantile}") for run in found[FALCON]]
        targets.append(at_most(f"accepted → readable at half load, {quantile}", ours, bound, " ms", "{:.1f}"))
    return Section("readable", [table], targets)


def rows(runs: Sequence[ReadableRun], who: str, form: str) -> list[tuple[str, ...]]:
    """p50 and p99 of each way to ask, and of the sends beside it."""
    ways = {
        "read until it is there": "polled",
        "one read with its position": "positioned",
        "the answer to the sends beside it": "accepted",
    }
    return [
        (who + words, *(numbers((getattr(run, f"{way}_{q}") for run in runs), form) for q in ("p50", "p99")))
        for words, way in ways.items()
    ]


def note(runs: Sequence[ReadableRun]) -> str:
    load, full = (numbers((getattr(run, name) for run in runs), "{:,.0f}") for name in ("half_rate", "full_rate"))
    return (
        f"At {load} sends a second; {full} are the most with {CONNECTIONS} in flight. From the answer of a send to the "
        "answer of the read that shows it, so a read's round trip is part of each. Reads with a position that did not "
        f"show its message: {sum(run.unseen for run in runs)}."
    )


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
        f"p50 {run.polled_p50:.2f} p99 {run.polled_p99:.2f} ms by polling, p50 {run.positioned_p50:.2f} "
        f"p99 {run.positioned_p99:.2f} ms by position"
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
        accepted_p50=beside.p50 / 1000,
        accepted_p99=beside.p99 / 1000,
        polled_p50=percentile(polled, 0.5),
        polled_p99=percentile(polled, 0.99),
        positioned_p50=percentile(positioned, 0.5),
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
