"""People are found by their names and handles, and open rooms by their names."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.http import Falcon, Person, problem


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    """One for each test: all of its people and rooms are known."""
    with Falcon(tmp_path) as started:
        yield started


@pytest.fixture
def hire(falcon: Falcon) -> Callable[..., Person]:
    def hired(name: str, **fields: object) -> Person:
        made = falcon.admin.post("/v1/accounts", {"name": name, **fields})
        assert made.status_code == 201, made.text
        return Person(falcon, made.json()["account_id"], name, made.json()["token"])

    return hired


def found(person: Person, query: str) -> list[str]:
    answer = person.get(f"/v1/accounts/search?{query}")
    assert answer.status_code == 200, answer.text
    return [account["name"] for account in answer.json()["accounts"]]


def rooms(person: Person, query: str = "") -> list[str]:
    answer = person.get(f"/v1/rooms/directory?{query}")
    assert answer.status_code == 200, answer.text
    return [room["name"] for room in answer.json()["rooms"]]


def test_people_are_found_by_words_of_names_and_handles(hire: Callable[..., Person]) -> None:
    ann = hire("Ann Smith", handle="ann")
    hire("Annette Miller", handle="smithy")
    hire("タナカ ハナコ")
    assert found(ann, "q=ann") == ["Ann Smith", "Annette Miller"]
    assert found(ann, "q=smi") == ["Ann Smith", "Annette Miller"]
    assert found(ann, "q=MILL an") == ["Annette Miller"]
    assert found(ann, "q=たな") == ["タナカ ハナコ"]
    assert found(ann, "q=@smithy") == found(ann, "q=smithy") == ["Annette Miller"]
    assert found(ann, "q=nn") == []
    assert found(ann, "q=ann&limit=1") == ["Ann Smith"]


def test_an_exact_handle_comes_first_and_then_members_of_the_room(hire: Callable[..., Person]) -> None:
    ann, _, ben, _ = hire("Ann"), hire("Ben A"), hire("Ben B"), hire("Xaver", handle="ben")
    room = ann.makes_room("Tea kitchen", ben)
    assert found(ann, "q=ben") == ["Xaver", "Ben A", "Ben B"]
    assert found(ann, f"q=ben&room={room.room_id}") == ["Xaver", "Ben B", "Ben A"]
    assert found(ann, f"q=ben&room={room.room_id}&limit=2") == ["Xaver", "Ben B"]
    problem(ben.get("/v1/accounts/search?q=ann&room=1"), 404, "room_not_found", "room")


def test_in_a_thread_its_followers_come_first_and_then_the_members_of_its_room(hire: Callable[..., Person]) -> None:
    ann, _, ben, bob, bill = hire("Ann"), hire("B"), hire("Ben"), hire("Bob"), hire("Bill")
    room = ann.makes_room("Tea kitchen", ben, bob, bill)
    ann.says(room, "Tea?")
    thread = ann.put(f"{room}/messages/1/thread").json()["room_id"]
    for each in (bob, bill):
        each.post(f"/v1/rooms/{thread}/messages", {"text": "Green"})
    assert found(ann, f"q=b&room={thread}") == ["Bill", "Bob", "Ben", "B"]
    bill.send("DELETE", f"{room}/members/{bill.account_id}")
    assert found(ann, f"q=b&room={thread}") == ["Bob", "Ben", "B", "Bill"]


def test_people_are_found_by_what_they_are_called_now(falcon: Falcon, hire: Callable[..., Person]) -> None:
    ann = hire("Ann Smith", handle="ann")
    ann.send("PATCH", "/v1/me", {"name": "Ann Miller", "handle": "miller"})
    assert found(ann, "q=smith") == []
    assert found(ann, "q=miller") == ["Ann Miller"]
    falcon.admin.send("PATCH", f"/v1/accounts/{ann.account_id}", {"deactivated": True})
    assert found(falcon.admin, "q=miller") == []
    falcon.admin.send("PATCH", f"/v1/accounts/{ann.account_id}", {"deactivated": False})
    assert found(falcon.admin, "q=miller") == ["Ann Miller"]


@pytest.mark.parametrize("query", ["", "q=", f"q={'x' * 101}", "q=a&limit=21", "q=a&limit=0", "q=a&more=1"])
def test_a_search_keeps_to_the_rules(falcon: Falcon, query: str) -> None:
    assert falcon.admin.get(f"/v1/accounts/search?{query}").status_code == 422


def test_a_guest_sees_people_with_whom_it_shares_a_room(falcon: Falcon, hire: Callable[..., Person]) -> None:
    ann, ben, guest = hire("Ann"), hire("Ben"), hire("Guest", role="guest")
    room = ann.makes_room("Tea kitchen", guest)
    assert found(guest, "q=ann") == ["Ann"]
    assert found(guest, "q=ben") == []
    ids = f"{ben.account_id},{ann.account_id},{guest.account_id}"
    assert [each["name"] for each in guest.get(f"/v1/accounts?ids={ids}").json()["accounts"]] == ["Ann", "Guest"]
    problem(guest.get("/v1/rooms/directory"), 403, "not_allowed")
    ann.send("PATCH", str(room), {"open": True})
    own = ben.makes_room("Own")
    ben.send("PATCH", str(own), {"open": True})
    for path in ("", "/messages", "/members"):
        assert guest.get(f"{own}{path}").status_code == 404
    for method, path, body in (
        ("POST", "/messages", {"text": "Hi"}),
        ("POST", "/typing", None),
        ("PUT", f"/members/{guest.account_id}", {"role": "member"}),
    ):
        problem(guest.send(method, f"{own}{path}", body), 404, "room_not_found")
    assert guest.get(f"{room}/messages").status_code == 200


def test_accounts_are_read_by_their_ids(falcon: Falcon, hire: Callable[..., Person]) -> None:
    ann, ben = hire("Ann"), hire("Ben", title="Tea taster")
    answer = ann.get(f"/v1/accounts?ids={ben.account_id},{ann.account_id},7,{ben.account_id}").json()
    assert [(each["name"], each["title"]) for each in answer["accounts"]] == [("Ben", "Tea taster"), ("Ann", "")]
    assert answer["next_cursor"] is None
    many = ",".join(str(number) for number in range(1, 202))
    for ids in ("", "a", "1,,2", many):
        problem(ann.get(f"/v1/accounts?ids={ids}"), 422, "invalid", "ids")
    problem(ann.get("/v1/accounts"), 403, "not_allowed", "ids")
    assert falcon.admin.get("/v1/accounts").status_code == 200


def test_open_rooms_are_listed_by_name(hire: Callable[..., Person]) -> None:
    ann, ben = hire("Ann"), hire("Ben")
    assert rooms(ben) == []
    made = [ann.makes_room(name) for name in ("Tea kitchen", "coffee kitchen", "Zen", "Own")]
    for room in made[:3]:
        ann.send("PATCH", str(room), {"open": True})
    assert rooms(ben) == ["coffee kitchen", "Tea kitchen", "Zen"]
    assert rooms(ben, "q=kit") == ["coffee kitchen", "Tea kitchen"]
    assert rooms(ben, "q=kit tea") == ["Tea kitchen"]
    ben.put(f"{made[0]}/members/{ben.account_id}", {"role": "member"})
    (shown,) = ben.get("/v1/rooms/directory?q=tea").json()["rooms"]
    assert (shown["members"], shown["joined"], shown["room_id"]) == (2, True, made[0].room_id)
    ann.send("PATCH", str(made[0]), {"name": "Milk bar"})
    assert rooms(ben) == ["coffee kitchen", "Milk bar", "Zen"]
    ann.send("PATCH", str(made[2]), {"open": False})
    ann.delete(str(made[1]))
    assert rooms(ben) == ["Milk bar"]


@pytest.mark.parametrize("query", ["", "q=room&"])
def test_the_directory_has_pages(hire: Callable[..., Person], query: str) -> None:
    ann = hire("Ann")
    for number in range(5):
        ann.send("PATCH", str(ann.makes_room(f"Room {number}")), {"open": True})
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = ann.get(f"/v1/rooms/directory?{query}limit=2{cursor and '&cursor=' + cursor}").json()
        listed += [room["name"] for room in page["rooms"]]
        cursor = page["next_cursor"]
    assert listed == [f"Room {number}" for number in range(5)]
    problem(ann.get("/v1/rooms/directory?cursor=nonsense"), 422, "invalid", "cursor")


def test_new_accounts_are_members_of_default_rooms(falcon: Falcon, hire: Callable[..., Person]) -> None:
    ann = hire("Ann")
    lobby = ann.makes_room("Lobby")
    ann.send("PATCH", str(lobby), {"open": True})
    before = hire("Before")
    falcon.admin.send("PATCH", str(lobby), {"default": True})
    after, guest, bot = hire("After"), hire("Guest", role="guest"), hire("Bot", bot=True)
    assert [room["name"] for room in after.get("/v1/rooms").json()["rooms"]] == ["Lobby"]
    for other in (before, guest, bot):
        assert other.get("/v1/rooms").json()["rooms"] == []
    made = falcon.admin.post("/v1/accounts", {"name": "Once"}, key="once")
    again = falcon.admin.post("/v1/accounts", {"name": "Once"}, key="once")
    assert (again.status_code, again.json()) == (201, made.json())
    falcon.admin.send("PATCH", str(lobby), {"default": False})
    assert hire("Later").get("/v1/rooms").json()["rooms"] == []


def test_one_who_is_deactivated_comes_into_no_room(falcon: Falcon, hire: Callable[..., Person]) -> None:
    ann, gone = hire("Ann"), hire("Gone")
    room, old = ann.makes_room("Tea kitchen"), ann.makes_room("Old", gone)
    falcon.admin.send("PATCH", f"/v1/accounts/{gone.account_id}", {"deactivated": True})
    problem(ann.put(f"{room}/members/{gone.account_id}", {"role": "member"}), 422, "invalid", "account_id")
    problem(ann.put(f"/v1/direct/{gone.account_id}"), 422, "invalid", "account_id")
    problem(ann.put(f"{old}/members/{gone.account_id}", {"role": "readonly"}), 422, "invalid", "account_id")
    assert ann.delete(f"{old}/members/{gone.account_id}").status_code == 204, "it is a member"
    problem(hire("Ben").put(f"{room}/members/{gone.account_id}", {"role": "member"}), 404, "room_not_found")
