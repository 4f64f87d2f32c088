"""Limits of an account, a room and an address, and the answer to a client past one."""

import asyncio
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from falcon.adapters.sqlite import search_index
from falcon.base import account_factors
from falcon.base.buckets import Counts, Switch
from falcon.http import responses, web
from falcon.http.api import resources
from falcon.http.edge import Edge
from falcon.http.limits import costs, quotas
from falcon.http.limits import rooms as room_counts
from falcon.http.limits.addresses import Addresses
from falcon.http.limits.costs import measured
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.networks import BucketsOfAddresses
from falcon.http.limits.per_address import ConnectionsPerAddress
from falcon.http.limits.quotas import Policy, Quotas
from falcon.http.problems import Problem, broken
from falcon.http.requests import AuthedRequest
from falcon.http.server.connection_slots import ConnectionSlot, ConnectionSlots
from falcon.http.server.request_metrics import Meter
from falcon.http.web import address
from falcon.run import bootstrap
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings, WrongSettings, setting_names
from falcon.telemetry import metrics
from falcon.write.clock import SystemClock
from falcon_chat import FalconClient
from tests.http.test_connections import GET, UPGRADE
from tests.streams.reader import Listen, Transport, problem_of
from tests.support.http import Falcon, Person, problem
from tests.support.protocol_server import Server, at_a_server
from tools.harness.clock import FakeClock
from tools.harness.falcon import Falcon as Process
from tools.harness.waiting import eventually, until

Start = Callable[..., Falcon]
DEFAULTS = {name: getattr(Settings(), name) for name in Quotas.__struct_fields__}
NONE = {name: 0 for name in Quotas.__struct_fields__ if name != "room_members"}
WRONG = "falcon_7_" + "x" * 43


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def owners_clock(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Owners of rooms use it too. It may be some seconds ahead of the system's clock, by which commands expire."""

    class Clock(SystemClock):
        def __init__(self, followed_after_seconds: float) -> None:
            super().__init__(followed_after_seconds)
            began = time.monotonic() - clock.monotonic()
            self.monotonic = lambda: began + clock.monotonic()

    monkeypatch.setattr(embedded, "SystemClock", Clock)
    return clock


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Has only the limits that a test names. The edge's limits use the test's clock."""

    def limiter(settings: Settings) -> Limiter:
        switch = bootstrap.limits_switch(settings)
        addresses, factors = Addresses(settings.trusted_proxies), bootstrap.account_factors(settings)
        return Limiter(bootstrap.quotas(settings), addresses, clock.monotonic, switch, factors)

    monkeypatch.setattr(bootstrap, "limiter", limiter)
    with ExitStack() as started:

        def begin(**settings: Any) -> Falcon:
            return started.enter_context(Falcon(tmp_path, **{"limits": "on", **NONE, **settings}))

        yield begin


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which refusals wait. They take no time."""
    seconds: list[float] = []

    async def sleep(waited: float) -> None:
        seconds.append(waited)

    monkeypatch.setattr(responses, "sleep", sleep)
    return seconds


def limited(answer: httpx.Response, limit: str, policy: str) -> int:
    """Checks every field of a refusal by this limit; gives the seconds until a retry."""
    body = problem(answer, 429, "rate_limited")
    seconds = int(answer.headers["retry-after"])
    assert seconds >= 1
    assert answer.headers["ratelimit"] == f'"{limit}";r=0;t={seconds}'
    assert answer.headers["ratelimit-policy"] == f'"{limit}";{policy}'
    assert "This request was not carried out" in body["detail"] and f" {seconds} s" in body["detail"]
    return seconds


def statuses(*answers: httpx.Response) -> list[int]:
    return [answer.status_code for answer in answers]


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_sends_so_many_commands_at_once_and_then_as_time_goes_by(start: Start, clock: FakeClock) -> None:
    falcon = start(account_commands=20, account_burst=100)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea kitchen", ben)
    for number in range(99):
        anna.says(room, f"{number}")
    before = metrics.rate_limited.labels("account-commands").value
    refused = anna.post(f"{room}/messages", {"text": "too much"})
    seconds = limited(refused, "account-commands", "q=100;w=5")
    assert "20 commands a second, and 100 at once" in refused.json()["detail"]
    assert metrics.rate_limited.labels("account-commands").value == before + 1
    assert ben.says(room, "I am heard") == 100
    assert anna.get("/v1/me").status_code == 200
    clock.advance(seconds)
    for number in range(20):
        anna.says(room, f"{number}")
    limited(anna.patch(f"{room}", {"name": "Tea"}), "account-commands", "q=100;w=5")


def test_an_account_sends_so_many_reads_a_second(start: Start, clock: FakeClock) -> None:
    falcon = start(account_reads=5)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    assert statuses(*(anna.get("/v1/rooms") for _ in range(5))) == [200] * 5
    limited(anna.get("/v1/me"), "account-reads", "q=5;w=1")
    assert ben.get("/v1/me").status_code == 200
    assert anna.makes_room("Tea kitchen")
    clock.advance(1)
    assert anna.get("/v1/me").status_code == 200


def test_a_client_that_goes_on_in_spite_of_refusals_waits_for_each_further_one(
    start: Start, waits: list[float]
) -> None:
    falcon = start(account_reads=1)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    assert anna.get("/v1/me").status_code == 200
    assert statuses(*(anna.get("/v1/me") for _ in range(20))) == [429] * 20
    assert not waits
    assert statuses(*(anna.get("/v1/me") for _ in range(79))) == [429] * 79
    assert waits == pytest.approx([n / 20 for n in range(1, 80)], abs=0.01), "one behind the other"
    waits.clear()
    assert statuses(*(anna.get("/v1/me") for _ in range(20))) == [429] * 20
    assert all(2 <= seconds <= 4 for seconds in waits), "the client learns why before it gives up"
    assert len(set(waits)) > 10, "or those that were refused together would come back together"
    waits.clear()
    assert ben.get("/v1/me").status_code == 200
    assert not waits, "another client does not wait"


def test_a_flood_waits_for_its_refusals_although_its_account_holds_all_that_it_may(
    start: Start, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    falcon = start(account_reads=1)
    anna = falcon.account("Anna")
    full = Problem(429, "rate_limited", "Too many bytes.", broken("account", "must hold less"))

    async def waiting(seconds: float) -> None:
        waits.append(seconds)

    budget = SimpleNamespace(account_id=None, charge_to=lambda _: full, may_wait=lambda: True, wait=waiting)
    authenticated = resources.authenticated

    async def at_a_server(edge: Edge, scope: Any, receive: Any) -> AuthedRequest:
        scope["state"] = {responses.BUDGET: budget}
        return await authenticated(edge, scope, receive)

    monkeypatch.setattr(resources, "authenticated", at_a_server)
    assert statuses(*(anna.get("/v1/me") for _ in range(31))) == [429] * 31
    assert len(waits) == 10


async def delayed_refusal(scope: dict[str, Any], behind_proxy: bytes | None = None) -> int:
    """Give a refusal that is to wait. Returns its status."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    problem = Problem(429, "rate_limited", "Too many.")
    problem.delay_seconds = 1.0
    problem.behind_proxy = behind_proxy
    await responses.problem_response(problem)(scope, receive, send)
    return int(sent[0]["status"])


def test_so_many_refusals_of_a_peer_wait_and_those_beyond_are_given_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse() -> None:
        is_over = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await is_over.wait()

        monkeypatch.setattr(responses, "sleep", sleep)
        proxys, anothers = {"client": ("10.0.0.1", 1)}, {"client": ("10.0.0.2", 1)}
        first, second = (asyncio.create_task(delayed_refusal(proxys)) for _ in range(2))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(delayed_refusal(proxys), 10) == 429
        another = asyncio.create_task(delayed_refusal(anothers))
        first.cancel()  # its client has left
        await asyncio.wait([first])
        third = asyncio.create_task(delayed_refusal(proxys))
        await asyncio.sleep(0)
        assert not any(each.done() for each in (second, third, another))
        is_over.set()
        assert [await second, await third, await another] == [429] * 3

    monkeypatch.setattr(responses, "_waiting", Counts(2))
    asyncio.run(refuse())


def test_one_client_behind_a_proxy_does_not_use_up_the_waits_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse() -> None:
        proxys = {"client": ("10.0.0.1", 1)}
        waiting = [asyncio.create_task(delayed_refusal(proxys, b"hostile")) for _ in range(2)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(delayed_refusal(proxys, b"hostile"), 10) == 429
        waiting.append(asyncio.create_task(delayed_refusal(proxys, b"other")))
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()  # its client has left
        await asyncio.wait(waiting)
        again = asyncio.create_task(delayed_refusal(proxys, b"hostile"))
        await asyncio.sleep(0)
        assert not again.done()
        again.cancel()

    monkeypatch.setattr(responses, "_waiting_behind_proxy", Counts(2))
    asyncio.run(refuse())


def test_a_refusal_waits_for_its_client_and_not_for_the_proxy() -> None:
    limiter = Limiter(Quotas(address_requests=1), Addresses(("10.0.0.0/8",)))
    wrong = Problem(401, "unauthenticated", "The token is wrong.")
    forwarded = [(b"x-forwarded-for", b"192.0.2.1")]
    first = limiter.delayed(wrong, {"client": ("10.0.0.1", 1), "headers": forwarded}).behind_proxy
    assert first == limiter.delayed(wrong, {"client": ("10.0.0.2", 1), "headers": forwarded}).behind_proxy
    other = [(b"x-forwarded-for", b"192.0.2.2")]
    assert limiter.delayed(wrong, {"client": ("10.0.0.1", 1), "headers": other}).behind_proxy not in (None, first)
    assert limiter.delayed(wrong, {"client": ("192.0.2.3", 1), "headers": forwarded}).behind_proxy is None


def test_clients_without_a_good_token_wait_for_refusals_when_a_process_gives_many(
    start: Start, waits: list[float]
) -> None:
    falcon = start(address_requests=1_000, address_burst=1_000)
    stranger = Person(falcon, 7, "Nobody", WRONG)
    assert statuses(*(stranger.get("/v1/me") for _ in range(100))) == [401] * 100
    assert not waits
    assert stranger.get("/v1/me").status_code == 401
    assert stranger.get("/v1/stream?ticket=invented").status_code == 401
    assert len(waits) == 2
    assert falcon.account("Anna").get("/v1/me").status_code == 200
    assert len(waits) == 2, "a good token does not wait"


def test_one_address_that_floods_does_not_delay_the_refusals_of_others() -> None:
    limiter = Limiter(Quotas(address_requests=1, address_burst=1), clock=FakeClock().monotonic)
    hostile: Any = {"client": ("192.0.2.1", 1), "headers": []}
    delays = []
    for _ in range(1_000):
        try:
            limiter.count_unauthenticated(hostile)
        except Problem as problem:
            delays.append(problem.delay_seconds)
    assert len(delays) == 999 and delays[-1] > 0
    other: Any = {"client": ("192.0.2.2", 1), "headers": []}
    assert limiter.delayed(Problem(401, "unauthenticated", "The token is wrong."), other).delay_seconds == 0


def test_the_time_for_which_a_refusal_waits_does_not_count_as_falcons() -> None:
    async def observed() -> list[float]:
        meter = Meter([("/delayed", "GET")])
        seconds: list[float] = []
        scope = {"endpoint": SimpleNamespace(path="/delayed"), "method": "GET", "status": 429, responses.DELAYED: 1.0}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metrics.http_seconds.labels("/delayed", "GET"), "observe", seconds.append)
            meter.ended(scope, 1.25)
        return seconds

    assert asyncio.run(observed()) == [0.25]


def test_a_server_remembers_so_many_keys_of_an_account(start: Start) -> None:
    falcon = start(account_keys=3, partitions=4)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    rooms = [anna.makes_room("Tea kitchen", ben) for _ in range(3)]
    for number, room in enumerate(rooms):
        assert anna.post(f"{room}/messages", {"text": "Tea?"}, key=f"{number}").status_code == 201
    refused = anna.post(f"{rooms[0]}/messages", {"text": "Tea?"}, key="3")
    assert limited(refused, "account-keys", "q=3") <= 660
    again = anna.post(f"{rooms[0]}/messages", {"text": "Tea?"}, key="0")
    assert again.status_code == 201 and again.headers["idempotency-replayed"] == "true"
    assert anna.says(rooms[0], "without a key") == 2
    assert ben.post(f"{rooms[0]}/messages", {"text": "Tea!"}, key="3").status_code == 201


def test_a_command_that_was_done_is_answered_as_done_once_there_is_room_again(start: Start, clock: FakeClock) -> None:
    falcon = start(account_commands=1, account_burst=2)
    anna = falcon.account("Anna")
    room = anna.makes_room()
    done = anna.post(f"{room}/messages", {"text": "Tea?"}, key="once")
    assert done.status_code == 201
    again = anna.post(f"{room}/messages", {"text": "Tea?"}, key="once")
    seconds = limited(again, "account-commands", "q=2;w=2")
    assert "with the same Idempotency-Key" in again.json()["detail"]
    clock.advance(seconds)
    replayed = anna.post(f"{room}/messages", {"text": "Tea?"}, key="once")
    assert (replayed.status_code, replayed.content) == (201, done.content)
    assert replayed.headers["idempotency-replayed"] == "true"


def test_an_account_has_so_many_requests_under_way(start: Start) -> None:
    falcon = start(account_requests=2, account_reads=1_000)  # of which some are given ahead
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    asked = {"position": f"0:{10**15}", "wait": "0.3"}  # they wait for a body that never comes
    answers = falcon.together(
        anna.request("GET", "/v1/me", **asked),
        anna.request("GET", "/v1/me", **asked),
        anna.request("GET", "/v1/me"),
        anna.request("POST", "/v1/rooms", {"name": "Tea kitchen"}),
        ben.request("GET", "/v1/me"),
    )
    assert statuses(*answers) == [503, 503, 429, 429, 200]
    limited(answers[2], "account-requests", 'q=2;qu="concurrent-requests"')
    assert statuses(*(anna.get("/v1/me") for _ in range(3))) == [200] * 3
    assert anna.get("/v1/nowhere").status_code == 404
    assert anna.get("/v1/rooms/1").status_code == 404


def test_an_account_has_so_many_streams(start: Start, request: pytest.FixtureRequest) -> None:
    falcon = start(account_streams=2)
    listen = Listen()
    request.addfinalizer(listen.close)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    first, second = listen(anna), listen(anna, transport="websocket")
    assert (first.status, second.status) == (200, 101)
    for transport in ("sse", "websocket"):
        refused = listen(anna, transport=transport)
        assert refused.status == 429
        assert json.loads(refused.body)["code"] == "rate_limited"
        assert refused.answer_headers["ratelimit-policy"] == '"account-streams";q=2;qu="concurrent-requests"'
        assert refused.answer_headers["ratelimit"] == '"account-streams";r=0;t=5'
        assert refused.answer_headers["retry-after"] == "5"
    assert listen(ben).status == 200
    first.close()
    assert listen(anna).status == 200


def test_a_stream_that_is_refused_takes_nobodys_place(start: Start, request: pytest.FixtureRequest) -> None:
    falcon = start(account_streams=1)
    listen = Listen()
    request.addfinalizer(listen.close)
    anna = falcon.account("Anna")
    assert listen(anna, rooms="999").status == 404
    assert listen(anna, resume="nonsense").status == 400
    assert listen(anna).status == 200


def test_a_stream_that_is_refused_for_now_uses_no_ticket(start: Start, request: pytest.FixtureRequest) -> None:
    falcon = start(account_streams=1)
    listen = Listen()
    request.addfinalizer(listen.close)
    anna = falcon.account("Anna")
    ticket = anna.post("/v1/stream/tickets").json()["ticket"]
    first = listen(anna)
    assert falcon.send("GET", f"/v1/stream?ticket={ticket}").status_code == 429
    first.close()
    assert listen.bare(falcon, {}, ticket=ticket).status == 200


def test_opening_streams_counts_as_reading(start: Start, request: pytest.FixtureRequest) -> None:
    falcon = start(account_reads=2)
    listen = Listen()
    request.addfinalizer(listen.close)
    anna = falcon.account("Anna")
    for expected in (200, 200, 429):
        stream = listen(anna)
        assert stream.status == expected
        stream.close()


# --- rooms of an account ----------------------------------------------------------------------------------------------


def test_an_account_has_so_many_rooms_and_one_that_is_deleted_makes_room(start: Start, clock: FakeClock) -> None:
    falcon = start(account_rooms=3)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    rooms = [anna.makes_room(f"{number}", ben) for number in range(3)]
    refused = anna.post("/v1/rooms", {"name": "one more"})
    limited(refused, "account-rooms", "q=3")
    assert ben.makes_room("Ben's, who is in three of Anna's")
    assert anna.direct_with(ben)
    assert anna.delete(str(rooms[0])).status_code == 204
    clock.advance(1)
    anna.makes_room("one more")
    limited(anna.post("/v1/rooms", {"name": "one more"}), "account-rooms", "q=3")


def test_rooms_that_others_put_one_into_use_up_nothing_however_many(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_counts, "_PART", 2)
    falcon = start(account_rooms=2)
    anna, *others = (falcon.account(name) for name in ("Anna", "Ben", "Cem", "Dora"))
    for other in others:
        for number in range(2):
            other.makes_room(f"{number}", anna)
    anna.makes_room("one")
    anna.makes_room("two")
    limited(anna.post("/v1/rooms", {"name": "three"}), "account-rooms", "q=2")


def test_rooms_are_counted_by_what_all_processes_have_made_and_after_a_restart(tmp_path: Path) -> None:
    settings = {**NONE, "limits": "on", "account_rooms": 2}
    with Falcon(tmp_path, **settings) as falcon:
        anna = falcon.account("Anna")
        anna.makes_room("one")
        anna.makes_room("two")
    with Falcon(tmp_path, **settings) as again:
        refused = Person(again, anna.account_id, "Anna", anna.token).post("/v1/rooms", {"name": "three"})
        limited(refused, "account-rooms", "q=2")


def test_an_account_makes_so_many_rooms_a_day_also_if_it_deletes_them(start: Start, clock: FakeClock) -> None:
    falcon = start(account_rooms_a_day=3)
    anna, ben, cleo = (falcon.account(name) for name in ("Anna", "Ben", "Cleo"))
    anna.direct_with(ben)
    for _ in range(2):
        assert anna.delete(str(anna.makes_room())).status_code == 204
    seconds = limited(anna.post("/v1/rooms", {"name": "one more"}), "account-new-rooms", "q=3;w=86400")
    assert abs(seconds - 86_400 / 3) <= 1
    limited(anna.put(f"/v1/direct/{cleo.account_id}"), "account-new-rooms", "q=3;w=86400")
    assert anna.put(f"/v1/direct/{ben.account_id}").status_code == 200  # the room exists already
    assert ben.makes_room()
    clock.advance(seconds)
    anna.makes_room()


def test_an_account_starts_so_many_threads_a_day_and_those_that_exist_are_shown(start: Start) -> None:
    falcon = start(account_rooms_a_day=3)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("tea", ben)
    anna.says(room, "Green")
    anna.says(room, "Black")
    for seq in (1, 2):
        started = [ben.put(f"{room}/messages/{seq}/thread", key=f"{seq}") for _ in range(2)]
        assert statuses(*started, anna.put(f"{room}/messages/{seq}/thread")) == [201, 201, 200]
    for seq in range(3, 6):
        anna.says(room, f"{seq}")
    assert statuses(ben.put(f"{room}/messages/3/thread", key="last")) == [201]
    limited(ben.put(f"{room}/messages/4/thread"), "account-new-rooms", "q=3;w=86400")
    assert statuses(ben.put(f"{room}/messages/3/thread", key="last"), ben.put(f"{room}/messages/1/thread")) == [
        201,
        200,
    ]
    assert statuses(anna.put(f"{room}/messages/4/thread"), anna.put(f"{room}/messages/5/thread")) == [201, 201]


def test_a_room_that_is_made_again_by_a_retry_counts_once(start: Start) -> None:
    falcon = start(account_rooms_a_day=2)
    anna = falcon.account("Anna")
    made = [anna.post("/v1/rooms", {"name": "Tea kitchen"}, key="once") for _ in range(5)]
    assert statuses(*made) == [201] * 5
    assert len({answer.json()["room_id"] for answer in made}) == 1
    anna.makes_room()
    limited(anna.post("/v1/rooms", {"name": "one more"}), "account-new-rooms", "q=2;w=86400")


@pytest.mark.parametrize("limit", ["account_rooms", "account_rooms_a_day"])
def test_the_retry_of_the_last_room_that_a_limit_allowed_gets_that_room(start: Start, limit: str) -> None:
    falcon = start(**{limit: 2})
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    anna.makes_room()
    last = anna.post("/v1/rooms", {"name": "Tea kitchen"}, key="last")
    for _ in range(2):
        again = anna.post("/v1/rooms", {"name": "Tea kitchen"}, key="last")
        assert (again.status_code, again.content) == (201, last.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert statuses(anna.post("/v1/rooms", {"name": "one more"}, key="new")) == [429]
    problem(anna.post("/v1/rooms", {"name": "another"}, key="last"), 422, "idempotency_key_reused")
    assert len(anna.get("/v1/rooms").json()["rooms"]) == 2
    assert statuses(ben.post("/v1/rooms", {"name": "Tea kitchen"}, key="new")) == [201]


def test_the_retry_of_the_last_direct_room_that_a_limit_allowed_gets_that_room(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the tables do not show the room yet."""
    falcon = start(account_rooms_a_day=1)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    opened = anna.put(f"/v1/direct/{ben.account_id}", key="k")

    async def nothing(*_: object) -> dict[tuple[int, int], int]:
        return {}

    monkeypatch.setattr(type(falcon.edge.store), "direct_rooms", nothing)
    again = anna.put(f"/v1/direct/{ben.account_id}", key="k")
    assert (opened.status_code, again.status_code, again.content) == (201, 201, opened.content)


# --- rooms ------------------------------------------------------------------------------------------------------------


def test_a_room_takes_so_many_messages_a_second_of_all_its_members(owners_clock: FakeClock, start: Start) -> None:
    falcon = start(room_messages=1)
    anna, ben, cleo = (falcon.account(name) for name in ("Anna", "Ben", "Cleo"))
    room, other = anna.makes_room("busy", ben), anna.makes_room("quiet")
    for _ in range(20):  # an account that is no member uses up nothing
        assert cleo.post(f"{room}/messages", {"text": "let me in"}).status_code == 404
    answers = [person.post(f"{room}/messages", {"text": "!"}, key="once") for person in (anna, ben)]
    done, refused = answers
    assert done.status_code == 201
    limited(refused, "room-messages", "q=1;w=1")
    again = anna.post(f"{room}/messages", {"text": "!"}, key="once")  # it was done, which does not change
    assert (again.status_code, again.content) == (201, done.content)
    assert anna.says(other, "here it is quiet") == 1
    owners_clock.advance(1)
    assert ben.post(f"{room}/messages", {"text": "!"}, key="once").status_code == 201
    assert [each["author_id"] for each in anna.reads(room)["messages"]] == [anna.account_id, ben.account_id]


def test_a_room_has_so_many_members_and_a_place_that_is_free_again_can_be_taken(start: Start) -> None:
    falcon = start(room_members=3)
    anna, ben, cleo, dora = (falcon.account(name) for name in ("Anna", "Ben", "Cleo", "Dora"))
    everybody = [{"account_id": person.account_id} for person in (ben, cleo, dora)]
    limited(anna.post("/v1/rooms", {"name": "too many", "members": everybody}), "room-members", "q=3")
    room = anna.makes_room("full", ben, cleo)
    brought = f"{room}/members/{dora.account_id}"
    refused = anna.put(brought, {"role": "member"}, key="bring-Dora-in")
    assert limited(refused, "room-members", "q=3") == 60
    assert ben.put(brought, {"role": "member"}).status_code == 403  # an account without the right learns nothing
    assert anna.put(f"{room}/members/{ben.account_id}", {"role": "readonly"}).status_code == 200
    assert cleo.delete(f"{room}/members/{cleo.account_id}").status_code == 204
    assert anna.put(brought, {"role": "member"}, key="bring-Dora-in").status_code == 200


# --- what requests cost -----------------------------------------------------------------------------------------------


def test_an_account_pays_for_the_bytes_that_it_is_sent(start: Start, clock: FakeClock) -> None:
    falcon = start(account_bytes_sent=64 << 10)  # and eight times as much at once
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea kitchen", ben)
    for _ in range(4):
        anna.says(room, "x" * 60_000)
    pages = [anna.get(f"{room}/messages") for _ in range(4)]
    assert statuses(*pages) == [200, 200, 200, 429], "240 KB each, of 524 KB"
    seconds = limited(pages[-1], "account-bytes-sent", 'q=524288;qu="content-bytes";w=8')
    assert seconds <= 10
    limited(anna.post(f"{room}/messages", {"text": "more"}), "account-bytes-sent", 'q=524288;qu="content-bytes";w=8')
    assert ben.get(f"{room}/messages").status_code == 200
    clock.advance(seconds)
    assert anna.get(f"{room}/messages").status_code == 200


def test_a_page_that_is_not_sent_again_costs_no_bytes(start: Start) -> None:
    falcon = start(account_bytes_sent=64 << 10)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea kitchen")
    for _ in range(4):
        anna.says(room, "x" * 60_000)
    etag = anna.get(f"{room}/messages").headers["etag"]
    again = [anna.get(f"{room}/messages", headers={"If-None-Match": etag}) for _ in range(20)]
    assert statuses(*again) == [304] * 20


def test_an_account_pays_for_the_processor_time_of_its_requests(
    start: Start, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    falcon = start(account_cpu_ms=10)  # and 200 ms at once
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea kitchen", ben)
    used = itertools.count(0, 0.030)
    monkeypatch.setattr(time, "perf_counter", lambda: next(used))  # each step takes 30 ms
    processor = itertools.count(1)
    monkeypatch.setattr(time, "thread_time", lambda: float(next(processor)))
    monkeypatch.setattr(costs.PROCESSOR, "asked_at", -costs.ASK_SECONDS)
    answers: list[httpx.Response] = []
    while not answers or answers[-1].status_code == 200:
        answers.append(anna.get(f"{room}/messages"))
    assert 2 <= len(answers) <= 8
    seconds = limited(answers[-1], "account-processor", 'q=200;qu="milliseconds";w=20')
    assert ben.get("/v1/me").status_code == 200
    for _ in range(10):
        assert falcon.admin.get("/v1/me").status_code == 200, "administrators export and import all there is"
    clock.advance(seconds)
    assert anna.get("/v1/me").status_code == 200


def test_an_account_pays_for_the_threads_that_search_for_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    falcon = start(account_cpu_ms=10)  # and 200 ms at once
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    anna.makes_room("Tea kitchen", ben)
    used = itertools.count(0, 0.15)  # each search takes 150 ms
    monkeypatch.setattr(search_index, "time", SimpleNamespace(thread_time=lambda: next(used)))

    def search() -> httpx.Response:
        return anna.get("/v1/search", params={"q": "tea"})

    until(lambda: search().status_code == 200)  # until then the index has not come so far
    assert search().status_code == 200
    limited(search(), "account-processor", 'q=200;qu="milliseconds";w=20')
    assert ben.get("/v1/search", params={"q": "tea"}).status_code == 200


def test_only_the_steps_of_the_work_count_and_in_whatever_way_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(costs.PROCESSOR, "asked_at", -costs.ASK_SECONDS)
    monkeypatch.setattr(time, "perf_counter", clock.monotonic)
    monkeypatch.setattr(time, "thread_time", clock.monotonic)
    charged: list[float] = []

    async def work(ends: Callable[[], None]) -> str:
        clock.advance(1)
        try:
            await asyncio.sleep(0)
        finally:
            clock.advance(2)
        ends()
        return "done"

    async def others() -> None:
        clock.advance(100)

    async def run() -> None:
        for ends in (lambda: None, "not callable"):
            task = asyncio.ensure_future(measured(work(ends), charged.append))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await others()
            results.append((await asyncio.gather(task, return_exceptions=True))[0])
        task = asyncio.ensure_future(measured(work(lambda: None), charged.append))
        await asyncio.sleep(0)
        task.cancel()
        results.append((await asyncio.gather(task, return_exceptions=True))[0])

    results: list[object] = []
    asyncio.run(run())
    assert results[0] == "done"
    assert [type(each) for each in results[1:]] == [TypeError, asyncio.CancelledError]
    assert charged == [3, 3, 3]


def test_a_step_does_not_pay_for_the_time_in_which_others_had_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, processor = FakeClock(), FakeClock()
    monkeypatch.setattr(costs.PROCESSOR, "asked_at", -costs.ASK_SECONDS)
    monkeypatch.setattr(time, "perf_counter", clock.monotonic)
    monkeypatch.setattr(time, "thread_time", processor.monotonic)
    charged: list[float] = []

    async def work(took: float, used: float) -> None:
        clock.advance(took)
        processor.advance(used)

    for took, used in ((0.001, 0.001), (0.500, 0.030), (0.001, 0.0), (0.040, 0.040)):
        asyncio.run(measured(work(took, used), charged.append))
    assert charged == pytest.approx([0.001, 0.030, 0.001, 0.040], abs=costs.ASK_SECONDS)


def test_a_stream_that_has_missed_too_much_reads_by_page_and_what_it_missed_is_paid_for(
    start: Start, request: pytest.FixtureRequest
) -> None:
    falcon = start(account_bytes_sent=1 << 20)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea kitchen", ben)
    listen = Listen()
    request.addfinalizer(listen.close)
    stream = listen(ben)
    assert stream.next().name == "hello"
    anna.says(room, "hello")
    token = stream.next().id
    stream.close()
    for _ in range(8):
        anna.says(room, "x" * 60_000)
    again = listen(ben, resume=token)
    names = [event.name for event in again.until("caught_up")]
    assert names == ["message.posted"] * 8
    again.close()
    for _ in range(12):
        anna.says(room, "x" * 60_000)
    assert listen(ben, resume=token).next().name == "catch_up"
    for _ in range(30):
        anna.get(f"{room}/messages")
    while (last := listen(anna)).status == 200:
        last.close()
    problem_of(last, 429, "rate_limited")


# --- texts and rooms --------------------------------------------------------------------------------------------------


def test_an_account_writes_so_many_bytes_a_day_and_a_retry_is_answered(start: Start) -> None:
    falcon = start(account_bytes_a_day=1 << 20)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    rooms = [anna.makes_room("Tea kitchen", ben), anna.makes_room("Garden", ben)]
    for number in range(17):
        assert anna.post(f"{rooms[number % 2]}/messages", {"text": "ä" * 30_000}, key=f"{number}").status_code == 201
    policy = 'q=1048576;qu="content-bytes";w=86400'
    seconds = limited(
        anna.post(f"{rooms[0]}/messages", {"text": "ä" * 30_000}, key="new"), "account-bytes-a-day", policy
    )
    assert seconds > 60
    limited(anna.patch(f"{rooms[0]}/messages/1", {"text": "ä" * 30_000}), "account-bytes-a-day", policy)
    again = anna.post(f"{rooms[0]}/messages", {"text": "ä" * 30_000}, key="0")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert anna.says(rooms[0], "a short one")
    assert ben.says(rooms[0], "x" * 60_000)
    described = [anna.patch(str(rooms[0]), {"description": "ä" * (4_000 + number)}) for number in range(4)]
    assert statuses(*described) == [200, 200, 200, 429]
    noted = [anna.put(f"/v1/bookmarks/{rooms[0].room_id}/1", {"note": "ä" * (490 + n)}) for n in range(6)]
    assert statuses(*noted[:3]) == [200] * 3
    limited(noted[5], "account-bytes-a-day", policy)


def test_three_who_send_as_much_as_they_may_do_not_silence_a_room(owners_clock: FakeClock, start: Start) -> None:
    falcon = start(room_messages=50)
    owner, *people = (falcon.account(name) for name in ("Olga", "Ann", "Ben", "Cid", "Dora"))
    room = owner.makes_room("Tea kitchen", *people)
    *attackers, victim = people
    sent = Counter[int]()
    heard = 0
    for tick in range(200):  # ten seconds
        for attacker in attackers:
            sent[attacker.post(f"{room}/messages", {"text": "x"}).status_code] += 1
        if tick % 10 == 0 and tick >= 60:
            heard += victim.post(f"{room}/messages", {"text": "me"}).status_code == 201
        owners_clock.advance(0.05)
    assert heard == 14
    assert 500 <= sent[201] <= 600, "the room takes its rate, and a second's more at most"


def test_one_alone_gets_no_more_than_the_rooms_rate(owners_clock: FakeClock, start: Start) -> None:
    falcon = start(room_messages=5)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea kitchen")
    assert statuses(*(anna.post(f"{room}/messages", {"text": "x"}) for _ in range(8))) == [201] * 5 + [429] * 3
    owners_clock.advance(1.5)
    assert statuses(*(anna.post(f"{room}/messages", {"text": "x"}) for _ in range(8))) == [201] * 5 + [429] * 3


# --- accounts with other limits ---------------------------------------------------------------------------------------


def test_an_account_in_the_file_has_other_limits_and_a_change_needs_no_restart(
    start: Start,
    tmp_path: Path,
    owners_clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(account_factors, "_LOOK_SECONDS", 0.0)
    file = tmp_path / "limits"
    file.write_text("")
    falcon = start(
        account_limits_file=file,
        account_reads=2,
        account_commands=2,
        account_streams=1,
        account_rooms=1,
        account_rooms_a_day=1,
        account_bytes_a_day=1 << 20,
        account_keys=3,
    )
    product, other = falcon.account("Product"), falcon.account("Other")
    assert statuses(*(product.get("/v1/me") for _ in range(3))) == [200, 200, 429]
    file.write_text(f"# our own\n{product.account_id} none  # the backend\n{other.account_id} 1.5\n")
    assert {product.get("/v1/me").status_code for _ in range(20)} == {200}
    assert statuses(*(other.get("/v1/me") for _ in range(4))) == [200, 200, 200, 429]
    rooms = [product.makes_room(f"{number}") for number in range(20)]
    for number in range(20):
        assert product.post(f"{rooms[0]}/messages", {"text": "x" * 60_000}, key=f"{number}").status_code == 201
    file.write_text("nonsense")
    assert {product.get("/v1/me").status_code for _ in range(20)} == {200}, "a wrong file changes nothing"
    assert len([line for line in caplog.messages if "line 1 must be an account's number and a factor" in line]) == 1
    file.unlink()
    assert product.get("/v1/me").status_code == 200
    file.write_text("# nobody\n")
    assert 429 in statuses(*(product.get("/v1/me") for _ in range(3)))


# --- addresses --------------------------------------------------------------------------------------------------------


def unauthenticated(falcon: Falcon, path: str = "/v1/me", token: str = WRONG, **headers: str) -> httpx.Response:
    return falcon.send("GET", path, headers={"Authorization": f"Bearer {token}", **headers})


def test_an_address_asks_so_often_without_a_good_token_and_those_with_one_are_not_affected(
    start: Start, clock: FakeClock
) -> None:
    falcon = start(address_requests=1, address_burst=6)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    assert anna.get("/v1/me").status_code == 200
    asked = [
        unauthenticated(falcon),
        unauthenticated(falcon, token="nonsense"),
        falcon.send("GET", "/v1/me"),
        falcon.send("PUT", "/docs"),
        falcon.send("GET", "/nowhere"),
        falcon.send("DELETE", "/v1/rooms"),
    ]
    assert statuses(*asked) == [401, 401, 401, 405, 404, 405]
    for method, path in (("GET", "/v1/me"), ("GET", "/nowhere"), ("PUT", "/v1/me"), ("PUT", "/docs")):
        limited(falcon.send(method, path), "address-requests", "q=6;w=6")
    limited(unauthenticated(falcon), "address-requests", "q=6;w=6")
    assert anna.get("/v1/me").status_code == 200  # a cached token
    assert falcon.send("GET", "/docs").status_code == 200  # it is the same for all
    assert ben.get("/v1/me").status_code == 200  # a token that must be looked up
    clock.advance(1)
    assert unauthenticated(falcon).status_code == 401


def test_sixty_people_of_one_address_load_the_web_client_at_once(start: Start) -> None:
    falcon = start(**DEFAULTS)
    files = list(web.documents())
    known = {path: falcon.send("GET", path).headers.get("etag", "") for path in files}
    for person in range(60):
        sent = [{"if-none-match": known[path]} if person % 2 else {} for path in files]
        answers = [falcon.send("GET", path, headers=fields) for path, fields in zip(files, sent, strict=True)]
        assert {answer.status_code for answer in answers} <= {200, 304}
        assert falcon.send("GET", "/v1/sign-in").status_code == 200  # what each page asks first
    assert statuses(*(unauthenticated(falcon) for _ in range(101))) == [401] * 100 + [429]


def test_a_flood_of_files_is_told_to_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "_DOCUMENTS_AT_ONCE", 300)
    falcon = start(address_requests=1)
    answers = [falcon.send("GET", address("style.css")) for _ in range(301)]
    limited(answers[-1], "address-documents", "q=300;w=1")
    assert statuses(*answers[:-1]) == [200] * 300
    assert unauthenticated(falcon).status_code == 401


def test_a_token_that_was_revoked_does_not_lock_out_those_who_share_its_address(start: Start) -> None:
    falcon = start(address_requests=1, address_burst=3)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    assert anna.delete("/v1/me/token").status_code == 204
    assert statuses(*(anna.get("/v1/me") for _ in range(3))) == [401] * 3
    limited(anna.get("/v1/me"), "address-requests", "q=3;w=3")
    assert ben.get("/v1/me").status_code == 200
    assert unauthenticated(falcon).status_code == 401


def test_ones_own_secret_with_other_accounts_numbers_counts_as_one_token(start: Start) -> None:
    falcon = start(address_requests=1, address_burst=3)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    secret = anna.token.rpartition(f"_{anna.account_id}_")[2]
    invented = [f"falcon_{number}_{secret}" for number in range(900_001, 900_005)]
    assert statuses(*(unauthenticated(falcon, token=token) for token in invented)) == [401, 401, 401, 429]
    assert ben.get("/v1/me").status_code == 200
    assert unauthenticated(falcon).status_code == 401


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_what_asks_for_a_stream_without_a_good_token_counts_for_its_address_in_either_way(
    start: Start, request: pytest.FixtureRequest, transport: Transport
) -> None:
    falcon = start(address_requests=1, address_burst=4)
    anna = falcon.account("Anna")
    listen = Listen()
    request.addfinalizer(listen.close)
    asked = [
        listen.bare(falcon, {}, transport=transport),
        listen.bare(falcon, {}, transport=transport, ticket="nonsense"),
        listen.bare(falcon, {}, transport=transport, rooms="all"),
        listen.bare(falcon, {}, transport=transport, path="/v1/nowhere"),
    ]
    assert [(each.status, each.junk) for each in asked] == [
        (401, ["unauthenticated"]),
        (401, ["unauthenticated"]),
        (422, []),
        (404, ["nowhere"]),
    ]
    again: list[dict[str, Any]] = [{}, {"ticket": "nonsense"}, {"rooms": "all"}, {"path": "/v1/nowhere"}]
    for query in again:
        refused = listen.bare(falcon, {}, transport=transport, **query)
        problem_of(refused, 429, "rate_limited")
        assert refused.answer_headers["ratelimit-policy"] == '"address-requests";q=4;w=4'
    assert listen(anna, transport=transport).next().name == "hello"
    problem_of(listen(anna, transport=transport, rooms="all"), 422, "invalid")


@pytest.mark.parametrize(("transport", "opened"), [("sse", "2xx"), ("websocket", "1xx")])
def test_a_stream_is_a_request_in_either_way(
    start: Start, request: pytest.FixtureRequest, transport: Transport, opened: str
) -> None:
    def requests(status: str) -> float:
        return metrics.http_requests.labels("/v1/stream", "GET", status).value

    falcon = start()
    anna = falcon.account("Anna")
    listen = Listen()
    request.addfinalizer(listen.close)
    before = requests("4xx"), requests(opened)
    stream = listen(anna, transport=transport)
    stream.next()
    problem_of(listen.bare(falcon, {}, transport=transport), 401, "unauthenticated")
    stream.close()
    assert (requests("4xx"), requests(opened)) == (before[0] + 1, before[1] + 1)


def test_a_trusted_proxy_says_for_whom_it_asks(start: Start) -> None:
    falcon = start(address_requests=1, address_burst=2, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))
    first = {"X-Forwarded-For": "203.0.113.1"}
    assert statuses(*(unauthenticated(falcon, **first) for _ in range(3))) == [401, 401, 429]
    assert unauthenticated(falcon, **{"X-Forwarded-For": "203.0.113.2"}).status_code == 401
    # A client's own addresses stand before the ones that the proxy adds; our own proxies may be behind that one.
    for invented in range(5):
        said = f"198.51.100.{invented}, 203.0.113.1, 10.1.2.3"
        assert unauthenticated(falcon, **{"X-Forwarded-For": said}).status_code == 429


def test_what_an_untrusted_peer_says_of_its_address_does_not_count(start: Start) -> None:
    falcon = start(address_requests=1, address_burst=2, trusted_proxies=("10.0.0.0/8",))
    answers = [unauthenticated(falcon, **{"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(3)]
    assert statuses(*answers) == [401, 401, 429]


@pytest.mark.parametrize(
    ("client", "forwarded", "other", "same"),
    [
        ("192.0.2.1", "", "192.0.2.2", False),
        ("2001:db8::1", "", "2001:db8::ffff:1", True),  # one network may use all of these addresses
        ("2001:db8::1", "", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "", "192.0.2.1", True),
        ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1", True),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::2", True),
        ("10.0.0.1", "unknown", "10.0.0.1", True),
        ("10.0.0.1", "192.0.2.1, nonsense", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1", True),
        ("fd00::1", "192.0.2.1, 10.0.0.2", "192.0.2.1", True),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", True),
        ("10.0.0.1", "x" * 10_000, "10.0.0.1", True),
    ],
)
def test_who_is_one_and_the_same(client: str, forwarded: str, other: str, same: bool) -> None:
    addresses = Addresses(("10.0.0.0/8", "fd00::/8"))
    headers = [(b"host", b"falcon"), (b"x-forwarded-for", forwarded.encode())]
    assert (addresses.of_request((client, 1), headers) == addresses.of_request((other, 2), [])) is same


def test_several_fields_of_proxies_are_one_list() -> None:
    addresses = Addresses(("10.0.0.0/8",))
    fields = [(b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-for", b"192.0.2.1, 10.0.0.2")]
    assert addresses.of_request(("10.0.0.1", 1), fields) == addresses.of_request(("192.0.2.1", 1), [])


def test_a_proxys_connections_are_not_counted() -> None:
    addresses = Addresses(("10.0.0.0/8",))
    assert addresses.of_peer(("10.0.0.1", 1)) is None
    assert addresses.of_peer(("192.0.2.1", 1)) is not None


# --- connections ------------------------------------------------------------------------------------------------------


def ten_an_address(*trusted: str) -> ConnectionsPerAddress:
    return ConnectionsPerAddress(Quotas(address_connections=10), Addresses(trusted))


def as_account(number: int) -> bytes:
    return b"GET /as/%d HTTP/1.1\r\nHost: falcon\r\n\r\n" % number


def test_an_address_has_so_many_connections_and_those_that_end_make_room() -> None:
    before = metrics.connections_cut.labels("address").value

    async def ask(server: Server) -> None:
        first, *_ = clients = [await server.connect() for _ in range(10)]
        for client in clients:
            assert (await client.asks(GET)).status == 201
        refused = await server.connect()
        answer = await refused.answer()
        assert (answer.status, answer.code, answer.closes) == (429, "rate_limited", True)
        assert b'\r\nratelimit: "address-connections";r=0;t=5\r\n' in answer.head
        assert b'\r\nratelimit-policy: "address-connections";q=10\r\n' in answer.head
        assert b"\r\nretry-after: 5\r\n" in answer.head
        assert await refused.is_closed()
        first.writer.close()
        await first.writer.wait_closed()
        while (await (await server.connect()).asks(GET)).status != 201:
            await asyncio.sleep(0)
        assert (await clients[-1].asks(GET)).status == 201

    at_a_server(ask, per_address=ten_an_address())
    assert metrics.connections_cut.labels("address").value > before


def test_a_connection_that_ended_before_its_account_was_known_counts_for_neither() -> None:
    slots = ConnectionSlots("test", 10, ConnectionsPerAddress(Quotas(address_connections=2)))
    for _ in range(3):
        slot = slots.accept(("192.0.2.1", 1))
        assert isinstance(slot, ConnectionSlot)
        slot.free()
        slot.charge_to(7)  # its request was under way when the client left
    others = [slots.accept(("192.0.2.1", 1)) for _ in range(3)]
    assert [isinstance(each, ConnectionSlot) for each in others] == [True, True, False]
    for each in others:
        if isinstance(each, ConnectionSlot):
            each.free()
    assert slots.taken == 0


def test_a_connection_counts_for_the_first_account_that_has_room_for_it() -> None:
    slots = ConnectionSlots("test", 10, ConnectionsPerAddress(Quotas(address_connections=1)))
    first = slots.accept(("192.0.2.1", 1))
    assert isinstance(first, ConnectionSlot) and first.charge_to(7)
    second = slots.accept(("192.0.2.1", 1))
    assert isinstance(second, ConnectionSlot)
    assert not second.charge_to(7)
    assert not isinstance(slots.accept(("192.0.2.1", 1)), ConnectionSlot)
    assert second.charge_to(8)
    assert isinstance(slots.accept(("192.0.2.1", 1)), ConnectionSlot)


def test_sixty_people_of_one_address_open_the_page_at_once_and_a_flood_of_connections_is_told_to_wait() -> None:
    connections = ConnectionsPerAddress(Quotas(address_connections=2_000))
    answers = []
    for _ in range(1_200):
        refusal = connections.enter(b"\1\1\1\1")
        answers.append(refusal)
        if refusal is None:
            connections.leave(b"\1\1\1\1")
    assert answers[: 60 * 6] == [None] * 360
    assert answers[-1] is not None and b'"address-new-connections"' in answers[-1].headers[0][1]
    assert connections.enter(b"\2\2\2\2") is None
    assert connections.enter(None) is None, "a proxy's"


def test_an_ipv6_network_has_sixteen_times_the_connections_of_an_address_in_it() -> None:
    connections = ten_an_address()
    keys = [connections.key_of((f"2001:db8:7:{number:x}::1", 1)) for number in range(256)]
    assert [connections.enter(key) for key in keys[:16] for _ in range(10)] == [None] * 160
    assert connections.enter(keys[0]) is not None and connections.enter(keys[16]) is not None
    assert connections.enter(connections.key_of(("2001:db8:8::1", 1))) is None
    assert connections.moved(keys[0], 65) == 65
    assert connections.enter(keys[16]) is None


def test_an_ipv6_network_has_sixteen_times_the_requests_of_an_address_in_it() -> None:
    buckets = BucketsOfAddresses(Policy("p", "", 10, 1.0), lambda: 100.0)
    keys = [Addresses().of_request((f"2001:db8:7:{number:x}::1", 1), []) for number in range(32)]
    assert sum(not buckets.consume(key) for key in keys for _ in range(10)) == 160
    assert buckets.wait(keys[0]) > 0 and buckets.wait(keys[31]) > 0


def test_ipv4_clients_behind_nat64_count_by_their_own_addresses_and_are_trusted_by_none() -> None:
    addresses = Addresses(("10.0.0.0/8",))
    assert addresses.of_peer(("64:ff9b::192.0.2.1", 1)) == addresses.of_peer(("192.0.2.1", 1))
    assert addresses.of_peer(("64:ff9b::192.0.2.1", 1)) != addresses.of_peer(("64:ff9b::192.0.2.2", 1))
    assert addresses.of_peer(("64:ff9b::10.0.0.1", 1)) is not None


def test_a_websocket_counts_as_the_connection_that_it_is() -> None:
    async def ask(server: Server) -> None:
        clients = [await server.connect() for _ in range(10)]
        for client in clients:
            assert (await client.asks(UPGRADE)).status == 101
        assert (await (await server.connect()).answer()).status == 429
        for client in clients:
            client.writer.close()
        for _ in range(10):
            while (await (again := await server.connect()).asks(UPGRADE)).status != 101:
                again.writer.close()
        assert (await (await server.connect()).answer()).status == 429

    at_a_server(ask, per_address=ten_an_address())


def test_connections_with_good_tokens_count_for_their_accounts_and_make_room_for_others_of_the_address() -> None:
    async def ask(server: Server) -> None:
        for account_id in range(100, 130):
            client = await server.connect()
            assert (await client.asks(as_account(account_id))).status == 201
        strangers = [await server.connect() for _ in range(10)]
        for stranger in strangers:
            assert (await stranger.asks(GET)).status == 201
        assert (await (await server.connect()).answer()).status == 429

    at_a_server(ask, per_address=ten_an_address())


def test_an_account_has_as_many_connections_as_an_address_and_those_beyond_count_for_the_address() -> None:
    async def ask(server: Server) -> None:
        clients = [await server.connect() for _ in range(10)]
        for client in clients:
            assert (await client.asks(as_account(7))).status == 201
        beyond = [await server.connect() for _ in range(10)]
        for client in beyond:
            assert (await client.asks(as_account(7))).status == 201
        assert (await (await server.connect()).answer()).status == 429
        assert (await beyond[0].asks(as_account(8))).status == 201  # a proxy asks for another account
        last = await server.connect()
        assert (await last.asks(GET)).status == 201
        for client in (*clients, *beyond, last):
            client.writer.close()
        await eventually(lambda: server.taken() == 0)
        assert len(per_address._connections) == 0

    per_address = ten_an_address()
    at_a_server(ask, per_address=per_address)


def test_the_connections_of_a_trusted_proxy_are_everybodys() -> None:
    async def ask(server: Server) -> None:
        for _ in range(30):
            assert (await (await server.connect()).asks(GET)).status == 201

    at_a_server(ask, per_address=ten_an_address("127.0.0.0/8"))


# --- limits on and off ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, False),
        ({"FALCON_HOST": "127.0.0.2"}, False),
        ({"FALCON_HOST": "::1"}, False),
        ({"FALCON_HOST": "0.0.0.0"}, True),
        ({"FALCON_HOST": "192.0.2.1"}, True),
        ({"FALCON_TRUSTED_PROXIES": "127.0.0.0/8"}, True),
        ({"FALCON_HOST": "0.0.0.0", "FALCON_LIMITS": "off"}, False),
        ({"FALCON_LIMITS": "on"}, True),
    ],
)
def test_there_are_limits_where_others_come_than_this_machines(settings: dict[str, str], on: bool) -> None:
    found = Settings.from_env(settings)
    assert found.has_limits is bootstrap.limits_switch(found).on is on
    assert bootstrap.limiter(found).limits_requests is on
    assert bootstrap.limiter(found).limits_addresses is on
    limits = bootstrap.shard_limits(found)
    assert (limits.switch.on and limits.room_messages == 50 and limits.account_keys == 20_000) is on


@pytest.mark.parametrize("name", sorted(NONE.keys() & set(setting_names())))
def test_each_limit_must_be_a_number_that_is_not_negative(name: str) -> None:
    with pytest.raises(WrongSettings, match=f"FALCON_{name.upper()}=-1: must be a whole number from 0 to"):
        Settings.from_env({f"FALCON_{name.upper()}": "-1"})


def test_on_its_own_machine_nothing_is_limited(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room()
        for number in range(150):
            anna.says(room, f"{number}")
        assert {anna.get("/v1/me").status_code for _ in range(150)} == {200}
        assert {unauthenticated(falcon).status_code for _ in range(150)} == {401}


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded", "Via"])
def test_limits_begin_with_the_first_request_that_an_unnamed_proxy_passes_on(
    start: Start, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    falcon = start(limits="auto", account_reads=1, room_messages=1, room_members=2, address_requests=1)
    anna, ben, cid = falcon.account("Anna"), falcon.account("Ben"), falcon.account("Cid")
    room = anna.makes_room("Tea kitchen", ben)
    for number in range(3):
        assert anna.says(room, f"{number}")
        assert unauthenticated(falcon).status_code == 401
    assert not [record for record in caplog.records if "FALCON_TRUSTED_PROXIES" in record.message]
    assert anna.get("/v1/me", headers={field: "192.0.2.1"}).status_code == 200
    limited(anna.get("/v1/me", headers={field: "192.0.2.2"}), "account-reads", "q=1;w=1")
    limited(anna.get("/v1/me"), "account-reads", "q=1;w=1")
    anna.says(room, "one")
    limited(anna.post(f"{room}/messages", {"text": "two"}), "room-messages", "q=1;w=1")
    limited(anna.put(f"{room}/members/{cid.account_id}", {"role": "member"}), "room-members", "q=2")
    assert unauthenticated(falcon).status_code == 401
    limited(unauthenticated(falcon), "address-requests", "q=1;w=1")
    (line,) = [record for record in caplog.records if "FALCON_TRUSTED_PROXIES" in record.message]
    assert line.levelname == "ERROR"
    assert "limits are on from now on" in line.message
    assert "Set FALCON_TRUSTED_PROXIES=127.0.0.1 " in line.message
    assert metrics.unnamed_proxies.value == 1


def test_one_line_says_that_a_proxy_is_not_named_where_limits_hold_already(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    falcon = start(address_requests=9)
    for number in range(3):
        falcon.send("GET", "/", headers={"X-Forwarded-For": f"192.0.2.{number}"})
    (line,) = [record for record in caplog.records if "FALCON_TRUSTED_PROXIES" in record.message]
    assert "limits are on from now on" not in line.message


def test_a_proxy_that_is_named_is_no_news(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    falcon = start(address_requests=9, trusted_proxies=("127.0.0.0/8",))
    for number in range(3):
        falcon.send("GET", "/", headers={"X-Forwarded-For": f"192.0.2.{number}"})
    assert not [record for record in caplog.records if "FALCON_TRUSTED_PROXIES" in record.message]
    assert metrics.unnamed_proxies.value == 0


def test_limits_that_are_off_stay_off_behind_any_proxy(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    falcon = start(limits="off", account_reads=1)
    anna = falcon.account("Anna")
    assert statuses(*(anna.get("/v1/me", headers={"X-Forwarded-For": "192.0.2.1"}) for _ in range(3))) == [200] * 3
    assert not caplog.records


def test_connections_of_an_address_are_limited_from_then_on() -> None:
    switch = Switch(on=False)
    connections = ConnectionsPerAddress(Quotas(address_connections=1), Addresses(), switch)
    before = [connections.key_of(("192.0.2.1", 1)) for _ in range(3)]
    assert not any(connections.enter(each) for each in before)
    switch.on = True
    assert connections.enter(connections.key_of(("192.0.2.1", 1))) is None
    assert connections.enter(connections.key_of(("192.0.2.1", 1))) is not None
    for each in before:
        connections.leave(each)
    assert connections.enter(connections.key_of(("192.0.2.1", 1))) is not None


# --- whole processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def begin(**settings: Any) -> Process:
        running.append(Process(tmp_path / str(len(running)), settings).start())
        return running[-1]

    yield begin
    for each in running:
        each.stop()


def as_first(falcon: Process, token: str = "") -> httpx.Client:
    headers = {"Authorization": f"Bearer {token or falcon.info['token']}"}
    return httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60)


@pytest.mark.processes
@pytest.mark.timeout(120)
@pytest.mark.parametrize("where", [{"limits": "on"}, {"trusted_proxies": "10.0.0.0/8"}, {"host": "0.0.0.0"}])
def test_beyond_it_who_floods_is_told_to_wait_and_nobody_else_is(
    run: Callable[..., Process], where: dict[str, str]
) -> None:
    falcon = run(account_commands=1, address_requests=1, room_messages=0, plaintext="yes", **where)
    if "host" in where:
        falcon.info["url"] = f"http://127.0.0.1:{falcon.settings['http_port']}"
    with as_first(falcon) as owner:
        bens = owner.post("/v1/accounts", json={"name": "Ben"}).json()["token"]
    with as_first(falcon) as flooding, as_first(falcon, bens) as other, as_first(falcon, WRONG) as wrong:
        room = flooding.post("/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
        answers = [flooding.post(f"/v1/rooms/{room}/messages", json={"text": "!"}) for _ in range(140)]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert refused
        for answer in refused:
            limited(answer, "account-commands", "q=100;w=100")
        guesses = [wrong.get("/v1/me") for _ in range(140)]
        assert {answer.status_code for answer in guesses} == {401, 429}
        limited(next(each for each in guesses if each.status_code == 429), "address-requests", "q=100;w=100")
        made = [other.post("/v1/rooms", json={"name": "quiet"}).status_code for _ in range(10)]
        assert made == [201] * 10
        assert flooding.get("/v1/me").status_code == 200

        def counted() -> float:
            page = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=60).text
            found = re.search(r'^falcon_rate_limited_total\{limit="account-commands"\} (\S+)', page, re.MULTILINE)
            return float(found[1]) if found else 0.0

        until(lambda: counted() >= len(refused))  # a process shows what it has counted once a second
        assert counted() == len(refused)


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_five_hundred_people_of_one_address_hold_their_streams_while_others_load_the_page(
    run: Callable[..., Process],
) -> None:
    falcon = run(limits="on", account_commands=0)  # the rest are the defaults; one admin makes all accounts
    with as_first(falcon, falcon.info["admin_token"]) as admin:
        tokens = [admin.post("/v1/accounts", json={"name": f"{n}"}).json()["token"] for n in range(500)]

    async def asks(path: str, token: str) -> tuple[asyncio.StreamWriter, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", falcon.settings["http_port"])
        writer.write(f"GET {path} HTTP/1.1\r\nHost: f\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        return writer, (await reader.readuntil(b"\r\n"))[9:12]

    async def listen() -> None:
        streams = await asyncio.gather(*(asks("/v1/stream", token) for token in tokens))
        assert {status for _, status in streams} == {b"200"}
        pages = await asyncio.gather(*(asks("/", "") for _ in range(360)))  # six connections of sixty browsers
        assert {status for _, status in pages} == {b"200"}
        for writer, _ in (*streams, *pages):
            writer.close()

    asyncio.run(listen())


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_the_client_waits_as_it_is_told_and_everything_arrives_once(run: Callable[..., Process]) -> None:
    falcon = run(limits="on", account_commands=20, room_messages=0)

    async def talk() -> list[str]:
        async with FalconClient(falcon.info["url"], falcon.info["token"]) as client:
            room = await client.create_room("Tea kitchen")
            texts = [f"{number}" for number in range(130)]
            await asyncio.gather(*(client.post(room.room_id, text) for text in texts))
            page = await client.messages(room.room_id, limit=200)
            return [message.text for message in page.messages]

    assert sorted(asyncio.run(talk())) == sorted(f"{number}" for number in range(130))
