"""Pinning messages to their room."""

import httpx
import pytest

from falcon.features.pins.rules import PINS_MAX
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


@pytest.fixture
def there(anna: Person, ben: Person) -> Room:
    """An imported room of Anna and Ben."""
    done = imported(anna.falcon, room_line(anna, ben, ref=f"pins of {anna.account_id}"))
    return Room(anna.falcon, next(iter(done["rooms"].values())))


def pins(person: Person, room: Room) -> list[Json]:
    answer = person.get(f"{room}/pins")
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["pins"]
    return found


def pin(person: Person, room: Room, seq: object = 1) -> httpx.Response:
    return person.put(f"{room}/pins/{seq}")


def test_a_pin_is_answered_listed_and_taken_back(anna: Person, ben: Person, room: Room) -> None:
    for text in ("Tea?", "Coffee?"):
        anna.says(room, text)
    assert pins(anna, room) == []
    first = pin(ben, room)
    assert (first.status_code, first.headers["falcon-position"] > "") == (200, True)
    body = first.json()
    assert body == {"room_id": room.room_id, "seq": 1, "pinned_by": ben.account_id, "pinned_at": body["pinned_at"]}
    assert pin(ben, room).json() == pin(anna, room).json() == body
    later = pin(anna, room, 2).json()
    anna.put(f"{room}/messages/1/reactions/👍")
    shown = [
        {"message": anna.message(room, each["seq"]), "pinned_by": each["pinned_by"], "pinned_at": each["pinned_at"]}
        for each in (later, body)
    ]
    assert pins(ben, room) == shown
    for _ in range(2):
        assert anna.delete(f"{room}/pins/1").status_code == 204
    assert pins(ben, room) == shown[:1]
    anna.delete(f"{room}/messages/2")
    assert pins(ben, room) == []


def test_pinning_again_writes_nothing(falcon: Falcon, anna: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    pin(anna, room)
    length = falcon.log_length()
    assert pin(anna, room).status_code == 200
    assert falcon.log_length() == length


def test_what_cannot_be_pinned_is_refused(falcon: Falcon, anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    anna.delete(f"{room}/messages/{anna.says(room, 'No')}")
    problem(pin(anna, room, 2), 409, "message_deleted")
    for seq in (3, 0, "x", 2**53):
        problem(pin(anna, room, seq), 404, "message_not_found")
    for seq in (2, 3, 999):
        assert anna.delete(f"{room}/pins/{seq}").status_code == 204
    problem(anna.delete(f"{room}/pins/0"), 404, "message_not_found")
    anna.put(f"{room}/members/{ben.account_id}", {"role": "readonly"})
    for answer in (pin(ben, room), ben.delete(f"{room}/pins/1")):
        problem(answer, 403, "read_only")
    assert pins(ben, room) == []
    stranger = falcon.account("Stranger")
    for answer in (pin(stranger, room), stranger.delete(f"{room}/pins/1"), stranger.get(f"{room}/pins")):
        problem(answer, 404, "room_not_found")
    problem(anna.put(f"{room}/pins/1", {"seq": 1}), 422, "invalid")


def test_a_room_has_a_hundred_pins_at_most(anna: Person, room: Room) -> None:
    for number in range(PINS_MAX + 1):
        anna.says(room, f"{number}")
    for seq in range(1, PINS_MAX + 1):
        assert pin(anna, room, seq).status_code == 200
    problem(pin(anna, room, PINS_MAX + 1), 422, "invalid", "seq")
    assert [each["message"]["seq"] for each in pins(anna, room)] == list(range(PINS_MAX, 0, -1))


def test_a_pin_is_a_line_of_an_export(falcon: Falcon, anna: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    pinned_at = pin(anna, room).json()["pinned_at"]
    lines = [line for line in exported(falcon) if line.get("room") == str(room.room_id)]
    line = {"type": "pin", "room": str(room.room_id), "seq": 1, "account": str(anna.account_id), "pinned_at": pinned_at}
    assert lines[-1] == line


def test_imported_pins_are_as_they_were(falcon: Falcon, anna: Person, ben: Person, there: Room) -> None:
    line = {"type": "pin", "room_id": there.room_id, "seq": 2, "account_id": ben.account_id, "pinned_at": AT}
    newer = {**line, "seq": 1, "pinned_at": AT.replace("2024", "2028")}
    for _ in range(2):
        imported(falcon, *(message_line(there, seq, anna) for seq in (1, 2, 3)), newer, line)
    pin(anna, there, 3)
    assert [(each["message"]["seq"], each["pinned_by"]) for each in pins(anna, there)] == [
        (3, anna.account_id),
        (1, ben.account_id),
        (2, ben.account_id),
    ]
    assert [each["pinned_at"] for each in pins(anna, there)][1:] == [newer["pinned_at"], AT]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"seq": 9}, "seq"), ({"account_id": 9_999}, "account_id"), ({"pinned_at": "now"}, "pinned_at"), ({"x": 1}, "x")],
)
def test_pins_that_cannot_be_imported_are_named(
    falcon: Falcon, anna: Person, there: Room, wrong: Json, field: str
) -> None:
    line = {"type": "pin", "room_id": there.room_id, "seq": 1, "account_id": anna.account_id, "pinned_at": AT, **wrong}
    answer = imports(falcon, message_line(there, 1, anna), line)
    problem(answer, 422, "invalid", f"line 2: {field}")


def test_a_pin_that_is_taken_back_while_an_export_goes_on_is_a_change(falcon: Falcon, anna: Person, room: Room) -> None:
    since = position_now(falcon)
    anna.says(room, "Tea?")
    pin(anna, room), anna.delete(f"{room}/pins/1")
    changes = [line for line in whole_export(falcon, resume="changes", since=since) if line["type"].startswith("pin")]
    assert [(line["type"], line["room"], line["seq"]) for line in changes] == [
        ("pin", str(room.room_id), 1),
        ("pin-removed", str(room.room_id), 1),
    ]
