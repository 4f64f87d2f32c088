"""How the HBase adapter reads, on an HBase in memory: the contract, and what a reader meets between two writes."""

from collections.abc import Iterator

import pytest

from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.tables import HBaseTables
from falcon.journal.envelope import Cursor, Position
from tests.contracts.journal import PARTITIONS
from tests.contracts.read_store import ReadStoreContract, Store
from tests.support.hbase import FakeHBase


class _Store:
    def __init__(self) -> None:
        self.hbase = FakeHBase()
        create = through_gateway(self.hbase)
        prepare(self.hbase, "falcon", "log", PARTITIONS, create)
        self.tables = HBaseTables(self.hbase, "falcon", PARTITIONS, create, grace_seconds=0)
        self.reads = HBaseReadStore(self.hbase, "falcon", threads=1)

    def cursor(self, offset: int) -> Cursor:
        return dict.fromkeys(range(PARTITIONS), Position(offset, 1, offset))

    def close(self) -> None:
        self.reads.close()
        self.tables.close()


@pytest.fixture
def store() -> Iterator[_Store]:
    store = _Store()
    yield store
    store.close()


class TestFakeHBaseReadStore(ReadStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = _Store()
        yield store
        store.close()
