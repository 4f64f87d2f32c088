"""Who may read a room is kept in memory. A change at any process counts for the next page."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.adapters.sqlite import database, read_store
from falcon.domain.ids import partition_of
from tests.http.test_threads import thread_of
from tests.support.http import Falcon, Person, Room, problem, texts


@pytest.fixture(scope="module", params=[1, 2])
def processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    with Falcon(tmp_path_factory.mktemp("falcon"), processes=request.param) as started:
        yield started


@pytest.fixture
def people(processes: Falcon) -> tuple[Person, Person]:
    return processes.account("Anna"), processes.account("Ben")


@pytest.fixture
def rooms(people: tuple[Person, Person]) -> list[Room]:
    """Rooms of both processes, which Anna and Ben have just read."""
    anna, ben = people
    rooms: list[Room] = []
    while len(rooms) < 8 or len({partition_of(room.room_id, 2) for room in rooms}) < 2:
        rooms.append(anna.makes_room("Tea kitchen", ben))
    for room in rooms:
        anna.says(room, "Tea?")
        for _ in range(2):
            assert [texts(each.reads(room)) for each in people] == [["Tea?"]] * 2
    return rooms


def test_a_removed_member_reads_nothing_more(people: tuple[Person, Person], rooms: list[Room]) -> None:
    anna, ben = people
    for room in rooms:
        anna.delete(f"{room}/members/{ben.account_id}")
        problem(ben.get(f"{room}/messages"), 404, "room_not_found")
        assert texts(anna.reads(room)) == ["Tea?"]


def test_a_removed_member_reads_nothing_more_in_threads(people: tuple[Person, Person], rooms: list[Room]) -> None:
    anna, ben = people
    for room in rooms:
        thread = thread_of(ben, room)
        ben.says(thread, "Green?")
        assert texts(ben.reads(thread)) == texts(ben.reads(thread)) == ["Green?"]
        anna.delete(f"{room}/members/{ben.account_id}")
        problem(ben.get(f"{thread}/messages"), 404, "room_not_found")


def test_one_who_is_deactivated_reads_nothing_more(
    processes: Falcon, people: tuple[Person, Person], rooms: list[Room]
) -> None:
    processes.admin.patch(f"/v1/accounts/{people[1].account_id}", {"deactivated": True})
    assert {people[1].get(f"{room}/messages").status_code for room in rooms} == {401}


def test_a_page_has_what_was_sent_edited_and_reacted_to(people: tuple[Person, Person], rooms: list[Room]) -> None:
    anna, ben = people
    for room in rooms:
        anna.says(room, "Coffee?")
        assert texts(ben.reads(room)) == ["Tea?", "Coffee?"]
        anna.patch(f"{room}/messages/1", {"text": "Green tea?"})
        assert texts(ben.reads(room)) == ["Green tea?", "Coffee?"]
        anna.put(f"{room}/messages/2/reactions/%F0%9F%8D%B5")
        assert ben.message(room, 2)["reactions"]


# --- the store --------------------------------------------------------------------------------------------------------


def test_only_the_first_page_asks_who_may_read_until_something_is_committed(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room()
        store = read_store.LoneReadStore(database.connect(tmp_path / "falcon.db", writable=False))
        asked: list[str] = []
        plain = store.execute
        store.execute = lambda *query: asked.append(query[0]) or plain(*query)  # type: ignore[func-returns-value]

        def questions() -> int:
            asked.clear()
            access = asyncio.run(store.access(room.room_id, anna.account_id))
            assert access is not None and access.role == "admin"
            return len(asked)

        assert questions() and not questions()
        store.forget()
        assert questions() and not questions()
        asyncio.run(store.applied(0))  # a reader waits for a commit
        assert questions() and not questions()
        store._kept_until = 0.0  # a rebuild may have been since
        assert questions() and not questions()


def test_no_room_is_kept_for_one_who_may_not_read_it(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        room, ben = falcon.account("Anna").makes_room(), falcon.account("Ben")
        store = read_store.LoneReadStore(database.connect(tmp_path / "falcon.db", writable=False))
        assert asyncio.run(store.access(room.room_id, ben.account_id)) is None
        assert not store._kept


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_store, "_KEPT_MAX", 3)
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        rooms = [anna.makes_room() for _ in range(8)]
        store = read_store.LoneReadStore(database.connect(tmp_path / "falcon.db", writable=False))
        for room in rooms:
            assert asyncio.run(store.access(room.room_id, anna.account_id)) is not None
            assert len(store._kept) <= 3
