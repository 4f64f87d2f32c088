"""What the edge does while the read tables are away: who was known may go on sending, nobody else may do anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.http import edge as edges
from falcon.read.store import ReadStoreUnavailable
from tests.support.http import Falcon, Person


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    """One whose tables a test may take away."""
    with Falcon(tmp_path) as started:
        yield started


class Tables:
    """Lets the bearer of a token be looked up, or not, and counts."""

    def __init__(self, falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.asked = 0
        look_up = falcon.edge.store.bearer

        async def bearer(account_id: int, token_hash: str) -> object:
            self.asked += 1
            if self.away:
                raise ReadStoreUnavailable("a test has taken the tables away")
            return await look_up(account_id, token_hash)

        monkeypatch.setattr(falcon.edge.store, "bearer", bearer)
        monkeypatch.setattr(edges, "_TOKEN_CACHE_SECONDS", 0.0)  # each request looks again


@pytest.fixture
def tables(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> Tables:
    return Tables(falcon, monkeypatch)


def send(person: Person, room_id: int) -> int:
    return person.post(f"/v1/rooms/{room_id}/messages", {"text": "hello"}).status_code


def room_of(person: Person) -> int:
    return int(person.post("/v1/rooms", {"name": "Tea kitchen"}).json()["room_id"])


def test_one_who_was_known_goes_on_sending(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    tables.away = True
    assert [send(anna, room) for _ in range(5)] == [201] * 5


def test_a_stranger_is_not_let_in(falcon: Falcon, tables: Tables) -> None:
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = room_of(anna)
    tables.away = True
    refused = ben.post(f"/v1/rooms/{room}/messages", {"text": "hello"})
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")


def test_one_who_was_known_too_long_ago_is_a_stranger(
    falcon: Falcon, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = falcon.account("Anna")
    monkeypatch.setattr(edges, "_TOKEN_USABLE_SECONDS", 0.0)
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 503


def test_when_the_tables_are_back_a_token_that_was_revoked_is_refused(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 201
    falcon.edge._callers = {
        name: caller for name, caller in falcon.edge._callers.items() if caller.account.name == "Anna"
    }
    tables.away = False
    (token,) = falcon.admin.get(f"/v1/accounts/{anna.account_id}/tokens").json()["tokens"]
    assert falcon.admin.delete(f"/v1/accounts/{anna.account_id}/tokens/{token['token_id']}").status_code == 204
    assert send(anna, room) == 401
