"""A cluster of its own on this machine, beside bare clients of its servers and embedded Falcon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from falcon.journal.ports import JournalUnavailable
from tools.bench.bench import ROOT, Bench, Measures, Size, Suite
from tools.bench.cluster import projecting, reading, recovering, scaling, sending, visible
from tools.bench.cluster.past import ClusterPast
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.bench.report import Section
from tools.harness.progress import say
from tools.harness.servers import ServerFailed
from tools.servers.cluster import free_ports
from tools.servers.daemon import ServerFault
from tools.servers.hbase import VERSION as HBASE_VERSION
from tools.servers.jars import ToolMissing
from tools.servers.kafka import VERSION as KAFKA_VERSION

FOLDER: Final = ROOT / "build" / "bench-cluster" / "cluster"
_SHAPE: Final = ("partitions", "runs", "seconds", "chat_rooms")


def plan_of(bench: Bench) -> Plan:
    sizes = bench.sizes
    return Plan(
        runs=bench.runs,
        seconds=bench.seconds,
        warm_seconds=sizes["warm_seconds"],
        rooms=sizes["chat_rooms"],
        history_rooms=sizes["history_rooms"],
        history_messages=204,
        folder=bench.folder,
    )


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    """Raises ServerFault, ToolMissing, ServerFailed."""
    for name in [name for name in os.environ if name.startswith("FALCON_")] + ["PYTHONDONTWRITEBYTECODE"]:
        os.environ.pop(name, None)  # these would make this cluster another one, or each start slower
    bench.facts["Servers"] = f"Kafka {KAFKA_VERSION}, HBase {HBASE_VERSION}"
    sizes = ", ".join(f"{bench.sizes[name]} {name.replace('_', ' ')}" for name in _SHAPE)
    bench.facts["Size"] = f"{sizes}, {sending.ACCOUNTS} members in each"
    running = RunningCluster(
        FOLDER, bench.cores, bench.sizes["partitions"], free_ports(range(bench.sizes["port"], 31_000, 600))
    )
    plan = plan_of(bench)
    past = ClusterPast(running, plan)
    try:
        running.start()
        measures = {
            "send": lambda: sending.measure(running, plan),
            "readable": lambda: visible.measure(running, plan),
            "scale": lambda: scaling.measure(running, plan),
            # The backlog is what is read afterwards.
            "project": lambda: projecting.measure(running, plan, past),
            "read": lambda: reading.measure(running, plan, past),
            "recovery": lambda: recovering.measure(running, plan),
        }
        yield {name: _repairing(running, measure) for name, measure in measures.items()}
    finally:
        running.end()


def _repairing(running: RunningCluster, measure: Callable[[], Section]) -> Callable[[], Section]:
    """Run one of each role again after a section that failed, so that the others can continue."""

    def measured() -> Section:
        try:
            return measure()
        except Exception:
            try:
                running.repair()
            except (ServerFault, ServerFailed, OSError) as failure:
                say(f"the cluster could not be repaired, so what follows may fail too: {failure}")
            raise

    return measured


SUITE: Final = Suite(
    name="cluster",
    title="Benchmarks of a cluster",
    method=Path(__file__).with_name("method.md"),
    sections=("send", "read", "project", "readable", "recovery", "scale"),
    sizes={
        "warm_seconds": Size(180, 2, "the most that the servers are given to warm up"),
        "partitions": Size(8, 8, "of the log; one for each falcon write at least", 3),
        "chat_rooms": Size(100, 20, "rooms that sends are spread over"),
        "history_rooms": Size(4_000, 200, "rooms that are read, of 204 messages each"),
        "port": Size(27_500, 27_500, "where to look for free ports", 1_024),
    },
    open=_open,
    failures=(ServerFault, ToolMissing, JournalUnavailable),
)
