"""People sign in with a password or a link; a session is listed, ends, and works as a token does."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from falcon.features.accounts.rules import ChangeAccount, Space, WantTexts
from falcon.features.claims.rules import ClaimText
from falcon.http import passwords
from falcon.http.limits.sign_ins import SignInAttempts
from falcon.http.problems import Problem
from falcon.write.gateway import partition_for
from falcon.write.protocol import Accepted, CommandEnvelope
from tests.support.http import Falcon, Person, problem

TEA = "tea at four o'clock"
COFFEE = "coffee at ten past"
OWN = {"Origin": "https://falcon.test"}


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real hash takes a tenth of a second."""
    quick = PasswordHasher(1, 8, 1)
    monkeypatch.setattr(passwords, "_hasher", quick)
    monkeypatch.setattr(passwords, "_NO_ONES", quick.hash("x"))


@pytest.fixture(autouse=True)
def no_attempts_before(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests share an address."""
    monkeypatch.setattr(falcon.edge.limiter, "_sign_ins", SignInAttempts(time.monotonic))


def shows(falcon: Falcon, person: Person, **texts: str) -> None:
    """Give the person a handle, an e-mail or both."""

    async def asked(command: WantTexts | ClaimText | ChangeAccount) -> None:
        partition = partition_for(command, person.account_id, None, falcon.edge.partitions)
        envelope = CommandEnvelope(partition, person.account_id, command, time.monotonic() + 60)
        assert isinstance(await falcon.edge.gateway.ask(envelope), Accepted)

    wanted: dict[Space, str | None] = {"handle": texts.get("handle"), "email": texts.get("email")}
    falcon.run(asked(WantTexts(person.account_id, wanted)))
    for space, text in wanted.items():
        if text is not None:
            falcon.run(asked(ClaimText(space, text, person.account_id, 1)))
    falcon.run(asked(ChangeAccount(person.account_id, texts=wanted, wish=1)))


@pytest.fixture
def dora(falcon: Falcon) -> Iterator[Person]:
    """She has a handle, an e-mail and a password."""
    dora = falcon.account("Dora")
    number = dora.account_id
    shows(falcon, dora, handle=f"dora-{number}", email=f"dora{number}@tea.test")
    assert dora.put("/v1/me/password", {"password": TEA}).status_code == 204
    yield dora


def signs_in(person: Person, password: str = TEA, **more: object) -> httpx.Response:
    return signs_in_as(person.falcon, f"dora-{person.account_id}", password, **more)


def signs_in_as(falcon: Falcon, login: str, password: str, **more: object) -> httpx.Response:
    return falcon.send("POST", "/v1/sign-in", json={"login": login, "password": password, **more}, headers=OWN)


def bearer(person: Person, answer: httpx.Response) -> Person:
    """The person with the session of the answer."""
    assert answer.status_code == 201, answer.text
    return Person(person.falcon, person.account_id, person.name, answer.json()["token"])


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def is_in(person: Person) -> bool:
    return person.get("/v1/me").status_code == 200


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_page_learns_how_people_sign_in(falcon: Falcon) -> None:
    assert falcon.send("GET", "/v1/sign-in").json() == {"password": True, "providers": []}


def test_a_browser_gets_a_cookie_and_uses_it(falcon: Falcon, dora: Person) -> None:
    answer = signs_in(dora)
    assert answer.status_code == 201
    body = answer.json()
    assert body["account"]["account_id"] == dora.account_id and "token" not in body
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(
        r"__Host-falcon=falcon_\d+_[\w-]{43}; Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax", cookie
    )
    headers = {"Cookie": cookie_of(answer)}
    assert falcon.send("GET", "/v1/me", headers=headers).json()["account_id"] == dora.account_id
    signed_out = falcon.send("DELETE", "/v1/session", headers={**headers, **OWN})
    assert signed_out.status_code == 204 and "__Host-falcon=; Path=/; Max-Age=0" in signed_out.headers["set-cookie"]
    problem(falcon.send("GET", "/v1/me", headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize("login", ["dora-{}", "DORA-{}", "dora{}@tea.test", "Dora{}@TEA.test", " dora-{} "])
def test_a_program_gets_a_token_by_any_login(falcon: Falcon, dora: Person, login: str) -> None:
    answer = signs_in_as(falcon, login.format(dora.account_id), TEA, bearer=True)
    assert "set-cookie" not in answer.headers
    assert is_in(bearer(dora, answer))


def test_every_mistake_gets_the_same_answer(falcon: Falcon, dora: Person) -> None:
    known = f"dora-{dora.account_id}"
    stranger = falcon.account("No Password")
    shows(falcon, stranger, handle=f"none-{stranger.account_id}")
    wrong = [
        signs_in_as(falcon, known, COFFEE),
        signs_in_as(falcon, known, ""),
        signs_in_as(falcon, known, TEA + "x" * 300),
        signs_in_as(falcon, "nobody-at-all", TEA),
        signs_in_as(falcon, "nobody@tea.test", TEA),
        signs_in_as(falcon, f"none-{stranger.account_id}", TEA),
        signs_in_as(falcon, "", TEA),
        signs_in_as(falcon, "\0'; --", TEA),
        signs_in_as(falcon, "x" * 10_000, TEA),
    ]
    assert {each.status_code for each in wrong} == {401}
    assert len({each.content for each in wrong}) == 1
    assert len({tuple(sorted(each.headers.items())) for each in wrong}) == 1
    assert TEA not in wrong[0].text and known not in wrong[0].text


def test_every_mistake_costs_one_hash(falcon: Falcon, dora: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    matches = passwords._matches

    def counted(stored: str, password: bytes) -> bool:
        checked.append(stored)
        return matches(stored, password)

    monkeypatch.setattr(passwords, "_matches", counted)
    for login in (f"dora-{dora.account_id}", "nobody-at-all", "nobody@tea.test", ""):
        problem(signs_in_as(falcon, login, COFFEE), 401, "unauthenticated")
    assert len(checked) == 4


def test_after_ten_wrong_ones_also_the_right_password_waits(falcon: Falcon, dora: Person) -> None:
    for _ in range(10):
        problem(signs_in(dora, COFFEE), 401, "unauthenticated")
    assert int(problem(signs_in(dora), 429, "rate_limited")["status"]) == 429


def test_an_outage_locks_no_login(falcon: Falcon, dora: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(stored: str | None, password: str) -> bool:
        raise Problem(503, "overloaded", "Too many people sign in at the time.", retry_after=2)

    with monkeypatch.context() as outage:
        outage.setattr(falcon.edge.passwords, "matches", busy)
        for _ in range(10):
            problem(signs_in(dora), 503, "overloaded")
    assert signs_in(dora).status_code == 201


def test_nothing_of_a_password_is_in_a_log_or_a_problem(
    falcon: Falcon, dora: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    answers = [signs_in(dora, "my secret word"), dora.put("/v1/me/password", {"password": "my secret word"})]
    answers.append(falcon.send("POST", "/v1/sign-in", content=b'{"login":"a","password":"my secret word"', headers=OWN))
    assert not any("secret word" in text for text in (caplog.text, *(each.text for each in answers)))
    with falcon.settings.database.open("rb") as file:
        stored = file.read()
    assert b"secret word" not in stored and TEA.encode() not in stored


def test_no_code_and_no_token_of_a_session_is_in_a_log(
    falcon: Falcon, dora: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "falcon")
    code = code_for(falcon, dora)
    signed = falcon.send("POST", f"/v1/sign-in/by-code/{code}", json={"password": COFFEE, "bearer": True}).json()
    secrets = [code.partition("_")[2], signed["token"].split("_", 2)[2]]
    problem(falcon.send("POST", f"/v1/sign-in/by-code/{code}", json={"password": COFFEE}), 404, "item_not_found")
    cookie = signs_in(dora, COFFEE).headers["set-cookie"]
    secrets.append(cookie.partition(";")[0].partition("=")[2].split("_", 2)[2])
    problem(falcon.send("POST", "/v1/rooms", json={}, headers={"Cookie": cookie}), 403, "not_allowed")
    url = falcon.admin.post("/v1/invitations", {}, headers=OWN).json()["url"]
    secrets.append(url.partition("#")[2].partition("_")[2])
    said = [each.getMessage() for each in caplog.records if each.name.startswith("falcon")]
    assert [each for each in said if any(secret in each for secret in secrets)] == []


def test_a_short_or_common_password_is_refused(dora: Person) -> None:
    for password in ("short", "x" * 257, "qwertyuiop", "Password123"):
        refused = dora.put("/v1/me/password", {"password": password, "current": TEA})
        assert problem(refused, 422, "invalid")["errors"][0]["field"] == "password"
        assert password not in refused.text


def test_who_changes_the_password_knows_the_present_one_and_all_other_sessions_end(dora: Person) -> None:
    here, there = (bearer(dora, signs_in(dora, bearer=True)) for _ in range(2))
    for current in ({}, {"current": COFFEE}):
        refused = here.put("/v1/me/password", {"password": COFFEE, **current})
        assert problem(refused, 403, "not_allowed")["errors"][0]["field"] == "current"
    assert here.put("/v1/me/password", {"password": COFFEE, "current": TEA}).status_code == 204
    assert (is_in(here), is_in(there), is_in(dora)) == (True, False, True)  # a program's token is no session
    problem(signs_in(dora, TEA), 401, "unauthenticated")
    assert is_in(bearer(dora, signs_in(dora, COFFEE, bearer=True)))


def test_a_retry_of_a_change_gets_its_first_answer(dora: Person) -> None:
    change = {"password": COFFEE, "current": TEA}
    first, again = (dora.put("/v1/me/password", change, key="change") for _ in range(2))
    assert (first.status_code, again.status_code) == (204, 204)
    assert again.headers["idempotency-replayed"] == "true"


def test_a_deactivated_account_does_not_sign_in(falcon: Falcon, dora: Person) -> None:
    async def deactivate() -> None:
        command = ChangeAccount(dora.account_id, deactivated=True)
        partition = partition_for(command, dora.account_id, None, falcon.edge.partitions)
        await falcon.edge.gateway.ask(CommandEnvelope(partition, dora.account_id, command, time.monotonic() + 60))

    falcon.run(deactivate())
    problem(signs_in(dora), 401, "unauthenticated")


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_and_end_one_by_one(falcon: Falcon, dora: Person) -> None:
    here, there = (bearer(dora, signs_in(dora, bearer=True)) for _ in range(2))
    sessions = here.get("/v1/sessions").json()["sessions"]
    assert [each["current"] for each in sessions] == [True, False]
    assert sessions[0].keys() == {"session_id", "created_at", "last_used_at", "user_agent", "address", "current"}
    assert sessions[0]["address"] == "127.0.0.1" and sessions[0]["user_agent"].startswith("python-httpx")
    assert here.delete(f"/v1/sessions/{sessions[1]['session_id']}").status_code == 204
    assert (is_in(here), is_in(there)) == (True, False)
    problem(here.delete(f"/v1/sessions/{sessions[1]['session_id']}"), 404, "item_not_found")
    problem(here.delete("/v1/sessions/x"), 404, "item_not_found")
    problem(here.delete("/v1/sessions/1"), 404, "item_not_found")  # a program's token
    assert is_in(dora)


def test_all_other_sessions_end_together(dora: Person) -> None:
    people = [bearer(dora, signs_in(dora, bearer=True)) for _ in range(3)]
    assert people[1].delete("/v1/sessions").status_code == 204
    assert [is_in(each) for each in (*people, dora)] == [False, True, False, True]


def test_an_account_is_signed_out_everywhere_by_itself_or_an_administrator(
    falcon: Falcon, dora: Person, anna: Person
) -> None:
    session = bearer(dora, signs_in(dora, bearer=True))
    problem(anna.post(f"/v1/accounts/{dora.account_id}/sign-out"), 403, "not_allowed")
    assert is_in(session)
    assert falcon.admin.post(f"/v1/accounts/{dora.account_id}/sign-out").status_code == 204
    assert (is_in(session), is_in(dora)) == (False, False)
    again = bearer(dora, signs_in(dora, bearer=True))
    assert again.post(f"/v1/accounts/{dora.account_id}/sign-out").status_code == 204
    assert not is_in(again)


# --- links ------------------------------------------------------------------------------------------------------------


def code_for(falcon: Falcon, person: Person) -> str:
    link = falcon.admin.post(f"/v1/accounts/{person.account_id}/sign-in-link", headers={"Host": "localhost:8080"})
    assert link.status_code == 201
    url: str = link.json()["url"]
    address, _, code = url.partition("/#sign-in=")
    assert address == "http://localhost:8080"
    return code


def test_a_link_from_an_administrator_sets_a_password_once(falcon: Falcon, dora: Person) -> None:
    old = bearer(dora, signs_in(dora, bearer=True))
    path = f"/v1/sign-in/by-code/{code_for(falcon, dora)}"
    assert falcon.send("GET", path).json() == {"name": "Dora", "has_password": True}
    problem(falcon.send("POST", path, json={"password": "qwertyuiop"}), 422, "invalid")
    session = bearer(dora, falcon.send("POST", path, json={"password": COFFEE, "bearer": True}))
    assert (is_in(session), is_in(old)) == (True, False)
    assert is_in(bearer(dora, signs_in(dora, COFFEE, bearer=True)))
    problem(falcon.send("POST", path, json={"password": TEA}), 404, "item_not_found")
    problem(falcon.send("GET", path), 404, "item_not_found")


def test_a_link_may_leave_the_password_and_the_sessions_as_they_are(falcon: Falcon, dora: Person) -> None:
    old = bearer(dora, signs_in(dora, bearer=True))
    path = f"/v1/sign-in/by-code/{code_for(falcon, dora)}"
    session = bearer(dora, falcon.send("POST", path, json={"bearer": True}))
    assert is_in(session) and is_in(old) and is_in(bearer(dora, signs_in(dora, TEA, bearer=True)))
    problem(falcon.send("POST", path, json={}), 404, "item_not_found")


def test_a_link_says_that_an_account_has_no_password_yet(falcon: Falcon, anna: Person) -> None:
    path = f"/v1/sign-in/by-code/{code_for(falcon, anna)}"
    assert falcon.send("GET", path).json() == {"name": "Anna", "has_password": False}


def test_two_who_use_a_link_at_once_do_not_both_get_in(falcon: Falcon, dora: Person) -> None:
    path = f"/v1/sign-in/by-code/{code_for(falcon, dora)}"
    both = [falcon.request("POST", path, json={"password": COFFEE, "bearer": True}) for _ in range(2)]
    assert sorted(each.status_code for each in falcon.together(*both)) == [201, 404]


@pytest.mark.parametrize("code", ["1", "1_x", "65_" + "x" * 43, "9007199254740991_" + "x" * 43, "%00"])
def test_a_code_that_is_none_opens_nothing(falcon: Falcon, code: str) -> None:
    problem(falcon.send("GET", f"/v1/sign-in/by-code/{code}"), 404, "item_not_found")
    refused = falcon.send("POST", f"/v1/sign-in/by-code/{code}", json={"password": TEA})
    assert "x" * 43 not in refused.text
    problem(refused, 404, "item_not_found")


def test_only_an_administrator_issues_links(anna: Person, ben: Person) -> None:
    problem(anna.post(f"/v1/accounts/{ben.account_id}/sign-in-link"), 403, "not_allowed")
    problem(anna.post(f"/v1/accounts/{anna.account_id}/sign-in-link"), 403, "not_allowed")


def test_people_sign_in_at_whichever_process(tmp_path: Path) -> None:
    with Falcon(tmp_path, processes=2) as falcon:
        dora = falcon.account("Dora")
        shows(falcon, dora, handle=f"dora-{dora.account_id}")
        assert dora.put("/v1/me/password", {"password": TEA}).status_code == 204
        assert is_in(bearer(dora, signs_in(dora, bearer=True)))
