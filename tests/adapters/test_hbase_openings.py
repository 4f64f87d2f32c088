"""Counts the calls to HBase of a stream that opens, and of a page of rooms."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from falcon.adapters.hbase import read_store
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.base.shared import Shared
from falcon.features.accounts.table import DropToken, UpsertAccount, UpsertToken
from falcon.features.messages.table import UpsertMessage
from falcon.features.read_marks.table import SetMention, UpsertMember
from falcon.features.rooms.table import SetRoomActivity, UpsertRoom
from falcon.http import room_views
from falcon.http.limits.addresses import Addresses
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.quotas import Quotas
from falcon.http.problems import Problem
from falcon.http.stream.callers import StreamCaller
from falcon.http.stream.opening import Opener, PendingStream
from falcon.http.stream.turns import TableTurns
from falcon.read.catalogue import READ_MODELS
from falcon.read.names import AccountNames
from falcon.streams import revocations
from falcon.streams.feed import Feed
from falcon.streams.revocations import Revocations
from falcon.streams.room_lists import RoomLists
from tests.adapters.test_hbase_reads import HBaseStore
from tests.contracts.journal import PARTITIONS
from tests.contracts.read_store import ANN, LATER, NOON
from tests.streams.test_replay import FakeLookups, FakeTail, posted

LIST: Final = ["memberships", "rooms", "timeline", "mentions"]
ROOMS: Final = range(1_000, 1_000_000, 7)
_PEERS: Final = 2_000_000


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[HBaseStore]:
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 1e9)
    monkeypatch.setattr(revocations, "_FRESH_SECONDS", 1e9)
    store = HBaseStore()
    store.reads.close()
    store.reads = HBaseReadStore(store.hbase, "falcon", threads=1, seconds=60)
    yield store
    store.close()


def ann_is_in(store: HBaseStore, count: int) -> Sequence[int]:
    """Half of the rooms are direct ones. The newest have two messages, of which Ann has read one; the other mentions
    her."""
    rooms = ROOMS[:count]
    newest = rooms[-200:]
    peers = {room_id: _PEERS + room_id for room_id in rooms[::2]}
    store.apply("accounts", UpsertAccount(ANN, "Ann", "member", NOON), UpsertToken(ANN, 1, "hash", NOON))
    store.apply("accounts", *(UpsertAccount(peer, f"Peer {peer}", "member", NOON) for peer in peers.values()))
    store.apply("rooms", *(_room(room_id, peers.get(room_id)) for room_id in rooms))
    store.apply("rooms", *(SetRoomActivity(room_id, 2, LATER) for room_id in newest))
    store.apply("memberships", *(UpsertMember(room_id, ANN, "member", 1) for room_id in rooms))
    store.apply("memberships", *(SetMention(ANN, room_id, 2, True) for room_id in newest))
    store.apply("timeline", *(UpsertMessage(room_id, seq, b'"Tea?"') for room_id in newest for seq in (1, 2)))
    for projection in ("timeline", "reactions"):
        while store.tables.cursor(projection)[0].offset < 2:
            store.apply(projection)
    return rooms


def _room(room_id: int, peer: int | None) -> UpsertRoom:
    if peer is None:
        return UpsertRoom(room_id, "group", "Tea", "", NOON, None, None)
    return UpsertRoom(room_id, "direct", "", "", NOON, ANN, peer)


class Edge:
    """The parts of a process that opens streams and lists rooms."""

    def __init__(self, store: HBaseStore, tail: FakeTail) -> None:
        self.store = store
        self.open: list[PendingStream] = []
        reads = store.reads
        self.feed = Feed(tail, FakeLookups(), "a log", PARTITIONS)
        self.feed.start()
        self.names = AccountNames(reads)
        applied = Shared(lambda: reads.applied_everywhere(PARTITIONS))
        self.lists = RoomLists(reads, self.feed, applied)
        limiter = Limiter(Quotas(), Addresses(()))
        self._revocations = Revocations(reads, self.feed)
        self.opener = Opener(
            reads, self.feed, FakeLookups(), self.names, applied, self.lists, limiter, TableTurns(), self._revocations
        )

    async def confirms(self) -> None:
        """From now on the log confirms tokens that the tables have known."""
        self._revocations.start()
        while not self._revocations.still_valid_since(time.monotonic(), time.monotonic()):
            await asyncio.sleep(0.01)

    async def ends(self) -> None:
        await self._revocations.stop()
        await self.feed.stop()

    async def hello(self, asked_at: float | None = None) -> Any:
        """The hello of a stream that stays open. ``asked_at``: when the token was looked up; None: for this stream."""
        tables = self.opener.tables(None)
        if asked_at is None:
            async with tables.turn():
                asked_at = time.monotonic()
        opening = await self.opener.open(StreamCaller(ANN, "hash", asked_at), None, None, tables, [])
        self.open.append(opening)
        return msgspec.json.decode(opening._data)

    async def page(self, limit: int) -> list[Any]:
        listed = await self.lists.page(ANN, None, limit)
        return await room_views.room_summaries(self.names, ANN, listed.rows)

    async def cost(self, work: Coroutine[Any, Any, Any]) -> tuple[Any, list[str], int]:
        """The result of the work, the tables that it reads, a call each, and how often it asks for their positions."""
        before = len(self.store.hbase.asked)
        found = await work
        tables = [table.removeprefix("falcon_").removesuffix("_1") for _, table in self.store.hbase.asked[before:]]
        return found, [table for table in tables if table != "meta"], tables.count("meta")


def served(
    store: HBaseStore, scenario: Callable[[Edge], Coroutine[Any, Any, None]], tail: FakeTail | None = None
) -> None:
    async def edge_lives() -> None:
        edge = Edge(store, tail or FakeTail(()))
        await store.reads.room(1)  # it knows the generations now
        async with asyncio.timeout(60):
            await scenario(edge)
        await edge.ends()

    asyncio.run(edge_lives())


def test_a_hello_of_twenty_rooms_is_four_calls(store: HBaseStore) -> None:
    rooms = ann_is_in(store, 20)

    async def scenario(edge: Edge) -> None:
        first, tables, positions = await edge.cost(edge.hello())
        assert (sorted(tables), positions) == (sorted([*LIST, "accounts"]), 1), "the names"
        again, tables, positions = await edge.cost(edge.hello())
        assert (tables, positions) == (LIST, 1)
        assert first == again
        assert {room["room_id"] for room in again["rooms"]} == set(rooms)
        names = {room["name"] for room in again["rooms"] if room["kind"] == "direct"}
        assert names == {f"Peer {_PEERS + room_id}" for room_id in rooms[::2]}
        assert {(room["unread"], room["mentions"], room["last_message"]) for room in again["rooms"]} == {(1, 1, "Tea?")}

    served(store, scenario)


def test_a_token_that_was_looked_up_earlier_is_looked_up_again_unless_the_log_confirms_it(
    store: HBaseStore,
) -> None:
    ann_is_in(store, 1)

    async def scenario(edge: Edge) -> None:
        earlier = time.monotonic()
        await edge.hello()
        _, tables, _ = await edge.cost(edge.hello(earlier))
        assert tables == ["accounts", *LIST]
        await edge.confirms()
        _, tables, _ = await edge.cost(edge.hello(time.monotonic()))
        assert tables == LIST

    served(store, scenario)


def test_a_token_that_was_revoked_since_it_was_looked_up_begins_no_stream(store: HBaseStore) -> None:
    ann_is_in(store, 1)

    async def scenario(edge: Edge) -> None:
        looked_up_at = time.monotonic()
        store.apply("accounts", DropToken(ANN, 1))
        with pytest.raises(Problem, match="unauthenticated"):
            await edge.hello(looked_up_at)

    served(store, scenario)


def test_rooms_whose_tables_are_ahead_cost_a_hello_no_more(store: HBaseStore) -> None:
    rooms = ann_is_in(store, 20)
    tail = FakeTail([posted(1, 1), posted(1, 1), *(posted(2, room_id) for room_id in rooms)])

    async def scenario(edge: Edge) -> None:
        await edge.hello()
        hello, tables, _ = await edge.cost(edge.hello())
        assert tables == LIST[:3], "nothing is unread, so no mentions are counted"
        assert {(room["last_seq"], room["unread"], room["mentions"]) for room in hello["rooms"]} == {(1, 0, 0)}

    served(store, scenario, tail)


def test_a_hello_of_ten_thousand_rooms_is_one_pass(store: HBaseStore) -> None:
    ann_is_in(store, 10_000)

    async def scenario(edge: Edge) -> None:
        hello, tables, positions = await edge.cost(edge.hello())
        assert len(tables) + positions <= 30
        assert (len(hello["rooms"]), hello["truncated"]) == (100, True)
        _, tables, positions = await edge.cost(edge.hello())
        assert len(tables) + positions <= 10

    served(store, scenario)


def test_a_page_of_rooms_costs_what_it_shows(store: HBaseStore) -> None:
    """However many rooms there are, once the list has been read."""
    costs = []
    for count in (200, 2_000):
        ann_is_in(store, count)

        async def scenario(edge: Edge) -> None:
            await edge.page(50)
            read, get = [], store.hbase.servers.get

            def counting(table: str, keys: Sequence[bytes], columns: Any) -> Any:
                read.append(len(keys))
                return get(table, keys, columns)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(store.hbase.servers, "get", counting)
                rooms, tables, positions = await edge.cost(edge.page(50))
            assert len(rooms) == 50
            costs.append((tables, positions, sum(read)))

        served(store, scenario)
    assert costs[0] == costs[1]
    tables, positions, read_rows = costs[0]
    assert (tables, positions) == (LIST, 1)
    assert read_rows <= 4 * 50 + len(READ_MODELS) * PARTITIONS


def test_where_the_tables_stand_is_one_call_however_many_partitions_there_are(store: HBaseStore) -> None:
    async def scenario(edge: Edge) -> None:
        for partitions in (64, 256, 1_024):
            _, tables, positions = await edge.cost(store.reads.applied_everywhere(partitions))
            assert (tables, positions) == ([], 1)

    served(store, scenario)
