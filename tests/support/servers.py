"""Kafka, HBase and OpenSearch for a session of tests: real ones on free ports, started by the first test that asks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.servers.hbase import HBase
from tools.servers.jars import ToolMissing
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch
from tools.servers.session import Server, session_folder, start_hbase, start_kafka, start_opensearch


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    with session_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def kafka(servers_folder: Path) -> Iterator[Kafka]:
    """Three nodes. Who hurts one lets it run again."""
    yield from _running(lambda: start_kafka(servers_folder / "kafka"))


@pytest.fixture(scope="session")
def hbase(servers_folder: Path) -> Iterator[HBase]:
    """One process and two gateways. Who hurts one lets it run again."""
    yield from _running(lambda: start_hbase(servers_folder / "hbase", gateways=2))


@pytest.fixture(scope="module")
def small_kafka(servers_folder: Path) -> Iterator[Kafka]:
    """One node, for tests that stop it."""
    yield from _running(lambda: start_kafka(servers_folder / "small-kafka", nodes=1))


@pytest.fixture(scope="module")
def small_hbase(servers_folder: Path) -> Iterator[HBase]:
    """One gateway, for tests that stop it."""
    yield from _running(lambda: start_hbase(servers_folder / "small-hbase"))


@pytest.fixture(scope="session")
def opensearch(servers_folder: Path) -> Iterator[OpenSearch]:
    """Who stops it starts it again."""
    yield from _running(lambda: start_opensearch(servers_folder / "opensearch"))


@pytest.fixture(scope="session")
def kafka_servers(kafka: Kafka) -> str:
    """``host:port,host:port,host:port``"""
    return kafka.bootstrap


@pytest.fixture(scope="session")
def hbase_gateway(hbase: HBase) -> str:
    """``host:port,host:port``"""
    return hbase.addresses


def _running(start: Callable[[], Server]) -> Iterator[Server]:
    server = start_or_skip(start)
    yield server
    server.wipe()


def start_or_skip(start: Callable[[], Server]) -> Server:
    """Without Java or Maven the test is skipped; under ``CI=true`` it fails."""
    try:
        return start()
    except ToolMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
