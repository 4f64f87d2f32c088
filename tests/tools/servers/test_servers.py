"""Servers that others reach by a name."""

import json
import subprocess
from pathlib import Path

import pytest

from tools.servers import cluster as clusters
from tools.servers.daemon import ServerFault
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch


def test_what_listens_for_others_must_have_a_name(tmp_path: Path) -> None:
    with pytest.raises(ServerFault, match=r"by which name they reach 0\.0\.0\.0"):
        Kafka(tmp_path, listen="0.0.0.0")


def test_the_nodes_of_a_named_kafka_talk_on_loopback_all_the_same(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path, advertise="kafka", listen="0.0.0.0")
    told = dict(line.split("=", 1) for line in kafka._configure(2).read_text().splitlines())
    assert told["listeners"] == "PLAINTEXT://0.0.0.0:19093,NODES://127.0.0.1:19113,CONTROLLER://127.0.0.1:19103"
    assert told["advertised.listeners"] == "PLAINTEXT://kafka:19093,NODES://127.0.0.1:19113"
    assert told["inter.broker.listener.name"] == "NODES"
    assert kafka.bootstrap == "kafka:19092,kafka:19093,kafka:19094"


def test_only_the_gateways_of_an_hbase_listen_for_others(tmp_path: Path) -> None:
    hbase = HBase(tmp_path, gateways=2, listen="0.0.0.0")
    assert "0.0.0.0" in hbase._command("thrift2")[1]
    assert "0.0.0.0" not in hbase._command("master")[1]
    assert "0.0.0.0" not in hbase._own_settings().values()


def test_only_the_http_of_an_opensearch_listens_for_others(tmp_path: Path) -> None:
    settings = OpenSearch(tmp_path, listen="0.0.0.0")._settings()
    assert [name for name, value in settings.items() if value == "0.0.0.0"] == ["http.host"]


def test_a_shell_gets_the_settings_of_a_cluster_and_its_tokens_from_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_NOTE", tmp_path / "cluster.json")
    monkeypatch.setattr(clusters, "_ENVIRONMENT", tmp_path / "cluster.env")
    cluster = clusters.Cluster(tmp_path / "cluster", settings={"FALCON_LOG_LEVEL": "debug"})
    clusters._write_down(cluster, {"urls": ["http://one", "http://two"], "token": "t0ken", "admin_token": "4dmin"})
    command = (
        f'. {tmp_path}/cluster.env; echo "$FALCON_URL $FALCON_TOKEN $FALCON_LOG_LEVEL $FALCON_HBASE_CREATE_COMMAND"'
    )
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert said.startswith("http://one,http://two t0ken debug ") and "-m tools.servers.tables --hbase" in said
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("cluster.*")} == {0o600}


def test_a_cluster_without_projectors_is_written_down_with_the_accounts_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_NOTE", tmp_path / "cluster.json")
    monkeypatch.setattr(clusters, "_ENVIRONMENT", tmp_path / "cluster.env")
    accounts = {"account_id": 16, "token": "t0ken", "admin_token": "4dmin"}
    (tmp_path / "cluster.json").write_text(json.dumps({**accounts, "urls": ["http://one"]}))
    monkeypatch.setattr(clusters, "ROOT", tmp_path)
    monkeypatch.setattr(clusters.Cluster, "falcon", lambda *_: pytest.fail("no table shows an account now"))
    assert clusters.main(["scale", "project", "0"]) == 0
    written = json.loads((tmp_path / "cluster.json").read_text())
    assert written == {**accounts, "urls": [], "ops_urls": [], "processes": []}
