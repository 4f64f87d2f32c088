"""Reading a room by pages skips nothing, repeats nothing, and does not send again what has not changed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import tried
from tests.support.http import Json, Person, Room, problem, seqs, texts

Between = Callable[[], object]


def forwards(person: Person, room: Room, limit: int, between: Between = lambda: None) -> list[Json]:
    """Reads the whole room by ``after``, while people act between two pages."""
    walked: list[Json] = []
    while True:
        page = person.reads(room, limit=limit, after=walked[-1]["seq"] if walked else 0)
        assert page["has_before"] == bool(walked) or not page["messages"]
        walked += page["messages"]
        if not page["has_after"]:
            return walked
        assert len(page["messages"]) == limit
        between()


def backwards(person: Person, room: Room, limit: int, between: Between = lambda: None) -> list[Json]:
    """Reads the room backwards from the newest message, by ``before``."""
    page = person.reads(room, limit=limit)
    walked: list[Json] = page["messages"]
    assert not page["has_after"]
    while page["has_before"]:
        between()
        page = person.reads(room, limit=limit, before=walked[0]["seq"])
        assert page["has_after"] and page["messages"]
        walked = page["messages"] + walked
    return walked


@pytest.fixture
def long_room(anna: Person, room: Room) -> Room:
    """23 messages, "1" to "23"."""
    for i in range(1, 24):
        anna.says(room, str(i))
    return room


def test_an_empty_room_has_an_empty_page(anna: Person, room: Room) -> None:
    nothing = {"messages": [], "has_before": False, "has_after": False}
    assert anna.reads(room) == nothing
    for cursor in ("before", "after", "around"):
        for seq in (0, 1, 100):
            assert anna.reads(room, **{cursor: seq}) == nothing


def test_without_a_cursor_the_newest_fifty_come_in_ascending_order(anna: Person, long_room: Room) -> None:
    for i in range(24, 61):
        anna.says(long_room, str(i))
    page = anna.reads(long_room)
    assert seqs(page) == list(range(11, 61))
    assert (page["has_before"], page["has_after"]) == (True, False)


@pytest.mark.parametrize(
    ("query", "expected", "has_before", "has_after"),
    [
        ({"limit": 5}, range(19, 24), True, False),
        ({"limit": 23}, range(1, 24), False, False),
        ({"limit": 200}, range(1, 24), False, False),
        ({"limit": 5, "before": 10}, range(5, 10), True, True),
        ({"limit": 5, "before": 6}, range(1, 6), False, True),
        ({"limit": 5, "before": 3}, range(1, 3), False, True),
        ({"limit": 5, "before": 1}, range(0), False, True),
        ({"limit": 5, "before": 0}, range(0), False, True),
        ({"limit": 5, "before": 24}, range(19, 24), True, False),
        ({"limit": 5, "before": 1000}, range(19, 24), True, False),
        ({"limit": 5, "after": 0}, range(1, 6), False, True),
        ({"limit": 5, "after": 10}, range(11, 16), True, True),
        ({"limit": 5, "after": 18}, range(19, 24), True, False),
        ({"limit": 5, "after": 20}, range(21, 24), True, False),
        ({"limit": 5, "after": 23}, range(0), True, False),
        ({"limit": 5, "after": 1000}, range(0), True, False),
        ({"limit": 5, "around": 12}, range(10, 15), True, True),
        ({"limit": 4, "around": 12}, range(10, 14), True, True),
        ({"limit": 1, "around": 12}, range(12, 13), True, True),
        ({"limit": 5, "around": 1}, range(1, 6), False, True),
        ({"limit": 5, "around": 0}, range(1, 6), False, True),
        ({"limit": 5, "around": 2}, range(1, 6), False, True),
        ({"limit": 5, "around": 3}, range(1, 6), False, True),
        ({"limit": 5, "around": 4}, range(2, 7), True, True),
        ({"limit": 5, "around": 21}, range(19, 24), True, False),
        ({"limit": 5, "around": 22}, range(19, 24), True, False),
        ({"limit": 5, "around": 23}, range(19, 24), True, False),
        ({"limit": 5, "around": 9007199254740991}, range(19, 24), True, False),
        ({"limit": 23, "around": 1}, range(1, 24), False, False),
        ({"limit": 22, "around": 23}, range(2, 24), True, False),
        ({"limit": 200, "around": 12}, range(1, 24), False, False),
    ],
)
def test_pages(anna: Person, long_room: Room, query: Json, expected: range, has_before: bool, has_after: bool) -> None:
    page = anna.reads(long_room, **query)
    assert seqs(page) == list(expected)
    assert texts(page) == [str(seq) for seq in expected]
    assert (page["has_before"], page["has_after"]) == (has_before, has_after)


@pytest.mark.parametrize("limit", [1, 2, 7, 22, 23, 24, 200])
def test_a_walk_by_pages_of_any_size_gives_each_message_once(anna: Person, long_room: Room, limit: int) -> None:
    everything = [anna.message(long_room, seq) for seq in range(1, 24)]
    assert forwards(anna, long_room, limit) == everything
    assert backwards(anna, long_room, limit) == everything


@pytest.mark.parametrize("seq", [1, 2, 11, 22, 23])
def test_around_a_message_and_on_from_both_ends_gives_each_message_once(
    anna: Person, long_room: Room, seq: int
) -> None:
    page = anna.reads(long_room, limit=5, around=seq)
    walked = seqs(page)
    assert seq in walked
    before, after = page, page
    while before["has_before"]:
        before = anna.reads(long_room, limit=3, before=walked[0])
        walked = seqs(before) + walked
    while after["has_after"]:
        after = anna.reads(long_room, limit=3, after=walked[-1])
        walked = walked + seqs(after)
    assert walked == list(range(1, 24))


# --- large messages ---------------------------------------------------------------------------------------------------

_MEBIBYTE = 1 << 20


@pytest.fixture
def heavy_room(anna: Person, room: Room) -> Room:
    """40 messages of 64 KB, with small ones between some of them."""
    for i in range(1, 41):
        anna.says(room, f"{i} " + ("x" * 65_000 if i % 5 else ""))
    return room


def page_of(person: Person, room: Room, **query: Any) -> Json:
    answer = person.get(f"{room}/messages", params=query)
    assert len(answer.content) <= _MEBIBYTE
    page: Json = answer.json()
    return page


def test_a_page_has_at_most_a_mebibyte_and_says_that_there_is_more(anna: Person, heavy_room: Room) -> None:
    newest = page_of(anna, heavy_room, limit=200)
    assert (newest["has_before"], newest["has_after"]) == (True, False)
    assert seqs(newest) == list(range(seqs(newest)[0], 41)) and len(seqs(newest)) >= 16
    before = page_of(anna, heavy_room, limit=30, before=31)
    assert (before["has_before"], before["has_after"], seqs(before)[-1]) == (True, True, 30)
    after = page_of(anna, heavy_room, limit=30, after=4)
    assert (after["has_before"], after["has_after"], seqs(after)[0]) == (True, True, 5)
    first = page_of(anna, heavy_room, limit=200, after=0)
    assert (first["has_before"], first["has_after"]) == (False, True)


def test_a_page_that_lacks_a_part_has_no_etag(anna: Person, heavy_room: Room) -> None:
    """Two pages between the same two messages: one may have the first message, and one the last."""
    for query in ({"after": 0}, {"before": 31}, {"around": 16}):
        assert "etag" not in anna.get(f"{heavy_room}/messages", params={"limit": 30, **query}).headers


def test_a_list_of_rooms_has_at_most_a_mebibyte_and_goes_on_behind_the_last(anna: Person) -> None:
    rooms = [anna.makes_room(str(i)) for i in range(24)]
    for room in rooms:
        anna.says(room, "x" * 65_000)
    walked: list[int] = []
    query: Json = {"limit": 200}
    pages = 0
    while pages == 0 or query["cursor"] is not None:
        answer = anna.get("/v1/rooms", params=query)
        assert len(answer.content) <= _MEBIBYTE
        walked += [each["room_id"] for each in answer.json()["rooms"]]
        query["cursor"] = answer.json()["next_cursor"]
        pages += 1
    assert pages == 2
    assert sorted(walked) == sorted(room.room_id for room in rooms)


# --- while others write -----------------------------------------------------------------------------------------------


@given(limit=st.integers(1, 9), meanwhile=st.lists(st.integers(0, 6), max_size=12))
@settings(tried(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_walks_skip_nothing_and_repeat_nothing_while_messages_come_in(
    anna: Person, ben: Person, limit: int, meanwhile: list[int]
) -> None:
    room = anna.makes_room("Busy", ben)
    for i in range(1, 12):
        anna.says(room, str(i))
    coming = iter(meanwhile)

    def somebody_writes() -> None:
        for _ in range(next(coming, 0)):
            ben.says(room, "New")

    newest = anna.summary(room)["last_seq"]
    assert [message["seq"] for message in backwards(anna, room, limit, somebody_writes)] == list(range(1, newest + 1))
    walked = [message["seq"] for message in forwards(anna, room, limit, somebody_writes)]
    assert walked == list(range(1, anna.summary(room)["last_seq"] + 1))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"before": -1}, "before"),
        ({"before": 2**53}, "before"),
        ({"before": "9" * 5000}, "before"),
        ({"after": "1e9999"}, "after"),
        ({"after": "nan"}, "after"),
        ({"around": "first"}, "around"),
        ({"before": "null"}, "before"),
        ({"after": "1e1"}, "after"),
        ({"around": "2.0"}, "around"),
        ({"around": "\0"}, "around"),
        ({"before": 1, "after": 2}, "after"),
        ({"before": 1, "around": 2}, "around"),
        ({"after": 1, "around": 2, "before": 3}, "after"),
        ({"offset": 1}, "offset"),
        ({"cursor": "1"}, "cursor"),
    ],
)
def test_a_page_that_cannot_be_names_the_parameter(anna: Person, room: Room, query: Json, field: str) -> None:
    problem(anna.get(f"{room}/messages", params=query), 422, "invalid", field)


# --- ETags ------------------------------------------------------------------------------------------------------------


def again(person: Person, path: str, etag: str, **query: Any) -> int:
    """The status of the same read with the first one's ETag."""
    read = person.get(path, params=query, headers={"If-None-Match": etag})
    assert read.status_code in (200, 304)
    if read.status_code == 304:
        assert read.content == b"" and read.headers["etag"] == etag
    else:
        assert read.headers["etag"] != etag
    return read.status_code


def test_a_page_that_has_not_changed_is_not_sent_again(anna: Person, ben: Person, long_room: Room) -> None:
    path = f"{long_room}/messages"
    etag = anna.get(path, params={"limit": 5}).headers["etag"]
    assert again(anna, path, etag, limit=5) == 304
    assert again(ben, path, etag, limit=5) == 304
    assert again(anna, path, etag, limit=6) == 200
    assert again(anna, path, etag, limit=5, before=23) == 200
    assert anna.get(path, params={"limit": 5}, headers={"If-None-Match": '"another"'}).status_code == 200
    nothing = anna.get(path, params={"before": 0}).headers["etag"]
    assert again(anna, path, nothing, before=0) == 304


def test_a_page_with_anything_new_is_sent_again(anna: Person, room: Room) -> None:
    path = f"{room}/messages"
    anna.says(room, "One")
    for change in (
        lambda: anna.says(room, "Two"),
        lambda: anna.patch(f"{path}/1", {"text": "Edited"}),
        lambda: anna.delete(f"{path}/1"),
    ):
        etag = anna.get(path).headers["etag"]
        change()
        assert again(anna, path, etag) == 200


def test_an_old_page_is_sent_again_when_it_is_no_longer_the_end(anna: Person, room: Room) -> None:
    """``has_after`` is part of the page."""
    anna.says(room, "One")
    etag = anna.get(f"{room}/messages", params={"after": 0, "limit": 1}).headers["etag"]
    anna.says(room, "Two")
    assert again(anna, f"{room}/messages", etag, after=0, limit=1) == 200


def test_a_message_that_has_not_changed_is_not_sent_again(anna: Person, room: Room) -> None:
    path = f"{room}/messages/1"
    anna.says(room, "One")
    etag = anna.get(path).headers["etag"]
    anna.says(room, "Another")
    assert again(anna, path, etag) == 304
    anna.patch(path, {"text": "Edited"})
    assert again(anna, path, etag) == 200
    etag = anna.get(path).headers["etag"]
    anna.delete(path)
    assert again(anna, path, etag) == 200


def test_who_has_left_learns_nothing_from_an_etag(anna: Person, ben: Person, long_room: Room) -> None:
    etags = {path: ben.get(path).headers["etag"] for path in (f"{long_room}/messages", f"{long_room}/messages/1")}
    anna.delete(f"{long_room}/members/{ben.account_id}")
    for path, etag in etags.items():
        problem(ben.get(path, headers={"If-None-Match": etag}), 404, "room_not_found")
