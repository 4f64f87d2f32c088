"""Kafka and HBase for a session of tests: real ones on free ports, started by the first test that asks, ended at last.

Fixtures for pytest, and plain functions for whoever runs without it.
"""

import fcntl
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import pytest

from deploy.local.daemon import ServerFault, is_free, locked
from deploy.local.hbase import HBase
from deploy.local.jars import ToolMissing
from deploy.local.kafka import Kafka

FOLDER: Final = Path(__file__).parents[2] / "build" / "test-servers"
_PORTS: Final = range(20_000, 31_000, 40)  # below those that the kernel gives to whoever connects
_TRIES: Final = 3

Server = TypeVar("Server", bound=Kafka | HBase)


def start_kafka(folder: Path, nodes: int = 3) -> Kafka:
    """A Kafka on free ports with its data in ``folder``. Raises ServerFault; ToolMissing without Java or Maven."""
    return start_server(lambda port: Kafka(folder, port, nodes, heap_mib=256))


def start_hbase(folder: Path, region_servers: int = 0, gateways: int = 1) -> HBase:
    """An HBase on free ports with its data in ``folder``. Raises ServerFault; ToolMissing without Java or Maven."""
    return start_server(lambda port: HBase(folder, port, region_servers, gateways, heap_mib=384))


def start_server(make: Callable[[int], Server]) -> Server:
    for left in reversed(range(_TRIES)):
        server = make(_free_base(make))
        try:
            server.start(print)
        except ServerFault:
            server.stop()
            if not left or _all_free(server):  # else a port was taken between the look and the start
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _free_base(make: Callable[[int], Server]) -> int:
    bases = random.sample(_PORTS, len(_PORTS))
    found = next((base for base in bases if _all_free(make(base))), None)
    if found is None:
        raise ServerFault(f"no free ports from {_PORTS.start} to {_PORTS.stop}")
    return found


def _all_free(server: Kafka | HBase) -> bool:
    return all(is_free(port) for port in server.ports())


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder that is this process's for the while. What sessions that were killed have left is ended and removed."""
    folder = FOLDER / str(os.getpid())
    with ExitStack() as stack:
        with locked(FOLDER / "lock"):
            for session in FOLDER.glob("*/session"):
                _sweep(session)
            folder.mkdir()
            held = stack.enter_context((folder / "session").open("w"))
            fcntl.flock(held, fcntl.LOCK_EX)  # whoever can have this lock knows that the session is over
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(session: Path) -> None:
    folder = session.parent
    with session.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for server in (Kafka, HBase):
            for shape in folder.glob(f"*/{server.__name__.lower()}.json"):
                server.open(shape.parent).wipe()
    shutil.rmtree(folder, ignore_errors=True)


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
