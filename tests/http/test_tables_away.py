"""While the read tables are away, accounts with cached tokens may continue sending. All other requests are refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from falcon.features.accounts.rules import RevokeToken
from falcon.http import authenticator
from falcon.read.store import BeingFilled, ReadStoreUnavailable
from falcon.write.gateway import partition_for
from falcon.write.protocol import Accepted, CommandEnvelope, Reply
from tests.support.http import Falcon, Person


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    """A Falcon of its own, since a test takes its tables away."""
    with Falcon(tmp_path) as started:
        yield started


class Tables:
    """Answers queries for bearers, or refuses them, and counts them. ``hanging``: after a second."""

    def __init__(self, falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.hanging = False
        self.asked = 0
        look_up = falcon.edge.store.bearer

        async def bearer(account_id: int, token_hash: str) -> object:
            self.asked += 1
            if self.hanging:
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), 1)
            if self.away:
                raise ReadStoreUnavailable("a test has taken the tables away")
            return await look_up(account_id, token_hash)

        monkeypatch.setattr(falcon.edge.store, "bearer", bearer)
        monkeypatch.setattr(authenticator, "_FRESH_SECONDS", 0.0)  # each request looks again


def revoked_elsewhere(falcon: Falcon, person: Person) -> str:
    """Revokes the person's first token, as another process would. Returns the answer's Falcon-Position."""
    command = RevokeToken(person.account_id, 1)
    partition = partition_for(command, person.account_id, None, falcon.settings.partitions)
    envelope = CommandEnvelope(partition, person.account_id, command, time.monotonic() + 60)

    async def asked() -> Reply:
        return await falcon.edge.gateway.ask(envelope)

    reply = falcon.run(asked())
    assert isinstance(reply, Accepted)
    return f"{reply.partition}:{reply.offset}"


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
    monkeypatch.setattr(authenticator, "_USABLE_SECONDS", 0.0)
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 503


def test_when_the_tables_are_back_a_token_that_was_revoked_is_refused(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 201
    falcon.edge.authenticator.forget(falcon.admin.account_id)
    tables.away = False
    (token,) = falcon.admin.get(f"/v1/accounts/{anna.account_id}/tokens").json()["tokens"]
    assert falcon.admin.delete(f"/v1/accounts/{anna.account_id}/tokens/{token['token_id']}").status_code == 204
    assert send(anna, room) == 401


def test_while_the_tables_hang_nobody_who_was_known_waits_for_them(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 201
    tables.hanging, tables.asked = True, 0
    assert [send(anna, room) for _ in range(5)] == [201] * 5
    assert tables.asked == 1, "one looks for all whether they are back"


def test_after_an_outage_a_token_that_was_revoked_elsewhere_is_refused_at_once(falcon: Falcon, tables: Tables) -> None:
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 201
    tables.away = False
    assert ben.get("/v1/me").status_code == 200  # which shows that the tables are back
    revoked_elsewhere(falcon, anna)
    assert send(anna, room) == 401


def test_a_token_that_was_found_revoked_is_not_good_again_when_the_tables_go_away(
    falcon: Falcon, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    revoked_elsewhere(falcon, anna)

    async def away(partition: int) -> int:
        raise ReadStoreUnavailable("the tables went away while it was made sure")

    monkeypatch.setattr(falcon.edge.store, "applied", away)
    assert [send(anna, room) for _ in range(2)] == [503, 503]


def test_a_forged_token_does_not_say_that_the_tables_are_back(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    room = room_of(anna)
    tables.away = True
    assert send(anna, room) == 201
    assert Person(falcon, anna.account_id, "Anna", "x").get("/v1/me").status_code == 401
    tables.hanging, tables.asked = True, 0
    assert [send(anna, room) for _ in range(3)] == [201] * 3
    assert tables.asked == 1


def test_while_another_read_model_is_filled_a_revoked_token_is_refused_at_once(falcon: Falcon, tables: Tables) -> None:
    anna = falcon.account("Anna")
    assert anna.get("/v1/me").status_code == 200

    @asynccontextmanager
    async def being_filled() -> AsyncIterator[None]:
        raise BeingFilled("memberships")
        yield

    stream = {b"authorization": f"Bearer {anna.token}".encode()}
    account = falcon.run(falcon.edge.authenticator.authenticate(stream, being_filled))
    assert account.account_id == anna.account_id, "she was known, and this says nothing about her token"
    revoked_elsewhere(falcon, anna)
    assert anna.get("/v1/me").status_code == 401


def test_only_so_many_callers_are_remembered(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "_CACHED_MAX", 2)
    people = [falcon.account(name) for name in ("Anna", "Ben", "Cleo", "Dora", "Emil")]
    for _ in range(2):
        assert [person.get("/v1/me").json()["name"] for person in people] == [person.name for person in people]
        assert len(falcon.edge.authenticator._cache) <= 2
