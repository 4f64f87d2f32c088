"""One cluster for all tests of this folder. It ends with them: while it is idle, it and the brokers that it asks take a
third of a processor."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tools.servers.cluster import Cluster


@pytest.fixture(scope="package")
def cluster(make_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """Two edges, one owner, one projector."""
    cluster = make_cluster("tea", session_seconds=3)
    cluster.up(counts={"api": 2, "write": 1, "project": 1})
    yield cluster
    cluster.down()


@pytest.fixture(scope="package")
def described(cluster: Cluster) -> dict[str, Any]:
    return cluster.describe()
