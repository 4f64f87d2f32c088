"""A request with the position of a token's revocation is refused at every server, whatever that has cached."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from falcon.features.accounts.table import AccountRow
from falcon.http.bearer_tokens import hash_of, parse
from falcon.streams.feed import Feed
from tests.http.test_cached_tokens import followed
from tests.http.test_tables_away import revoked_elsewhere
from tests.support.http import Falcon, Person, problem
from tests.support.store_calls import StoreCalls

PARTITIONS: Final = 64


@pytest.fixture(params=[False, True], ids=["tables", "log"])
def falcon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Falcon]:
    """A process beside others: of one machine, which asks the tables, or of a cluster, which follows the log."""
    with Falcon(tmp_path) as started:
        following = started.edge.authenticator.revocations

        async def start() -> None:
            following.start()

        if request.param:
            started.run(start())
            started.run(followed(started))
        yield started
        if request.param:
            started.run(following.stop())


@pytest.fixture
def anna(falcon: Falcon) -> Person:
    """Her token is cached."""
    anna = falcon.account("Anna")
    assert anna.get("/v1/me").status_code == 200
    return anna


def test_a_read_with_the_position_of_the_revocation_is_refused(falcon: Falcon, anna: Person) -> None:
    position = revoked_elsewhere(falcon, anna)
    problem(anna.get("/v1/me", position=position), 401, "unauthenticated")


def test_a_command_with_that_position_is_refused(falcon: Falcon, anna: Person) -> None:
    room = anna.makes_room()
    position = revoked_elsewhere(falcon, anna)
    refused = anna.post(f"{room}/messages", {"text": "still me"}, position=position)
    problem(refused, 401, "unauthenticated")


def test_so_is_a_request_with_a_later_position_among_others(falcon: Falcon, anna: Person) -> None:
    partition, offset = revoked_elsewhere(falcon, anna).split(":")
    position = ",".join(f"{each}:0" for each in range(PARTITIONS) if each != int(partition)) + f",{partition}:{offset}"
    problem(anna.get("/v1/me", position=position), 401, "unauthenticated")


def test_a_server_that_has_not_read_so_far_does_not_confirm(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables and its log stand before the revocation."""
    row = falcon.run(falcon.edge.store.bearer(anna.account_id, hash_of(parse(anna.token)[1])))  # type: ignore[index]

    async def bearer(account_id: int, token_hash: str) -> AccountRow | None:
        return row

    async def applied(partition: int) -> int:
        return 0

    async def never(feed: Feed, ends: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(falcon.edge.store, "bearer", bearer)
    monkeypatch.setattr(falcon.edge.store, "applied", applied)
    monkeypatch.setattr(Feed, "reach", never)
    monkeypatch.setattr(falcon.edge.authenticator.revocations._feed, "token_revoked", lambda *_: None)
    position = revoked_elsewhere(falcon, anna)
    problem(anna.get("/v1/me", position=position, wait="0.05"), 503, "unavailable")


def test_a_position_that_was_reached_is_not_looked_up_again(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot sends the position of its last command with each read."""
    named = falcon.admin.post(f"/v1/accounts/{anna.account_id}/tokens").headers["falcon-position"]
    assert anna.get("/v1/me", position=named).status_code == 200
    calls = StoreCalls(falcon, monkeypatch)
    for _ in range(3):
        assert anna.get("/v1/me", position=named).status_code == 200
    assert calls.made.count("bearer") == 0


def test_positions_of_other_partitions_cost_no_look_up(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = anna.makes_room()
    while room.room_id % PARTITIONS == anna.account_id % PARTITIONS:
        room = anna.makes_room()
    position = anna.post(f"{room}/messages", {"text": "tea"}).headers["falcon-position"]
    calls = StoreCalls(falcon, monkeypatch)
    assert anna.get(f"{room}/messages", position=position).status_code == 200
    assert calls.made.count("bearer") == 0
