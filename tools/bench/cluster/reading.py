"""Pages of the latest 50 through one ``falcon api``, beside a bare happybase program that reads the same cells."""

from __future__ import annotations

from typing import Final

import msgspec

from tools.bench import wrk
from tools.bench.cluster.bare import Measured
from tools.bench.cluster.past import ClusterPast
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.report import Section, Table, Target, at_least, at_most, numbers
from tools.bench.samples import ratios
from tools.harness.progress import say

CONNECTIONS: Final = (1, 8, 16)
SHARE_BOUND: Final = 0.7
P50_BOUND: Final = 1.0  # ms more than bare
_HOT_ROOMS: Final = 100


def measure(running: RunningCluster, plan: Plan, past: ClusterPast) -> Section:
    rooms = past.ensure()
    sets = {f"{len(rooms):,} rooms in turn": rooms, f"{min(_HOT_ROOMS, len(rooms))} popular rooms": rooms[:_HOT_ROOMS]}
    ours: dict[tuple[str, int], list[wrk.Load]] = {}
    bare: dict[tuple[str, int], list[Measured]] = {}
    every = wrk.write_targets(plan.folder / "read.targets", [(room, running.token) for room in rooms])
    running.warm(
        lambda: wrk.read(running.cores.generator, running.address, every, max(CONNECTIONS), 4), plan.warm_seconds
    )
    for _ in range(plan.runs):
        for name, chosen in sets.items():
            targets = wrk.write_targets(plan.folder / "read.targets", [(room, running.token) for room in chosen])
            listed = plan.folder / "read.rooms"
            listed.write_bytes(msgspec.json.encode(chosen))
            for count in CONNECTIONS:
                wrk.read(running.cores.generator, running.address, targets, count, 1)
                load = wrk.read(running.cores.generator, running.address, targets, count, plan.seconds)
                options = (f"--threads={count}", f"--seconds={plan.seconds}", f"--account={running.account_id}")
                found = running.run("bare", "reader", f"--rooms={listed}", *options)
                beside = msgspec.convert(found, Measured)
                ours.setdefault((name, count), []).append(load)
                bare.setdefault((name, count), []).append(beside)
                say(
                    f"read, {name}, {count} connections: {load.rate:,.0f}/s p50 {load.p50 / 1000:.2f} ms, "
                    f"bare {beside.rate:,.0f}/s p50 {beside.p50:.2f} ms, {load.refused} refused"
                )
    rows: list[tuple[str, ...]] = []
    targets_met: list[Target] = []
    for (name, count), loads in ours.items():
        others = bare[name, count]
        share = ratios([load.rate for load in loads], [each.rate for each in others])
        more = [load.p50 / 1000 - each.p50 for load, each in zip(loads, others, strict=True)]
        rows.append(
            (
                f"{name}, {count} at once",
                numbers((load.rate for load in loads), "{:,.0f}"),
                numbers((each.rate for each in others), "{:,.0f}"),
                numbers(share, "{:.2f}×"),
                numbers((load.p50 / 1000 for load in loads), "{:.2f}"),
                numbers((each.p50 for each in others), "{:.2f}"),
                numbers((load.p99 / 1000 for load in loads), "{:.2f}"),
                f"{sum(load.refused + load.broken for load in loads):,}",
            )
        )
        targets_met.append(at_least(f"pages/s of bare happybase's, {name}, {count} at once", share, SHARE_BOUND, "×"))
        targets_met.append(at_most(f"p50 of a page above bare happybase's, {name}, {count}", more, P50_BOUND, " ms"))
    columns = ("", "pages a second", "bare", "of bare's", "p50, ms", "bare", "p99, ms", "failed")
    kept = len(rooms) * past.page_bytes >> 20
    note = (
        f"Pages of {past.page_bytes:,} bytes. Falcon keeps 32 MiB of pages in memory: all rooms are {kept} MiB, "
        + ("so that none is there when its turn comes again" if kept > 34 else "too few for that to matter")
        + "; the popular ones are kept. Member, room and revision are looked up for every page. No request had an ETag."
    )
    return Section("read", [Table("Reading the newest 50 messages", columns, rows, note)], targets_met)
