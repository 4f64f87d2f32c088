"""Members of a room, and what each may do there."""

import pytest

from tests.support.http import Falcon, Json, Person, Room, problem, texts


def members(person: Person, room: Room) -> dict[int, str]:
    """Roles by account."""
    listed = person.get(f"{room}/members", params={"limit": 200})
    assert listed.status_code == 200 and listed.json()["next_cursor"] is None
    return {member["account_id"]: member["role"] for member in listed.json()["members"]}


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_of_members_says_who_and_how_far_each_has_read(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    listed = ben.get(f"{room}/members")
    assert listed.status_code == 200
    people: list[Json] = [
        {"account_id": anna.account_id, "name": "Anna", "role": "admin", "read_seq": 1},
        {"account_id": ben.account_id, "name": "Ben", "role": "member", "read_seq": 0},
    ]
    assert listed.json() == {"members": sorted(people, key=lambda each: each["account_id"]), "next_cursor": None}


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 200])
def test_the_list_walked_by_cursor_has_each_member_once(falcon: Falcon, anna: Person, limit: int) -> None:
    people = [falcon.account(f"Person {i}") for i in range(5)]
    room = anna.makes_room("Many", *people)
    walked = anna.walks(f"{room}/members", "members", limit)
    assert sorted(each["account_id"] for each in walked) == sorted(each.account_id for each in [anna, *people])


@pytest.mark.parametrize("cursor", ["", "x", "-1", "0", "9007199254740992", "\0", "é", "9" * 5000])
def test_a_cursor_is_one_that_was_given(anna: Person, room: Room, cursor: str) -> None:
    problem(anna.get(f"{room}/members", params={"cursor": cursor}), 422, "invalid", "cursor")


# --- coming and going -------------------------------------------------------------------------------------------------


def test_an_admin_brings_somebody_in(anna: Person, cleo: Person, room: Room) -> None:
    anna.says(room, "Before her time")
    joined = anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"})
    assert joined.status_code == 200
    assert joined.json() == {"account_id": cleo.account_id, "name": "Cleo", "role": "member", "read_seq": 1}
    assert cleo.summary(room)["unread"] == 0
    assert texts(cleo.reads(room)) == ["Before her time"]


def test_who_leaves_is_gone_and_the_others_go_on(anna: Person, ben: Person, room: Room) -> None:
    ben.says(room, "Bye")
    left = ben.delete(f"{room}/members/{ben.account_id}")
    assert (left.status_code, left.content) == (204, b"")
    assert ben.rooms() == []
    problem(ben.get(f"{room}/messages"), 404, "room_not_found")
    assert members(anna, room) == {anna.account_id: "admin"}
    assert texts(anna.reads(room)) == ["Bye"]


def test_who_comes_back_has_nothing_unread_and_its_old_messages(anna: Person, ben: Person, room: Room) -> None:
    ben.says(room, "Before")
    ben.delete(f"{room}/members/{ben.account_id}")
    anna.says(room, "Meanwhile")
    anna.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    assert ben.summary(room)["unread"] == 0
    assert ben.patch(f"{room}/messages/1", {"text": "Before, still mine"}).status_code == 200


@pytest.mark.parametrize("account_id", ["0", "-1", "x", "9007199254740991", "9007199254740992", "9" * 5000, "%00"])
def test_who_does_not_exist_is_no_member(anna: Person, room: Room, account_id: str) -> None:
    problem(anna.put(f"{room}/members/{account_id}", {"role": "member"}), 404, "account_not_found")
    problem(anna.delete(f"{room}/members/{account_id}"), 404, "account_not_found")


def test_a_room_is_no_member(anna: Person, room: Room) -> None:
    problem(anna.put(f"{room}/members/{room.room_id}", {"role": "member"}), 404, "account_not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "role"),
        ({"role": None}, "role"),
        ({"role": "owner"}, "role"),
        ({"role": ""}, "role"),
        ({"role": ["admin"]}, "role"),
        ({"role": "member", "name": "Cleo"}, "name"),
    ],
)
def test_a_role_is_one_of_three(anna: Person, cleo: Person, room: Room, body: Json, field: str) -> None:
    problem(anna.put(f"{room}/members/{cleo.account_id}", body), 422, "invalid", field)
    assert cleo.account_id not in members(anna, room)


# --- what each may do -------------------------------------------------------------------------------------------------


def test_who_may_only_read_reads_marks_it_and_leaves(anna: Person, ben: Person) -> None:
    room = anna.makes_room("News", readonly=ben)
    anna.says(room, "News", mentions=[ben.account_id])
    assert texts(ben.reads(room)) == ["News"]
    assert ben.message(room, 1)["text"] == "News"
    assert ben.summary(room)["mentions"] == 1
    assert ben.marks_read(room, 1)["unread"] == 0
    assert ben.get(f"{room}/members").status_code == 200
    assert ben.delete(f"{room}/members/{ben.account_id}").status_code == 204


def test_a_new_role_counts_at_once(anna: Person, ben: Person, cleo: Person, room: Room) -> None:
    changed = anna.put(f"{room}/members/{ben.account_id}", {"role": "admin"})
    assert changed.json() == {"account_id": ben.account_id, "name": "Ben", "role": "admin", "read_seq": 0}
    assert ben.get(str(room)).json()["role"] == "admin"
    assert ben.put(f"{room}/members/{cleo.account_id}", {"role": "member"}).status_code == 200
    ben.put(f"{room}/members/{anna.account_id}", {"role": "member"})
    problem(anna.patch(str(room), {"name": "Mine"}), 403, "not_allowed")


# --- the last admin ---------------------------------------------------------------------------------------------------


def test_the_last_admin_stays_one(anna: Person, ben: Person, room: Room) -> None:
    problem(anna.delete(f"{room}/members/{anna.account_id}"), 409, "last_admin")
    for role in ("member", "readonly"):
        problem(anna.put(f"{room}/members/{anna.account_id}", {"role": role}), 409, "last_admin")
    assert members(ben, room)[anna.account_id] == "admin"
    assert anna.put(f"{room}/members/{anna.account_id}", {"role": "admin"}).status_code == 200


def test_admins_who_all_leave_at_once_leave_one_behind(falcon: Falcon, anna: Person) -> None:
    others = [falcon.account(f"Admin {i}") for i in range(4)]
    room = anna.makes_room("Crowded")
    for other in others:
        anna.put(f"{room}/members/{other.account_id}", {"role": "admin"})
    everybody = [anna, *others]
    answers = falcon.together(*(who.request("DELETE", f"{room}/members/{who.account_id}") for who in everybody))
    stayed = [who for who, answer in zip(everybody, answers, strict=True) if answer.status_code != 204]
    assert len(stayed) == 1
    problem(answers[everybody.index(stayed[0])], 409, "last_admin")
    assert members(stayed[0], room) == {stayed[0].account_id: "admin"}
