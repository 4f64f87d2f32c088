"""The read tables on a real HBase keep the contract, and what HBase adds to it.

Creating a table takes HBase half a second, so most tests share one: each has a beginning of row keys of its own there,
and tables by name only. Those about tables themselves have real ones.
"""

import asyncio
import secrets
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.client import Family, HBase, HBaseClient, Stamped
from falcon.adapters.hbase.connection import TableMissing
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.prepare import WrongTables, by_command, check, compressing, prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.schema import TableSpec
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.hbase.thrift import ColumnDescriptor
from falcon.domain.ids import ID_MAX
from falcon.features.messages import hbase as timeline_hbase
from falcon.features.messages.bodies import missing_message
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.features.read_marks import hbase as memberships_hbase
from falcon.features.read_marks.table import Access, DropMember, SetMention, SetReadMark, SetRole, UpsertMember
from falcon.features.rooms import hbase as rooms_hbase
from falcon.features.rooms.table import DropRoom, SetRoomActivity, SetRoomName, UpsertRoom
from falcon.journal.envelope import Cursor, Position
from falcon.read import hbase as read_hbase
from falcon.read.catalogue import READ_MODELS
from falcon.read.hbase import Cell, Row
from falcon.read.store import (
    BeingFilled,
    Comparison,
    Fill,
    ReadStoreUnavailable,
    Recipe,
    Skip,
    StaleProjector,
    Stop,
    UnfinishedRebuild,
)
from falcon.read.write import Write
from tests.contracts.journal import PARTITIONS
from tests.contracts.read_store import ANN, BOB, LATER, NOON, ROOM, Store, StreamReadStoreContract
from tests.support.hbase import folded

IDS = st.integers(1, ID_MAX)
SEQS = st.integers(1, timeline_hbase.SEQ_MAX)


@pytest.fixture(scope="module")
def gateways(hbase_gateway: str) -> Iterator[Gateways]:
    gateways = Gateways(hbase_gateway.split(","))
    yield gateways
    gateways.close()


# --- many tables in one -----------------------------------------------------------------------------------------------


class Space:
    """Tables in name only, within a real one, under row keys with a prefix of their own."""

    def __init__(self, gateways: Gateways, table: str) -> None:
        self.gateways = gateways
        self.table = table
        self.start = secrets.token_bytes(6)
        self.names: set[str] = set()
        self.asked = 0
        self.lost = False  # as for a process that HBase can't be reached from any more

    def another(self) -> "Space":
        """The same tables, as another process sees them."""
        other = Space(self.gateways, self.table)
        other.start, other.names = self.start, self.names
        return other

    def within(self, seconds: float, attempt_seconds: float | None = None) -> HBaseClient:
        self.asked += 1
        return SpaceCalls(self.gateways.within(seconds, attempt_seconds), self)


class SpaceCalls(HBaseClient):
    def __init__(self, client: HBaseClient, space: Space) -> None:
        self._client = client
        self._space = space

    def row(self, table: str, key: bytes, columns: Collection[bytes] = ()) -> Row:
        return self._client.row(self._space.table, self._start(table) + key, columns)

    def rows(
        self, table: str, keys: Iterable[bytes], columns: Collection[bytes] = (), at_once: int = 1_000
    ) -> dict[bytes, Row]:
        start = self._start(table)
        found = self._client.rows(self._space.table, (start + key for key in keys), columns, at_once)
        return {key[len(start) :]: row for key, row in found.items()}

    def rows_at_once(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[tuple[int, dict[bytes, Row]]]:
        starts = [self._start(table) for table, _ in wanted]
        asked = zip(starts, wanted, strict=True)
        found = self._client.rows_at_once(
            [(self._space.table, [start + key for key in of]) for start, (_, of) in asked]
        )
        return [
            (stamp, {key[len(start) :]: row for key, row in rows.items()})
            for start, (stamp, rows) in zip(starts, found, strict=True)
        ]

    def stamped(self, table: str, keys: Iterable[bytes]) -> dict[bytes, dict[bytes, Stamped]]:
        start = self._start(table)
        found = self._client.stamped(self._space.table, (start + key for key in keys))
        return {key[len(start) :]: row for key, row in found.items()}

    def scan(self, table: str, start: bytes, stop: bytes, limit: int, filter: str = "") -> list[tuple[bytes, Row]]:
        beginning = self._start(table)
        found = self._client.scan(self._space.table, beginning + start, beginning + stop, limit, filter)
        return [(key[len(beginning) :], row) for key, row in found]

    def put(self, table: str, cells: Iterable[Cell], stamp: int) -> None:
        start = self._start(table)
        self._client.put(self._space.table, [cell._replace(row=start + cell.row) for cell in cells], stamp)

    def check_and_put(self, table: str, row: bytes, column: bytes, expected: bytes | None, value: bytes) -> bool:
        return self._client.check_and_put(self._space.table, self._start(table) + row, column, expected, value)

    def tables(self) -> set[str]:
        return set(self._space.names)

    def family(self, table: str) -> Family | None:
        return Family(1, False)

    def create(self, spec: TableSpec) -> None:
        self._space.names.add(spec.name)

    def drop(self, table: str) -> None:
        self._space.names.discard(table)

    def _start(self, table: str) -> bytes:
        if self._space.lost:
            raise ReadStoreUnavailable("lost")
        if table not in self._space.names:
            raise TableMissing(table)
        return self._space.start + table.encode() + b"\0"


class _Store:
    def __init__(self, hbase: HBase, prefix: str = "falcon") -> None:
        self.hbase = hbase
        self.prefix = prefix
        prepare(hbase, prefix, "log", PARTITIONS, through_gateway(hbase))
        self.tables = projector(hbase, prefix)
        self.reads = HBaseReadStore(hbase, prefix, threads=4, seconds=6)

    def cursor(self, offset: int) -> Cursor:
        return everywhere(offset)

    def close(self) -> None:
        self.reads.close()
        self.tables.close()


class _SpaceStore(_Store):
    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.space = space

    def values(self) -> dict[tuple[bytes, bytes], bytes]:
        """Every cell of the read tables."""
        names = sorted(self.space.names - {schema.meta_name(self.prefix)})
        calls = self.space.within(30)
        rows = [(name.encode(), *row) for name in names for row in calls.scan(name, b"", b"\xff" * 9, 10_000)]
        return {(name + key, column): value for name, key, row in rows for column, value in row.items()}


def everywhere(offset: int) -> Cursor:
    return dict.fromkeys(range(PARTITIONS), Position(offset, 1, offset))


def projector(hbase: HBase, prefix: str = "falcon", switch_seconds: float = 60) -> HBaseTables:
    create = through_gateway(hbase)
    return HBaseTables(hbase, prefix, PARTITIONS, create, switch_seconds=switch_seconds, grace_seconds=0)


def advance(tables: HBaseTables, projection: str, offset: int, *writes: Write) -> None:
    tables.apply(projection, tables.cursor(projection), everywhere(offset), writes)


def advanced(tables: HBaseTables, projection: str, offset: int, *writes: Write) -> bool:
    """True, as a rebuild says that has caught up."""
    advance(tables, projection, offset, *writes)
    return True


@pytest.fixture(scope="module")
def shared_table(gateways: Gateways) -> Iterator[str]:
    name = f"test_{secrets.token_hex(4)}"
    calls = gateways.within(60)
    calls.create(TableSpec(name, 1, ()))
    yield name
    gateways.within(60).drop(name)


@pytest.fixture
def store(gateways: Gateways, shared_table: str) -> Iterator[_SpaceStore]:
    store = _SpaceStore(Space(gateways, shared_table))
    yield store
    store.close()


@pytest.mark.processes
class TestHBaseReadStore(StreamReadStoreContract):
    @pytest.fixture
    def store(self, gateways: Gateways, shared_table: str) -> Iterator[Store]:
        store = _SpaceStore(Space(gateways, shared_table))
        yield store
        store.close()


# --- row keys ---------------------------------------------------------------------------------------------------------


@given(IDS, SEQS, SEQS)
def test_newer_messages_lie_before_older_ones(room_id: int, one: int, other: int) -> None:
    newer, older = max(one, other), min(one, other)
    assert (
        timeline_hbase.head_key(room_id)
        < timeline_hbase.bucket_key(room_id, newer)
        <= timeline_hbase.bucket_key(room_id, older)
    )
    apart = (newer - 1) // timeline_hbase.BUCKET > (older - 1) // timeline_hbase.BUCKET
    assert apart == (timeline_hbase.bucket_key(room_id, newer) != timeline_hbase.bucket_key(room_id, older))


@given(IDS, SEQS, IDS, SEQS)
def test_each_message_has_a_place_of_its_own(room_id: int, seq: int, other_room: int, other_seq: int) -> None:
    place = (timeline_hbase.bucket_key(room_id, seq), timeline_hbase.message_column(seq))
    other = (timeline_hbase.bucket_key(other_room, other_seq), timeline_hbase.message_column(other_seq))
    assert (place == other) == ((room_id, seq) == (other_room, other_seq))
    assert timeline_hbase.head_key(other_room) != place[0]
    assert timeline_hbase.message_seq(*place) == seq


@given(IDS, SEQS, IDS, SEQS)
def test_what_is_no_newer_than_a_message_is_found_from_its_row_on(
    room_id: int, through: int, other_room: int, seq: int
) -> None:
    start, stop = timeline_hbase.messages_range(room_id, through)
    older = (seq - 1) // timeline_hbase.BUCKET <= (through - 1) // timeline_hbase.BUCKET
    assert (start <= timeline_hbase.bucket_key(room_id, seq) < stop) == older
    assert not start <= timeline_hbase.head_key(room_id) < stop
    assert (start <= timeline_hbase.bucket_key(other_room, seq) < stop) == (other_room == room_id and older)


@given(IDS, SEQS, st.integers(0, 500))
def test_a_page_lies_in_few_rows(room_id: int, first: int, more: int) -> None:
    last = min(first + more, timeline_hbase.SEQ_MAX)
    keys = timeline_hbase.bucket_keys(room_id, first, last)
    assert set(keys) == {timeline_hbase.bucket_key(room_id, seq) for seq in range(first, last + 1)}
    assert len(keys) == len(set(keys))
    assert last - first >= 50 or len(keys) <= 3


@given(IDS, IDS)
def test_the_index_is_in_the_order_of_ids_and_apart_from_the_rows(one: int, other: int) -> None:
    assert (read_hbase.index_key(one) < read_hbase.index_key(other)) == (one < other)
    start, stop = read_hbase.index_range(one)
    assert (start <= read_hbase.index_key(other) < stop) == (other > one)
    assert not read_hbase.INDEX_START <= rooms_hbase.room_key(other) < stop
    assert not read_hbase.INDEX_START <= rooms_hbase.pair_key(one, other) < stop
    assert read_hbase.id_at_end(read_hbase.index_key(one)) == read_hbase.id_at_end(rooms_hbase.room_key(one)) == one


@given(IDS, IDS, IDS, IDS)
def test_memberships_are_found_from_both_sides(room_id: int, account_id: int, other: int, after: int) -> None:
    start, stop = memberships_hbase.members_range(room_id, after)
    assert (start <= memberships_hbase.member_key(room_id, account_id) < stop) == (account_id > after)
    assert (start <= memberships_hbase.member_key(other, account_id) < stop) == (
        other == room_id and account_id > after
    )
    start, stop = memberships_hbase.memberships_range(account_id)
    assert start <= memberships_hbase.membership_key(account_id, room_id) < stop
    assert memberships_hbase.member_key(room_id, account_id) != memberships_hbase.membership_key(room_id, account_id)


@given(IDS, IDS, SEQS, st.integers(0, 5_000))
def test_mentions_lie_where_they_are_looked_for(account_id: int, room_id: int, seq: int, around: int) -> None:
    after, through = max(seq - 1 - around, 0), min(seq + around, timeline_hbase.SEQ_MAX)
    key, column = memberships_hbase.mentions_key(account_id, room_id, seq), memberships_hbase.mention_column(seq)
    keys = memberships_hbase.mentions_keys(account_id, room_id, after, through)
    start, stop = memberships_hbase.mentions_range(account_id, room_id, after, through)
    assert memberships_hbase.mentioned_seq(key, column) == seq
    assert key in keys
    assert len(keys) == memberships_hbase.mentions_rows(after, through)
    assert all(start <= each < stop for each in keys)


# --- batches, again and in parts --------------------------------------------------------------------------------------

# A room's history as its projections write it, an event a line.
HISTORY: tuple[tuple[Write, ...], ...] = (
    (UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None), SetRoomActivity(ROOM, 0, NOON)),
    (UpsertMember(ROOM, ANN, "admin", 0), UpsertMember(ROOM, BOB, "member", 0)),
    (UpsertMessage(ROOM, 1, b"hello"), SetRoomActivity(ROOM, 1, NOON), SetReadMark(ROOM, ANN, 1)),
    (UpsertMessage(ROOM, 2, b"@bob"), SetRoomActivity(ROOM, 2, NOON), SetMention(BOB, ROOM, 2, True)),
    (DropMember(ROOM, BOB),),
    (UpsertMessage(ROOM, 1, b"hello!"), SetRevision(ROOM, 1)),
    (UpsertMember(ROOM, BOB, "readonly", 2),),
    (UpsertMessage(ROOM, 2, b""), SetRevision(ROOM, 2), SetMention(BOB, ROOM, 2, False)),
    (SetRoomName(ROOM, "Kitchen", "tea", LATER),),
    (SetReadMark(ROOM, ANN, 2), SetRole(ROOM, ANN, "member")),
    (DropMember(ROOM, ANN),),
    (DropRoom(ROOM),),
)


def put(space: Space, first: int, behind: int) -> None:
    """Act like a projector that dies before it moves the position: write the events from ``first`` on, below
    ``behind``."""
    calls = space.within(30)
    for table, cells in folded([write for event in HISTORY[first:behind] for write in event]):
        calls.put(schema.table_name("falcon", table, 1), cells, behind)


@pytest.mark.processes
@pytest.mark.parametrize(
    "late", [[(0, 4)], [(0, 12)], [(2, 6), (1, 3)], [(8, 12), (0, 8)], [(n, n + 1) for n in range(12)]]
)
def test_whoever_writes_old_batches_again_changes_nothing(store: _SpaceStore, late: list[tuple[int, int]]) -> None:
    put(store.space, 0, 7)
    put(store.space, 7, 12)
    finished = store.values()
    for first, behind in late:
        put(store.space, first, behind)
        assert store.values() == finished


@pytest.mark.processes
@pytest.mark.parametrize("at", range(1, 12))
def test_a_batch_that_was_written_in_part_is_written_again_by_the_next(store: _SpaceStore, at: int) -> None:
    put(store.space, 0, at)
    put(store.space, max(at - 3, 0), min(at + 2, 12))
    put(store.space, at, 12)
    with_parts = store.values()
    other = _SpaceStore(Space(store.space.gateways, store.space.table))
    put(other.space, 0, 12)
    assert with_parts == other.values()
    other.close()


@pytest.mark.processes
def test_of_projectors_that_do_the_same_one_moves_the_position(store: _SpaceStore) -> None:
    rivals = [projector(store.space.another()) for _ in range(3)]
    moved: list[int] = []

    def run(tables: HBaseTables) -> None:
        while (at := tables.cursor("timeline")[0]).offset < 30:
            after = Position(at.offset + 1, 1, at.offset + 1)
            try:
                tables.apply("timeline", {0: at}, {0: after}, [UpsertMessage(ROOM, after.offset, b"%d" % at.offset)])
                moved.append(at.offset)
            except StaleProjector:
                continue

    threads = [threading.Thread(target=run, args=(tables,)) for tables in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tables in rivals:
        tables.close()
    assert store.tables.cursor("timeline")[0].offset == 30
    assert len(asyncio.run(store.reads.page(ROOM, 1, 99)).messages) == 30
    assert sorted(moved) == list(range(30))


@pytest.mark.processes
def test_each_partition_is_moved_by_itself(store: _SpaceStore) -> None:
    room = 2 * PARTITIONS + 1  # of partition 1
    one, three = Position(7, 1, 7), Position(9, 2, 1)
    store.tables.apply("timeline", {1: Position(), 3: Position()}, {1: one, 3: three}, [UpsertMessage(room, 1, b"hi")])
    assert store.tables.cursor("timeline") == {0: Position(), 1: one, 2: Position(), 3: three}
    with pytest.raises(StaleProjector):
        store.tables.apply("timeline", {1: Position()}, {1: Position(8, 1, 8)}, ())
    with pytest.raises(ValueError, match=r"partitions \[1\]"):
        store.tables.apply("timeline", {2: Position()}, {2: Position(1)}, [UpsertMessage(room, 2, b"astray")])


@pytest.mark.processes
def test_a_message_is_never_older_than_the_revision_it_comes_with(store: _SpaceStore) -> None:
    advance(store.tables, "timeline", 1, UpsertMessage(ROOM, 1, b"0"))

    def edit() -> None:
        for revision in range(1, 60):
            edited = (SetRevision(ROOM, revision), UpsertMessage(ROOM, 1, b"%d" % revision))
            advance(store.tables, "timeline", revision + 1, *edited)

    editing = threading.Thread(target=edit)
    editing.start()
    while editing.is_alive():
        message, revision = asyncio.run(store.reads.message_at(ROOM, 1))
        assert message is not None
        assert int(message) >= revision
    editing.join()


@pytest.mark.processes
def test_a_hole_ends_a_page_until_all_before_what_stands_behind_it_has_been_applied(store: _SpaceStore) -> None:
    """The missing ones of the batch are passed over, or their rows get lost."""
    batch = [UpsertMessage(ROOM, seq, b"%d" % seq) for seq in range(1, 1_200) if seq not in (30, 1_100)]
    for table, cells in folded(batch):
        store.space.within(30).put(f"falcon_{table}_1", cells, 1)
    assert asyncio.run(store.reads.page(ROOM, 20, 69)).messages == [b"%d" % seq for seq in range(20, 30)]
    assert asyncio.run(store.reads.page(ROOM, 30, 69)).messages == []
    advance(store.tables, "timeline", 1)
    shown = [missing_message(ROOM, seq) if seq in (30, 1_100) else b"%d" % seq for seq in range(1, 1_200)]
    assert asyncio.run(store.reads.page(ROOM, 20, 69)).messages == shown[19:69]
    assert asyncio.run(store.reads.page(ROOM, 30, 69)).messages == shown[29:69]
    assert asyncio.run(store.reads.page(ROOM, 1, 2_000)).messages == shown


@pytest.mark.processes
def test_all_rooms_are_walked_through_in_order_past_those_that_are_gone(store: _SpaceStore) -> None:
    ids = [PARTITIONS * n + n % PARTITIONS for n in range(1, 90)]
    advance(store.tables, "rooms", 1, *(UpsertRoom(each, "group", "", "", NOON, None, None) for each in ids))
    advance(store.tables, "rooms", 2, *(DropRoom(each) for each in ids if each % 3))
    there = [each for each in ids if each % 3 == 0]
    walked: list[int] = []
    while page := asyncio.run(store.reads.all_rooms(walked[-1] if walked else 0, 7)):
        walked += [row.room_id for row in page]
    assert walked == there


@pytest.mark.processes
def test_many_who_wait_for_the_same_event_ask_once(store: _SpaceStore) -> None:
    async def together() -> list[int]:
        return await asyncio.gather(*(store.reads.applied(1) for _ in range(50)))

    asyncio.run(store.reads.applied(1))
    before = store.space.asked
    assert asyncio.run(together()) == [0] * 50
    assert store.space.asked == before + 1


# --- rebuilds ---------------------------------------------------------------------------------------------------------


def rebuilt(store: _Store) -> str:
    """A rebuild that has come as far as the live tables, which have a stray message."""
    advance(store.tables, "timeline", 3, UpsertMessage(ROOM, 1, b"old"), UpsertMessage(ROOM, 2, b"stray"))
    shadow = store.tables.begin_rebuild("timeline")
    advance(store.tables, shadow, 3, UpsertMessage(ROOM, 1, b"new"))
    return shadow


def page(store: _Store) -> list[bytes]:
    return asyncio.run(store.reads.page(ROOM, 1, 9)).messages


@pytest.mark.processes
def test_projectors_wait_while_tables_are_switched_over_and_go_on_in_the_new_ones(store: _SpaceStore) -> None:
    shadow = rebuilt(store)
    live = projector(store.space.another())
    before = live.cursor("timeline")

    def catch_up() -> bool:
        with pytest.raises(StaleProjector):
            live.apply("timeline", before, everywhere(4), [UpsertMessage(ROOM, 3, b"late")])
        with pytest.raises(ReadStoreUnavailable, match="being switched over"):
            live.cursor("timeline")
        advance(store.tables, shadow, 5, UpsertMessage(ROOM, 2, b"meanwhile"))
        return True

    store.tables.finish_rebuild("timeline", catch_up)
    with pytest.raises(StaleProjector):
        live.apply("timeline", before, everywhere(4), [UpsertMessage(ROOM, 3, b"late")])
    assert live.cursor("timeline") == everywhere(5)
    advance(live, "timeline", 6, UpsertMessage(ROOM, 3, b"after"))
    assert page(store) == [b"new", b"meanwhile", b"after"]
    live.close()


@pytest.mark.processes
def test_a_rebuild_that_fails_leaves_the_live_tables_as_they_were(store: _SpaceStore) -> None:
    rebuilt(store)

    def catch_up() -> bool:
        raise RuntimeError("an event that cannot be applied")

    with pytest.raises(RuntimeError):
        store.tables.finish_rebuild("timeline", catch_up)
    assert page(store) == [b"old", b"stray"]
    advance(store.tables, "timeline", 4, UpsertMessage(ROOM, 3, b"on"))
    assert page(store) == [b"old", b"stray", b"on"]


@pytest.mark.processes
def test_tables_that_are_behind_do_not_take_the_live_ones_place(store: _SpaceStore) -> None:
    advance(store.tables, "timeline", 3, UpsertMessage(ROOM, 1, b"old"))
    shadow = store.tables.begin_rebuild("timeline")
    advance(store.tables, shadow, 2)
    with pytest.raises(ReadStoreUnavailable, match="behind"):
        store.tables.finish_rebuild("timeline", lambda: True)
    advance(store.tables, "timeline", 4)
    assert page(store) == [b"old"]


@pytest.mark.processes
def test_a_switch_over_that_has_died_is_called_off(store: _SpaceStore) -> None:
    rebuilt(store)

    def lose_hbase() -> bool:
        store.space.lost = True
        return True

    with pytest.raises(ReadStoreUnavailable, match="lost"):
        store.tables.finish_rebuild("timeline", lose_hbase)
    store.space.lost = False
    patient, impatient = projector(store.space.another()), projector(store.space.another(), switch_seconds=0)
    with pytest.raises(ReadStoreUnavailable, match="being switched over"):
        patient.cursor("timeline")
    assert impatient.cursor("timeline") == everywhere(3)
    advance(patient, "timeline", 4, UpsertMessage(ROOM, 3, b"on"))
    assert page(store) == [b"old", b"stray", b"on"]
    shadow = store.tables.begin_rebuild("timeline")
    store.tables.finish_rebuild("timeline", lambda: advanced(store.tables, shadow, 4, UpsertMessage(ROOM, 1, b"new")))
    assert page(store) == [b"new"]
    patient.close()
    impatient.close()


@pytest.mark.processes
def test_a_switch_over_that_was_called_off_does_not_happen_later(store: _SpaceStore) -> None:
    rebuilt(store)
    impatient = projector(store.space.another(), switch_seconds=0)

    def catch_up() -> bool:
        advance(impatient, "timeline", 4, UpsertMessage(ROOM, 3, b"on"))
        return True

    with pytest.raises(ReadStoreUnavailable, match="called off"):
        store.tables.finish_rebuild("timeline", catch_up)
    assert page(store) == [b"old", b"stray", b"on"]
    impatient.close()


@pytest.mark.processes
def test_a_rebuild_is_taken_away_by_the_next_one(store: _SpaceStore) -> None:
    first = rebuilt(store)
    other = projector(store.space.another())
    second = other.begin_rebuild("timeline")
    for again in (lambda: store.tables.cursor(first), lambda: advance(store.tables, first, 4)):
        with pytest.raises(ReadStoreUnavailable, match="taken away"):
            again()
    with pytest.raises(ReadStoreUnavailable, match="taken away"):
        store.tables.finish_rebuild("timeline", lambda: True)
    other.finish_rebuild("timeline", lambda: advanced(other, second, 3, UpsertMessage(ROOM, 1, b"second")))
    assert page(store) == [b"second"]
    other.close()


@pytest.mark.processes
def test_another_process_goes_on_with_a_rebuild_that_was_killed(store: _SpaceStore) -> None:
    advance(store.tables, "timeline", 3, UpsertMessage(ROOM, 1, b"old"))
    recipe = Recipe(skips=(Skip(0, Position(9, 1, 8), "\u2603"),))
    shadow = store.tables.begin_rebuild("timeline")
    store.tables.resume_rebuild("timeline", shadow, recipe)
    advance(store.tables, shadow, 2, UpsertMessage(ROOM, 1, b"new"))
    other = projector(store.space.another())
    assert other.unfinished_rebuild("timeline") == UnfinishedRebuild(shadow, recipe)
    assert other.unfinished_rebuild("rooms") is None
    other.resume_rebuild("timeline", shadow, recipe)
    assert other.cursor(shadow) == everywhere(2)
    assert other.finish_rebuild("timeline", lambda: advanced(other, shadow, 3, UpsertMessage(ROOM, 2, b"end")))
    assert page(store) == [b"new", b"end"]
    assert other.unfinished_rebuild("timeline") is None
    other.close()


@pytest.mark.processes
def test_a_rebuild_that_was_killed_before_it_had_its_tables_cannot_go_on(store: _SpaceStore) -> None:
    killed = ReadStoreUnavailable("killed")
    with patch.object(SpaceCalls, "create", side_effect=killed), pytest.raises(ReadStoreUnavailable, match="killed"):
        store.tables.begin_rebuild("timeline")
    assert store.tables.unfinished_rebuild("timeline") is None
    store.tables.begin_rebuild("timeline")
    assert store.tables.finish_rebuild("timeline", lambda: True)


@pytest.mark.processes
def test_tables_open_again_if_too_much_is_left_and_the_rebuild_goes_on(store: _SpaceStore) -> None:
    shadow = rebuilt(store)
    assert not store.tables.finish_rebuild("timeline", lambda: False)
    advance(store.tables, "timeline", 4, UpsertMessage(ROOM, 3, b"on"))
    assert page(store) == [b"old", b"stray", b"on"]
    advance(store.tables, shadow, 4, UpsertMessage(ROOM, 2, b"on"))
    assert store.tables.finish_rebuild("timeline", lambda: True)
    assert page(store) == [b"new", b"on"]


@pytest.mark.processes
def test_no_tables_are_left_behind(store: _SpaceStore) -> None:
    names = set(store.space.names)
    for _ in range(2):
        store.tables.begin_rebuild("memberships")
    store.tables.finish_rebuild("memberships", lambda: True)
    old = {"falcon_memberships_1", "falcon_mentions_1"}
    assert store.space.names == names - old | {"falcon_memberships_3", "falcon_mentions_3"}


@pytest.mark.processes
def test_a_rebuild_gives_every_page_another_version(store: _SpaceStore) -> None:
    advance(store.tables, "rooms", 1, *HISTORY[0])
    advance(store.tables, "memberships", 1, *HISTORY[1])
    shadow = rebuilt(store)
    advance(store.tables, shadow, 4, SetRevision(ROOM, 5))
    store.tables.finish_rebuild("timeline", lambda: True)
    reads = HBaseReadStore(store.space, "falcon")
    assert asyncio.run(reads.access(ROOM, ANN)) == Access("admin", 0, 0, 1 << 40 | 5, 0)
    reads.close()


# --- partitions that stop, events passed over -------------------------------------------------------------------------


@pytest.mark.processes
def test_partitions_stop_and_go_on_one_by_one(store: _SpaceStore) -> None:
    first, second = Stop(Position(40, 9, 2), "cannot: \u2603"), Stop(Position(8, 1, 7), "still not")
    store.tables.stop("rooms", 1, first)
    store.tables.stop("rooms", 3, Stop(Position(7, 1, 6), "no"))
    store.tables.stop("rooms", 3, second)
    assert store.tables.stops("rooms") == {1: first, 3: second}
    assert store.tables.stops("timeline") == {}
    store.tables.go_on("rooms", 1)
    store.tables.go_on("rooms", 0)
    assert store.tables.stops("rooms") == {3: second}
    shadow = store.tables.begin_rebuild("rooms")
    assert store.tables.stops(shadow) == {}
    store.tables.finish_rebuild("rooms", lambda: True)
    assert store.tables.stops("rooms") == {}


@pytest.mark.processes
def test_what_was_passed_over_is_recorded_for_ever(store: _SpaceStore) -> None:
    skipped = [Skip(0, Position(3, 1, 2), "another"), Skip(2, Position(11, 4, 0), "a test of ours, see the ticket")]
    for skip in skipped:
        store.tables.skip("timeline", skip)
    assert store.tables.skips("timeline") == skipped
    shadow = store.tables.begin_rebuild("timeline")
    assert store.tables.skips(shadow) == skipped
    store.tables.finish_rebuild("timeline", lambda: True)
    assert store.tables.skips("timeline") == skipped
    assert store.tables.skips("rooms") == []


# --- comparing with the log -------------------------------------------------------------------------------------------


def compared(
    store: _SpaceStore, projection: str, through: int, writes: Sequence[Write], *, repair: bool = False
) -> Comparison:
    return store.tables.comparing(projection, everywhere(through), repair=repair).compare(0, through, writes)


@pytest.mark.processes
def test_what_the_tables_have_lost_is_found_and_mended(store: _SpaceStore) -> None:
    messages = [UpsertMessage(ROOM, seq, b"%d" % seq) for seq in range(1, 61)]
    advance(store.tables, "timeline", 60, *messages[:50], SetRevision(ROOM, 3))  # ten were lost
    calls = store.space.within(30)
    wrong = [
        read_hbase.Cell(timeline_hbase.bucket_key(ROOM, seq), timeline_hbase.message_column(seq), b"?")
        for seq in (5, 6)
    ]
    calls.put("falcon_timeline_1", wrong, 60)
    newer = read_hbase.Cell(timeline_hbase.bucket_key(ROOM, 7), timeline_hbase.message_column(7), b"edited since")
    calls.put("falcon_timeline_1", [newer], 70)
    writes: list[Write] = [*messages, SetRevision(ROOM, 3)]
    assert compared(store, "timeline", 60, writes) == Comparison(60, 10, 2)
    assert compared(store, "timeline", 60, writes, repair=True) == Comparison(60, 10, 2)
    assert compared(store, "timeline", 60, writes) == Comparison(60, 0, 0)
    with pytest.raises(ValueError, match="not of 1"):
        store.tables.comparing("timeline", everywhere(60), repair=True).compare(1, 60, writes)
    expected = [b"edited since" if seq == 7 else b"%d" % seq for seq in range(1, 61)]
    assert asyncio.run(store.reads.page(ROOM, 1, 60)).messages == expected


@pytest.mark.processes
def test_every_kind_of_write_can_be_compared(store: _SpaceStore) -> None:
    put(store.space, 0, 12)
    writes = [write for event in HISTORY for write in event]
    rooms = [write for write in writes if isinstance(write, UpsertRoom | SetRoomName | SetRoomActivity | DropRoom)]
    members = [
        write for write in writes if isinstance(write, UpsertMember | DropMember | SetReadMark | SetRole | SetMention)
    ]
    for projection, of_projection in (("rooms", rooms), ("memberships", members)):
        found = compared(store, projection, 12, of_projection)
        assert found.cells >= 3
        assert found[1:] == (0, 0, 0)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_tables_of_another_log_are_refused(store: _SpaceStore) -> None:
    with pytest.raises(WrongTables, match=f"FALCON_PARTITIONS={PARTITIONS}"):
        check(store.space, "falcon", "log", PARTITIONS + 1)
    with pytest.raises(WrongTables, match="show the log log, this log is another"):
        prepare(store.space, "falcon", "another", PARTITIONS, through_gateway(store.space))
    with pytest.raises(WrongTables, match="run falcon prepare"):
        check(store.space, "other", "log", PARTITIONS)
    with pytest.raises(ReadStoreUnavailable, match="prepare them first"):
        projector(store.space, "other").cursor("rooms")
    check(store.space, "falcon", "log", PARTITIONS)


@pytest.mark.processes
def test_a_table_that_was_lost_is_not_made_anew_silently(store: _SpaceStore) -> None:
    store.space.names.remove("falcon_rooms_1")
    with pytest.raises(WrongTables, match="falcon_rooms_1: run falcon rebuild rooms"):
        prepare(store.space, "falcon", "log", PARTITIONS, through_gateway(store.space))
    with pytest.raises(ReadStoreUnavailable, match="cannot read"):
        asyncio.run(store.reads.room(ROOM))
    with pytest.raises(ReadStoreUnavailable, match="missing"):
        advance(store.tables, "rooms", 1, *HISTORY[0])
    shadow = store.tables.begin_rebuild("rooms")
    store.tables.finish_rebuild("rooms", lambda: advanced(store.tables, shadow, 1, *HISTORY[0]))
    check(store.space, "falcon", "log", PARTITIONS)


@pytest.mark.processes
def test_tables_of_a_new_read_model_are_said_to_be_filled_until_they_are_shown(
    gateways: Gateways, shared_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(gateways, shared_table)
    with patch.dict(READ_MODELS):  # as in an earlier Falcon
        del READ_MODELS["memberships"]
        prepare(space, "falcon", "log", PARTITIONS, through_gateway(space))
    with pytest.raises(WrongTables, match="of memberships yet: run falcon prepare"):
        check(space, "falcon", "log", PARTITIONS)
    store = _SpaceStore(space)  # which prepares
    monkeypatch.setattr("falcon.adapters.hbase.read_store._GENERATIONS_SECONDS", 0.0)
    try:
        for projection in READ_MODELS.keys() - {"memberships"}:
            advance(store.tables, projection, 9)
        assert asyncio.run(store.reads.applied(0)) == 9, "nobody waits for it"
        assert asyncio.run(store.reads.room(ROOM)) is None
        with pytest.raises(BeingFilled, match="memberships is new here"):
            asyncio.run(store.reads.access(ROOM, ANN))
        with pytest.raises(BeingFilled):
            asyncio.run(store.reads.applied_everywhere(PARTITIONS, ["accounts", "memberships"]))
        advance(store.tables, "memberships", 5, UpsertMember(ROOM, ANN, "admin", 0))
        assert store.tables.fill("memberships") is Fill.FILLING
        store.tables.begin_rebuild("memberships")
        assert store.tables.fill("memberships") is Fill.FILLING, "a rebuild that has only begun shows nothing"
        store.tables.move_fill("memberships", Fill.COUNTED)
        assert asyncio.run(store.reads.applied(0)) == 5
        with pytest.raises(BeingFilled):
            asyncio.run(store.reads.roles_of(ANN, 9))
        store.tables.move_fill("memberships", Fill.SHOWN)
        assert asyncio.run(store.reads.roles_of(ANN, 9)) == {ROOM: "admin"}
        store.tables.move_fill("memberships", Fill.FILLING)
        assert store.tables.fill("memberships") is Fill.SHOWN, "it only ever goes on"
    finally:
        store.close()


@pytest.mark.processes
def test_a_rebuild_of_a_read_model_that_is_being_filled_ends_the_filling(gateways: Gateways, shared_table: str) -> None:
    space = Space(gateways, shared_table)
    with patch.dict(READ_MODELS):  # as in an earlier Falcon
        del READ_MODELS["timeline"]
        prepare(space, "falcon", "log", PARTITIONS, through_gateway(space))
    store = _SpaceStore(space)
    try:
        shadow = store.tables.begin_rebuild("timeline")
        advance(store.tables, shadow, 4, UpsertMessage(ROOM, 1, b"first"))
        store.tables.finish_rebuild("timeline", lambda: True)
        assert store.tables.fill("timeline") is Fill.COUNTED, "readers may not count it yet, and must not ask it"
        store.tables.move_fill("timeline", Fill.SHOWN)
        assert asyncio.run(store.reads.page(ROOM, 1, 9)).messages == [b"first"]
    finally:
        store.close()


@pytest.mark.processes
def test_real_tables_are_made_checked_rebuilt_and_dropped(gateways: Gateways) -> None:
    prefix = f"test_{secrets.token_hex(4)}"
    calls = gateways.within(120)
    store = _Store(gateways, prefix)
    try:
        prepare(gateways, prefix, "log", PARTITIONS, through_gateway(gateways))
        shadow = rebuilt(store)
        assert page(store) == [b"old", b"stray"]
        store.tables.finish_rebuild(
            "timeline", lambda: advanced(store.tables, shadow, 4, UpsertMessage(ROOM, 2, b"last"))
        )
        assert page(store) == [b"new", b"last"]  # asked of the old table at first, which is gone
        check(gateways, prefix, "log", PARTITIONS)
        assert f"{prefix}_timeline_2" in calls.tables()
        assert f"{prefix}_timeline_1" not in calls.tables()
    finally:
        store.close()
        _drop_all(gateways, prefix)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "advice"), [({"maxVersions": 3}, "VERSIONS => 1"), ({"maxVersions": 1, "timeToLive": 60}, "TTL")]
)
def test_a_table_with_other_settings_is_refused(gateways: Gateways, settings: dict[str, int], advice: str) -> None:
    prefix = f"test_{secrets.token_hex(4)}"
    family = ColumnDescriptor(name=b"d:", **settings)
    gateways.call(lambda line: line.client.createTable(f"{prefix}_meta", [family]), time.monotonic() + 30, 30)
    try:
        # No other table is needed to see it.
        with pytest.raises(WrongTables, match=advice):
            prepare(gateways, prefix, "log", PARTITIONS, lambda specs: None)
    finally:
        _drop_all(gateways, prefix)


def _drop_all(gateways: Gateways, prefix: str) -> None:
    calls = gateways.within(120)
    for name in calls.tables():
        if name.startswith(prefix):
            calls.drop(name)


SPECS = schema.table_specs("falcon", "memberships", 3, {"mentions": 16})
CREATE = [sys.executable, "-c"]


def test_tables_are_made_by_the_operators_command(tmp_path: Path) -> None:
    by_command([*CREATE, f"import sys; open({str(tmp_path / 'lines')!r}, 'w').write(sys.stdin.read())"])(SPECS)
    assert (tmp_path / "lines").read_text().splitlines() == [
        "falcon_memberships_3 d 4 VERSIONS=1 BLOOMFILTER=ROW DATA_BLOCK_ENCODING=FAST_DIFF",
        "falcon_mentions_3 d 16 VERSIONS=1 BLOOMFILTER=ROW DATA_BLOCK_ENCODING=FAST_DIFF",
    ]


HAS_ONLY_SNAPPY = """
import sys
lines = sys.stdin.read()
if "ZSTD" in lines: sys.exit("Error: native zStandard library not available. Set hbase.table.sanity.checks to false")
open(sys.argv[1], "a").write(lines)
"""


@pytest.mark.parametrize(
    ("compressions", "attribute"),
    [(["ZSTD", "SNAPPY"], " COMPRESSION=SNAPPY"), (["ZSTD"], ""), ([], "")],
)
def test_tables_are_compressed_as_hbase_can(tmp_path: Path, compressions: list[str], attribute: str) -> None:
    create = by_command([*CREATE, HAS_ONLY_SNAPPY, str(tmp_path / "lines")])
    compressing(create, compressions)(SPECS)
    assert (tmp_path / "lines").read_text().splitlines() == [f"{spec.line()}{attribute}" for spec in SPECS]


@pytest.mark.processes
def test_a_real_hbase_without_zstd_makes_tables_with_snappy(gateways: Gateways) -> None:
    name = f"test_{secrets.token_hex(4)}"
    compressing(through_gateway(gateways), ["ZSTD", "SNAPPY"])([TableSpec(name, 1, ())])
    try:
        found = gateways.call(lambda line: line.client.getColumnDescriptors(name), time.monotonic() + 30, 30)
        assert found[b"d:"].compression == b"SNAPPY"
    finally:
        gateways.within(60).drop(name)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([*CREATE, "import sys; print('reading'); sys.exit('no such quota')"], "ended with 1: no such quota"),
        ([*CREATE, "import subprocess as s; s.run(['sleep', '60'])"], "not done after"),
        (["/no/such/command"], "No such file"),
    ],
)
def test_a_command_that_makes_no_tables_says_why(command: list[str], words: str) -> None:
    began = time.monotonic()
    with pytest.raises(ReadStoreUnavailable, match=words):
        by_command(command, seconds=1)(SPECS)
    assert time.monotonic() - began < 40
