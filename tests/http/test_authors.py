"""Names for a room's history, also of authors who have left it."""

import pytest

from tests.support.http import Falcon, Person, Room, problem
from tests.support.store_calls import StoreCalls


def authors(person: Person, room: Room, *people: Person) -> dict[int, str]:
    """Names by account."""
    answer = person.get(f"{room}/authors", params={"ids": ",".join(str(each.account_id) for each in people)})
    assert answer.status_code == 200, answer.text
    return {each["account_id"]: each["name"] for each in answer.json()["authors"]}


def test_who_has_left_a_room_keeps_the_name_in_its_history(anna: Person, ben: Person, room: Room) -> None:
    ben.says(room, "Bye")
    ben.delete(f"{room}/members/{ben.account_id}")
    (message,) = anna.reads(room)["messages"]
    assert authors(anna, room, ben) == {message["author_id"]: "Ben"}


def test_everybody_who_reads_the_room_is_told_the_names(anna: Person, ben: Person, cleo: Person, room: Room) -> None:
    ben.says(room, "Bye")
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "readonly"})
    ben.delete(f"{room}/members/{ben.account_id}")
    assert authors(cleo, room, anna, ben) == {anna.account_id: "Anna", ben.account_id: "Ben"}


def test_who_does_not_read_the_room_is_told_none(anna: Person, ben: Person, cleo: Person, room: Room) -> None:
    ben.delete(f"{room}/members/{ben.account_id}")
    for stranger in (ben, cleo):
        problem(stranger.get(f"{room}/authors", params={"ids": str(anna.account_id)}), 404, "room_not_found")


def test_a_guest_learns_the_names_of_people_near_and_of_authors_who_have_left(
    falcon: Falcon, anna: Person, ben: Person, cleo: Person, room: Room
) -> None:
    made = falcon.admin.post("/v1/accounts", {"name": "Gus", "role": "guest"}).json()
    guest = Person(falcon, made["account_id"], "Gus", made["token"])
    anna.put(f"{room}/members/{guest.account_id}", {"role": "member"})
    ben.says(room, "Bye")
    ben.delete(f"{room}/members/{ben.account_id}")
    assert authors(guest, room, anna, ben, cleo) == {anna.account_id: "Anna", ben.account_id: "Ben"}
    assert cleo.account_id in authors(anna, room, cleo)


def test_names_come_in_the_order_of_the_ids_each_once(anna: Person, ben: Person, room: Room) -> None:
    ids = [ben.account_id, anna.account_id, ben.account_id]
    answer = anna.get(f"{room}/authors", params={"ids": ",".join(map(str, ids))})
    assert [each["account_id"] for each in answer.json()["authors"]] == ids[:2]


def test_an_id_that_no_account_has_is_left_out(anna: Person, room: Room) -> None:
    answer = anna.get(f"{room}/authors", params={"ids": f"9007199254740991,{anna.account_id}"})
    assert answer.json() == {"authors": [{"account_id": anna.account_id, "name": "Anna"}]}


def test_an_account_that_was_made_just_now_has_its_name(falcon: Falcon, anna: Person, room: Room) -> None:
    for number in range(5):
        newcomer = falcon.account(f"Newcomer {number}")
        assert authors(anna, room, newcomer) == {newcomer.account_id: f"Newcomer {number}"}


def test_the_names_of_many_authors_are_looked_up_at_once_and_not_again(
    falcon: Falcon, anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = [falcon.account(f"Guest {number}") for number in range(20)]
    calls = StoreCalls(falcon, monkeypatch)
    for _ in range(2):
        assert authors(anna, room, *guests) == {guest.account_id: guest.name for guest in guests}
    assert [name for name in calls.made if name != "bearer"] == ["access", "names_of", "access"]


@pytest.mark.parametrize("ids", ["", "x", "0", "-1", "1,", ",1", "1, 2", "9007199254740992", "9" * 5000, "1,é"])
def test_ids_are_those_of_accounts_with_commas_between(anna: Person, room: Room, ids: str) -> None:
    problem(anna.get(f"{room}/authors", params={"ids": ids}), 422, "invalid", "ids")
    problem(anna.get(f"{room}/authors"), 422, "invalid", "ids")


def test_ids_are_fifty_at_most(anna: Person, room: Room) -> None:
    def asked(count: int) -> str:
        return ",".join(map(str, range(1, count + 1)))

    assert anna.get(f"{room}/authors", params={"ids": asked(50)}).status_code == 200
    refused = problem(anna.get(f"{room}/authors", params={"ids": asked(51)}), 422, "invalid", "ids")
    assert refused["errors"][0]["rule"] == "must have at most 50 account ids"
