"""The compose file cannot be started everywhere, but it can be read: it has the same servers as tools/servers."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tools.servers import hbase, kafka

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")  # comes with what tests the API
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return loaded


def _services(compose: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if re.fullmatch(rf"{kind}\d*", name)}


def test_docker_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        [docker, "compose", "--file", str(COMPOSE / "compose.yaml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_three_kafka_nodes_have_the_settings_of_the_local_ones(compose: dict[str, Any]) -> None:
    nodes = _services(compose, "kafka")
    assert len(nodes) == 3
    expected = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in kafka.settings(3).items()}
    for node in nodes.values():
        assert node["image"] == f"apache/kafka:{kafka.VERSION}"
        assert {name: node["environment"].get(name) for name in expected} == expected


def test_each_kafka_node_is_a_voter_of_its_own_and_keeps_its_own_data(compose: dict[str, Any]) -> None:
    nodes = _services(compose, "kafka")
    voters = {f"{node['environment']['KAFKA_NODE_ID']}@{name}:9093" for name, node in nodes.items()}
    for name, node in nodes.items():
        assert set(node["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")) == voters
        assert node["environment"]["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"
        assert node["volumes"] == [f"{name}:{node['environment']['KAFKA_LOG_DIRS']}"]


def test_hbase_has_the_version_and_the_settings_of_the_local_one(compose: dict[str, Any]) -> None:
    for service in _services(compose, "master|rs|thrift").values():
        assert service["image"] == f"falcon-hbase:{hbase.VERSION}"
    release = re.search(r"^ARG HBASE_RELEASE=(\S+)", (COMPOSE / "hbase" / "Dockerfile").read_text(), re.MULTILINE)
    assert release is not None
    assert f"{release[1]}-hadoop3" == hbase.VERSION
    site = {
        entry.findtext("name"): entry.findtext("value")
        for entry in ElementTree.parse(COMPOSE / "hbase" / "hbase-site.xml").iter("property")
    }
    assert {name: site.get(name) for name in hbase.settings()} == hbase.settings()


def test_falcon_is_told_of_every_server(compose: dict[str, Any]) -> None:
    brokers = ",".join(f"{name}:9092" for name in _services(compose, "kafka"))
    gateways = ",".join(f"{name}:9090" for name in _services(compose, "thrift"))
    for role, replicas in {"prepare": None, "write": 2, "project": 2, "api": 2}.items():
        service = compose["services"][role]
        assert service["command"] == [role]
        assert (service["environment"]["FALCON_KAFKA"], service["environment"]["FALCON_HBASE"]) == (brokers, gateways)
        assert service.get("deploy", {}).get("replicas") == replicas


def test_only_the_api_is_reached_from_outside_and_from_this_machine_only(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published.keys() == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_what_the_file_refers_to_is_there(compose: dict[str, Any]) -> None:
    build = compose["x-hbase"]["build"]
    java = COMPOSE / build["additional_contexts"]["java"]
    copied = re.findall(r"^COPY (.*) \S+$", (COMPOSE / build["context"] / "Dockerfile").read_text(), re.MULTILINE)
    assert len(copied) == 3
    for line in copied:
        folder = java if "--from=java" in line else COMPOSE / build["context"]
        assert (folder / line.split()[-1]).is_file()
    assert os.access(COMPOSE / build["context"] / "create-tables", os.X_OK)
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= compose["services"].keys()
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= compose["volumes"].keys()
        assert set(service.get("secrets", ())) <= compose["secrets"].keys()
