"""How long after its answer a message can be read on a cluster, at about half of the load that it can take."""

from __future__ import annotations

from typing import Final

from tools.bench import readable, subscribers, wrk
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.cluster.sending import ACCOUNTS, warm
from tools.bench.readable import ReadableRun
from tools.bench.report import Section, Table, at_most, numbers
from tools.bench.streams import listen
from tools.harness.processes import Tree
from tools.harness.progress import say

_LISTENERS: Final = 20
_PUSHES: Final = 20.0  # a second
_PUSHED_MS: Final = 20.0


def measure(running: RunningCluster, plan: Plan) -> Section:
    chosen = running.fill(plan.rooms, ACCOUNTS)
    targets = wrk.write_targets(plan.folder / "readable.targets", chosen)
    warm(running, plan, targets)
    runs: list[ReadableRun] = []
    for turn in range(plan.runs):
        pace = readable.find_pace(running, running.cores, targets, plan.seconds)
        running.settle()
        runs.append(readable.probe_under_load(running, pace, chosen[0], plan.seconds, running.cores, targets))
        say(f"{turn + 1}/{plan.runs} readable {readable.in_words(runs[-1])}")
    pushed = [_pushed(running, chosen[0], plan.seconds) for _ in range(plan.runs)]
    rows = [
        *readable.rows(runs, "", "{:.1f}"),
        (
            f"request → pushed to {_LISTENERS} who listen, at {_PUSHES:.0f} a second and no other load",
            numbers((each.p50 for each in pushed), "{:.1f}"),
            numbers((each.p99 for each in pushed), "{:.1f}"),
        ),
    ]
    lost = sum(each.expected - each.delivered for each in pushed)
    judged = [
        at_most("request → pushed, p50", [each.p50 for each in pushed], _PUSHED_MS, " ms"),
        at_most("lost of what was pushed", [float(lost)], 0.0, ""),
    ]
    table = Table("Accepted → readable at half load, and pushed", ("", "p50, ms", "p99, ms"), rows, readable.note(runs))
    return Section("readable", [table], judged)


def _pushed(running: RunningCluster, target: tuple[int, str], seconds: int) -> subscribers.Found:
    """The time from sending a request to the arrival of the message at clients that listen to the same ``falcon
    api``."""
    room, token = target
    plan = subscribers.SubscribersPlan(
        "falcon-sse", running.address.port, _LISTENERS, float(seconds), _PUSHES, token, room
    )
    _, found = listen(plan, Tree(), running.cores)
    say(f"pushed: p50 {found.p50:.1f} p99 {found.p99:.1f} ms, {found.expected - found.delivered} lost")
    return found
