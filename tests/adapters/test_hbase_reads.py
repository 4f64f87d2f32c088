"""How the HBase adapter reads, on an HBase in memory: the contract, and what a reader meets between two writes."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.tables import HBaseTables
from falcon.journal.envelope import Cursor, Position
from falcon.read.store import PutMember, PutMessage, PutRoom, ReadStoreUnavailable, Write
from tests.contracts.journal import PARTITIONS
from tests.contracts.read_store import ANN, NOON, ROOM, ReadStoreContract, Store
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

    def apply(self, projection: str, *writes: Write) -> None:
        """The next batch of a projection."""
        before = self.tables.cursor(projection)
        self.tables.apply(projection, before, self.cursor(before[0].offset + 1), writes)

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


# --- batches that were written in part --------------------------------------------------------------------------------


def dies_at_put(hbase: FakeHBase, nth: int) -> Callable[[str], None]:
    def before(name: str) -> None:
        if name == "mutateRows" and hbase.asked.count(name) == puts + nth:
            raise ReadStoreUnavailable("the projector has died")

    puts = hbase.asked.count("mutateRows")
    return before


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_projector_that_dies_in_a_batch_leaves_no_room_in_part(store: _Store, nth: int) -> None:
    rooms = [PARTITIONS * n for n in range(1, 400)]
    store.hbase.before = dies_at_put(store.hbase, nth)
    with pytest.raises(ReadStoreUnavailable, match="died"):
        store.apply("rooms", *(PutRoom(each, "group", "Tea", "", NOON, None, None) for each in rooms))
    there = [each for each in rooms if (row := asyncio.run(store.reads.room(each))) is not None and row.name == "Tea"]
    assert 0 < len(there) < len(rooms)
    assert there == rooms[: len(there)]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_projector_that_dies_in_a_batch_leaves_no_member_in_part(store: _Store, nth: int) -> None:
    store.apply("rooms", PutRoom(ROOM, "group", "Tea", "", NOON, None, None))
    accounts = range(ANN, ANN + 400)
    store.hbase.before = dies_at_put(store.hbase, nth)
    with pytest.raises(ReadStoreUnavailable, match="died"):
        store.apply("memberships", *(PutMember(ROOM, each, "member", 0) for each in accounts))
    there = [each for each in accounts if asyncio.run(store.reads.access(ROOM, each)) is not None]
    assert 0 < len(there) < len(accounts)
    assert [row.account_id for row in asyncio.run(store.reads.members(ROOM, 0, 500))] == there


def put_in_part(store: _Store, table: str, row: bytes, columns: Sequence[bytes]) -> None:
    store.hbase.within(1).put(f"falcon_{table}_1", [schema.Cell(row, column, b"1") for column in columns], 1)


def test_a_row_that_an_older_projector_has_written_in_part_is_not_there_yet(store: _Store) -> None:
    """Before rows were written whole, a batch might end within one."""
    put_in_part(store, "rooms", schema.room_key(ROOM), [schema.ROOM_MADE, schema.ROOM_GONE])
    assert asyncio.run(store.reads.room(ROOM)) is None
    store.apply("rooms", PutRoom(ROOM, "group", "Tea", "", NOON, None, None))
    put_in_part(store, "memberships", schema.member_key(ROOM, ANN), [schema.MEMBER])
    put_in_part(store, "memberships", schema.membership_key(ANN, ROOM), [schema.MEMBER, schema.MEMBER_READ_SEQ])
    assert asyncio.run(store.reads.access(ROOM, ANN)) is None
    assert asyncio.run(store.reads.members(ROOM, 0, 9)) == []
    assert asyncio.run(store.reads.rooms_of(ANN, None, 9)) == []


def test_a_part_of_a_batch_is_bounded_in_bytes_too(store: _Store) -> None:
    text = b"x" * 30_000
    store.hbase.asked.clear()
    store.apply("timeline", *(PutMessage(ROOM, seq, text) for seq in range(1, 101)))
    assert store.hbase.asked.count("mutateRows") == 2  # of four rows of 25 messages, two to a call
