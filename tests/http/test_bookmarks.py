"""Bookmarks of one's own, and who has read a message."""

import httpx
import pytest

from tests.http.test_transfer import (
    AT,
    exported,
    imported,
    imports,
    message_line,
    position_now,
    room_line,
    whole_export,
)
from tests.support.http import Falcon, Json, Person, Room, problem


def keep(person: Person, room: Room, seq: object = 1, **body: object) -> httpx.Response:
    return person.put(f"/v1/bookmarks/{room.room_id}/{seq}", body or None)


def kept(person: Person, **query: object) -> list[Json]:
    answer = person.get("/v1/bookmarks", params=query)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["bookmarks"]
    return found


def test_a_bookmark_is_answered_listed_and_removed(anna: Person, ben: Person, room: Room) -> None:
    for text in ("Tea?", "Coffee?"):
        anna.says(room, text)
    first = keep(ben, room, note="Later")
    body = first.json()
    assert (first.status_code, first.headers["falcon-position"] > "") == (200, True)
    assert body == {"room_id": room.room_id, "seq": 1, "note": "Later", "created_at": body["created_at"]}
    assert keep(ben, room, note="Soon").json() == {**body, "note": "Soon"}
    later = keep(ben, room, 2).json()
    shown = [{**later, "message": ben.message(room, 2)}, {**body, "note": "Soon", "message": ben.message(room, 1)}]
    assert sorted(kept(ben), key=lambda each: -each["seq"]) == shown
    assert kept(anna) == []
    for _ in range(2):
        assert ben.delete(f"/v1/bookmarks/{room.room_id}/2").status_code == 204
    assert kept(ben) == shown[1:]


def test_bookmarks_come_by_pages_the_newest_first(anna: Person, room: Room) -> None:
    for number in range(5):
        anna.says(room, f"{number}")
        assert keep(anna, room, number + 1).status_code == 200
    found: list[Json] = []
    cursor = None
    while cursor is not None or not found:
        page = anna.get("/v1/bookmarks", params={"limit": 2} | ({} if cursor is None else {"cursor": cursor})).json()
        found += page["bookmarks"]
        cursor = page["next_cursor"]
    assert {each["seq"] for each in found} == {1, 2, 3, 4, 5}
    assert [each["created_at"] for each in found] == sorted((each["created_at"] for each in found), reverse=True)
    for wrong in ("x", "00", "g" * 48):
        problem(anna.get("/v1/bookmarks", params={"cursor": wrong}), 422, "invalid", "cursor")


def test_a_bookmark_shows_a_deleted_message_as_deleted_and_none_of_a_room_that_was_left(
    anna: Person, ben: Person, room: Room
) -> None:
    for text in ("Tea?", "Coffee?"):
        keep(ben, room, anna.says(room, text))
    anna.delete(f"{room}/messages/1")
    assert {each["seq"]: each["message"]["deleted"] for each in kept(ben)} == {1: True, 2: False}
    ben.delete(f"{room}/members/{ben.account_id}")
    assert {each["seq"]: each["message"] for each in kept(ben)} == {1: None, 2: None}


def test_what_cannot_be_bookmarked_is_refused(falcon: Falcon, anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    anna.delete(f"{room}/messages/{anna.says(room, 'No')}")
    problem(keep(anna, room, 2), 409, "message_deleted")
    for seq in (3, 0, "x", 2**53):
        problem(keep(anna, room, seq), 404, "message_not_found")
    problem(keep(falcon.account("Stranger"), room), 404, "room_not_found")
    problem(keep(anna, room, note="x" * 501), 422, "invalid", "note")
    problem(keep(anna, room, nothing=1), 422, "invalid", "nothing")
    anna.put(f"{room}/members/{ben.account_id}", {"role": "readonly"})
    assert keep(ben, room).status_code == 200


def test_a_retry_gets_its_bookmark_although_the_message_was_deleted_meanwhile(anna: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    key = {"Idempotency-Key": "k1"}
    path = f"/v1/bookmarks/{room.room_id}/1"
    first = anna.put(path, {"note": "Later"}, headers=key)
    anna.delete(f"{room}/messages/1")
    again = anna.put(path, {"note": "Later"}, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.fixture
def there(anna: Person, ben: Person) -> Room:
    """An imported room of Anna and Ben."""
    done = imported(anna.falcon, room_line(anna, ben, ref=f"bookmarks of {anna.account_id}"))
    return Room(anna.falcon, next(iter(done["rooms"].values())))


def test_bookmarks_are_exported_and_imported(falcon: Falcon, anna: Person, ben: Person, there: Room) -> None:
    since = position_now(falcon)
    line = {"type": "bookmark", "account_id": ben.account_id, "room_id": there.room_id, "seq": 1, "created_at": AT}
    for _ in range(2):
        imported(falcon, *(message_line(there, seq, anna) for seq in (1, 2)), line | {"note": "Of old"})
    assert [(each["seq"], each["note"], each["created_at"]) for each in kept(ben)] == [(1, "Of old", AT)]
    keep(ben, there, 2, note="New")
    of_room = {"account": str(ben.account_id), "room": str(there.room_id)}
    rows = [each for each in exported(falcon) if each["type"] == "bookmark" and of_room.items() <= each.items()]
    assert [(each["seq"], each["note"]) for each in rows] == [(2, "New"), (1, "Of old")]
    ben.delete(f"/v1/bookmarks/{there.room_id}/2")
    changes = [each for each in whole_export(falcon, resume="changes", since=since) if "bookmark" in each["type"]]
    assert [(each["type"], each["seq"]) for each in changes if of_room.items() <= each.items()] == [
        ("bookmark", 1),
        ("bookmark", 2),
        ("bookmark-removed", 2),
    ]
    rest = whole_export(falcon, resume=f"bookmark:{ben.account_id}", since=since)
    assert [each["seq"] for each in rest if of_room.items() <= each.items() and "at" not in each] == [1]


@pytest.mark.parametrize(("wrong", "field"), [({"seq": 9}, "seq"), ({"account_id": 9_999}, "account_id")])
def test_bookmarks_that_cannot_be_imported_are_named(
    falcon: Falcon, anna: Person, there: Room, wrong: Json, field: str
) -> None:
    line = {"type": "bookmark", "room_id": there.room_id, "seq": 1, "account_id": anna.account_id, "created_at": AT}
    answer = imports(falcon, message_line(there, 1, anna), line | wrong)
    problem(answer, 422, "invalid", f"line 2: {field}")


# --- readers ----------------------------------------------------------------------------------------------------------


def read(person: Person, room: Room, seq: int) -> None:
    assert person.put(f"{room}/read", {"seq": seq}).status_code == 200


def readers(person: Person, room: Room, seq: int) -> list[tuple[int, int]]:
    answer = person.get(f"{room}/messages/{seq}/readers")
    assert answer.status_code == 200, answer.text
    return [(each["account_id"], each["read_seq"]) for each in answer.json()["readers"]]


def test_readers_are_the_members_who_have_read_a_message_without_its_author(
    anna: Person, ben: Person, room: Room
) -> None:
    for text in ("Tea?", "Coffee?"):
        anna.says(room, text)
    assert readers(anna, room, 1) == []
    read(ben, room, 1)
    assert (readers(anna, room, 1), readers(anna, room, 2)) == ([(ben.account_id, 1)], [])
    read(ben, room, 2)
    assert readers(ben, room, 1) == readers(ben, room, 2) == [(ben.account_id, 2)]


def test_who_hides_how_far_they_read_is_no_reader(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    read(ben, room, 1)
    assert ben.patch("/v1/me", {"hide_reads": True}).status_code == 200
    assert readers(anna, room, 1) == []
    ben.patch("/v1/me", {"hide_reads": False})
    assert readers(anna, room, 1) == [(ben.account_id, 1)]


def test_readers_of_a_message_that_cannot_be_read_are_not_told(falcon: Falcon, anna: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    problem(falcon.account("Stranger").get(f"{room}/messages/1/readers"), 404, "room_not_found")
    problem(anna.get(f"{room}/messages/2/readers"), 404, "message_not_found")
    problem(anna.get(f"{room}/messages/1/readers", params={"limit": 0}), 422, "invalid", "limit")


def test_readers_are_not_told_in_a_large_room(
    monkeypatch: pytest.MonkeyPatch, anna: Person, ben: Person, room: Room
) -> None:
    monkeypatch.setattr("falcon.features.read_marks.api.READ_MEMBERS_MAX", 1)
    anna.says(room, "Tea?")
    problem(anna.get(f"{room}/messages/1/readers"), 422, "invalid", "room_id")
