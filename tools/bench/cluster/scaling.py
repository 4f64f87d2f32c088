"""One, two and three ``falcon write``: what a message costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench import readable, wrk
from tools.bench.cluster.figures import FALCON, SERVERS, medians
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.cluster.sending import ACCOUNTS, warm
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.bench.samples import ratios
from tools.harness.progress import say

COUNTS: Final = (1, 2, 3)
_IDLE_SECONDS: Final = 2.0
GROWTH_BOUND: Final = 1.05  # smaller growth may be noise


@dataclass(frozen=True, slots=True)
class ScaleSample:
    """``micros``: CPU by role for each message. ``idle``: Falcon's share of a core without requests."""

    load: wrk.Load
    micros: dict[str, float]
    idle: float

    @property
    def falcon(self) -> float:
        return sum(self.micros[role] for role in FALCON)


def measure(running: RunningCluster, plan: Plan) -> Section:
    targets = wrk.write_targets(plan.folder / "scale.targets", running.fill(plan.rooms, ACCOUNTS))
    warm(running, plan, targets)
    half = _send(running, targets, min(plan.seconds, 3)).rate / 2
    found: dict[int, list[ScaleSample]] = {count: [] for count in COUNTS}
    try:
        for _ in range(plan.runs):
            for count in COUNTS:
                running.scale_write(count)
                sample = _sample(running, plan, targets, half)
                found[count].append(sample)
                say(f"scale, {count}: {sample.load.rate:,.0f}/s, {sample.falcon:.0f} µs a message")
    finally:
        running.scale_write(1)
    return Section("scale", [_costs(found)], [_target(found)])


def _sample(running: RunningCluster, plan: Plan, targets: Path, rate: float) -> ScaleSample:
    pause = readable.pause_for(rate, readable.CONNECTIONS, lambda pause: _send(running, targets, 1, pause).rate)
    running.settle()
    idle = _idle_share(running)
    before = running.work()
    load = _send(running, targets, plan.seconds, pause)
    running.settle()
    return ScaleSample(load, running.work().since(before).micros_each(load.requests - load.refused), idle)


def _send(running: RunningCluster, targets: Path, seconds: int, pause_ms: float = 0.0) -> wrk.Load:
    return wrk.send(running.cores.generator, running.address, targets, readable.CONNECTIONS, seconds, pause_ms)


def _idle_share(running: RunningCluster) -> float:
    before = running.work()
    time.sleep(_IDLE_SECONDS)
    return running.work().since(before).falcon / _IDLE_SECONDS


def _target(samples: Mapping[int, Sequence[ScaleSample]]) -> Target:
    one, most = min(samples), max(samples)
    growth = ratios([each.falcon for each in samples[most]], [each.falcon for each in samples[one]])
    what = f"Falcon's CPU a message with {most} `falcon write`, of that with one at the same load"
    return at_most(what, growth, GROWTH_BOUND, "×")


def _costs(samples: Mapping[int, Sequence[ScaleSample]]) -> Table:
    rows = [
        (
            f"{count} `falcon write`",
            numbers((each.load.rate for each in of_count), "{:,.0f}"),
            numbers((each.load.p50 / 1000 for each in of_count), "{:.2f}"),
            numbers((each.load.p99 / 1000 for each in of_count), "{:.2f}"),
            numbers((each.falcon / 1000 for each in of_count), "{:.3f}"),
            *(medians([each.micros for each in of_count], role) for role in (*FALCON, *SERVERS)),
            numbers((each.idle * 100 for each in of_count), "{:.1f}"),
        )
        for count, of_count in samples.items()
    ]
    columns = ("", "a second", "p50, ms", "p99, ms", "CPU s, 1,000 messages", *FALCON, *SERVERS, "idle, % of a core")
    note = (
        "All of them together are offered half of what one can do. The more share it, the fewer messages share a "
        "wake-up, a batch and a flush. By role: µs. What Falcon's processes take of a core when idle is in these "
        "figures too; it stands in the last column."
    )
    return Table("One, two and three `falcon write` at the same load", columns, rows, note)
