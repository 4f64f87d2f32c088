"""Clusters of Falcon's processes on the servers that all tests share."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.servers.cluster import Cluster, Ports, free_ports
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch

PARTITIONS = 4
_BASES = range(31_000, 32_300, 10)


def ports_for(kafka: Kafka, hbase: HBase) -> Ports:
    """The ports of a cluster on these servers."""
    return free_ports(random.sample(_BASES, len(_BASES)), (kafka, hbase))


@pytest.fixture(scope="package")
def make_cluster(kafka: Kafka, hbase: HBase, servers_folder: Path) -> Iterator[Callable[..., Cluster]]:
    """A cluster with topics and tables of its own, not started yet."""
    made: list[Cluster] = []

    def make(name: str, opensearch: OpenSearch | None = None, **settings: Any) -> Cluster:
        own = {f"FALCON_{setting.upper()}": str(value) for setting, value in settings.items()}
        cluster = Cluster(
            servers_folder / f"falcon-{name}",
            ports=ports_for(kafka, hbase),
            partitions=PARTITIONS,
            settings={
                "FALCON_KAFKA_PREFIX": f"{name}.",
                "FALCON_HBASE_PREFIX": name,
                "FALCON_LOG_LEVEL": "info",
                **own,
            },
            servers=(kafka, hbase),
            opensearch=opensearch,
        )
        made.append(cluster)
        return cluster

    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FALCON_")}
    yield make
    os.environ.update(before)
    for cluster in made:
        for role in reversed(cluster.roles):
            for process in cluster.processes(role):
                process.kill()
        for log in sorted((cluster.folder / "falcon" / "log").glob("*.log")):
            print(f"--- {log.name}", *log.read_text().splitlines()[-40:], sep="\n")  # shown where a test has failed
