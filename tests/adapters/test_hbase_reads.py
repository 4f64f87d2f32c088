"""Reads of the HBase adapter on an HBase in memory: the contract, and what a reader meets between two writes."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from falcon.adapters.hbase import queries, read_store
from falcon.adapters.hbase.known_positions import KnownPositions, Live
from falcon.adapters.hbase.meta import Applied, Generations, applied_of
from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.tables import HBaseTables
from falcon.features.accounts.table import UpsertAccount
from falcon.features.messages.bodies import missing_message
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.features.pins.api import list_pins
from falcon.features.reactions.pages import ReactionPages
from falcon.features.reactions.table import PutReaction, SetReactionRevision, ShownReactions, ShowReaction
from falcon.features.read_marks import hbase as memberships_hbase
from falcon.features.read_marks.table import ManyRooms, Newest, UpsertMember
from falcon.features.rooms import hbase as rooms_hbase
from falcon.features.rooms.table import SetRoomActivity, UpsertRoom
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.http.problems import Problem
from falcon.http.requests import AuthedRequest
from falcon.journal.envelope import Cursor, Position
from falcon.read import hbase as read_hbase
from falcon.read.catalogue import READ_MODELS
from falcon.read.items import PutItem
from falcon.read.store import Moves, Reached, ReadStoreUnavailable, StaleProjector
from falcon.read.write import Write
from falcon.streams.feed import Unchanged
from tests.contracts.journal import PARTITIONS
from tests.contracts.read_store import ANN, NOON, ROOM, Store, StreamReadStoreContract
from tests.support.hbase import FakeHBase, folded


class HBaseStore:
    def __init__(self) -> None:
        self.hbase = FakeHBase()
        create = through_gateway(self.hbase)
        prepare(self.hbase, "falcon", "log", PARTITIONS, create)
        self.reads = HBaseReadStore(self.hbase, "falcon", threads=1)
        self.is_heard = True
        self.told: list[Moves] = []
        self.tables = HBaseTables(self.hbase, "falcon", PARTITIONS, create, grace_seconds=0, moved=self._moved)

    def _moved(self, moves: Moves) -> None:
        self.told.append(moves)
        if self.is_heard:
            self.reads.learn(moves)

    def cursor(self, offset: int) -> Cursor:
        return dict.fromkeys(range(PARTITIONS), Position(offset, 1, offset))

    def apply(self, projection: str, *writes: Write) -> None:
        """The next batch of a projection."""
        before = self.tables.cursor(projection)
        self.tables.apply(projection, before, self.cursor(before[0].offset + 1), writes)

    def calls_of(self, query: Awaitable[object]) -> list[str]:
        """The tables that a query reads, a call each, but for the look which tables are live, once a second."""
        before = len(self.hbase.asked)
        asyncio.run(_awaited(query))
        asked = [each for each in self.hbase.asked[before:] if each != ("getRows", "falcon_meta")]
        return [table.removeprefix("falcon_").removesuffix("_1") for _, table in asked]

    def close(self) -> None:
        self.reads.close()
        self.tables.close()


async def _awaited(query: Awaitable[object]) -> None:
    await query


@pytest.fixture
def store() -> Iterator[HBaseStore]:
    store = HBaseStore()
    yield store
    store.close()


class TestFakeHBaseReadStore(StreamReadStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = HBaseStore()
        yield store
        store.close()


# --- batches that were written in part --------------------------------------------------------------------------------


def puts(hbase: FakeHBase) -> int:
    return sum(name == "mutateRows" for name, _ in hbase.asked)


def dies_at_put(hbase: FakeHBase, nth: int) -> Callable[[str, str], None]:
    def before(name: str, table: str) -> None:
        if name == "mutateRows" and puts(hbase) == last:
            raise ReadStoreUnavailable("the projector has died")

    last = puts(hbase) + nth
    return before


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_projector_that_dies_in_a_batch_leaves_no_room_in_part(store: HBaseStore, nth: int) -> None:
    rooms = [PARTITIONS * n for n in range(1, 400)]
    store.hbase.before = dies_at_put(store.hbase, nth)
    with pytest.raises(ReadStoreUnavailable, match="died"):
        store.apply("rooms", *(UpsertRoom(each, "group", "Tea", "", NOON, None, None) for each in rooms))
    there = [each for each in rooms if (row := asyncio.run(store.reads.room(each))) is not None and row.name == "Tea"]
    assert 0 < len(there) < len(rooms)
    assert there == rooms[: len(there)]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_projector_that_dies_in_a_batch_leaves_no_member_in_part(store: HBaseStore, nth: int) -> None:
    store.apply("rooms", UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None))
    accounts = range(ANN, ANN + 400)
    store.hbase.before = dies_at_put(store.hbase, nth)
    with pytest.raises(ReadStoreUnavailable, match="died"):
        store.apply("memberships", *(UpsertMember(ROOM, each, "member", 0) for each in accounts))
    there = [each for each in accounts if asyncio.run(store.reads.access(ROOM, each)) is not None]
    assert 0 < len(there) < len(accounts)
    assert [row.account_id for row in asyncio.run(store.reads.members(ROOM, 0, 500))] == there


def put_in_part(store: HBaseStore, table: str, row: bytes, columns: Sequence[bytes]) -> None:
    store.hbase.within(1).put(f"falcon_{table}_1", [read_hbase.Cell(row, column, b"1") for column in columns], 1)


def test_a_row_that_an_older_projector_has_written_in_part_is_not_there_yet(store: HBaseStore) -> None:
    """Before rows were written whole, a batch might end within one."""
    put_in_part(store, "rooms", rooms_hbase.room_key(ROOM), [rooms_hbase.ROOM_MADE, rooms_hbase.ROOM_GONE])
    assert asyncio.run(store.reads.room(ROOM)) is None
    store.apply("rooms", UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None))
    put_in_part(store, "memberships", memberships_hbase.member_key(ROOM, ANN), [memberships_hbase.MEMBER])
    put_in_part(
        store,
        "memberships",
        memberships_hbase.membership_key(ANN, ROOM),
        [memberships_hbase.MEMBER, memberships_hbase.MEMBER_READ_SEQ],
    )
    assert asyncio.run(store.reads.access(ROOM, ANN)) is None
    assert asyncio.run(store.reads.members(ROOM, 0, 9)) == []
    assert asyncio.run(store.reads.rooms_of(ANN, None, 9)) == []


def test_a_part_of_a_batch_is_bounded_in_bytes_too(store: HBaseStore) -> None:
    text = b"x" * 30_000
    before = puts(store.hbase)
    store.apply("timeline", *(UpsertMessage(ROOM, seq, text) for seq in range(1, 101)))
    assert puts(store.hbase) == before + 2  # of four rows of 25 messages, two to a call


# --- holes ------------------------------------------------------------------------------------------------------------


def messages(seqs: Iterable[int]) -> list[UpsertMessage]:
    return [UpsertMessage(ROOM, seq, b"%d" % seq) for seq in seqs]


def missing(*seqs: int) -> list[bytes]:
    return [missing_message(ROOM, seq) for seq in seqs]


def being_written(store: HBaseStore, offset: int, seqs: Iterable[int]) -> None:
    """A part of the timeline's batch up to ``offset``, which is not applied yet."""
    for table, cells in folded(messages(seqs)):
        store.hbase.within(1).put(f"falcon_{table}_1", cells, offset)


def page(store: HBaseStore, first: int, last: int) -> list[bytes]:
    return asyncio.run(store.reads.page(ROOM, first, last)).messages


def test_what_stands_behind_a_hole_is_shown_only_when_all_before_it_has_been_applied(store: HBaseStore) -> None:
    store.apply("timeline", *messages(range(1, 20)))
    being_written(store, 2, range(30, 60))
    assert page(store, 10, 59) == [b"%d" % seq for seq in range(10, 20)]
    assert page(store, 20, 59) == []
    assert page(store, 25, 29) == []
    assert asyncio.run(store.reads.message(ROOM, 20)) is None
    store.apply("timeline", *messages(range(20, 60)))
    assert page(store, 10, 59) == [b"%d" % seq for seq in range(10, 60)]


def test_a_batch_that_lacks_what_was_passed_over_shows_it_as_missing_once_it_is_applied(store: HBaseStore) -> None:
    store.apply("timeline", *messages(range(1, 20)))
    being_written(store, 2, range(21, 60))
    assert page(store, 19, 21) == [b"19"]
    store.apply("timeline", *messages(range(21, 60)))
    assert page(store, 19, 21) == [b"19", *missing(20), b"21"]


def test_a_hole_that_will_not_be_filled_does_not_end_a_page_while_more_is_being_written(store: HBaseStore) -> None:
    store.apply("timeline", *messages((*range(1, 20), *range(21, 51))))
    being_written(store, 2, [52])
    assert page(store, 18, 60) == [b"18", b"19", *missing(20), *(b"%d" % seq for seq in range(21, 51))]
    assert page(store, 51, 60) == []
    store.apply("timeline", *messages([52]))
    assert page(store, 51, 60) == [*missing(51), b"52"]


def test_a_message_that_comes_while_a_hole_is_looked_at_is_shown(store: HBaseStore) -> None:
    store.apply("timeline", *messages(range(1, 20)))
    being_written(store, 2, [21])

    def before(name: str, table: str) -> None:
        if name == "scan":
            store.hbase.before = lambda name, table: None
            store.apply("timeline", *messages([20, 21]))

    store.hbase.before = before
    assert page(store, 20, 21) == [b"20", b"21"]


def test_pages_of_a_rebuild_go_by_the_rebuilds_own_position(store: HBaseStore) -> None:
    store.apply("timeline", *messages((1, 3)))
    shadow = store.tables.begin_rebuild("timeline")
    store.tables.apply(shadow, store.tables.cursor(shadow), store.cursor(7), messages((1, 3, 4)))
    store.tables.finish_rebuild("timeline", lambda: True)
    assert page(store, 1, 9) == [b"1", *missing(2), b"3", b"4"]


# --- what reading costs -----------------------------------------------------------------------------------------------


@pytest.fixture
def talk(store: HBaseStore) -> HBaseStore:
    """A room of Ann's with a hundred messages."""
    store.apply("rooms", UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None), SetRoomActivity(ROOM, 100, NOON))
    store.apply("memberships", UpsertMember(ROOM, ANN, "member", 0))
    store.apply("timeline", *messages(range(1, 101)))
    asyncio.run(store.reads.access(ROOM, ANN))  # it knows the generations now
    return store


LIST = ["memberships", "rooms", "timeline", "mentions"]
ACCESS = ["memberships", "rooms", "timeline", "reactions"]


def test_a_page_that_is_whole_is_one_call(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.page(ROOM, 51, 100)) == ["timeline"]
    assert talk.calls_of(talk.reads.page(ROOM, 30, 79)) == ["timeline"]
    assert talk.calls_of(talk.reads.page(ROOM, 101, 100)) == []


def test_a_page_of_more_than_three_rows_is_read_in_parts_and_no_further_than_it_may_have(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.page(ROOM, 1, 100)) == ["timeline"] * 2
    assert talk.calls_of(talk.reads.page(ROOM, 1, 100, bytes_max=50)) == ["timeline"]
    assert talk.calls_of(talk.reads.page(ROOM, 20, 100, from_last=True, bytes_max=50)) == ["timeline"]


def test_nothing_is_shown_behind_what_is_not_there_yet_in_an_earlier_part(store: HBaseStore) -> None:
    store.apply("timeline", *messages(range(1, 20)))
    being_written(store, 2, range(76, 101))
    assert asyncio.run(store.reads.page(ROOM, 1, 100, from_last=True)) == (
        1,
        [b"%d" % seq for seq in range(1, 20)],
        False,
    )


def test_a_page_with_the_end_of_the_timeline_is_a_look_at_its_newest_row_more(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.page(ROOM, 55, 104)) == ["timeline", "timeline"]
    assert talk.calls_of(talk.reads.page(ROOM, 101, 103)) == ["timeline", "timeline"]


def test_what_a_room_allows_and_how_far_it_and_its_reactions_go_are_four_calls(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.access(ROOM, ANN)) == ACCESS


def test_the_newest_page_comes_along_and_saves_its_calls(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.access(ROOM, ANN, newest := Newest(50))) == ACCESS
    assert newest.messages == [b"%d" % seq for seq in range(51, 101)]
    assert newest.reactions is not None and not newest.reactions.by_seq


@pytest.mark.parametrize(("count", "last_seq"), [(52, 100), (50, 0), (50, 101)])
def test_a_page_that_is_large_or_empty_or_not_there_yet_does_not_come_along(
    talk: HBaseStore, count: int, last_seq: int
) -> None:
    talk.apply("rooms", SetRoomActivity(ROOM, last_seq, NOON))
    assert talk.calls_of(talk.reads.access(ROOM, ANN, newest := Newest(count))) == ACCESS
    assert newest.messages is None


def test_what_may_be_older_than_its_revision_is_read_again(talk: HBaseStore) -> None:
    """HBase reads the rows of a call in any order, so a reader may find the revision of an edit and the message before
    it. Only an edit that was applied before the call is shown by all rows."""
    talk.reads.keep_rows(PARTITIONS, lambda *_: Unchanged())
    told(talk)
    apply_all(talk)
    edit = UpsertMessage(ROOM, 100, b"edited"), SetRevision(ROOM, 1)
    thumbs = ShowReaction(ROOM, 100, "👍", 1, 1, b"{}"), SetReactionRevision(ROOM, 1)

    def calls() -> list[str]:
        calls = talk.calls_of(talk.reads.access(ROOM, ANN, newest := Newest(50)))
        assert newest.messages is not None and newest.messages[-1] == b"edited"
        assert newest.reactions is not None and newest.reactions.by_seq == {100: b"[{}]"}
        return calls

    for table, cells in folded([*edit, *thumbs]):
        talk.hbase.within(1).put(f"falcon_{table}_1", cells, 2)
    assert calls() == [*ACCESS, "timeline", "reactions"]
    for _ in range(2):
        apply_all(talk)
    assert calls() == ACCESS


def test_the_page_after_a_new_message_is_read_with_it_though_what_has_changed_is_kept(talk: HBaseStore) -> None:
    since = Unchanged(0, 0, 0)
    talk.reads.keep_rows(PARTITIONS, lambda *_: since)
    told(talk)
    for _ in range(3):
        apply_all(talk)
    assert talk.calls_of(talk.reads.access(ROOM, ANN)) == ACCESS
    talk.apply("timeline", *messages([101]))
    talk.apply("rooms", SetRoomActivity(ROOM, 101, NOON))
    for _ in range(2):
        apply_all(talk)
    since = Unchanged(0, 5, 0)
    assert talk.calls_of(talk.reads.access(ROOM, ANN, newest := Newest(50))) == ["rooms", "timeline"]
    assert newest.messages == [b"%d" % seq for seq in range(52, 102)]


def test_a_page_of_who_asks_again_has_no_messages_of_the_first_look(talk: HBaseStore) -> None:
    since = Unchanged()
    talk.reads.keep_rows(PARTITIONS, lambda *_: since)
    told(talk)
    asyncio.run(talk.reads.access(ROOM, ANN, newest := Newest(50)))
    assert newest.messages is not None
    talk.apply("timeline", *messages([101]))
    talk.apply("rooms", SetRoomActivity(ROOM, 101, NOON))
    for _ in range(3):
        apply_all(talk)
    asyncio.run(talk.reads.access(ROOM, ANN))  # another request keeps the room's rows
    since = Unchanged(0, 0, 0)
    access = asyncio.run(talk.reads.access(ROOM, ANN, newest))
    assert access is not None and access.last_seq == 101
    assert newest.messages is None


def test_a_page_that_a_reader_has_costs_no_look_at_its_reactions_until_someone_reacts(talk: HBaseStore) -> None:
    pages = ReactionPages(talk.reads)

    async def reactions() -> ShownReactions:
        access = await talk.reads.access(ROOM, ANN)
        assert access is not None
        return await pages.page(ROOM, access.reactions, 1, 50)

    thumbs = PutReaction(ROOM, 7, 1, "👍", ANN, NOON), ShowReaction(ROOM, 7, "👍", 1, 1, b"{}")
    talk.apply("reactions", *thumbs, SetReactionRevision(ROOM, 1))
    first = asyncio.run(reactions())
    assert first.by_seq == {7: b"[{}]"}
    assert talk.calls_of(reactions()) == ACCESS
    talk.apply("reactions", ShowReaction(ROOM, 7, "👍", 1, 2, b""), SetReactionRevision(ROOM, 2))
    second = asyncio.run(reactions())
    assert second.by_seq == {}
    assert second.version != first.version


def test_a_list_of_rooms_costs_a_call_for_each_table_however_many_there_are(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.rooms_of(ANN, None, 50)) == LIST
    rooms = [ROOM * n for n in range(2, 40)]
    talk.apply("rooms", *(UpsertRoom(each, "group", "Tea", "", NOON, None, None) for each in rooms))
    talk.apply("memberships", *(UpsertMember(each, ANN, "member", 0) for each in rooms))
    assert talk.calls_of(talk.reads.rooms_of(ANN, None, 50)) == LIST
    assert talk.calls_of(talk.reads.summaries_of(ANN, [ROOM, *rooms])) == LIST
    assert talk.calls_of(talk.reads.member_rooms_among(ANN, rooms)) == ["memberships", "rooms"]
    assert talk.calls_of(talk.reads.member_rooms(ANN, 50)) == ["memberships", "rooms"]
    of_ann, _ = asyncio.run(talk.reads.member_rooms(ANN, 50))
    assert talk.calls_of(talk.reads.summaries(ANN, of_ann)) == ["timeline", "mentions"]
    with pytest.raises(ManyRooms):
        talk.calls_of(talk.reads.rooms_of(ANN, None, 50, 30))


def test_a_list_of_rooms_costs_one_call_more_while_the_timeline_is_a_little_behind(talk: HBaseStore) -> None:
    talk.apply("rooms", SetRoomActivity(ROOM, 103, NOON))
    assert sorted(talk.calls_of(talk.reads.rooms_of(ANN, None, 50))) == sorted([*LIST, "timeline"])
    assert talk.calls_of(talk.reads.newest(ROOM, 102)) == ["timeline"]


def test_many_accounts_or_rooms_or_messages_cost_a_call_for_each_table(talk: HBaseStore) -> None:
    rooms = [ROOM * n for n in range(2, 27)]
    talk.apply("accounts", *(UpsertAccount(each, "Guest", "member", NOON) for each in rooms))
    talk.apply("rooms", *(UpsertRoom(each, "direct", "", "", NOON, ANN, each) for each in rooms))
    talk.apply("timeline", *(UpsertMessage(each, 1, b"Hello") for each in rooms))
    assert talk.calls_of(talk.reads.names_of(rooms)) == ["accounts"]
    assert talk.calls_of(talk.reads.rooms_among(rooms)) == ["rooms"]
    assert talk.calls_of(talk.reads.direct_rooms([(ANN, each) for each in rooms])) == ["rooms", "rooms"]
    assert talk.calls_of(talk.reads.messages([(each, 1) for each in rooms])) == ["timeline"]


def pinned(seqs: Iterable[int]) -> list[PutItem]:
    return [PutItem(ROOM, seq.to_bytes(8, "big"), b'["%b",%d,2]' % (NOON.encode(), seq)) for seq in seqs]


async def list_of_pins(store: HBaseStore, shown: list[int], behind: Iterable[Write] = ()) -> None:
    """``shown``: gets the messages of the answer, the newest pin first. ``behind``: written when the newest are asked
    for."""

    async def asks_again(_: object, room_id: int, query: Callable[..., Awaitable[object]], *args: object) -> object:
        store.apply("timeline", *behind)
        return await query(*args)

    reads = SimpleNamespace(access=lambda _, room_id: store.reads.access(room_id, ANN), newest=asks_again)
    edge, request = SimpleNamespace(store=store.reads, reads=reads), SimpleNamespace(path_id=lambda *_: ROOM)
    answer = await list_pins(cast(Edge, edge), cast(AuthedRequest, request))
    pins = msgspec.json.decode(answer.body)["pins"]
    assert all(pin["message"]["reactions"] == [{"to": pin["message"]["seq"]}] for pin in pins)
    shown += [pin["message"]["seq"] for pin in pins]


def test_a_list_of_a_hundred_pins_is_few_calls_wherever_their_messages_stand(talk: HBaseStore) -> None:
    seqs = range(1_000, 1_000 + 100 * 26, 26)  # each in a row of its own, four in a column
    rows = [UpsertMessage(ROOM, seq, b'{"seq":%d}' % seq) for seq in seqs]
    talk.apply("timeline", *rows[:70])
    talk.apply("pins", *pinned(seqs))
    reactions = [ShowReaction(ROOM, seq, "👍", seq, 1, b'{"to":%d}' % seq) for seq in seqs]
    talk.apply("reactions", *reactions, SetReactionRevision(ROOM, 1))
    behind = [(ROOM, seq) for seq in seqs[70:]]
    look_at_the_end = ["timeline"]  # of the room: they are not there yet
    assert talk.calls_of(talk.reads.messages(behind)) == [*["timeline"] * 2, *look_at_the_end]
    shown = list[int]()
    asyncio.run(list_of_pins(talk, shown, rows[70:]))
    assert shown == [*reversed(seqs)]
    assert talk.calls_of(list_of_pins(talk, shown)) == [*ACCESS, "pins", *["timeline"] * 4, "reactions"]


def test_a_pinned_message_that_was_lost_is_shown_as_missing(talk: HBaseStore) -> None:
    talk.apply("timeline", *messages([200]))
    wanted = [(ROOM, seq) for seq in (100, 101, 150, 200, 201)]
    found = asyncio.run(talk.reads.messages(wanted))
    assert found == dict(zip(wanted, [b"100", *missing(101, 150), b"200"], strict=False))
    assert talk.calls_of(talk.reads.messages(wanted)).count("timeline") == 3, "not more than for one of them"


def test_one_room_costs_as_many_calls_as_a_list(talk: HBaseStore) -> None:
    assert talk.calls_of(talk.reads.summaries_of(ANN, [ROOM])) == LIST


def test_a_position_says_for_which_projections_the_log_held_nothing_and_earlier_versions_can_read_where_it_stands() -> (
    None
):
    applied = Applied(Position(9, 1, 7), quiet_since=(("rooms", 9), ("accounts", 3)))
    assert applied.encode() == b"9 1 7 rooms:9,accounts:3", "a fourth word, as a closed position has"
    for each in (applied, Applied(), Applied(Position(9, 1, 7)), Applied(Position(9, 1, 7), "0a1b2c3d")):
        assert applied_of(each.encode()) == each


# --- positions that edges hear ------------------------------------------------------------------------------------


class Confirmed:
    """Asks no log."""

    async def confirmed(self, partition: int) -> int:
        raise AssertionError


def told(store: HBaseStore) -> Freshness:
    """A store as of an edge that hears the projectors, and has looked at the tables once."""
    store.reads.positions.are_told = lambda: True
    freshness = Freshness(store.reads, Confirmed(), lambda: True, store.reads.positions.forget)
    asyncio.run(store.reads.applied_everywhere(PARTITIONS))
    return freshness


def all_calls(store: HBaseStore, query: Awaitable[object]) -> list[tuple[str, str]]:
    before = len(store.hbase.asked)
    asyncio.run(_awaited(query))
    return store.hbase.asked[before:]


def apply_all(store: HBaseStore) -> int:
    """One event more in all projections. Returns how many that are."""
    for projection in READ_MODELS:
        store.apply(projection)
    return store.tables.cursor("timeline")[0].offset


def test_a_read_of_ones_own_writes_makes_no_call_but_its_own(
    store: HBaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which tables are live is looked up once a second, with positions and without."""
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 60.0)
    freshness = told(store)
    for _ in range(20):
        applied = apply_all(store)
        assert all_calls(store, freshness.reach(0, applied - 1, 2.0)) == []
        assert asyncio.run(store.reads.applied_in([0, 1])) == {0: applied, 1: applied}


def test_a_stream_hears_where_all_tables_stand(store: HBaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 60.0)
    told(store)
    applied = apply_all(store)
    before = len(store.hbase.asked)
    shown = asyncio.run(store.reads.applied_everywhere(PARTITIONS, ["accounts"]))
    assert shown == store.cursor(applied)
    assert len(store.hbase.asked) == before


def test_a_move_that_was_not_heard_is_found_in_the_tables(store: HBaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 60.0)
    freshness = told(store)
    store.is_heard = False
    applied = apply_all(store)
    calls = all_calls(store, freshness.reach(0, applied - 1, 0.0))
    assert calls == [("getRows", "falcon_meta")]


def test_who_shares_a_look_is_told_what_was_seen_though_another_request_doubts_it_at_once(
    store: HBaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = apply_all(store)
    look = store.reads._look

    async def is_doubted(partitions: Collection[int]) -> Live:
        live = await look(partitions)
        asyncio.get_running_loop().call_soon(store.reads.positions.forget, partitions)
        return live

    monkeypatch.setattr(store.reads, "_look", is_doubted)
    assert asyncio.run(store.reads.applied(0)) == applied


def test_tables_that_become_live_during_a_look_are_looked_at_too(
    store: HBaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the log would be read from its beginning by a stream that opens at that moment."""
    applied = apply_all(store)
    ask = store.reads.ask

    async def meanwhile(query: Callable[..., object], *args: object) -> object:
        found = await ask(query, *args)
        if query is queries.applied:
            monkeypatch.setattr(store.reads, "ask", ask)
            rebuilt = store.tables.begin_rebuild("timeline")
            store.tables.apply(rebuilt, store.tables.cursor(rebuilt), store.cursor(applied), ())
            assert store.tables.finish_rebuild("timeline", lambda: True)
            store.reads._look_again()
            await ask(queries.generations)
        return found

    monkeypatch.setattr(store.reads, "ask", meanwhile)
    assert asyncio.run(store.reads.applied_everywhere(PARTITIONS)) == store.cursor(applied)


def test_tables_that_another_thread_finds_live_are_not_taken_for_empty(
    store: HBaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query on a thread looks up which tables are live, while the event loop answers where they stand."""
    told(store)
    applied = apply_all(store)
    asyncio.run(store.reads.applied_everywhere(PARTITIONS))
    know = KnownPositions.know

    def found_meanwhile(positions: KnownPositions, live: Live, partitions: Collection[int]) -> bool:
        known = know(positions, live, partitions)
        store.reads._live = ({**live, "timeline": Generations(2, 2)}, math.inf)
        return known

    monkeypatch.setattr(KnownPositions, "know", found_meanwhile)
    assert asyncio.run(store.reads.applied_everywhere(PARTITIONS)) == store.cursor(applied)


def test_after_a_rebuild_reads_wait_for_the_new_tables_alone(store: HBaseStore) -> None:
    """A move of the old ones comes late."""
    freshness = told(store)
    applied = apply_all(store)
    old = Moves("timeline", 1, {0: Reached(Position(99, 1, 99))})
    rebuilt = store.tables.begin_rebuild("timeline")
    store.tables.apply(rebuilt, store.tables.cursor(rebuilt), store.cursor(applied), ())
    assert store.tables.finish_rebuild("timeline", lambda: True)
    assert apply_all(store) == applied + 1
    store.reads.learn(old)
    asyncio.run(freshness.reach(0, applied, 0.0))
    with pytest.raises(Problem):
        asyncio.run(freshness.reach(0, applied + 1, 0.0))


def test_the_tables_of_a_rebuild_under_way_tell_nothing(store: HBaseStore) -> None:
    rebuilt = store.tables.begin_rebuild("timeline")
    store.tables.apply(rebuilt, store.tables.cursor(rebuilt), store.cursor(5), ())
    assert store.told == []


def test_a_projector_that_was_overtaken_tells_nothing(store: HBaseStore) -> None:
    behind = store.tables.cursor("timeline")
    apply_all(store)
    store.told.clear()
    late = HBaseTables(store.hbase, "falcon", PARTITIONS, through_gateway(store.hbase), moved=store._moved)
    with pytest.raises(StaleProjector):
        late.apply("timeline", behind, store.cursor(50), ())
    late.close()
    assert store.told == []


def test_what_a_batch_has_moved_is_told_at_once_though_one_partition_has_failed(store: HBaseStore) -> None:
    failures = iter([ReadStoreUnavailable("a region is away")])

    def one_fails(name: str, table: str) -> None:
        if name == "checkAndPut" and (failure := next(failures, None)):
            raise failure

    store.hbase.before = one_fails
    with pytest.raises(ReadStoreUnavailable):
        store.tables.apply("timeline", store.tables.cursor("timeline"), store.cursor(1), ())
    (moves,) = store.told
    assert len(moves.reached) == PARTITIONS - 1
