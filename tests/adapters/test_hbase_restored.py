"""A log is restored from an older copy: what becomes of the read tables that were made from what it has lost."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.prepare import WrongTables, check, check_family_of_log, prepare, start_over, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.schema import TableSpec
from falcon.adapters.hbase.tables import HBaseTables
from falcon.features.accounts.table import DropToken, SetTokenUse, UpsertAccount, UpsertToken
from falcon.features.catalogue import Event
from falcon.features.messages import hbase as timeline_hbase
from falcon.features.messages.bodies import message_in, row_of
from falcon.features.messages.rules import Message, MessageEdited, MessagePosted
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.features.people.table import ALL, DropEntry, PutEntry, key_of
from falcon.features.reactions.table import DropReaction, PutReaction, SetReactionRevision, ShowReaction
from falcon.features.read_marks.table import DropMember, SetMention, SetReadMark, SetRole, UpsertMember
from falcon.features.rooms.table import (
    DropRoom,
    SetRoomActivity,
    SetRoomMembers,
    SetRoomName,
    SetRoomOpen,
    SetRoomThreads,
    UpsertRoom,
)
from falcon.journal import codec, naming
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import Append
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.verify import Verify
from falcon.read.catalogue import READ_MODELS
from falcon.read.items import DropItem, PutItem, SealItem
from falcon.read.store import Comparison, ReadStoreUnavailable, Skip, Stop
from falcon.read.write import Write
from tests.support.hbase import FakeHBase, folded, model_of
from tools.harness.memory.journal import MemoryJournal
from tools.harness.memory.log import MemoryLog

PARTITIONS = 2
ROOM, OTHER_ROOM = 2, 4  # of partition 0
NOON = 1_795_694_400_000
NOON_TEXT = "2026-11-26T12:00:00.000Z"
LOG = "5ee0d1"
EVERY_WRITE: tuple[Write, ...] = (
    UpsertMessage(256, 30, b"hi"),
    PutItem(256, b"key", b"value"),
    DropItem(256, b"key"),
    SealItem(256, b"key", b"value"),
    SetRevision(256, 3),
    UpsertRoom(256, "direct", "", "", NOON_TEXT, 5, 9),
    SetRoomName(256, "Tea", "", NOON_TEXT),
    SetRoomActivity(256, 7, NOON_TEXT),
    SetRoomOpen(256, True, True, 3),
    SetRoomMembers(256, 4),
    SetRoomThreads(256),
    DropRoom(256),
    UpsertMember(256, 77, "member", 0),
    SetRole(256, 77, "admin"),
    SetReadMark(256, 77, 3),
    DropMember(256, 77),
    SetMention(77, 256, 1_001, True),
    UpsertAccount(77, "Ann", "member", NOON_TEXT),
    UpsertToken(77, 1, "hash", NOON_TEXT),
    SetTokenUse(77, 1, 20_787),
    DropToken(77, 1),
    PutEntry(77, key_of("person", "", "ann", "Ann", 77), b'["ann"]'),
    PutEntry(256, key_of("default", ALL, "", "Tea", 256), b'["tea"]'),
    DropEntry(77, key_of("person", "", "ann", "Ann", 77)),
    PutReaction(256, 30, 4, "👍", 77, NOON_TEXT),
    DropReaction(256, 30, 4, "👍", 77),
    ShowReaction(256, 30, "👍", 4, 4, b"{}"),
    SetReactionRevision(256, 4),
)
TIMELINE = schema.table_name("falcon", "timeline", 1)


class World:
    """A log of one room's messages, which can be copied and restored, with an owner; and HBase's tables of it."""

    def __init__(self) -> None:
        self.log = MemoryLog(PARTITIONS)
        self.journal = MemoryJournal(self.log, lambda: None)
        self.hbase = FakeHBase()
        self.create = through_gateway(self.hbase)
        prepare(self.hbase, "falcon", LOG, PARTITIONS, self.create)
        self.tables = HBaseTables(self.hbase, "falcon", PARTITIONS, self.create, grace_seconds=0)
        self.reads = HBaseReadStore(self.hbase, "falcon", threads=1)
        self.last = self.revision = 0
        self.messages: dict[int, bytes] = {}
        self.take_over()

    def take_over(self) -> None:
        self.epoch = self.journal.takeover([0, 1], "an owner")[0].epoch
        self.n = 0

    def post(self, *texts: str, room: int = ROOM) -> None:
        for text in texts:
            self.last += 1
            message = Message(room, self.last, 9, text, NOON)
            self.messages[self.last] = row_of(message)
            self.append(MessagePosted(message))

    def edit(self, seq: int, text: str) -> None:
        self.revision += 1
        self.append(MessageEdited(Message(ROOM, seq, 9, text, NOON), self.revision))

    def append(self, event: Event) -> None:
        envelope = Envelope(0, self.epoch, self.n, 1_000, event)
        self.journal.submit([Append(0, self.epoch, [envelope], [codec.encode(envelope)])])
        self.n += 1

    def restore_log(self, messages: int) -> None:
        """Restore from a copy with so many messages. An owner takes over."""
        del self.log.events[0][messages:]
        self.last = messages
        self.take_over()

    def project(self) -> None:
        stream = ProjectionConsumer("timeline", READ_MODELS["timeline"].project, self.log, self.tables, lambda: {0, 1})
        for _ in range(5):
            stream.step()

    def verify(self, *, repair: bool = False) -> Comparison:
        project = READ_MODELS["timeline"].project
        return Verify("timeline", project, self.log, self.tables, repair=repair, events_a_second=1e9).run()

    def texts(self) -> list[str]:
        page = asyncio.run(self.reads.page(ROOM, 1, 99)).messages
        return [message_in(message).text for message in page]

    def close(self) -> None:
        self.tables.close()
        self.reads.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_tables_that_start_over_show_the_log_and_nothing_of_what_it_has_lost(world: World) -> None:
    world.post("a", "b", "lost", "lost too", "and this")
    world.project()
    world.restore_log(2)
    world.post("c")
    world.project()
    assert world.tables.why_went_back()  # and nothing of the new history is in the tables
    assert world.texts() == ["a", "b", "lost", "lost too", "and this"]
    start_over(world.hbase, "falcon", naming.renamed(LOG), PARTITIONS, world.create)
    assert world.tables.why_went_back() is None
    world.project()
    assert world.texts() == ["a", "b", "c"]
    assert world.verify() == Comparison(3, 0, 0)


def test_skips_and_stops_of_the_lost_history_are_forgotten(world: World) -> None:
    world.tables.skip("timeline", Skip(0, Position(7, 1, 7), "an event that is gone"))
    world.tables.skip("rooms", Skip(1, Position(8, 1, 7), "another"))
    world.tables.stop("rooms", 1, Stop(Position(8, 1, 7), "cannot"))
    start_over(world.hbase, "falcon", naming.renamed(LOG), PARTITIONS, world.create)
    assert world.tables.skips("timeline") == world.tables.skips("rooms") == []
    assert world.tables.stops("rooms") == {}


def test_it_may_be_done_again_when_it_ended_halfway(world: World) -> None:
    world.post("a", "lost")
    world.project()
    world.restore_log(1)
    made: list[str] = []

    def broken(specs: Sequence[TableSpec]) -> None:
        if made:
            raise ReadStoreUnavailable("away")
        made.extend(spec.name for spec in specs)
        world.create(specs)

    name = naming.renamed(LOG)
    with pytest.raises(ReadStoreUnavailable):
        start_over(world.hbase, "falcon", name, PARTITIONS, broken)
    with pytest.raises(WrongTables, match="before you run falcon restored"):
        check(world.hbase, "falcon", name, PARTITIONS)
    name = naming.renamed(name)
    start_over(world.hbase, "falcon", name, PARTITIONS, world.create)
    check(world.hbase, "falcon", name, PARTITIONS)
    world.project()
    assert world.texts() == ["a"]
    assert {name for name in world.hbase.servers.tables if "timeline" in name} == {
        schema.table_name("falcon", "timeline", 3)
    }, "the tables of before are dropped"


def test_where_there_are_no_tables_they_are_made(world: World) -> None:
    start_over(world.hbase, "other", naming.renamed(LOG), PARTITIONS, world.create)
    assert check(world.hbase, "other", None, PARTITIONS).startswith(LOG)


def test_tables_of_another_log_do_not_start_over(world: World) -> None:
    before = set(world.hbase.servers.tables)
    with pytest.raises(WrongTables, match="this log is another"):
        check_family_of_log(world.hbase, "falcon", "another", PARTITIONS)
    with pytest.raises(WrongTables, match="this log is another"):
        start_over(world.hbase, "falcon", naming.renamed("another"), PARTITIONS, world.create)
    assert set(world.hbase.servers.tables) == before


def test_tables_that_were_restored_from_an_older_copy_catch_up_by_themselves(world: World) -> None:
    world.post("a", "b")
    world.project()
    copy = world.hbase.servers.copy()
    world.post("c", "d")
    world.project()
    world.hbase.servers.put_back(copy)
    assert world.texts() == ["a", "b"]
    world.project()
    assert world.texts() == ["a", "b", "c", "d"]
    assert world.verify() == Comparison(4, 0, 0)


def test_tables_that_are_newer_than_their_positions_are_right_in_the_end(world: World) -> None:
    """As snapshots are that were made one after the other, that of the positions first."""
    world.post("a", "b")
    world.project()
    meta = schema.meta_name("falcon")
    copy = world.hbase.servers.copy()[meta]
    world.post("c")
    world.edit(1, "A")
    world.edit(1, "A!")
    world.project()
    world.hbase.servers.tables[meta] = copy
    world.post("d")
    world.project()
    assert world.texts() == ["A!", "b", "c", "d"]
    assert world.verify() == Comparison(5, 0, 0)


def test_tables_of_which_a_part_is_older_than_their_positions_are_found_by_verify(world: World) -> None:
    world.post("a", "b")
    world.project()
    copy = world.hbase.servers.copy()[TIMELINE]
    world.post("c", "d")
    world.project()
    world.hbase.servers.tables[TIMELINE] = copy  # the table of positions was not restored
    world.project()
    assert world.verify() == Comparison(4, 2, 0)


# --- what verify finds ------------------------------------------------------------------------------------------------


def test_what_nothing_in_the_log_has_written_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post("a", "b", "lost", "lost too", "and this")
    world.project()
    world.restore_log(2)
    monkeypatch.setattr(world.log, "check", lambda cursor: None)  # as if its places looked like the lost ones
    world.post("new", room=OTHER_ROOM)
    world.post("new 2", "new 3", "new 4", room=OTHER_ROOM)
    world.project()
    assert world.verify() == Comparison(cells=6, missing=3, wrong=0, unexplained=3)


def test_what_was_written_otherwise_is_wrong_wherever_batches_and_windows_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.projections.verify._WINDOW_EVENTS", 2)
    world.post(*"abcdefg")
    world.project()  # one batch, so that no cell bears an offset within any window but the last
    assert world.verify() == Comparison(7, 0, 0, 0)
    row = world.hbase.servers.tables[schema.table_name("falcon", "timeline", 1)].rows[
        timeline_hbase.bucket_key(ROOM, 1)
    ]
    first = timeline_hbase.message_column(1)
    row[first] = row[first]._replace(value=b"{}")
    del row[timeline_hbase.message_column(4)]
    assert world.verify() == Comparison(7, 1, 1, 0)
    assert world.verify(repair=True) == Comparison(7, 1, 1, 0)
    assert world.verify() == Comparison(7, 0, 0, 0)
    assert world.texts() == [*"abcdefg"]


def test_an_edit_counts_when_it_is_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falcon.projections.verify._WINDOW_EVENTS", 2)
    for text in "abc":
        world.post(text)
        world.project()
    world.edit(1, "A")
    world.post("d")
    world.project()
    world.edit(1, "AA")
    world.project()
    assert world.verify() == Comparison(cells=5, missing=0, wrong=0, unexplained=0)  # four messages and the revision
    row = world.hbase.servers.tables[schema.table_name("falcon", "timeline", 1)].rows[
        timeline_hbase.bucket_key(ROOM, 1)
    ]
    first = timeline_hbase.message_column(1)
    row[first] = row[first]._replace(value=b"{}")
    assert world.verify() == Comparison(cells=5, missing=0, wrong=1, unexplained=0)


def test_what_is_written_during_a_comparison_is_not_judged(world: World) -> None:
    world.post("a", "b")
    world.project()
    ends = world.tables.cursor("timeline")
    world.edit(1, "A")
    world.post("c")
    world.project()
    comparing = world.tables.comparing("timeline", ends, repair=True)
    writes = [UpsertMessage(ROOM, seq, world.messages[seq]) for seq in (1, 2)]
    assert comparing.compare(0, 2, writes) == Comparison(1, 0, 0)
    assert [*comparing.rest()] == [Comparison()]
    assert world.texts() == ["A", "b", "c"]


@pytest.mark.parametrize("write", EVERY_WRITE, ids=lambda write: type(write).__name__)
def test_of_every_row_it_is_known_whose_partition_writes_it(write: Write) -> None:
    model = model_of(write)
    for table, cells in folded([write]):
        for cell in cells:
            assert model.identity_of_row(table, cell.row, {cell.column: cell.value}) == model.identity(write)
    assert {type(each) for each in EVERY_WRITE} == {kind for each in READ_MODELS.values() for kind in each.hbase.cells}
