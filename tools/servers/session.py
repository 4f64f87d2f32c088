"""Servers beside others, on free ports and in a folder that is removed: for tests, and for programs that prove."""

import fcntl
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

from tools.harness.ports import is_free
from tools.servers.daemon import ServerFault, locked
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch

FOLDER: Final = Path(__file__).parents[2] / "build" / "test-servers"
_BASES: Final = range(20_000, 31_000, 40)  # below the ones that the kernel gives to clients
_TRIES: Final = 3


class Listens(Protocol):
    def ports(self) -> Iterable[int]: ...


Listening = TypeVar("Listening", bound=Listens)
Server = TypeVar("Server", bound=Kafka | HBase | OpenSearch)


def on_free_ports(make: Callable[[int], Listening], bases: Iterable[int]) -> Listening:
    """Call ``make`` with the first base at which all of its ports are free, and return its result. Raises
    ServerFault."""
    for base in bases:
        made = make(base)
        if are_free(made):
            return made
    raise ServerFault("no free ports; end some of what listens on this machine")


def are_free(server: Listens) -> bool:
    return all(is_free(port) for port in server.ports())


def start_kafka(folder: Path, nodes: int = 3) -> Kafka:
    """A Kafka on free ports with its data in ``folder``. Raises ServerFault; ToolMissing without Java or Maven."""
    return start_server(lambda port: Kafka(folder, port, nodes, heap_mib=256))


def start_hbase(folder: Path, region_servers: int = 0, gateways: int = 1) -> HBase:
    """An HBase on free ports with its data in ``folder``. Raises ServerFault; ToolMissing without Java or Maven."""
    return start_server(lambda port: HBase(folder, port, region_servers, gateways, heap_mib=384))


def start_opensearch(folder: Path) -> OpenSearch:
    """An OpenSearch on free ports with its data in ``folder``. Raises as start_kafka does."""
    return start_server(lambda port: OpenSearch(folder, port))


def start_server(make: Callable[[int], Server]) -> Server:
    for left in reversed(range(_TRIES)):
        server = on_free_ports(make, random.sample(_BASES, len(_BASES)))
        try:
            server.start(print)
        except ServerFault:
            server.stop()
            if not left or are_free(server):  # else a port was taken between the look and the start
                raise
        else:
            return server
    raise AssertionError("unreachable")


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
            fcntl.flock(held, fcntl.LOCK_EX)  # a process that can have this lock knows that the session is over
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(session: Path) -> None:
    folder = session.parent
    with session.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for server in (Kafka, HBase, OpenSearch):
            for shape in folder.glob(f"*/{server.__name__.lower()}.json"):
                server.open(shape.parent).wipe()
    shutil.rmtree(folder, ignore_errors=True)
