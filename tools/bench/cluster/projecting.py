"""A backlog applied by one ``falcon project``, and a rebuild, beside bare happybase puts of the same rows."""

from __future__ import annotations

import time

import msgspec

from falcon.read.catalogue import READ_MODELS
from tools.bench.cluster.bare import Measured
from tools.bench.cluster.figures import FALCON, SERVERS, medians
from tools.bench.cluster.past import ClusterPast
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.report import Section, Table, at_least, numbers
from tools.bench.samples import ratios
from tools.harness.progress import say
from tools.harness.servers import ServerFailed

RATE_BOUND = 10_000
SHARE_BOUND = 0.7
_CELLS = 500  # a call's most, as Falcon's
_PATIENCE_SECONDS = 300.0


def measure(running: RunningCluster, plan: Plan, past: ClusterPast) -> Section:
    rates: list[float] = []
    starts: list[float] = []
    bare: list[float] = []
    works: list[dict[str, float]] = []
    done: dict[str, list[float]] = {name: [] for name in READ_MODELS}
    step = max(1, plan.history_messages // (plan.runs + 1))
    for turn in range(plan.runs + 1):
        running.settle()
        running.stop("project")
        events = past.grow(plan.history_messages if turn == plan.runs else past.filled + step).events
        started = running.start_role("project")
        before, begun = running.work(), time.perf_counter()
        applied = _applied(running, events, begun)
        elapsed, work = time.perf_counter() - begun, running.work().since(before)
        beside = _bare(running, turn, min(events, 160_000)).rate
        say(f"{turn}/{plan.runs} project: {events / elapsed:,.0f} events/s, bare {beside:,.0f} rows/s")
        if turn == 0:
            continue  # it has warmed the servers up
        for name, seconds in applied.items():
            done[name].append(events / seconds)
        starts.append(started)
        rates.append(events / elapsed)
        works.append(work.micros_each(events))
        bare.append(beside)
    total = plan.history_rooms * plan.history_messages
    rebuilds = [total / running.falcon("rebuild", "timeline") for _ in range(max(1, plan.runs - 1))]
    say(f"rebuild: {', '.join(f'{rate:,.0f}' for rate in rebuilds)} messages/s")
    share, rebuilt_share = ratios(rates, bare), ratios(rebuilds, bare)
    rows = [
        ("`falcon project`, all projections, events/s", numbers(rates, "{:,.0f}")),
        *((f"of these, {name} was done at, events/s", numbers(each, "{:,.0f}")) for name, each in done.items()),
        ("seconds until it said that it works, not counted above", numbers(starts, "{:.2f}")),
        *((f"CPU of {role}, µs an event", medians(works, role)) for role in (FALCON[-1], *SERVERS)),
        ("`falcon rebuild timeline`, messages/s, with its start and its end", numbers(rebuilds, "{:,.0f}")),
        (f"bare happybase puts of messages, {_CELLS} a call, rows/s", numbers(bare, "{:,.0f}")),
    ]
    note = (
        f"Backlogs of about {plan.history_rooms * step:,} imported messages in {plan.history_rooms:,} rooms. The bare "
        f"program puts the timeline's rows alone, made beforehand, with as many threads as the projector writes with "
        f"({running.settings().project_threads}); the projector reads the log and writes all projections."
    )
    targets = [
        at_least("`falcon project`, events/s", rates, RATE_BOUND, "", "{:,.0f}"),
        at_least("the same, of bare puts", share, SHARE_BOUND, "×"),
        at_least("`falcon rebuild timeline`, messages/s", rebuilds, RATE_BOUND, "", "{:,.0f}"),
        at_least("the same, of bare puts", rebuilt_share, SHARE_BOUND, "×"),
    ]
    return Section("project", [Table("Applying a backlog", ("", "found"), rows, note)], targets)


def _applied(running: RunningCluster, events: int, begun: float) -> dict[str, float]:
    """Wait until each projection has applied so many; gives the seconds of each."""
    done: dict[str, float] = {}
    while len(done) < len(READ_MODELS):
        now = time.perf_counter() - begun
        if now > _PATIENCE_SECONDS:
            raise ServerFailed(f"{events:,} events were not applied within {now:.0f} s: {running.projected()}")
        for name, count in running.projected().items():
            if count >= events:
                done.setdefault(name, now)
        time.sleep(0.1)
    return done


def _bare(running: RunningCluster, turn: int, rows: int) -> Measured:
    name = f"bare_{turn}"
    running.create_bare_table(name)
    threads = running.settings().project_threads
    options = (f"--table={name}", f"--rows={rows}", f"--batch={_CELLS}", f"--threads={threads}")
    return msgspec.convert(running.run("bare", "writer", *options), Measured)
