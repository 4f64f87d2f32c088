"""A process that follows the log asks the tables about a token once, and then not for minutes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.features.accounts.table import AccountRow
from falcon.http import authenticator, bearer_tokens
from falcon.http.problems import Problem
from falcon.streams import revocations
from tests.http.test_tables_away import revoked_elsewhere
from tests.support.http import Falcon, Person
from tests.support.store_calls import StoreCalls
from tools.harness.waiting import eventually

ACCOUNTS = 10_000


@pytest.fixture
def falcon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Falcon]:
    """It follows the log's revocations, as an API process of a cluster does. Once it has read the log, the log confirms
    for tokens, however long the machine stops the test then."""
    monkeypatch.setattr(revocations, "_FRESH_SECONDS", 3_600.0)
    with Falcon(tmp_path) as started:
        following = started.edge.authenticator.revocations

        async def start() -> None:
            following.start()

        started.run(start())
        yield started
        started.run(following.stop())


async def followed(falcon: Falcon) -> None:
    """Wait until the log has been read up to its end."""
    following = falcon.edge.authenticator.revocations
    await eventually(lambda: following.still_valid_since(time.monotonic(), time.monotonic()))


def headers(person: Person) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {person.token}".encode()}


def test_ten_thousand_accounts_are_looked_up_once_each(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def bearer(account_id: int, token_hash: str) -> AccountRow:
        asked.append(account_id)
        return AccountRow(account_id, "", "member", "")

    async def requests_of_all() -> None:
        for account_id, secret in tokens:
            token = bearer_tokens.token(account_id, secret).encode()
            account = await falcon.edge.authenticator.authenticate({b"authorization": b"Bearer " + token})
            assert account.account_id == account_id

    tokens = [(number, bearer_tokens.new_secret(b"s")) for number in range(1, ACCOUNTS + 1)]
    monkeypatch.setattr(falcon.edge.store, "bearer", bearer)
    monkeypatch.setattr(authenticator, "_FRESH_SECONDS", 0.0)  # as if a second had passed between two requests
    for _ in range(3):
        falcon.run(followed(falcon))
        falcon.run(requests_of_all())
    assert len(asked) == ACCOUNTS


def test_a_send_asks_the_tables_nothing(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea kitchen")
    monkeypatch.setattr(authenticator, "_FRESH_SECONDS", 0.0)
    anna.says(room, "looked up")
    falcon.run(followed(falcon))
    calls = StoreCalls(falcon, monkeypatch)
    anna.says(room, "known")
    assert calls.made == []


def test_a_stream_with_a_forged_ticket_asks_the_tables_nothing(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    falcon.run(followed(falcon))
    calls = StoreCalls(falcon, monkeypatch)
    assert falcon.send("GET", "/v1/stream?ticket=forged").status_code == 401
    assert calls.made == []


def test_a_token_that_the_log_has_revoked_is_refused_though_the_tables_still_show_it(
    falcon: Falcon, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = falcon.account("Anna")
    row = falcon.run(falcon.edge.authenticator.authenticate(headers(anna)))

    async def bearer(account_id: int, token_hash: str) -> AccountRow:
        return row

    async def refused() -> bool:
        try:
            await falcon.edge.authenticator.authenticate(headers(anna))
        except Problem as problem:
            return problem.status == 401
        return False

    monkeypatch.setattr(falcon.edge.store, "bearer", bearer)
    falcon.run(followed(falcon))
    revoked_elsewhere(falcon, anna)
    falcon.run(eventually(refused, "the token is refused"))
    assert anna.get("/v1/me").status_code == 401


def test_a_token_is_not_trusted_for_more_than_ten_minutes(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = falcon.account("Anna")
    monkeypatch.setattr(authenticator, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(authenticator, "_USABLE_SECONDS", 0.0)
    falcon.run(followed(falcon))
    calls = StoreCalls(falcon, monkeypatch)
    for _ in range(2):
        assert anna.get("/v1/me").status_code == 200
    assert calls.made.count("bearer") == 2


def test_the_token_that_was_not_used_for_longest_gives_way(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, ben, cleo = falcon.account("Anna"), falcon.account("Ben"), falcon.account("Cleo")
    monkeypatch.setattr(authenticator, "_CACHED_MAX", 2)
    for person in (anna, ben, anna, cleo):
        assert person.get("/v1/me").status_code == 200
    cached = falcon.edge.authenticator._cache
    assert [each.account.name for each in cached.values()] == ["Anna", "Cleo"]


def test_one_token_does_not_take_the_place_of_others_by_spaces_before_it(falcon: Falcon) -> None:
    anna = falcon.account("Anna")
    before = len(falcon.edge.authenticator._cache)
    for count in range(1, 20):
        padded = {b"authorization": b"Bearer " + b" " * count + anna.token.encode()}
        assert falcon.run(falcon.edge.authenticator.authenticate(padded)).account_id == anna.account_id
    assert len(falcon.edge.authenticator._cache) == before


def test_one_persons_revocation_leaves_the_others_cached(falcon: Falcon) -> None:
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    for person in (anna, ben):
        assert person.get("/v1/me").status_code == 200
    assert anna.delete("/v1/me/token").status_code == 204
    names = [each.account.name for each in falcon.edge.authenticator._cache.values()]
    assert "Ben" in names and "Anna" not in names
