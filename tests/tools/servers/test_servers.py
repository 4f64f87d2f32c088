"""The servers as the first process of a container: in the foreground, reached by a name, ending as one."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.servers import start_or_skip
from tools.servers import cluster as clusters
from tools.servers.daemon import ServerFault
from tools.servers.hbase import HBase
from tools.servers.jars import java
from tools.servers.kafka import Kafka, fetch
from tools.servers.session import on_free_ports

ROOT = Path(__file__).parents[3]
_PORTS = range(19_200, 19_960, 40)


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


# --- one that runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A Kafka of three nodes, known as localhost, in the foreground of a process of its own."""
    kafka = start_or_skip(lambda: _one_with_free_ports(tmp_path))
    command = ["kafka", "serve", f"--folder={tmp_path}", f"--port={kafka.port}", "--advertise=localhost"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.servers", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        _read_until(process, "Kafka: up in ")
        yield process
    finally:
        process.kill()
        process.wait()
        kafka.wipe()


def _one_with_free_ports(folder: Path) -> Kafka:
    """Not started. Raises ToolMissing where it could not be."""
    java()
    fetch(print)
    return on_free_ports(lambda port: Kafka(folder, port, advertise="localhost"), random.sample(_PORTS, len(_PORTS)))


@pytest.mark.processes
def test_a_served_kafka_is_reached_by_its_name_and_ends_when_asked(
    served: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    kafka = Kafka.open(tmp_path)
    assert kafka.bootstrap.startswith("localhost:")
    assert asyncio.run(_there_and_back(kafka)) == b"tea?"
    served.send_signal(signal.SIGTERM)
    assert "Kafka: asked to end" in _read_until(served, "")
    assert served.wait(timeout=60) == 0
    assert [status.pid for status in kafka.status()] == [None, None, None]


@pytest.mark.processes
def test_a_served_kafka_ends_as_a_whole_when_a_node_has_died(served: "subprocess.Popen[str]", tmp_path: Path) -> None:
    kafka = Kafka.open(tmp_path)
    pid = kafka.pid(2)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert "Kafka: kafka2 ended by itself; ending the rest" in _read_until(served, "")
    assert served.wait(timeout=60) == 1
    assert [status.pid for status in kafka.status()] == [None, None, None]


async def _there_and_back(kafka: Kafka) -> Any:
    """Through every node: the topic is kept by all three."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("tea", num_partitions=1, replication_factor=3)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    async with producer:
        await asyncio.wait_for(producer.send_and_wait("tea", b"tea?"), 60)
    consumer = AIOKafkaConsumer("tea", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    async with consumer:
        return (await asyncio.wait_for(consumer.getone(), 60)).value


def _read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """Its output up to a line with these words, or until it ends."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words and words in line:
            return said
    assert not words, said
    return said
