"""The day on which a token was used last is noted, once a day, and costs no request a wait."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from falcon.features.accounts.rules import UseToken
from falcon.http import authenticator, token_uses
from falcon.http.token_uses import TokenUses
from falcon.write.protocol import CommandEnvelope, Reply, Unavailable
from tests.support.http import Falcon, Person, problem
from tools.harness.waiting import until

DAY = 86_400

Sleeps = Callable[[int], None]


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    """The machine sleeps for days."""
    slept = 0
    real, real_ns, up_ns = time.time, time.time_ns, time.clock_gettime_ns

    def sleep(days: int) -> None:
        nonlocal slept
        slept += days * DAY

    monkeypatch.setattr(time, "time", lambda: real() + slept)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + slept * 10**9)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: up_ns(clock) + slept * 10**9)
    return sleep


@pytest.fixture
def falcon(tmp_path: Path, sleeps: Sleeps, monkeypatch: pytest.MonkeyPatch) -> Iterator[Falcon]:
    """It asks the tables about a token at each request."""
    monkeypatch.setattr(authenticator, "_FRESH_SECONDS", 0.0)
    with Falcon(tmp_path) as started:
        yield started


@pytest.fixture
def anna(falcon: Falcon) -> Person:
    return falcon.account("Anna")


def used_on(person: Person, token: int = 0) -> str | None:
    """The day, as the list of tokens says it."""
    tokens = person.get(f"/v1/accounts/{person.account_id}/tokens").json()["tokens"]
    shown: str | None = tokens[token]["last_used_at"]
    return shown


def today() -> str:
    return time.strftime("%Y-%m-%dT00:00:00.000Z", time.gmtime(time.time()))


def noted(person: Person) -> None:
    """Use the token until the list shows today."""
    until(lambda: used_on(person) == today())


def test_the_day_of_the_last_use_is_listed_from_the_second_day_on(falcon: Falcon, anna: Person, sleeps: Sleeps) -> None:
    assert used_on(anna) is None
    before = falcon.log_length()
    sleeps(3)
    noted(anna)
    noted(anna)
    assert falcon.log_length() == before + 1
    sleeps(1)
    noted(anna)
    assert falcon.log_length() == before + 2


def test_a_token_that_is_not_good_is_not_used(falcon: Falcon, anna: Person, sleeps: Sleeps) -> None:
    anna.post(f"/v1/accounts/{anna.account_id}/tokens")
    sleeps(1)
    noted(anna)
    before = falcon.log_length()
    stranger = Person(falcon, anna.account_id, "Stranger", anna.token[:-1] + ("A" if anna.token[-1] != "A" else "B"))
    problem(stranger.get("/v1/me"), 401, "unauthenticated")
    assert (used_on(anna, 1), falcon.log_length()) == (None, before)


def test_a_note_that_fails_delays_no_request_and_is_sent_again(
    falcon: Falcon, anna: Person, sleeps: Sleeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        async def ask(self, envelope: CommandEnvelope) -> Reply:
            assert isinstance(envelope.command, UseToken)
            return Unavailable("unavailable")

    uses = falcon.edge.authenticator._uses
    gateway = uses._gateway
    monkeypatch.setattr(uses, "_gateway", Away())
    sleeps(1)
    assert used_on(anna) is None
    monkeypatch.setattr(uses, "_gateway", gateway)
    noted(anna)


def test_no_more_tokens_are_noted_in_a_day_than_may_be_remembered(
    falcon: Falcon, anna: Person, sleeps: Sleeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_uses, "_NOTED_MAX", 1)
    ben = falcon.account("Ben")
    sleeps(1)
    noted(anna)
    before = falcon.log_length()
    assert used_on(ben) is None
    assert falcon.log_length() == before
    sleeps(1)
    noted(ben)


def test_two_processes_note_a_day_once(falcon: Falcon, anna: Person, sleeps: Sleeps) -> None:
    sleeps(1)
    noted(anna)
    before = falcon.log_length()
    edge = falcon.edge
    other = TokenUses(edge.gateway, edge.partitions)  # of a process whose tables do not show it yet

    async def note() -> None:
        (row,) = (await edge.store.accounts_of([anna.account_id])).values()
        (token,) = await edge.store.tokens(anna.account_id)
        other.note(replace(row, token=replace(token, used_on=0)))
        sending = other._sending
        assert sending is not None
        await sending

    falcon.run(note())
    assert falcon.log_length() == before
