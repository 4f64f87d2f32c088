"""What a stream and a page of rooms ask of the tables and of the log does not grow with rooms, events or partitions."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from falcon.adapters.hbase import read_store
from falcon.adapters.hbase.schema import meta_name
from falcon.features.messages.rules import Message, MessagePosted
from falcon.features.rooms.rules import MemberJoined, Membership, RoomCreated
from falcon.journal import codec
from falcon.journal.envelope import Envelope
from falcon.journal.record import Record
from falcon.streams import revocations
from tests.growth.edge import PREFIX, Site, counted_edge
from tests.growth.log import EPOCH, NOW

PARTITIONS = 64
ME, OTHER = PARTITIONS, PARTITIONS * 2
ROOMS, PEERS, ELSEWHERE = PARTITIONS * 1_000, PARTITIONS * 10_000, PARTITIONS * 100_000


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Tables of a fake HBase lack regions, which is no news."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second the store looks up which tables are live, and a token is looked up if the log was not read to its
    end within a second: on a busy machine each request would count that."""
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 3_600.0)
    monkeypatch.setattr(revocations, "_FRESH_SECONDS", 3_600.0)


def member_of(rooms: int, partitions: int = PARTITIONS) -> Site:
    """An account in so many rooms with a message in each; half of the rooms are direct."""
    site = Site(partitions)
    events = [*site.account(ME), *site.account(OTHER)]
    for n in range(rooms):
        events += site.account(PEERS + n)
        members = (Membership(ME, "member"), Membership(PEERS + n, "member"))
        events.append(
            RoomCreated(ROOMS + n, "direct" if n % 2 else "group", "" if n % 2 else f"Room {n}", "", NOW + n, members)
        )
        events.append(MessagePosted(Message(ROOMS + n, 1, PEERS + n, "Is there tea?", NOW + n)))
    site.show(site.happen(events))
    return site


@pytest.mark.parametrize("rooms", [20, 150])
def test_a_stream_begins_with_four_calls_of_hbase_however_many_rooms_it_tells_of(rooms: int) -> None:
    site = member_of(rooms)

    async def calls() -> tuple[int, int]:
        async with counted_edge(site) as edge:
            costs = []
            for _ in range(6):  # the first finds out what a process looks up once
                before = site.calls
                await edge.begins(ME)
                costs.append(site.calls - before)
            return costs[0], min(costs[1:])

    first, again = asyncio.run(calls())
    assert again <= 4
    assert first <= 30


@pytest.mark.parametrize("rooms", [20, 150])
def test_a_page_of_rooms_takes_as_many_calls_of_hbase_in_a_long_list(rooms: int) -> None:
    site = member_of(rooms)

    async def costs() -> list[tuple[int, int]]:
        async with counted_edge(site) as edge:
            found = []
            for _ in range(2):
                calls, rows = site.calls, site.rows
                await edge.get("/v1/rooms?limit=50", ME)
                found.append((site.calls - calls, site.rows - rows))
            return found

    (first, _), (again, rows) = asyncio.run(costs())
    assert (first <= 60, again <= 10, rows <= 700) == (True, True, True)


@pytest.mark.parametrize("accounts", [300, 3_000])
def test_200_accounts_by_id_take_two_calls_of_hbase_and_a_search_of_two_words_four(accounts: int) -> None:
    site = Site(PARTITIONS)
    others = [event for n in range(accounts) for event in site.account(PEERS + n)]
    site.show(site.happen([*site.account(ME), *others]))

    async def costs() -> tuple[int, int]:
        async with counted_edge(site) as edge:
            found = []
            for asked in (f"?ids={','.join(str(PEERS + n) for n in range(200))}", "/search?q=account%20640"):
                await edge.get(f"/v1/accounts{asked}", ME)  # the first finds out what a process looks up once
                before = site.calls
                await edge.get(f"/v1/accounts{asked}", ME)
                found.append(site.calls - before)
            return found[0], found[1]

    by_id, search = asyncio.run(costs())
    assert (by_id <= 2, search <= 4) == (True, True), (by_id, search)


@pytest.mark.parametrize("partitions", [16, 64])
def test_a_stream_begins_without_asking_about_each_partition(partitions: int) -> None:
    site = member_of(20, partitions)

    async def rows_of_positions() -> int:
        async with counted_edge(site) as edge, edge.stream(ME):
            before = site.hbase.given[meta_name(PREFIX)]
            for _ in range(20):
                await edge.begins(ME)
            return site.hbase.given[meta_name(PREFIX)] - before

    assert asyncio.run(rows_of_positions()) / 20 <= 20


@pytest.mark.parametrize("events", [200, 2_000])
@pytest.mark.parametrize("resumes", [True, False])
def test_a_stream_begins_without_looking_at_what_happened_to_others(events: int, resumes: bool) -> None:
    """``resumes``: else the stream is new, and the tables do not show the events yet."""
    site = member_of(20)

    async def begins() -> tuple[str, int]:
        async with counted_edge(site) as edge, edge.stream(OTHER):
            token = (await edge.begins(ME)).id
            happens_to_others(site, events)
            if resumes:
                site.show(())
            await site.log.all_read()
            site.log.begin_turn()
            begun = await edge.begins(ME, token if resumes else "")
            return begun.name, site.log.looked_at

    name, looked_at = asyncio.run(begins())
    assert name != "catch_up"
    assert looked_at <= 500


def happens_to_others(site: Site, events: int) -> None:
    """A message in each of the account's rooms, and then so many events elsewhere, one of a hundred about a member."""
    site.happen(MessagePosted(Message(ROOMS + n, 2, ME, "There is!", NOW)) for n in range(20))

    def record(partition: int, event: MessagePosted | MemberJoined) -> Record:
        return codec.encode(Envelope(partition, EPOCH, 0, NOW, event))

    posted = [record(n, MessagePosted(Message(ELSEWHERE + n, 2, 9, "x" * 100, NOW))) for n in range(PARTITIONS)]
    joined = [record(n, MemberJoined(ELSEWHERE + n, 9, "member", 0)) for n in range(PARTITIONS)]
    for n in range(events):
        kinds = posted if n % 100 else joined
        site.log.append(n % PARTITIONS, kinds[n % PARTITIONS])
