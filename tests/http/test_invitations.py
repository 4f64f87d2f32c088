"""People make accounts of their own by invitations, and each step may be the last before a retry."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from falcon.features.invitations import api
from falcon.http import passwords
from falcon.http.problems import Problem
from tests.support.http import Falcon, Person, Room, problem

TEA = "tea at four o'clock"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real hash takes a tenth of a second."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))


@pytest.fixture
def kitchen(admin: Person) -> Iterator[Room]:
    yield admin.makes_room("Tea kitchen")


def invites(person: Person, **invitation: Any) -> str:
    """The path of the invitation."""
    answer = person.post("/v1/invitations", invitation)
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    return "/v1/invitations/by-code/" + url.partition("/#invitation=")[2]


def joins(falcon: Falcon, path: str, name: str = "Carl", **more: object) -> httpx.Response:
    body = {"name": name, "password": TEA, "bearer": True, **more}
    return falcon.send("POST", path, json=body)


def newcomer(falcon: Falcon, answer: httpx.Response) -> Person:
    assert answer.status_code == 201, answer.text
    body = answer.json()
    return Person(falcon, body["account"]["account_id"], body["account"]["name"], body["token"])


def test_a_newcomer_gets_a_session_and_is_in_the_rooms(falcon: Falcon, admin: Person, kitchen: Room) -> None:
    path = invites(admin, rooms=[kitchen.room_id], email="Carl@Tea.test")
    seen = falcon.send("GET", path).json()
    by = admin.get("/v1/me").json()["name"]
    assert seen == {"role": "member", "rooms": ["Tea kitchen"], "by": by, "email": "carl@tea.test"}
    carl = newcomer(falcon, joins(falcon, path, handle="carl"))
    assert carl.says(kitchen, "I am here") == 1
    me = carl.get("/v1/me").json()
    assert (me["handle"], me["email"], me["role"]) == ("carl", "carl@tea.test", "member")
    again = falcon.send("POST", "/v1/sign-in", json={"login": "carl@tea.test", "password": TEA, "bearer": True})
    assert again.status_code == 201
    for method in ("GET", "POST"):
        body = {"name": "Dora", "password": TEA}
        refused = falcon.send(method, path, **({"json": body} if method == "POST" else {}))
        problem(refused, 404, "item_not_found")


def test_a_page_gets_the_cookie(falcon: Falcon, admin: Person) -> None:
    answer = joins(falcon, invites(admin), bearer=False)
    assert "token" not in answer.json() and answer.headers["set-cookie"].startswith("__Host-falcon=")


@pytest.mark.parametrize("step", ["_account", "change_profile", "_join", "_password", "signed_in"])
def test_a_retry_continues_where_the_first_request_stopped(
    falcon: Falcon, admin: Person, kitchen: Room, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path, handle = invites(admin, rooms=[kitchen.room_id]), f"carl.{step.strip('_')}"
    before = accounts(admin)

    def fails(*arguments: object, **more: object) -> None:
        raise Problem(503, "unavailable", "The owner is away.", retry_after=1)

    with monkeypatch.context() as patch:
        patch.setattr(api, step, fails)
        problem(joins(falcon, path, handle=handle), 503, "unavailable")
    carl = newcomer(falcon, joins(falcon, path, handle=handle))
    assert carl.get("/v1/me").json()["handle"] == handle
    assert carl.says(kitchen, "I am here") == 1
    assert accounts(admin) - before == {carl.account_id}
    problem(joins(falcon, path, "Dora"), 404, "item_not_found")


def accounts(admin: Person) -> set[int]:
    """All of them: a Falcon that many tests share has more than fit on a page."""
    return {each["account_id"] for each in admin.walks("/v1/accounts", "accounts", 200)}


def test_as_many_come_as_may(falcon: Falcon, admin: Person) -> None:
    path = invites(admin, uses=2)
    requests = [
        falcon.request("POST", path, json={"name": f"Guest {number}", "password": TEA, "bearer": True})
        for number in range(20)
    ]
    assert sorted(each.status_code for each in falcon.together(*requests)) == [201] * 2 + [404] * 18


def test_a_request_that_is_repeated_before_it_has_ended_makes_one_account(falcon: Falcon, admin: Person) -> None:
    path, body = invites(admin), {"name": "Carl", "password": TEA, "bearer": True}
    answers = falcon.together(*(falcon.request("POST", path, json=body) for _ in range(3)))
    assert len({newcomer(falcon, each).account_id for each in answers}) == 1


def test_a_taken_handle_costs_no_use(falcon: Falcon, admin: Person) -> None:
    joins(falcon, invites(admin), handle="dora")
    path = invites(admin)
    problem(joins(falcon, path, handle="dora"), 409, "handle_taken")
    assert newcomer(falcon, joins(falcon, path, handle="dora.2")).get("/v1/me").json()["handle"] == "dora.2"


def test_who_may_invite_whom(falcon: Falcon, admin: Person, anna: Person, kitchen: Room) -> None:
    problem(anna.post("/v1/invitations", {}), 403, "not_allowed")
    problem(anna.post("/v1/invitations", {"role": "guest"}), 403, "not_allowed")
    problem(anna.post("/v1/invitations", {"role": "guest", "rooms": [kitchen.room_id]}), 404, "room_not_found")
    own = anna.makes_room("Anna's")
    path = invites(anna, role="guest", rooms=[own.room_id])
    guest = newcomer(falcon, joins(falcon, path))
    assert guest.get("/v1/me").json()["role"] == "guest"
    problem(guest.post("/v1/invitations", {}), 403, "not_allowed")
    admin.put(f"{kitchen}/members/{anna.account_id}", {"role": "member"})
    problem(anna.post("/v1/invitations", {"role": "guest", "rooms": [kitchen.room_id]}), 403, "not_allowed")


def test_invitations_are_listed_and_end(falcon: Falcon, admin: Person, anna: Person) -> None:
    own = anna.makes_room("Anna's")
    annas, admins = invites(anna, role="guest", rooms=[own.room_id], uses=3), invites(admin, role="admin")
    (listed,) = anna.get("/v1/invitations").json()["invitations"]
    assert (listed["role"], listed["rooms"], listed["uses_left"], listed["by"]) == (
        *("guest", [own.room_id], 3),
        anna.account_id,
    )
    all_of_them = [each["invitation_id"] for each in admin.get("/v1/invitations").json()["invitations"]]
    assert all_of_them[:2] == [listed["invitation_id"] + 1, listed["invitation_id"]]
    problem(anna.delete(f"/v1/invitations/{all_of_them[0]}"), 404, "item_not_found")
    assert admin.delete(f"/v1/invitations/{all_of_them[1]}").status_code == 204
    problem(joins(falcon, annas), 404, "item_not_found")
    assert joins(falcon, admins).status_code == 201


def test_an_inviter_who_left_invites_no_more(falcon: Falcon, admin: Person) -> None:
    second = falcon.account("Second")
    admin.patch(f"/v1/accounts/{second.account_id}", {"role": "admin"})
    path = invites(second)
    admin.patch(f"/v1/accounts/{second.account_id}", {"deactivated": True})
    problem(falcon.send("GET", path), 404, "item_not_found")
    problem(joins(falcon, path), 404, "item_not_found")


@pytest.mark.parametrize("code", ["1", "1_x", "1_" + "x" * 43, "0_" + "x" * 43])
def test_a_code_that_is_none_invites_nobody(falcon: Falcon, code: str) -> None:
    problem(falcon.send("GET", f"/v1/invitations/by-code/{code}"), 404, "item_not_found")
    problem(joins(falcon, f"/v1/invitations/by-code/{code}"), 404, "item_not_found")
