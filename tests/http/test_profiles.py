"""Profiles of accounts: names, handles, roles, and accounts that are deactivated."""

import httpx
import msgspec
import pytest

from tests.support.http import Falcon, Json, Person, problem
from tools.harness.waiting import until


def account(person: Person, account_id: int) -> Json:
    answer = person.get(f"/v1/accounts/{account_id}")
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    return shown


def changed(person: Person, path: str, **change: object) -> Json:
    answer = person.patch(path, change)
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    return shown


def test_a_person_changes_their_own_profile_and_others_see_it(anna: Person, ben: Person) -> None:
    profile = {"name": "Anna Maria", "title": "Tea taster", "about": "Mornings", "handle": "anna.maria"}
    mine = changed(anna, "/v1/me", **profile)
    assert mine.items() >= profile.items() and mine["email"] is None
    theirs = account(ben, anna.account_id)
    assert theirs.items() >= profile.items() and "email" not in theirs
    me = anna.get("/v1/me").json()
    assert me.items() >= profile.items() and (me["organization_id"], me["role"], me["bot"]) == (1, "member", False)
    assert me["scopes"] == ["read", "write", "tokens", "export", "admin"]
    changed(anna, "/v1/me", handle=None, name="Anna")


def test_a_direct_room_and_the_list_of_members_show_the_name_of_now(falcon: Falcon, anna: Person) -> None:
    dora = falcon.account("Dora")
    room = anna.put(f"/v1/direct/{dora.account_id}").json()
    assert room["name"] == "Dora"
    changed(dora, "/v1/me", name="Dorothea")
    assert anna.get(f"/v1/rooms/{room['room_id']}").json()["name"] == "Dorothea"
    members = anna.get(f"/v1/rooms/{room['room_id']}/members").json()["members"]
    assert "Dorothea" in {member["name"] for member in members}


def test_a_handle_belongs_to_one_account(falcon: Falcon, admin: Person) -> None:
    one, other = falcon.account("One"), falcon.account("Other")
    changed(one, "/v1/me", handle="tea")
    problem(other.patch("/v1/me", {"handle": "tea", "title": "No"}), 409, "handle_taken", "handle")
    assert account(other, other.account_id)["title"] == "", "all of a change or nothing"
    changed(one, "/v1/me", handle="tea-2")
    assert changed(other, "/v1/me", handle="tea")["handle"] == "tea"
    changed(other, "/v1/me", handle=None)
    assert changed(one, "/v1/me", handle="tea")["handle"] == "tea"


def test_of_those_who_wish_for_a_handle_together_one_gets_it(falcon: Falcon) -> None:
    people = [falcon.account(f"Racer {number}") for number in range(6)]
    answers = falcon.together(*(person.request("PATCH", "/v1/me", {"handle": "first"}) for person in people))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    shown = [account(people[0], person.account_id)["handle"] for person in people]
    assert sorted(map(str, shown)) == ["None"] * 5 + ["first"]


def test_a_retry_of_a_change_gets_the_first_answer(falcon: Falcon) -> None:
    one, other = falcon.account("One"), falcon.account("Other")
    first = one.patch("/v1/me", {"handle": "milk"}, headers={"Idempotency-Key": "milk"})
    changed(one, "/v1/me", handle="cream")
    again = one.patch("/v1/me", {"handle": "milk"}, headers={"Idempotency-Key": "milk"})
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert account(one, one.account_id)["handle"] == "cream"
    problem(other.patch("/v1/me", {"handle": "cream"}, headers={"Idempotency-Key": "cream"}), 409, "handle_taken")
    changed(one, "/v1/me", handle=None)
    problem(other.patch("/v1/me", {"handle": "cream"}, headers={"Idempotency-Key": "cream"}), 409, "handle_taken")
    problem(
        other.patch("/v1/me", {"handle": "milk"}, headers={"Idempotency-Key": "cream"}), 422, "idempotency_key_reused"
    )


def test_an_e_mail_is_compared_without_case_and_changed_by_admins(falcon: Falcon, admin: Person) -> None:
    one, other = falcon.account("One"), falcon.account("Other")
    problem(one.patch("/v1/me", {"email": "one@example.org"}), 403, "not_allowed", "email")
    shown = changed(admin, f"/v1/accounts/{one.account_id}", email="One@Example.org")
    assert shown["email"] == one.get("/v1/me").json()["email"] == "one@example.org"
    problem(admin.patch(f"/v1/accounts/{other.account_id}", {"email": "ONE@example.org"}), 409, "email_taken", "email")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"handle": "Tea"}, "handle"),
        ({"handle": ""}, "handle"),
        ({"handle": "tea\n"}, "handle"),
        ({"handle": "x" * 33}, "handle"),
        ({"name": None}, "name"),
        ({"title": "x" * 101}, "title"),
        ({"about": "x" * 501}, "about"),
        ({"role": "member"}, "role"),
    ],
)
def test_a_profile_that_cannot_be_names_the_field(anna: Person, body: Json, field: str) -> None:
    problem(anna.patch("/v1/me", body), 422, "invalid", field)


@pytest.mark.parametrize("email", ["none", "@example.org", "one@", "one two@example.org"])
def test_an_e_mail_has_an_at_and_no_spaces(admin: Person, anna: Person, email: str) -> None:
    problem(admin.patch(f"/v1/accounts/{anna.account_id}", {"email": email}), 422, "invalid", "email")


def test_an_account_is_made_with_role_handle_and_title(falcon: Falcon, admin: Person) -> None:
    made = admin.post("/v1/accounts", {"name": "Robo", "bot": True, "handle": "robo", "title": "Counts cups"})
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["role"], body["bot"], body["handle"], body["title"]) == ("bot", True, "robo", "Counts cups")
    assert Person(falcon, body["account_id"], "Robo", body["token"]).get("/v1/me").json()["role"] == "bot"
    listed = admin.get("/v1/accounts", params={"role": "bot"}).json()["accounts"]
    assert body["account_id"] in {each["account_id"] for each in listed}
    assert {each["role"] for each in listed} == {"bot"}
    before = falcon.log_length()
    problem(admin.post("/v1/accounts", {"name": "Robo", "handle": "robo"}), 409, "handle_taken")
    assert falcon.log_length() == before  # no account is there without its handle
    problem(admin.patch(f"/v1/accounts/{body['account_id']}", {"role": "member"}), 422, "invalid", "role")


def test_a_guest_knows_those_with_whom_it_shares_a_room(falcon: Falcon, admin: Person, anna: Person) -> None:
    made = admin.post("/v1/accounts", {"name": "Guest", "role": "guest"}).json()
    guest = Person(falcon, made["account_id"], "Guest", made["token"])
    problem(guest.get(f"/v1/accounts/{anna.account_id}"), 404, "account_not_found")
    anna.makes_room("Tea kitchen", guest)
    assert account(guest, anna.account_id)["name"] == anna.name


# --- roles ------------------------------------------------------------------------------------------------------------


def made(falcon: Falcon, admin: Person, role: str) -> Person:
    body = admin.post("/v1/accounts", {"name": role, "role": role}).json()
    return Person(falcon, body["account_id"], role, body["token"])


def test_a_role_that_falls_counts_soon(falcon: Falcon, admin: Person) -> None:
    helper = made(falcon, admin, "admin")
    assert helper.get("/v1/accounts").status_code == 200
    changed(admin, f"/v1/accounts/{helper.account_id}", role="member")
    until(lambda: helper.get("/v1/accounts").status_code == 403)


def test_an_admin_changes_no_owner_and_makes_none(falcon: Falcon, admin: Person, anna: Person) -> None:
    helper = made(falcon, admin, "admin")
    for body in ({"name": "No"}, {"role": "member"}, {"deactivated": True}, {"handle": "no"}):
        problem(helper.patch(f"/v1/accounts/{admin.account_id}", body), 403, "not_allowed", field="account_id")
    for person in (anna, helper):
        path = f"/v1/accounts/{person.account_id}"
        problem(helper.patch(path, {"role": "owner"}), 403, "not_allowed", field="role")
    problem(helper.post("/v1/accounts", {"name": "No", "role": "owner"}), 403, "not_allowed", field="role")
    problem(helper.post(f"/v1/accounts/{admin.account_id}/tokens"), 403, "not_allowed", field="account_id")
    problem(anna.patch(f"/v1/accounts/{helper.account_id}", {"name": "No"}), 403, "not_allowed")


def test_the_last_owner_stays(falcon: Falcon, admin: Person) -> None:
    for body in ({"role": "admin"}, {"deactivated": True}):
        problem(admin.patch(f"/v1/accounts/{admin.account_id}", body), 409, "last_owner")
    second = made(falcon, admin, "owner")
    assert changed(second, f"/v1/accounts/{second.account_id}", role="admin")["role"] == "admin"
    problem(admin.patch(f"/v1/accounts/{admin.account_id}", {"role": "admin"}), 409, "last_owner")
    changed(admin, f"/v1/accounts/{second.account_id}", role="owner")
    assert changed(admin, f"/v1/accounts/{second.account_id}", deactivated=True)["deactivated"]


# --- deactivated ------------------------------------------------------------------------------------------------------


def test_a_deactivated_account_is_signed_out_and_its_name_stays(falcon: Falcon, admin: Person, anna: Person) -> None:
    leaver = falcon.account("Leaver")
    changed(leaver, "/v1/me", handle="leaver")
    path = f"/v1/accounts/{leaver.account_id}"
    assert changed(admin, path, deactivated=True)["deactivated"]
    until(lambda: leaver.get("/v1/me").status_code == 401)
    assert account(anna, leaver.account_id)["name"] == "Leaver"
    problem(anna.patch("/v1/me", {"handle": "leaver"}), 409, "handle_taken")
    problem(admin.post(f"{path}/tokens"), 403, "not_allowed", field="account_id")
    assert [each["account_id"] for each in admin.get("/v1/accounts?deactivated=true").json()["accounts"]].count(
        leaver.account_id
    )
    changed(admin, path, deactivated=False)
    token = admin.post(f"{path}/tokens").json()["token"]
    assert Person(falcon, leaver.account_id, "Leaver", token).get("/v1/me").status_code == 200


def test_a_deactivated_account_gets_no_room_and_no_role(falcon: Falcon, admin: Person, anna: Person) -> None:
    leaver = falcon.account("Leaver")
    room = anna.makes_room("Tea kitchen", leaver).room_id
    changed(admin, f"/v1/accounts/{leaver.account_id}", deactivated=True)
    member = {"account_id": leaver.account_id, "role": "member"}
    inactive = {"field": "account_id", "rule": "must be an active account"}
    for refused in (
        anna.put(f"/v1/rooms/{room}/members/{leaver.account_id}", {"role": "readonly"}),
        anna.put(f"/v1/direct/{leaver.account_id}"),
    ):
        assert problem(refused, 422, "invalid")["errors"] == [inactive]
    made = anna.post("/v1/rooms", {"name": "Tea", "members": [member]})
    problem(made, 422, "invalid", field="members[0].account_id")
    assert anna.delete(f"/v1/rooms/{room}/members/{leaver.account_id}").status_code == 204


def test_an_account_that_is_not_there_is_not_found(admin: Person) -> None:
    problem(admin.get("/v1/accounts/9999999"), 404, "account_not_found")
    problem(admin.patch("/v1/accounts/9999999", {"name": "No"}), 404, "account_not_found")
    problem(admin.patch("/v1/accounts/9999999", {"handle": "no"}), 404, "account_not_found")


# --- tokens -----------------------------------------------------------------------------------------------------------


def token(person: Person, **what: object) -> Json:
    answer = person.post(f"/v1/accounts/{person.account_id}/tokens", what)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def with_token(person: Person, made: Json) -> Person:
    return Person(person.falcon, person.account_id, person.name, made["token"])


def test_a_token_has_a_name_and_the_scopes_that_were_asked_for(anna: Person) -> None:
    made = token(anna, name="Reports", scopes=["read"])
    assert (made["name"], made["scopes"], made["expires_at"]) == ("Reports", ["read"], None)
    listed = anna.get(f"/v1/accounts/{anna.account_id}/tokens").json()["tokens"]
    (entry,) = (each for each in listed if each["token_id"] == made["token_id"])
    assert (entry["name"], entry["scopes"], entry["issued_by"]) == ("Reports", ["read"], anna.account_id)
    reader = with_token(anna, made)
    assert reader.get("/v1/me").json()["scopes"] == ["read"]
    assert reader.get("/v1/rooms").status_code == 200
    assert reader.post("/v1/stream/tickets").status_code == 201
    problem(reader.post("/v1/rooms", {"name": "No"}), 403, "scope_missing", "Authorization")
    problem(reader.get(f"/v1/accounts/{anna.account_id}/tokens"), 403, "scope_missing")
    writer = with_token(anna, token(anna, scopes=["write"]))
    assert writer.post("/v1/rooms", {"name": "Yes"}).status_code == 201
    problem(writer.get("/v1/rooms"), 403, "scope_missing")


def test_no_token_makes_one_that_may_do_more(anna: Person) -> None:
    maker = with_token(anna, token(anna, scopes=["write", "tokens"]))
    problem(maker.post(f"/v1/accounts/{anna.account_id}/tokens", {"scopes": ["read"]}), 403, "scope_missing")
    assert token(maker)["scopes"] == ["write", "tokens"]
    assert token(maker, scopes=["tokens"])["scopes"] == ["tokens"]


def test_no_token_makes_one_that_outlives_it(anna: Person) -> None:
    own = token(anna, expires_in=3_600)
    maker = with_token(anna, own)
    assert token(maker)["expires_at"] == own["expires_at"]
    assert token(maker, expires_in=60)["expires_at"] < own["expires_at"]
    tokens = f"/v1/accounts/{anna.account_id}/tokens"
    problem(maker.post(tokens, {"expires_in": 7_200}), 422, "invalid", "expires_in")


def test_no_token_makes_a_session_that_may_do_more(falcon: Falcon, admin: Person, anna: Person) -> None:
    helper = with_token(admin, token(admin, scopes=["read", "write", "admin"]))
    problem(helper.post(f"/v1/accounts/{admin.account_id}/sign-in-link"), 403, "scope_missing")
    problem(helper.post("/v1/invitations", {"role": "owner"}), 403, "scope_missing")
    assert helper.post("/v1/invitations", {}).status_code == 201
    second = made(falcon, helper, "owner")
    assert second.get("/v1/me").json()["scopes"] == ["read", "write", "admin"]
    writer = with_token(anna, token(anna, scopes=["write"]))
    problem(writer.put("/v1/me/password", {"password": "tea for the whole kitchen"}), 403, "scope_missing")


def test_an_admins_token_without_the_scope_administers_nothing(admin: Person, anna: Person) -> None:
    plain = with_token(admin, token(admin, scopes=["read", "write", "tokens"]))
    problem(plain.get("/v1/accounts"), 403, "scope_missing")
    problem(plain.patch(f"/v1/accounts/{anna.account_id}", {"title": "No"}), 403, "scope_missing")
    problem(plain.get(f"/v1/accounts/{anna.account_id}/tokens"), 403, "scope_missing")
    problem(plain.get("/v1/export"), 403, "scope_missing")
    problem(plain.post("/v1/invitations", {}), 403, "not_allowed", "role")


def test_a_token_that_has_expired_is_refused(anna: Person) -> None:
    short = with_token(anna, token(anna, expires_in=3))
    assert short.get("/v1/me").status_code == 200
    until(lambda: short.get("/v1/me").status_code == 401)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"scopes": []}, "scopes"), ({"scopes": ["all"]}, "scopes"), ({"expires_in": 0}, "expires_in")],
)
def test_a_token_that_cannot_be_names_the_field(anna: Person, body: Json, field: str) -> None:
    answer = anna.post(f"/v1/accounts/{anna.account_id}/tokens", body)
    assert problem(answer, 422, "invalid")["errors"][0]["field"].startswith(field)


# --- exports and imports ----------------------------------------------------------------------------------------------


def imports(person: Person, *lines: Json) -> httpx.Response:
    headers = {"Content-Type": "application/x-ndjson"}
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    return person.post("/v1/import", content=content, headers=headers)


def test_an_export_has_profiles_and_an_import_gives_them(falcon: Falcon, admin: Person) -> None:
    whole = admin.post("/v1/accounts", {"name": "Whole", "role": "guest", "handle": "whole", "title": "All"}).json()
    changed(admin, f"/v1/accounts/{whole['account_id']}", email="w@example.org", about="Of it", deactivated=True)
    lines = [msgspec.json.decode(line) for line in admin.get("/v1/export").content.splitlines()]
    (line,) = (each for each in lines if each.get("ref") == str(whole["account_id"]) and each["type"] == "account")
    profile = {"role": "guest", "title": "All", "about": "Of it", "handle": "whole", "email": "w@example.org"}
    assert line == {"type": "account", "ref": line["ref"], "name": "Whole", **profile, "deactivated": True}

    brought = line | {"source": "there", "handle": "whole-2", "email": "w2@example.org"}
    for _ in range(2):  # the second time changes nothing
        answer = imports(admin, brought)
        assert answer.status_code == 200, answer.text
    shown = account(admin, answer.json()["accounts"][line["ref"]])
    assert shown.items() >= (profile | {"handle": "whole-2", "email": "w2@example.org", "deactivated": True}).items()


def test_an_account_comes_in_without_a_handle_or_e_mail_that_another_has(admin: Person) -> None:
    admin.post("/v1/accounts", {"name": "First", "handle": "earl", "email": "earl@example.org"})
    line: Json = {"type": "account", "source": "there", "ref": "e", "name": "Earl", "handle": "earl", "title": "Tea"}
    for _ in range(2):
        answer = imports(admin, line | {"email": "Earl@example.com"}).json()
        assert answer["taken"] == {"e": ["handle"]}
    shown = account(admin, answer["accounts"]["e"])
    assert (shown["handle"], shown["email"], shown["title"]) == (None, "earl@example.com", "Tea")
    both = imports(admin, line | {"ref": "f", "email": "EARL@example.org"}).json()
    assert both["taken"] == {"f": ["handle", "email"]}


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"handle": "Tea"}, "invalid", "line 2: handle"),
        ({"email": "none"}, "invalid", "line 2: email"),
        ({"role": "owner"}, "not_allowed", "line 2: role"),
        ({"role": "king"}, "invalid", "line 2: role"),
        ({"title": "x" * 101}, "invalid", "line 2: title"),
        ({"about": "x" * 501}, "invalid", "line 2: about"),
        ({"deactivated": 1}, "invalid", "line 2: deactivated"),
    ],
)
def test_of_an_import_with_a_wrong_account_nothing_is_done(
    falcon: Falcon, admin: Person, wrong: Json, code: str, field: str
) -> None:
    helper = made(falcon, admin, "admin")
    before = falcon.log_length()
    lines: list[Json] = [{"type": "account", "source": "here", "ref": ref, "name": ref} for ref in ("one", "two")]
    problem(imports(helper, lines[0], lines[1] | wrong), 403 if code == "not_allowed" else 422, code, field)
    assert falcon.log_length() == before
