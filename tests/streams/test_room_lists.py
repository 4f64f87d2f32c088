"""Lists of very many rooms, which are kept in memory: they say what the tables say, and cost what is shown of them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.journal.ports import JournalUnavailable
from falcon.streams import room_lists
from falcon.streams.feed import Feed
from tests.streams.reader import Listen
from tests.support.http import Falcon, Person, Room

FEW = 5

# Lists are in the order of times.
pytestmark = pytest.mark.usefixtures("ticking")


@pytest.fixture
def falcon(start: Callable[..., Falcon], monkeypatch: pytest.MonkeyPatch) -> Falcon:
    """One for which more than five rooms are many."""
    monkeypatch.setattr(room_lists, "FEW", FEW)
    monkeypatch.setattr(room_lists, "_PART", 3)
    monkeypatch.setattr("falcon.http.stream.opening._HELLO_ROOMS_MAX", FEW)
    return start()


@pytest.fixture
def rooms(anna: Person, ben: Person) -> list[Room]:
    """Anna's, with Ben in them."""
    return [anna.makes_room(f"Room {i}", ben) for i in range(12)]


def by_table(person: Person) -> list[int]:
    """The ids of all of one's rooms, as the tables have them in the order of their activity."""
    rows = person.falcon.run(person.falcon.edge.store.rooms_of(person.account_id, None, 100))
    return [row.room.room_id for row in rows]


def listed(person: Person, limit: int = 4) -> list[int]:
    """The same, page by page."""
    return [room["room_id"] for room in person.walks("/v1/rooms", "rooms", limit)]


def test_a_list_is_in_the_order_of_what_has_happened_last(anna: Person, ben: Person, rooms: list[Room]) -> None:
    assert listed(ben) == [room.room_id for room in reversed(rooms)]
    for room in (rooms[3], rooms[0], rooms[7]):
        anna.says(room, "Tea?")
        assert listed(ben)[0] == room.room_id
        assert listed(ben) == listed(anna) == by_table(ben)
    anna.patch(f"{rooms[1]}", {"name": "Kitchen"})
    assert listed(ben) == by_table(ben)
    assert ben.summary(rooms[1])["name"] == "Kitchen"


def test_a_list_follows_who_comes_and_goes(anna: Person, ben: Person, cleo: Person, rooms: list[Room]) -> None:
    assert listed(ben) == by_table(ben)
    new = cleo.makes_room("New", ben)
    assert listed(ben)[0] == new.room_id
    ben.delete(f"{rooms[2]}/members/{ben.account_id}")
    anna.delete(f"{rooms[4]}")
    other = cleo.makes_room("Other")
    cleo.put(f"{other}/members/{ben.account_id}", {"role": "readonly"})
    ids = listed(ben)
    assert ids == by_table(ben)
    assert other.room_id in ids and new.room_id in ids
    assert rooms[2].room_id not in ids and rooms[4].room_id not in ids
    assert ben.summary(other)["role"] == "readonly"


def test_what_was_acknowledged_is_in_the_very_next_list(anna: Person, ben: Person, rooms: list[Room]) -> None:
    for i in range(30):
        anna.says(rooms[i * 7 % len(rooms)], f"{i}")
        top = ben.get("/v1/rooms", params={"limit": 1}).json()["rooms"][0]
        assert top["room_id"] == rooms[i * 7 % len(rooms)].room_id
        assert top["last_message"]["text"] == f"{i}"


def test_while_everybody_talks_a_list_is_whole(anna: Person, ben: Person, rooms: list[Room]) -> None:
    """Rooms move up while pages are read: none is shown in disorder, and none of the ones that rest is left out."""
    resting = {room.room_id for room in rooms[::2]}
    for round in range(5):
        requests = [anna.request("POST", f"{room}/messages", {"text": f"{round}"}) for room in rooms[1::2]]
        lists = [ben.request("GET", "/v1/rooms", params={"limit": limit}) for limit in (3, 12, 200)]
        *_, third, twelfth, all_of_them = ben.falcon.together(*requests, *lists)
        for answer in (third, twelfth, all_of_them):
            times = [room["updated_at"] for room in answer.json()["rooms"]]
            assert times == sorted(times, reverse=True)
        assert resting <= {room["room_id"] for room in all_of_them.json()["rooms"]}
        assert listed(ben) == by_table(ben)


@contextmanager
def tables_of_now(falcon: Falcon, copy: Path) -> Iterator[None]:
    """Within the block lists are read from tables that stay as they are now."""
    with closing(database.connect(falcon.settings.database, writable=False)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    with closing(apsw.Connection(str(copy))) as connection, pytest.MonkeyPatch.context() as patch:
        old = SqliteReadStore(connection)
        for query in ("applied_everywhere", "rooms_of", "member_rooms", "member_rooms_among", "summaries_of"):
            patch.setattr(falcon.edge.store, query, getattr(old, query))
        yield


async def has_read_all(feed: Feed) -> None:
    async with asyncio.timeout(60):
        await feed.reach(await feed.ends(feed.every_segment))


def test_a_room_that_one_came_to_and_left_before_the_tables_knew_is_not_listed(
    falcon: Falcon, ben: Person, cleo: Person, rooms: list[Room], tmp_path: Path
) -> None:
    listed(ben)
    new = cleo.makes_room("New", ben)
    with tables_of_now(falcon, tmp_path / "before.db"):
        ben.delete(f"{new}/members/{ben.account_id}")
        falcon.run(has_read_all(falcon.edge.streams._feed))
        assert new.room_id in listed(ben)
    assert listed(ben) == by_table(ben)
    assert new.room_id not in listed(ben)
    assert not any(new.room_id in each for each in (of(falcon, ben).doubts, falcon.edge.streams.room_lists._by_room))


def test_what_is_said_in_a_room_that_one_just_came_to_moves_it_up(
    falcon: Falcon, anna: Person, ben: Person, cleo: Person, rooms: list[Room], tmp_path: Path
) -> None:
    new = cleo.makes_room("New")
    anna.says(rooms[0], "Tea?")
    listed(ben)
    cleo.put(f"{new}/members/{ben.account_id}", {"role": "member"})
    with tables_of_now(falcon, tmp_path / "before.db"):
        cleo.says(new, "Welcome")
        falcon.run(has_read_all(falcon.edge.streams._feed))
        assert listed(ben)[0] == rooms[0].room_id
    assert listed(ben) == by_table(ben)
    assert listed(ben)[0] == new.room_id
    assert of(falcon, ben).memberships[new.room_id].last_seq == 1


def test_a_list_with_rooms_in_doubt_is_let_go_whole(
    falcon: Falcon, ben: Person, cleo: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ben)
    new = cleo.makes_room("New", ben)
    lists = falcon.edge.streams.room_lists
    falcon.run(has_read_all(falcon.edge.streams._feed))
    assert new.room_id in of(falcon, ben).doubts
    monkeypatch.setattr(room_lists, "_IDLE_SECONDS", -1.0)
    falcon.run(swept(lists))
    assert not lists._by_room and lists._entries == 0


def test_others_have_their_turns_while_many_rooms_are_read_again(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ben)
    for room in rooms:
        anna.says(room, "Tea?")
    turns = 0
    turns_at_parts: list[int] = []
    read = falcon.edge.store.member_rooms_among

    async def member_rooms_among(account_id: int, room_ids: Any) -> Any:
        turns_at_parts.append(turns)
        return await read(account_id, room_ids)

    async def first_page_beside_another() -> None:
        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(take_turns())
        await falcon.edge.streams.room_lists.newest(ben.account_id, 1)
        other.cancel()

    monkeypatch.setattr(falcon.edge.store, "member_rooms_among", member_rooms_among)
    falcon.run(first_page_beside_another())
    assert len(turns_at_parts) == len(rooms) / 3 + 1, "and the rooms that are shown"
    assert sorted(set(turns_at_parts)) == turns_at_parts


@pytest.mark.parametrize("many", [1, 100])
def test_a_list_is_in_order_whether_rooms_move_one_by_one_or_together(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(room_lists, "_MANY", many)
    listed(ben)
    for i in (5, 1, 9, 1, 7, 0):
        anna.says(rooms[i], "Tea?")
    new = anna.makes_room("New", ben)
    anna.delete(f"{rooms[9]}")
    ben.delete(f"{rooms[2]}/members/{ben.account_id}")
    assert listed(ben) == by_table(ben)
    assert listed(ben)[0] == new.room_id
    assert of(falcon, ben).memberships.keys() == set(by_table(ben))
    assert falcon.edge.streams.room_lists._entries == len(by_table(ben))


def of(falcon: Falcon, person: Person) -> Any:
    return falcon.edge.streams.room_lists._lists[person.account_id]


def test_a_page_reads_no_more_rooms_than_it_shows(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ben)
    anna.says(rooms[0], "Tea?")
    store = falcon.edge.store
    read: dict[str, list[int]] = {"member_rooms_among": [], "summaries_of": []}

    def counting(name: str) -> Callable[..., Any]:
        query = getattr(store, name)

        async def counted(account_id: int, room_ids: Any) -> Any:
            read[name].append(len(room_ids))
            return await query(account_id, room_ids)

        return counted

    async def forbidden(*_: Any) -> Any:
        raise AssertionError("all rooms are read")

    for name in read:
        monkeypatch.setattr(store, name, counting(name))
    for name in ("rooms_of", "member_rooms"):
        monkeypatch.setattr(store, name, forbidden)
    for _ in range(3):
        assert len(ben.get("/v1/rooms", params={"limit": 2}).json()["rooms"]) == 2
    assert read == {"member_rooms_among": [1], "summaries_of": [2, 2, 2]}


def test_a_stream_shows_the_newest_rooms_and_hears_all(
    anna: Person, ben: Person, rooms: list[Room], listen: Listen
) -> None:
    stream = listen(ben)
    hello = stream.next()
    assert hello.data["truncated"] is True
    assert hello.data["rooms"] == ben.rooms()[:FEW]
    for room in rooms:
        anna.says(room, "Anybody?")
    assert [stream.next("message.posted").data["room_id"] for _ in rooms] == [room.room_id for room in rooms]


def test_who_was_away_for_long_is_told_of_every_room_how_far_it_goes(
    start: Callable[..., Falcon], monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    monkeypatch.setattr(room_lists, "FEW", FEW)
    falcon = start(stream_events=10)
    anna = falcon.account("Anna")
    rooms = [anna.makes_room(f"Room {i}") for i in range(12)]
    hello = listen(anna).next()
    for room in rooms:
        for i in range(3):
            anna.says(room, f"{i}")
    caught_up = listen.resume(anna, hello).next()
    assert caught_up.name == "catch_up"
    last = {each["room_id"]: each["last_seq"] for each in caught_up.data["rooms"]}
    assert last == {room.room_id: 3 for room in rooms}


def test_a_list_can_be_read_while_the_log_cannot(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_lists, "_REACH_SECONDS", 0.01)

    async def away(*_: Any) -> Any:
        raise JournalUnavailable("away")

    monkeypatch.setattr(falcon.edge.tail, "read", away)
    assert listed(ben) == by_table(ben) == [room.room_id for room in reversed(rooms)]


def test_a_list_that_more_happens_to_than_is_remembered_is_read_again_each_time(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(falcon.edge.streams._feed._records, "_most", 1)
    for room in rooms[:3]:
        anna.says(room, "Tea?")
        assert listed(ben) == by_table(ben)


def test_lists_that_are_too_many_are_forgotten_and_found_again(
    falcon: Falcon, anna: Person, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_lists, "_ENTRIES_MAX", len(rooms))
    lists = falcon.edge.streams.room_lists
    for person in (anna, ben, anna):
        assert listed(person) == by_table(person)
        assert list(lists._lists) == [person.account_id]
        assert lists._entries == len(rooms)
        assert all(len(kept) == 1 for kept in lists._by_room.values())


def test_a_list_that_nobody_asks_for_is_let_go_and_the_log_is_not_followed_for_it(
    falcon: Falcon, ben: Person, rooms: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(ben)
    lists, feed = falcon.edge.streams.room_lists, falcon.edge.streams._feed
    assert feed._segments
    monkeypatch.setattr(room_lists, "_IDLE_SECONDS", -1.0)
    falcon.run(swept(lists))
    assert not lists._lists and not lists._by_room and lists._entries == 0
    assert not feed._segments and feed.watch is None
    assert listed(ben) == by_table(ben)


async def swept(lists: room_lists.RoomLists) -> None:
    lists._sweep()
    await asyncio.sleep(0)
