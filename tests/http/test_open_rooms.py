"""Open rooms: everybody but guests reads and joins them."""

import json

import httpx

from tests.support.http import Falcon, Json, Person, problem


def test_an_account_reads_an_open_room_before_it_joins(anna: Person, ben: Person) -> None:
    room = anna.makes_room("Tea kitchen")
    anna.says(room, "Tea?")
    assert ben.get(str(room)).status_code == 404
    opened = anna.send("PATCH", str(room), {"open": True}).json()
    assert (opened["open"], opened["default"], opened["role"]) == (True, False, "admin")
    seen = ben.get(str(room)).json()
    assert (seen["name"], seen["role"], seen["open"], seen["last_seq"]) == ("Tea kitchen", None, True, 1)
    assert [each["text"] for each in ben.get(f"{room}/messages").json()["messages"]] == ["Tea?"]
    assert ben.get(f"{room}/messages/1").json()["text"] == "Tea?"
    assert [each["name"] for each in ben.get(f"{room}/members").json()["members"]] == [anna.name]
    assert ben.get(f"{room}/pins").status_code == 200
    assert ben.get("/v1/rooms").json()["rooms"] == [], "it is not a room of theirs"


def test_an_account_does_nothing_in_an_open_room_before_it_joins(anna: Person, ben: Person) -> None:
    room = anna.makes_room("Tea kitchen")
    anna.says(room, "Tea?")
    anna.send("PATCH", str(room), {"open": True})
    for method, path, body in (
        ("POST", "/messages", {"text": "Yes"}),
        ("PATCH", "/messages/1", {"text": "No tea"}),
        ("DELETE", "/messages/1", None),
        ("PUT", "/messages/1/reactions/👍", None),
        ("PUT", "/pins/1", None),
        ("PUT", "/read", {"seq": 1}),
        ("POST", "/typing", None),
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("PUT", f"/members/{anna.account_id}", {"role": "member"}),
        ("PUT", f"/members/{ben.account_id}", {"role": "admin"}),
    ):
        refused = ben.send(method, f"{room}{path}", body)
        problem(refused, 403, "not_allowed", "room_id")


def test_an_account_joins_an_open_room_and_leaves_it_again(anna: Person, ben: Person) -> None:
    room = anna.makes_room("Tea kitchen")
    anna.says(room, "Tea?")
    anna.send("PATCH", str(room), {"open": True})
    joined = ben.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    assert (joined.status_code, joined.json()["role"], joined.json()["read_seq"]) == (200, "member", 1)
    assert ben.put(f"{room}/members/{ben.account_id}", {"role": "member"}).json() == joined.json()
    assert ben.get(str(room)).json()["role"] == "member"
    ben.says(room, "Yes")
    assert ben.send("DELETE", f"{room}/members/{ben.account_id}").status_code == 204
    assert ben.get(str(room)).json()["role"] is None
    assert ben.post(f"{room}/messages", {"text": "Still here"}).status_code == 403


def test_who_has_not_joined_loses_sight_of_a_room_that_is_closed(anna: Person, ben: Person, cleo: Person) -> None:
    room = anna.makes_room("Tea kitchen", cleo)
    anna.send("PATCH", str(room), {"open": True})
    assert ben.get(f"{room}/messages").status_code == 200
    closed = anna.send("PATCH", str(room), {"open": False})
    assert closed.json()["open"] is False
    for path in ("", "/messages", "/members", "/pins"):
        assert ben.get(f"{room}{path}").status_code == 404
        assert cleo.get(f"{room}{path}").status_code == 200
    assert ben.put(f"{room}/members/{ben.account_id}", {"role": "member"}).status_code == 404


def test_a_retry_of_a_refusal_gets_it_again(anna: Person, ben: Person) -> None:
    room = anna.makes_room("Tea kitchen")
    anna.send("PATCH", str(room), {"open": True})
    first = ben.post(f"{room}/messages", {"text": "Yes"}, key="once")
    again = ben.post(f"{room}/messages", {"text": "Yes"}, key="once")
    assert (first.status_code, again.status_code, again.json()) == (403, 403, first.json())
    assert again.headers["idempotency-replayed"] == "true"


def test_administrators_say_which_open_rooms_are_default_rooms(falcon: Falcon, anna: Person) -> None:
    room = anna.makes_room("Tea kitchen")
    refused = falcon.admin.send("PATCH", str(room), {"default": True})
    assert refused.status_code == 404, "an administrator learns nothing of a room that is not open"
    anna.send("PATCH", str(room), {"open": True})
    problem(anna.send("PATCH", str(room), {"default": True}), 403, "not_allowed")
    made = falcon.admin.send("PATCH", str(room), {"default": True})
    assert (made.status_code, made.json()["role"], made.json()["default"]) == (200, None, True)
    assert anna.get(str(room)).json()["default"] is True
    assert anna.send("PATCH", str(room), {"open": False}).json()["default"] is False


def test_a_closed_room_is_no_default_room(falcon: Falcon) -> None:
    room = falcon.admin.makes_room("Tea kitchen")
    problem(falcon.admin.send("PATCH", str(room), {"default": True}), 422, "invalid", "default")


def test_a_change_needs_something_to_change(anna: Person) -> None:
    problem(anna.send("PATCH", str(anna.makes_room("Tea kitchen")), {}), 422, "invalid", "body")


def test_a_direct_room_says_who_the_other_is(anna: Person, ben: Person) -> None:
    opened = anna.put(f"/v1/direct/{ben.account_id}").json()
    assert (opened["peer_id"], opened["name"]) == (ben.account_id, ben.name)
    assert ben.get(f"/v1/rooms/{opened['room_id']}").json()["peer_id"] == anna.account_id
    (listed,) = ben.get("/v1/rooms").json()["rooms"]
    assert (listed["peer_id"], listed["name"], listed["open"]) == (anna.account_id, anna.name, False)
    assert anna.makes_room("Tea kitchen") and anna.get("/v1/rooms").json()["rooms"][0]["peer_id"] is None


def test_an_imported_room_is_open_and_an_export_says_so(falcon: Falcon, anna: Person) -> None:
    line: Json = {"type": "room", "source": "there", "ref": "tea", "kind": "group", "name": "Tea", "description": ""}
    line |= {"created_at": "2026-11-25T09:00:00Z", "members": [{"account_id": anna.account_id, "role": "admin"}]}

    def imported(**flags: bool) -> httpx.Response:
        body = json.dumps({**line, **flags})
        headers = {"content-type": "application/x-ndjson"}
        return falcon.admin.send("POST", "/v1/import", content=body, headers=headers)

    problem(imported(default=True), 422, "invalid", "line 1: default")
    room_id = imported(open=True, default=True).json()["rooms"]["tea"]
    try:
        shown = anna.get(f"/v1/rooms/{room_id}").json()
        assert (shown["open"], shown["default"]) == (True, True)
        exported = [json.loads(each) for each in falcon.admin.get("/v1/export").content.split(b"\n") if each]
        (room,) = (each for each in exported if each["type"] == "room" and each["ref"] == str(room_id))
        assert (room["open"], room["default"]) == (True, True)
    finally:  # or all newcomers of these tests join it
        falcon.admin.send("PATCH", f"/v1/rooms/{room_id}", {"default": False})
