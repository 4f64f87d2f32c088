"""Accounts, their tokens, and who may manage them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http import Falcon, Json, Person, problem

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def works(falcon: Falcon, token: str) -> bool:
    answer = falcon.send("GET", "/v1/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        problem(answer, 401, "unauthenticated")
    return answer.status_code == 200


def tokens(person: Person, account_id: int) -> list[int]:
    listed = person.get(f"/v1/accounts/{account_id}/tokens")
    assert listed.status_code == 200
    return [token["token_id"] for token in listed.json()["tokens"]]


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_everybody_learns_who_it_is(anna: Person, admin: Person) -> None:
    shown = {"account_id": anna.account_id, "name": "Anna", "organization_id": 1, "role": "member", "is_admin": False}
    assert anna.get("/v1/me").json().items() >= shown.items()
    assert admin.get("/v1/me").json()["is_admin"] is True


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer falcon_1_short",
        "Bearer falcon_0_" + "a" * 43,
        "Bearer falcon_9999999999999999_" + "a" * 43,
        "Bearer falcon_99999999999999999999_" + "a" * 43,
        "Bearer falcon_1_" + "é" * 43,
        "Basic dXNlcjpwYXNz",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer {token}\x7f",
        "Bearer x{token}",
        "Bearer {token} {token}",
        "Bearer " + "x" * 100_000,
    ],
)
def test_who_shows_no_token_is_nobody(falcon: Falcon, anna: Person, authorization: str | None) -> None:
    headers = {}
    if authorization is not None:
        headers["Authorization"] = authorization.replace("{token}", anna.token).encode()
    for method, path in (("GET", "/v1/me"), ("POST", "/v1/rooms"), ("GET", "/v1/rooms/1"), ("POST", "/v1/import")):
        problem(falcon.send(method, path, headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_not_case_sensitive(falcon: Falcon, anna: Person, scheme: str) -> None:
    assert falcon.send("GET", "/v1/me", headers={"Authorization": f"{scheme} {anna.token}"}).status_code == 200


def test_nobody_s_request_is_not_looked_at(falcon: Falcon) -> None:
    problem(falcon.send("POST", "/v1/rooms", content=b"{", headers={"Falcon-Position": "x"}), 401, "unauthenticated")


def test_a_token_of_one_account_is_not_another_s(falcon: Falcon, anna: Person, ben: Person) -> None:
    forged = anna.token.replace(f"_{anna.account_id}_", f"_{ben.account_id}_")
    assert not works(falcon, forged)


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_admin_makes_an_account_and_gets_its_token(falcon: Falcon, admin: Person) -> None:
    made = admin.post("/v1/accounts", {"name": "Dora"})
    assert made.status_code == 201
    body = made.json()
    assert body["name"] == "Dora" and body["role"] == "member"
    dora = Person(falcon, body["account_id"], "Dora", body["token"])
    me = dora.get("/v1/me").json()
    assert (me["account_id"], me["name"], me["is_admin"]) == (body["account_id"], "Dora", False)


def test_names_need_not_differ(admin: Person) -> None:
    one, another = (admin.post("/v1/accounts", {"name": "Dora"}).json() for _ in range(2))
    assert one["account_id"] != another["account_id"]


@pytest.mark.parametrize("name", ["x" * 255, "茶" * 255, "Zoë 🫖", "'; --"])
def test_a_name_has_1_to_255_characters(admin: Person, falcon: Falcon, name: str) -> None:
    assert falcon.account(name).get("/v1/me").json()["name"] == name


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": None}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "is_admin": True}, "is_admin"),
    ],
)
def test_an_account_that_cannot_be_made_names_the_field(admin: Person, body: Json, field: str) -> None:
    problem(admin.post("/v1/accounts", body), 422, "invalid", field)


def test_only_an_admin_has_to_do_with_accounts(anna: Person) -> None:
    problem(anna.post("/v1/accounts", {"name": "Dora"}), 403, "not_allowed")
    problem(anna.get("/v1/accounts"), 403, "not_allowed")


def test_an_admin_lists_the_accounts(admin: Person, anna: Person) -> None:
    listed = admin.get(
        "/v1/accounts", params={"limit": 200, "cursor": anna.account_id - 1} if anna.account_id > 1 else {}
    )
    assert listed.status_code == 200 and set(listed.json()) == {"accounts", "next_cursor"}
    account = next(each for each in listed.json()["accounts"] if each["account_id"] == anna.account_id)
    assert TIME.fullmatch(account.pop("created_at"))
    assert account.items() >= {"account_id": anna.account_id, "name": "Anna", "is_admin": False}.items()


def test_the_list_walked_by_cursor_has_each_account_once_by_id(falcon: Falcon, admin: Person) -> None:
    made = {falcon.account(str(i)).account_id for i in range(10)}
    walked = [each["account_id"] for each in admin.walks("/v1/accounts", "accounts", 7)]
    assert walked == sorted(set(walked)) and made <= set(walked)


@pytest.mark.parametrize("cursor", ["", "x", "0", "9007199254740992", "\0", "9" * 5000])
def test_a_cursor_of_accounts_is_one_that_was_given(admin: Person, cursor: str) -> None:
    problem(admin.get("/v1/accounts", params={"cursor": cursor}), 422, "invalid", "cursor")


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_one_gets_oneself_another_token_and_lists_and_revokes_it(falcon: Falcon, anna: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    issued = anna.post(path, {})
    assert issued.status_code == 201 and issued.json()["token"]
    token_id, token = issued.json()["token_id"], issued.json()["token"]
    assert works(falcon, token) and works(falcon, anna.token)

    listed = anna.get(path).json()
    assert set(listed) == {"tokens"} and len(listed["tokens"]) == 2
    assert all(TIME.fullmatch(each["created_at"]) for each in listed["tokens"])
    assert token_id in [each["token_id"] for each in listed["tokens"]]

    revoked = anna.delete(f"{path}/{token_id}")
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert not works(falcon, token) and works(falcon, anna.token)
    assert token_id not in tokens(anna, anna.account_id)


def test_a_token_is_issued_with_or_without_an_empty_body(anna: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    assert anna.post(path).status_code == anna.post(path, {}).status_code == 201
    problem(anna.post(path, {"nam": "laptop"}), 422, "invalid", "nam")


def test_a_revoked_token_stays_revoked_and_its_id_is_not_used_again(falcon: Falcon, anna: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    first = anna.post(path).json()
    anna.delete(f"{path}/{first['token_id']}")
    problem(anna.delete(f"{path}/{first['token_id']}"), 404, "token_not_found")
    second = anna.post(path).json()
    assert second["token_id"] > first["token_id"] and second["token"] != first["token"]
    assert not works(falcon, first["token"])


def test_one_can_shut_oneself_out(falcon: Falcon, anna: Person, admin: Person) -> None:
    (token_id,) = tokens(anna, anna.account_id)
    assert anna.delete(f"/v1/accounts/{anna.account_id}/tokens/{token_id}").status_code == 204
    problem(anna.get("/v1/me"), 401, "unauthenticated")
    assert works(falcon, admin.post(f"/v1/accounts/{anna.account_id}/tokens").json()["token"])


def test_an_admin_manages_anybody_s_tokens(falcon: Falcon, anna: Person, admin: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    issued = admin.post(path).json()
    assert falcon.send("GET", "/v1/me", headers={"Authorization": f"Bearer {issued['token']}"}).json()["name"] == "Anna"
    assert tokens(admin, anna.account_id) == tokens(anna, anna.account_id)
    assert admin.delete(f"{path}/{issued['token_id']}").status_code == 204
    assert not works(falcon, issued["token"])


@pytest.mark.parametrize("whose", ["another's", "an admin's", "nobody's"])
def test_nobody_else_does(falcon: Falcon, anna: Person, ben: Person, admin: Person, whose: str) -> None:
    account_id = {"another's": anna.account_id, "an admin's": admin.account_id, "nobody's": 2**53 - 1}[whose]
    path = f"/v1/accounts/{account_id}/tokens"
    problem(ben.post(path), 403, "not_allowed")
    problem(ben.get(path), 403, "not_allowed")
    problem(ben.delete(f"{path}/1"), 403, "not_allowed")
    assert works(falcon, anna.token)


@pytest.mark.parametrize("account_id", ["0", "x", "9007199254740991", "9007199254740992", "9" * 5000, "%00"])
def test_an_account_that_is_not_has_no_tokens(admin: Person, account_id: str) -> None:
    path = f"/v1/accounts/{account_id}/tokens"
    problem(admin.post(path), 404, "account_not_found")
    problem(admin.get(path), 404, "account_not_found")
    problem(admin.delete(f"{path}/1"), 404, "account_not_found")


@pytest.mark.parametrize("token_id", ["2", "0", "x", "9007199254740991", "9007199254740992", "9" * 5000, "%00"])
def test_a_token_that_is_not_cannot_be_revoked(falcon: Falcon, anna: Person, token_id: str) -> None:
    problem(anna.delete(f"/v1/accounts/{anna.account_id}/tokens/{token_id}"), 404, "token_not_found")
    assert works(falcon, anna.token)


def test_an_account_has_at_most_a_hundred_tokens(falcon: Falcon, anna: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    answers = falcon.together(*(anna.request("POST", path) for _ in range(101)))
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(refused) == 2
    for answer in refused:
        problem(answer, 403, "not_allowed")
    anna.delete(f"{path}/2")
    assert anna.post(path).status_code == 201


# --- signing out ------------------------------------------------------------------------------------------------------


def test_who_signs_out_ends_the_token_of_that_request_and_no_other(falcon: Falcon, anna: Person) -> None:
    other = anna.post(f"/v1/accounts/{anna.account_id}/tokens").json()["token"]
    ended = anna.delete("/v1/me/token")
    assert (ended.status_code, ended.content) == (204, b"") and "falcon-position" in ended.headers
    assert not works(falcon, anna.token) and works(falcon, other)
    problem(anna.delete("/v1/me/token"), 401, "unauthenticated")


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Falcon]:
    """A Falcon of its own, since its admin may lose a token."""
    with Falcon(tmp_path) as falcon:
        yield falcon


def test_the_admins_last_token_cannot_be_ended_by_either_way(another: Falcon) -> None:
    falcon, admin = another, another.admin
    path = f"/v1/accounts/{admin.account_id}/tokens"
    (token_id,) = tokens(admin, admin.account_id)
    problem(admin.delete(f"{path}/{token_id}"), 409, "last_admin")
    problem(admin.delete("/v1/me/token"), 409, "last_admin")
    new = admin.post(path).json()
    assert admin.delete("/v1/me/token").status_code == 204
    assert not works(falcon, admin.token) and works(falcon, new["token"])


def test_of_two_who_end_the_admins_two_tokens_at_once_one_is_refused(another: Falcon) -> None:
    falcon, admin = another, another.admin
    path = f"/v1/accounts/{admin.account_id}/tokens"
    admin.post(path)
    first, second = tokens(admin, admin.account_id)
    answers = falcon.together(admin.request("DELETE", f"{path}/{first}"), admin.request("DELETE", f"{path}/{second}"))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
