"""Making, changing, listing and deleting rooms; and the one direct room of two people."""

import re

import pytest

from tests.support.http import Falcon, Json, Person, Room, problem, without_more
from tests.support.store_calls import StoreCalls

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def every_call_on(room: Room, account_id: int = 1) -> list[tuple[str, str, Json | None]]:
    """Method, path and body of every request about a room."""
    return [
        ("GET", f"{room}", None),
        ("PATCH", f"{room}", {"name": "Mine now"}),
        ("DELETE", f"{room}", None),
        ("GET", f"{room}/members", None),
        ("PUT", f"{room}/members/{account_id}", {"role": "admin"}),
        ("DELETE", f"{room}/members/{account_id}", None),
        ("POST", f"{room}/messages", {"text": "Let me in"}),
        ("GET", f"{room}/messages", None),
        ("GET", f"{room}/messages/1", None),
        ("PATCH", f"{room}/messages/1", {"text": "Edited"}),
        ("DELETE", f"{room}/messages/1", None),
        ("PUT", f"{room}/read", {"seq": 1}),
    ]


# --- making and reading -----------------------------------------------------------------------------------------------


def test_who_makes_a_room_is_its_admin(anna: Person) -> None:
    made = anna.post("/v1/rooms", {"name": "Tea kitchen", "description": "For tea"})
    assert made.status_code == 201
    room = made.json()
    assert isinstance(room.pop("room_id"), int)
    assert TIME.fullmatch(room.pop("created_at"))
    assert room == {
        "kind": "group",
        "name": "Tea kitchen",
        "description": "For tea",
        "role": "admin",
        "last_seq": 0,
        "peer_id": None,
        "open": False,
        "default": False,
    }
    assert anna.get(f"/v1/rooms/{made.json()['room_id']}").json() == made.json()


def test_a_room_is_made_with_its_members(anna: Person, ben: Person, cleo: Person) -> None:
    room = anna.makes_room("Tea kitchen", ben, readonly=cleo)
    roles = {member["account_id"]: member["role"] for member in anna.get(f"{room}/members").json()["members"]}
    assert roles == {anna.account_id: "admin", ben.account_id: "member", cleo.account_id: "readonly"}
    assert ben.get(str(room)).json()["role"] == "member"
    assert cleo.get(str(room)).json()["role"] == "readonly"


def test_a_role_that_is_not_said_is_member(anna: Person, ben: Person) -> None:
    made = anna.post("/v1/rooms", {"name": "Tea kitchen", "members": [{"account_id": ben.account_id}]}).json()
    assert ben.get(f"/v1/rooms/{made['room_id']}").json()["role"] == "member"


def test_the_accounts_of_all_members_are_looked_up_at_once(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited = [{"account_id": falcon.account(f"Guest {number}").account_id} for number in range(20)]
    falcon.edge.names.forget()
    calls = StoreCalls(falcon, monkeypatch)
    assert anna.post("/v1/rooms", {"name": "Tea kitchen", "members": invited}).status_code == 201
    assert [name for name in calls.made if name not in ("bearer", "roles_of")] == ["names_of", "accounts_of"]


def test_a_room_needs_members_that_exist(anna: Person, ben: Person, room: Room) -> None:
    for stranger in (room.room_id, 2**53 - 1):
        invited = [{"account_id": ben.account_id, "role": "member"}, {"account_id": stranger, "role": "member"}]
        refused = anna.post("/v1/rooms", {"name": "Odd", "members": invited})
        problem(refused, 422, "invalid", "members[1].account_id")
    assert [each["name"] for each in anna.rooms()] == ["Tea kitchen"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": "x", "description": "x" * 4097}, "description"),
        ({"name": "x", "description": None}, "description"),
        ({"name": "x", "members": {}}, "members"),
        ({"name": "x", "members": [1]}, "members[0]"),
        ({"name": "x", "members": [{"account_id": 0}]}, "members[0].account_id"),
        ({"name": "x", "members": [{"account_id": 2**53}]}, "members[0].account_id"),
        ({"name": "x", "members": [{"account_id": "1"}]}, "members[0].account_id"),
        ({"name": "x", "members": [{"account_id": True}]}, "members[0].account_id"),
        ({"name": "x", "members": [{"role": "member"}]}, "members[0].account_id"),
        ({"name": "x", "members": [{"account_id": 1, "role": "owner"}]}, "members[0].role"),
        ({"name": "x", "members": [{"account_id": 1, "name": "Ben"}]}, "members[0].name"),
        ({"name": "x", "members": [{"account_id": 1}] * 501}, "members"),
        ({"name": "x", "kind": "direct"}, "kind"),
    ],
)
def test_a_room_that_cannot_be_made_names_the_field(anna: Person, body: Json, field: str) -> None:
    problem(anna.post("/v1/rooms", body), 422, "invalid", field)
    assert anna.rooms() == []


@pytest.mark.parametrize("name", ["x" * 255, "🫖" * 255, "Küche", "'; --"])
def test_a_name_has_1_to_255_characters(anna: Person, name: str) -> None:
    room = anna.makes_room(name)
    assert anna.get(str(room)).json()["name"] == name
    assert anna.summary(room)["name"] == name


# --- changing and deleting --------------------------------------------------------------------------------------------


def test_an_admin_renames_a_room(anna: Person, ben: Person, room: Room) -> None:
    before = anna.get(str(room)).json()
    changed = anna.patch(str(room), {"name": "Coffee kitchen"})
    assert (changed.status_code, changed.json()) == (200, before | {"name": "Coffee kitchen"})
    assert ben.get(str(room)).json() == changed.json() | {"role": "member"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 4097}, "description"),
        ({"role": "admin"}, "role"),
        ({"name": "x", "last_seq": 7}, "last_seq"),
    ],
)
def test_a_change_that_cannot_be_names_the_field(anna: Person, room: Room, body: Json, field: str) -> None:
    problem(anna.patch(str(room), body), 422, "invalid", field)
    assert anna.get(str(room)).json()["name"] == "Tea kitchen"


def test_a_deleted_room_is_gone_for_everybody(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "The last words")
    deleted = anna.delete(str(room))
    assert (deleted.status_code, deleted.content) == (204, b"")
    for person in (anna, ben):
        assert person.rooms() == []
        for method, path, body in every_call_on(room, person.account_id):
            problem(person.send(method, path, body), 404, "room_not_found")


def test_a_room_that_one_is_not_in_is_not_found_by_any_method(
    anna: Person, ben: Person, cleo: Person, admin: Person, room: Room
) -> None:
    """For admins too, and for unknown accounts too."""
    anna.says(room, "For members only")
    for stranger in (cleo, admin):
        for account_id in (stranger.account_id, ben.account_id, 2**53 - 1):
            for method, path, body in every_call_on(room, account_id):
                problem(stranger.send(method, path, body), 404, "room_not_found")
    assert anna.reads(room)["messages"][0]["text"] == "For members only"
    assert len(anna.get(f"{room}/members").json()["members"]) == 2


def test_a_room_that_one_is_not_in_and_one_that_is_not_look_the_same(cleo: Person, room: Room) -> None:
    class Nowhere(Room):
        def __str__(self) -> str:
            return f"/v1/rooms/{2**53 - 1}"

    there, nowhere = every_call_on(room), every_call_on(Nowhere(room.falcon, 0))
    for (method, path, body), (_, other, _) in zip(there, nowhere, strict=True):
        one, another = cleo.send(method, path, body), cleo.send(method, other, body)
        assert one.status_code == another.status_code == 404
        assert one.text.replace(str(room.room_id), "N") == another.text.replace(str(2**53 - 1), "N")


@pytest.mark.parametrize(
    "room_id", ["0", "-1", "x", "1.5", "9007199254740992", "9" * 5000, "%00", "%FF", "%D9%A1", "%20", "null", "1e3"]
)
def test_what_is_no_room_id_is_not_found(anna: Person, room_id: str) -> None:
    for method, path, body in every_call_on(Room(anna.falcon, 0)):
        answer = anna.send(method, path.replace("/0", f"/{room_id}", 1), body)
        problem(answer, 404, "room_not_found")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_a_room_in_the_list_says_how_things_stand(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    last = anna.post(f"{room}/messages", {"text": "Ben?", "mentions": [ben.account_id]}).json()
    listed = ben.get("/v1/rooms").json()
    assert listed == {
        "rooms": [
            ben.get(str(room)).json()
            | {
                "read_seq": 0,
                "unread": 2,
                "mentions": 1,
                "last_message": without_more(last),
                "updated_at": last["posted_at"],
            }
        ],
        "next_cursor": None,
    }


def test_a_room_without_messages_has_none_in_the_list(anna: Person, room: Room) -> None:
    listed = anna.summary(room)
    assert listed["last_message"] is None
    assert listed["updated_at"] == listed["created_at"]
    assert (listed["last_seq"], listed["read_seq"], listed["unread"], listed["mentions"]) == (0, 0, 0, 0)


def test_the_list_is_empty_for_one_who_is_nowhere(anna: Person) -> None:
    assert anna.get("/v1/rooms").json() == {"rooms": [], "next_cursor": None}


@pytest.mark.usefixtures("ticking")
def test_the_newest_activity_comes_first(anna: Person) -> None:
    rooms = [anna.makes_room(name) for name in "ABCDE"]
    for index in (3, 0, 2):
        anna.says(rooms[index], "Hi")
    listed = anna.rooms()
    assert [each["name"] for each in listed][:3] == ["C", "A", "D"]
    order = [(each["updated_at"], each["room_id"]) for each in listed]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
def test_the_list_walked_by_cursor_has_each_room_once(anna: Person, limit: int) -> None:
    rooms = [anna.makes_room(str(i)) for i in range(7)]
    walked = anna.walks("/v1/rooms", "rooms", limit)
    assert sorted(each["room_id"] for each in walked) == sorted(room.room_id for room in rooms)
    assert walked == anna.rooms()


def test_rooms_of_the_same_moment_are_neither_skipped_nor_repeated(falcon: Falcon, anna: Person) -> None:
    falcon.together(*(anna.request("POST", "/v1/rooms", {"name": str(i)}) for i in range(20)))
    walked = [each["room_id"] for each in anna.walks("/v1/rooms", "rooms", 3)]
    assert len(walked) == len(set(walked)) == 20


# --- direct rooms -----------------------------------------------------------------------------------------------------


def test_two_people_have_one_room_for_ever(anna: Person, ben: Person) -> None:
    opened = anna.put(f"/v1/direct/{ben.account_id}")
    assert opened.status_code == 201
    room = opened.json()
    assert TIME.fullmatch(room["created_at"])
    assert room == {
        "room_id": room["room_id"],
        "kind": "direct",
        "name": "Ben",
        "description": "",
        "role": "member",
        "last_seq": 0,
        "created_at": room["created_at"],
        "peer_id": ben.account_id,
        "open": False,
        "default": False,
    }
    again = anna.put(f"/v1/direct/{ben.account_id}")
    assert (again.status_code, again.json()) == (200, room)
    other_side = ben.put(f"/v1/direct/{anna.account_id}")
    assert (other_side.status_code, other_side.json()) == (200, room | {"name": "Anna", "peer_id": anna.account_id})


def test_a_direct_room_bears_the_other_s_name_everywhere(anna: Person, ben: Person) -> None:
    room = anna.direct_with(ben)
    assert anna.get(str(room)).json()["name"] == anna.summary(room)["name"] == "Ben"
    assert ben.get(str(room)).json()["name"] == ben.summary(room)["name"] == "Anna"


def test_a_direct_room_says_how_far_it_has_got(anna: Person, ben: Person) -> None:
    room = anna.direct_with(ben)
    anna.says(room, "Psst")
    assert ben.put(f"/v1/direct/{anna.account_id}").json()["last_seq"] == 1


def test_however_many_open_it_at_once_there_is_one(falcon: Falcon, anna: Person, ben: Person) -> None:
    from_both = [(anna, ben), (ben, anna)] * 15
    answers = falcon.together(*(by.request("PUT", f"/v1/direct/{peer.account_id}") for by, peer in from_both))
    assert len({answer.json()["room_id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 29 + [201]
    assert len(anna.rooms()) == len(ben.rooms()) == 1


def test_a_direct_room_is_for_two(anna: Person, ben: Person, cleo: Person) -> None:
    room = anna.direct_with(ben)
    for method, path, body in every_call_on(room, ben.account_id):
        problem(cleo.send(method, path, body), 404, "room_not_found")
    problem(anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"}), 403, "not_allowed")


def test_nobody_has_a_direct_room_with_itself(anna: Person) -> None:
    problem(anna.put(f"/v1/direct/{anna.account_id}"), 422, "invalid", "account_id")
    assert anna.rooms() == []


@pytest.mark.parametrize("account_id", [0, -1, 2**53 - 1, 2**53, "x", "%00", "9" * 5000])
def test_nobody_has_a_direct_room_with_nobody(anna: Person, account_id: object) -> None:
    problem(anna.put(f"/v1/direct/{account_id}"), 404, "account_not_found")


def test_a_room_is_no_account_to_talk_to(anna: Person, room: Room) -> None:
    problem(anna.put(f"/v1/direct/{room.room_id}"), 404, "account_not_found")
