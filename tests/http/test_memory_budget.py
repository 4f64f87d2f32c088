"""Memory for clients is bounded: bodies that are not complete, and answers that are not read."""

import asyncio
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from falcon.http.problems import Problem
from falcon.http.responses import problem_response
from falcon.http.server.memory_budget import ConnectionBudget, MemoryBudget
from tests.support.protocol_server import PATIENT, QUICK, Server, at_a_quick_server, at_a_server
from tools.harness.falcon import Falcon
from tools.harness.waiting import eventually, until

KIB = 1024
GET = b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\n\r\n"
ANN, BOB = 65, 66


def beginning_of(body: bytes, declared: int) -> bytes:
    return b"POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\nContent-Length: %d\r\n\r\n%b" % (declared, body)


# --- the count --------------------------------------------------------------------------------------------------------


def test_an_account_has_its_share_and_another_one_its_own() -> None:
    held = MemoryBudget(1_000, 100)
    anns, another, bobs = ConnectionBudget(held), ConnectionBudget(held), ConnectionBudget(held)
    anns.charge_to(ANN)
    anns.set_bodies(60)
    another.set_unread(50)
    refusal = another.charge_to(ANN)
    assert refusal is not None and (refusal.status, refusal.code) == (429, "rate_limited")
    assert bobs.charge_to(BOB) is None
    bobs.set_unread(80)
    assert bobs.refusal() is None
    anns.set_bodies(0)
    assert another.charge_to(ANN) is None


def test_however_many_hold_all_that_they_may_there_is_room_for_one_more() -> None:
    held = MemoryBudget(64_000, 8_000)
    shares = [ConnectionBudget(held) for _ in range(200)]
    for account_id, share in enumerate(shares, 1):
        share.charge_to(account_id)
    growing = shares
    while growing := [share for share in growing if share.refusal() is None]:
        for share in growing:
            share.set_unread(share._unread + 10)
    assert held.size < 63_000
    newcomers = ConnectionBudget(held)
    newcomers.charge_to(500)
    newcomers.set_unread(40)
    assert newcomers.refusal() is None


def test_those_without_a_token_share_what_one_account_may_have_by_address() -> None:
    held = MemoryBudget(1_000, 100)
    strangers = [ConnectionBudget(held, address=b"\1\1\1\1"), ConnectionBudget(held, address=b"\1\1\1\1")]
    for share in strangers:
        share.set_unread(60)
    refusal = ConnectionBudget(held, address=b"\1\1\1\1").refusal()
    assert refusal is not None and (refusal.status, refusal.code) == (429, "rate_limited")
    assert ConnectionBudget(held, address=b"\2\2\2\2").refusal() is None
    assert ConnectionBudget(held).charge_to(ANN) is None


def test_memory_of_an_answer_is_held_until_all_of_it_is_read() -> None:
    held = MemoryBudget(1_000, 100)
    share = ConnectionBudget(held)
    share.set_unread(90)
    share.set_unread(10)
    assert held.size == 90
    share.set_unread(0)
    assert held.size == 0


def test_a_body_counts_for_the_process_until_it_is_known_who_asks_and_then_for_that_account() -> None:
    held = MemoryBudget(1_000, 100)
    anns, proxys = ConnectionBudget(held), ConnectionBudget(held)
    proxys.charge_to(ANN)
    anns.charge_to(ANN)
    anns.set_bodies(100)
    ConnectionBudget(held, address=b"\1\1\1\1").set_unread(60)
    proxys.start_request(b"")
    proxys.set_bodies(60)
    assert proxys.refusal_of_body() is None, "neither Ann nor the stranger need be the one that asks"
    proxys.charge_to(BOB)
    assert held.size == 220
    proxys.set_bodies(100)
    refusal = proxys.refusal_of_body()
    assert refusal is not None and (refusal.status, refusal.code) == (429, "rate_limited")
    proxys.start_request(b"")
    assert proxys.refusal_of_body() is None
    assert proxys.charge_to(BOB) is not None
    proxys.release()
    assert ConnectionBudget(held).charge_to(BOB) is None


def test_bodies_of_refusals_that_wait_are_held_for_those_without_a_token_and_no_further_one_waits() -> None:
    held = MemoryBudget(1_000_000, 100_000)
    strangers = [ConnectionBudget(held) for _ in range(3)]
    waited = []
    for share in strangers:
        share.start_request(b"")
        share.set_bodies(60_000)
        waited.append(share.may_wait())
    assert waited == [True, False, False]
    strangers[1].set_bodies(8 << 10)
    assert strangers[1].may_wait(), "its connection holds more than that body"
    strangers[1].set_bodies(0)
    strangers[2].set_bodies(0)
    assert strangers[2].may_wait()
    bobs = ConnectionBudget(held)
    bobs.charge_to(BOB)
    bobs.set_bodies(60_000)
    assert bobs.refusal_of_body() is None
    assert bobs.may_wait()


@pytest.mark.parametrize("end", ["its client has left", "the server stops", "its time has come"])
def test_a_refusal_waits_no_longer_than_its_connection_lasts(end: str) -> None:
    async def wait() -> float:
        share = ConnectionBudget(MemoryBudget(1_000, 100))
        waiting = asyncio.create_task(share.wait(0.01 if end == "its time has come" else 60))
        await asyncio.sleep(0)
        assert not waiting.done()
        if end == "its client has left":
            share.release()
        elif end == "the server stops":
            share.end_wait()
        began = time.monotonic()
        await waiting
        return time.monotonic() - began

    assert asyncio.run(wait()) < 10


@pytest.mark.usefixtures("only_counted_references")
def test_a_refusal_keeps_no_body() -> None:
    class Body(bytearray):
        pass

    def refuse(body: Body) -> None:
        full = Problem(429, "rate_limited", f"{len(body)} bytes are too many.")
        raise full

    body = Body(100 * KIB)
    kept = weakref.ref(body)
    try:
        refuse(body)
    except Problem as problem:
        response = problem_response(problem)
    del body
    assert response.status == 429 and kept() is None


# --- at a server ------------------------------------------------------------------------------------------------------


def test_a_refusal_that_waits_holds_no_body_of_an_account_that_holds_all_it_may() -> None:
    async def ask(server: Server) -> None:
        hog, other = await server.connect(), await server.connect()
        await hog.send(b"POST /as/7 HTTP/1.1\r\nHost: falcon\r\nContent-Length: 999999\r\n\r\n" + b"x" * 420 * KIB)
        await eventually(lambda: server.held() >= 420 * KIB)
        time = asyncio.get_running_loop().time
        began, body = time(), b"y" * 400 * KIB
        head = b"POST /refused-as/7 HTTP/1.1\r\nHost: falcon\r\nContent-Length: %d\r\n\r\n" % len(body)
        sending = asyncio.create_task(other.send(head + body))
        await eventually(lambda: time() - began > 0.5)
        assert server.held() <= 420 * KIB
        answer = await other.answer()
        assert (answer.status, answer.closes) == (429, False)
        assert time() - began >= 1.0
        await sending
        assert (await other.asks(GET)).status == 201, "the connection serves on"

    at_a_server(ask, replace(PATIENT, held_bytes=2_000 * KIB, holder_bytes=500 * KIB))


def test_a_body_too_many_is_refused_and_there_is_room_again_when_one_ends() -> None:
    async def ask(server: Server) -> None:
        waiting = [await server.connect() for _ in range(3)]
        for client in waiting[:2]:
            await client.send(beginning_of(b"x" * 40 * KIB, 50 * KIB))
        await eventually(lambda: server.held() >= 80 * KIB)
        await waiting[2].send(beginning_of(b"x" * 40 * KIB, 50 * KIB))
        answer = await waiting[2].answer()
        assert (answer.status, answer.code, answer.closes) == (503, "overloaded", True)
        assert (await (await server.connect()).asks(GET)).status == 201, "what is small is taken"
        assert (await waiting[0].asks(b"x" * 10 * KIB)).body == b"%d" % (50 * KIB)
        await eventually(lambda: server.held() <= 40 * KIB)
        again = await server.connect()
        assert (await again.asks(beginning_of(b"x" * 40 * KIB, 40 * KIB))).status == 201
        waiting[1].writer.close()
        await eventually(lambda: not server.held())

    at_a_server(ask, replace(PATIENT, held_bytes=100 * KIB))


def test_a_body_that_comes_with_its_head_is_taken_whatever_those_without_a_token_hold() -> None:
    async def ask(server: Server) -> None:
        strangers = ConnectionBudget(server._sweeper.memory)
        strangers.set_unread(100 * KIB)
        client = await server.connect()
        assert (await client.asks(beginning_of(b"x" * 6 * KIB, 6 * KIB))).status == 201
        strangers.release()
        assert server.held() == 0

    at_a_server(ask, replace(PATIENT, holder_bytes=100 * KIB))


@pytest.mark.parametrize("path", [b"/large", b"/large-socket"], ids=["answer", "websocket"])
def test_what_a_client_does_not_take_is_counted_until_it_has_gone(path: bytes) -> None:
    from tests.http.test_connections import UPGRADE

    request = UPGRADE.replace(b"/v1/stream", b"/large") if path == b"/large-socket" else GET.replace(b"/v1/me", path)

    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request)
        await eventually(lambda: server.held() >= 4 << 20)
        client.writer.transport.abort()
        await eventually(lambda: not server.held())

    at_a_server(ask, PATIENT)


def test_a_document_that_is_the_same_for_all_costs_its_slow_reader_nothing() -> None:
    async def ask(server: Server) -> None:
        reader, other = [await server.connect(receive_buffer=4096) for _ in range(2)]
        for client in (reader, other):
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await reader.send(GET.replace(b"/v1/me", b"/document"))
        await eventually(lambda: any(each.unread() for each in server.state.connections))
        assert server.held() == 0
        await other.send(GET.replace(b"/v1/me", b"/large"))
        await eventually(lambda: server.held() >= 4 << 20)

    at_a_server(ask, PATIENT)


@pytest.mark.parametrize("reads", [0, 64 * KIB], ids=["nothing", "a little"])
def test_where_too_much_waits_the_slowest_client_is_cut_at_once_also_if_it_reads(reads: int) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET.replace(b"/v1/me", b"/large"))
        await eventually(lambda: server.bodies)
        while server.state.connections:
            if reads:
                client.writer.get_extra_info("socket")._sock.recv(reads)
            await asyncio.sleep(0.02)
        assert server.held() == 0

    at_a_quick_server(ask, replace(QUICK, stalled_seconds=60, holder_bytes=1 << 20))


# --- a real Falcon ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    running = Falcon(tmp_path_factory.mktemp("held")).start()
    yield running
    running.stop()


def client_of(falcon: Falcon, token: str) -> httpx.Client:
    return httpx.Client(base_url=falcon.info["url"], headers={"Authorization": f"Bearer {token}"}, timeout=60)


def resident(falcon: Falcon) -> int:
    (serve,) = falcon.pids("serve")
    (line,) = [each for each in Path(f"/proc/{serve}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) * KIB


def connection_to(falcon: Falcon) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", falcon.settings["http_port"]))
    return connection


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_an_account_that_takes_no_answers_or_ends_no_body_is_told_so_and_nobody_else_is(falcon: Falcon) -> None:
    with ExitStack() as stack:
        admin = stack.enter_context(client_of(falcon, falcon.info["admin_token"]))
        token = admin.post("/v1/accounts", json={"name": "Mallory"}).json()["token"]
        mallory = stack.enter_context(client_of(falcon, token))
        room = mallory.post("/v1/rooms", json={"name": "Large"}).json()["room_id"]
        for _ in range(18):
            assert mallory.post(f"/v1/rooms/{room}/messages", json={"text": "x" * 65_000}).status_code == 201
        head = f"HTTP/1.1\r\nHost: falcon\r\nAuthorization: Bearer {token}\r\n"
        before = resident(falcon)
        for _ in range(60):
            unread = stack.enter_context(connection_to(falcon))
            unread.sendall(f"GET /v1/rooms/{room}/messages?limit=200 {head}\r\n".encode())
            assert admin.get("/v1/me").status_code == 200
        refused = mallory.get("/v1/me")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit"] == '"account-bytes";r=0;t=1'
        assert refused.headers["ratelimit-policy"] == f'"account-bytes";q={8 << 20};qu="content-bytes"'
        for _ in range(60):
            body = stack.enter_context(connection_to(falcon))
            body.sendall(f"POST /v1/rooms {head}Content-Length: 500000\r\n\r\n".encode() + b"x" * 60_000)
        assert admin.post("/v1/rooms", json={"name": "Tea"}).status_code == 201
        assert resident(falcon) - before < 48 << 20
    with client_of(falcon, token) as mallory:
        while mallory.get("/v1/me").status_code == 429:  # until the server knows that the connections are closed
            pass
        assert mallory.get("/v1/me").status_code == 200


UPGRADE_FIELDS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.processes
def test_wrong_tokens_and_wrong_paths_are_counted_and_logged_once(falcon: Falcon) -> None:
    with client_of(falcon, "falcon_65_" + "x" * 43) as stranger:
        for number in range(50):
            assert stranger.get(f"/v1/rooms/{number}").status_code == 401
            assert stranger.get(f"/nowhere/{number}").status_code == 404
            assert stranger.get("/v1/stream", headers=UPGRADE_FIELDS).status_code == 401
            assert stranger.get(f"/nowhere/{number}", headers=UPGRADE_FIELDS).status_code == 404
    assert len([line for line in falcon.log().splitlines() if "none of Falcon's clients'" in line]) == 1

    def counted() -> bool:
        page = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=60).text
        return all(f'falcon_http_junk_total{{kind="{kind}"}} 100' in page for kind in ("unauthenticated", "nowhere"))

    until(counted)  # a process shows what it has counted once a second
