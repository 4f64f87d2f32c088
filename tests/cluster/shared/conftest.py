"""One cluster for all tests of this folder. It ends with them: while it is idle, it and the brokers that it asks take a
third of a processor."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tools.servers.cluster import Cluster
from tools.servers.opensearch import OpenSearch


@pytest.fixture(scope="package")
def cluster(make_cluster: Callable[..., Cluster], opensearch: OpenSearch) -> Iterator[Cluster]:
    """Two edges, one owner, one projector, one that fills the index of messages."""
    cluster = make_cluster("tea", opensearch, session_seconds=3)
    cluster.up(counts={"api": 2, "write": 1, "project": 1, "forward": 1})
    yield cluster
    cluster.down()


@pytest.fixture(scope="package")
def described(cluster: Cluster) -> dict[str, Any]:
    return cluster.describe()
