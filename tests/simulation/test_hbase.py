"""The read tables on the simulated HBase keep every contract that they keep on a real one, by the same tests."""

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.schema import TableSpec
from tests.adapters import test_hbase as on_a_real_one
from tests.adapters.test_hbase import Space, _SpaceStore
from tests.contracts.read_store import Store, StreamReadStoreContract
from tools.simulation.hbase.lines import Road, SimulatedGateways
from tools.simulation.hbase.servers import Later, Servers

pytestmark = pytest.mark.simulated


@pytest.fixture
def road() -> Iterator[Road]:
    servers = Servers()
    later = Later()
    yield Road(servers, later, servers.random)
    later.close()


@pytest.fixture
def gateways(road: Road) -> Iterator[Gateways]:
    gateways = SimulatedGateways(road)
    yield gateways
    gateways.close()


@pytest.fixture
def shared_table(gateways: Gateways) -> str:
    name = "shared"
    gateways.within(60).create(TableSpec(name, 1, ()))
    return name


@pytest.fixture
def store(gateways: Gateways, shared_table: str) -> Iterator[_SpaceStore]:
    store = _SpaceStore(Space(gateways, shared_table))
    yield store
    store.close()


class TestReadStore(StreamReadStoreContract):
    @pytest.fixture
    def store(self, gateways: Gateways, shared_table: str) -> Iterator[Store]:
        store = _SpaceStore(Space(gateways, shared_table))
        yield store
        store.close()


def _simulated(test: Any) -> Callable[..., None]:
    """The same test, without the mark that it starts real processes."""
    copy = FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__)
    marks = [mark for mark in test.pytestmark if mark.name != "processes"]
    copy.pytestmark = marks  # type: ignore[attr-defined]
    return copy


globals().update(
    {
        name: _simulated(test)
        for name, test in vars(on_a_real_one).items()
        if name.startswith("test_")
        and inspect.isfunction(test)
        and {"store", "gateways"} & set(inspect.signature(test).parameters)
    }
)
