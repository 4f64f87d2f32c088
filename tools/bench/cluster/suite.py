"""A cluster of its own on this machine, beside bare clients of its servers and embedded Falcon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from falcon.journal.ports import JournalUnavailable
from tools.bench.bench import ROOT, Bench, Measures, Size, Suite
from tools.bench.cluster import recovering, sending
from tools.bench.cluster.past import ClusterPast
from tools.bench.cluster.running import RunningCluster
from tools.bench.figures import Figure
from tools.harness.progress import say
from tools.harness.servers import ServerFailed
from tools.servers.cluster import free_ports
from tools.servers.daemon import ServerFault
from tools.servers.hbase import VERSION as HBASE_VERSION
from tools.servers.jars import ToolMissing
from tools.servers.kafka import VERSION as KAFKA_VERSION

FOLDER: Final = ROOT / "build" / "bench-cluster" / "cluster"


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    """Raises ServerFault, ToolMissing, ServerFailed."""
    for name in [name for name in os.environ if name.startswith("FALCON_")] + ["PYTHONDONTWRITEBYTECODE"]:
        os.environ.pop(name, None)  # these would make this cluster another one, or each start slower
    bench.facts["Servers"] = f"Kafka {KAFKA_VERSION}, HBase {HBASE_VERSION}"
    running = RunningCluster(
        FOLDER, bench.cores, bench.sizes["partitions"], free_ports(range(bench.sizes["port"], 31_000, 600))
    )
    past = ClusterPast(running, bench)
    try:
        running.start()
        measures = {
            "send": lambda: sending.sends(running, bench),
            "readable": lambda: sending.soon(running, bench),
            "scale": lambda: sending.scale(running, bench),
            # The backlog is what is read afterwards.
            "project": past.project,
            "read": past.read,
            "recovery": lambda: recovering.measure(running, bench),
        }
        yield {name: _repairing(running, measure) for name, measure in measures.items()}
    finally:
        running.end()


def _repairing(running: RunningCluster, measure: Callable[[], Sequence[Figure]]) -> Callable[[], Sequence[Figure]]:
    """Run one of each role again after a section that failed, so that the others can continue."""

    def measured() -> Sequence[Figure]:
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
    title="Benchmarks of a cluster",
    method=Path(__file__).with_name("method.md"),
    sections=("send", "readable", "scale", "project", "read", "recovery"),
    sizes={
        "warm_seconds": Size(180, 2, "the most that the servers are given to warm up"),
        "partitions": Size(8, 8, "of the log; one for each falcon write at least"),
        "chat_rooms": Size(100, 20, "rooms that sends are spread over"),
        "history_rooms": Size(4_000, 200, "rooms that are read, of 204 messages each"),
        "port": Size(27_500, 27_500, "where to look for free ports"),
    },
    open=_open,
    failures=(ServerFault, ToolMissing, JournalUnavailable),
)
