"""How long after its answer a message can be read on a cluster, at about half of the load that it can take."""

from __future__ import annotations

from load_tests import readable, wrk
from load_tests.cluster.figures import Section
from load_tests.cluster.plan import Plan
from load_tests.cluster.sending import ACCOUNTS
from load_tests.cluster.site import Site
from load_tests.figures import ReadableRun
from load_tests.progress import say
from load_tests.tables import Table, numbers


def measure(site: Site, plan: Plan) -> Section:
    chosen = site.fill(plan.rooms, ACCOUNTS)
    targets = wrk.write_targets(plan.folder / "readable.targets", chosen)
    wrk.send(site.cores.generator, site.address, targets, readable.CONNECTIONS, 1)
    runs: list[ReadableRun] = []
    for turn in range(plan.runs):
        pace = readable.find_pace(site, site.cores, targets, plan.seconds)
        site.settle()
        runs.append(readable.probe_under_load(site, pace, chosen[0], plan.seconds, site.cores, targets))
        say(f"{turn + 1}/{plan.runs} readable {readable.in_words(runs[-1])}")
    rows = [
        (
            "read until it is there",
            numbers((run.polled_p50 for run in runs), "{:.1f}"),
            numbers((run.polled_p99 for run in runs), "{:.1f}"),
        ),
        (
            "one read with its position",
            numbers((run.positioned_p50 for run in runs), "{:.1f}"),
            numbers((run.positioned_p99 for run in runs), "{:.1f}"),
        ),
        (
            "the answer to the sends beside it",
            numbers((run.accepted_p50 for run in runs), "{:.1f}"),
            numbers((run.accepted_p99 for run in runs), "{:.1f}"),
        ),
    ]
    load = numbers((run.half_rate for run in runs), "{:,.0f}")
    full = numbers((run.full_rate for run in runs), "{:,.0f}")
    note = (
        f"At {load} sends a second; {full} are the most with {readable.CONNECTIONS} in flight. From the answer of a "
        "send to the answer of the read that shows it, so a read's round trip is part of each. Reads with a position "
        f"that did not show its message: {sum(run.unseen for run in runs)}."
    )
    return Section(
        "readable", plan.date, [Table("Accepted → readable at half load", ("", "p50, ms", "p99, ms"), rows, note)]
    )
