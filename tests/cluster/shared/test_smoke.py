"""The smoke test of a deployment, against a whole cluster."""

from typing import Any

import pytest

from tools.servers.cluster import Cluster

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


def test_a_cluster_passes_through_all_of_its_edges(cluster: Cluster, described: dict[str, Any]) -> None:
    told = cluster.falcon("smoke", ",".join(described["urls"]), "--token", described["token"])
    assert "All is well: 9 steps" in told


def test_where_its_secret_is_no_token_is_needed(cluster: Cluster, described: dict[str, Any]) -> None:
    told = cluster.falcon("smoke", described["urls"][0], "--first-account")
    assert f"account {described['account_id']}, Owner" in told
    assert "All is well: 9 steps" in told
