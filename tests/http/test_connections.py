"""Limits of a connection: each size at its bound, each time, and what they do not disturb."""

import asyncio
import base64
import gc
import logging
import os
import resource
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from websockets.server import ServerProtocol

from falcon.http.server import connection_slots, connections
from falcon.http.server.connection_slots import descriptors_for_connections
from falcon.http.server.protocol import FalconHttpProtocol, FalconWebSocketProtocol
from falcon.telemetry import metrics
from tests.support.protocol_server import PATIENT, QUICK, Answer, Client, Server, at_a_quick_server, at_a_server
from tools.harness.waiting import eventually

KIB = 1024
GET = b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\n\r\n"
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: falcon\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


def post(body: bytes, declared: int | None = None) -> bytes:
    length = len(body) if declared is None else declared
    return b"POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\nContent-Length: %d\r\n\r\n%b" % (length, body)


def head_of(size: int, start: bytes = GET) -> bytes:
    """A request without a body and with a head of this size."""
    filled = start[:-2]
    while size - len(filled) > 8 * KIB:  # the limit of a WebSocket's fields
        filled += b"X-Fill: " + b"x" * (4 * KIB) + b"\r\n"
    filled += b"X-Fill: "
    return filled + b"x" * (size - len(filled) - 4) + b"\r\n\r\n"


def with_fields(count: int) -> bytes:
    return GET[:-2] + b"".join(b"X-%d: x\r\n" % number for number in range(count - 1)) + b"\r\n"


def with_target(size: int) -> bytes:
    return GET.replace(b"/v1/me", b"/" + b"x" * (size - 1))


def cut(reason: str) -> float:
    return metrics.connections_cut.labels(reason).value


def counted(kind: str) -> float:
    return metrics.http_junk.labels(kind).value


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [head_of(32 * KIB), with_fields(100), with_target(8 * KIB), head_of(32 * KIB, UPGRADE)],
    ids=["head", "fields", "target", "upgrade"],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000, 7])
def test_a_request_at_a_limit_is_answered(request_: bytes, piece: int) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        for start in range(0, len(request_), piece):
            await client.send(request_[start : start + piece])
        assert (await client.answer()).status == (101 if b"Upgrade" in request_ else 201)

    at_a_server(ask)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head_of(32 * KIB + 1), 431),
        (with_fields(101), 431),
        (with_target(8 * KIB + 1), 414),
        (head_of(32 * KIB + 1, UPGRADE), 431),
        (UPGRADE.replace(b"/v1/stream", b"/" + b"x" * 8 * KIB), 414),
    ],
    ids=["head", "fields", "target", "upgrade", "upgrade's target"],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000, 7])
def test_a_request_past_a_limit_is_refused_and_the_connection_ends(request_: bytes, status: int, piece: int) -> None:
    before = cut("too_large")

    async def ask(server: Server) -> None:
        client = await server.connect()
        for start in range(0, len(request_), piece):
            await client.send(request_[start : start + piece])
        answer = await client.answer()
        assert (answer.status, answer.code, answer.closes) == (status, "too_large", True)
        assert await client.is_closed()
        assert server.bodies == []

    at_a_server(ask)
    assert cut("too_large") == before + 1


@pytest.mark.parametrize("piece", [1, 100_000], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("begun", [b"GET /", GET[:-2] + b"X-", GET[:-2] + b"X: "], ids=["target", "name", "value"])
def test_a_head_without_end_costs_its_limit_and_no_more(begun: bytes, piece: int) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(begun)
        sent = 0
        began = time.process_time()
        try:
            while sent < 64 << 20 and not client.reader.at_eof():
                await client.send(b"x" * piece)
                sent += piece
                if piece == 1:
                    await asyncio.sleep(0)
        except ConnectionError:
            pass
        assert sent < 16 << 20, "more than what the kernel keeps"
        assert time.process_time() - began < 10

    at_a_server(ask)


def test_small_fields_without_end_are_refused_at_the_hundredth() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        answer = await client.asks(GET[:-2] + b"a: b\r\n" * 200)
        assert (answer.status, answer.code) == (431, "too_large")

    at_a_server(ask)


def test_fields_behind_a_body_have_no_more_bytes_than_a_head() -> None:
    chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"3\r\ntea\r\n0\r\n"

    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(chunked + b"a: ")
        for _ in range(100):  # a part may come with the body, and is not counted
            await client.send(b"x" * KIB)
        answer = await client.answer()
        assert (answer.status, answer.code) == (431, "too_large")
        client = await server.connect()
        assert (await client.asks(chunked + b"a: b\r\n" * 200 + b"\r\n")).body == b"3"

    at_a_server(ask)


@pytest.mark.parametrize("piece", [1 << 20, 3], ids=["one segment", "many"])
@pytest.mark.parametrize(
    "field",
    [
        b"Authorization: Bearer a",
        b"Idempotency-Key: a",
        b"X-Forwarded-For: 192.0.2.1",
        b"Host: other",
        b"Expect: 100-continue",
        b"Connection: close",
    ],
)
def test_fields_behind_a_body_are_no_fields_of_the_request(field: bytes, piece: int) -> None:
    head = GET.replace(b"GET", b"POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    request = head + b"3\r\ntea\r\n0\r\n" + field + b"\r\n\r\n"

    async def ask(server: Server) -> None:
        client = await server.connect()
        for start in range(0, len(request), piece):
            await client.send(request[start : start + piece])
        assert (await client.answer()).body == b"3"
        assert server.fields == [[(b"host", b"falcon"), (b"transfer-encoding", b"chunked")]]
        if field != b"Connection: close":
            assert (await client.asks(GET)).status == 201

    at_a_server(ask)


@pytest.mark.parametrize("field", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_a_field_behind_a_body_cannot_give_the_request_another_end(field: bytes) -> None:
    chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n"

    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(chunked + field + b"\r\n\r\n" + GET)
        first = await client.answer()
        if first.status != 400:
            assert first.status == (await client.answer()).status == 201
        assert server.bodies in ([b"", b""], [])

    at_a_server(ask)


@pytest.mark.parametrize("field", [b"Host: falcon", b"host: other", b"AUTHORIZATION: Bearer a"])
def test_a_second_host_or_authorization_is_refused(field: bytes) -> None:
    request = GET[:-2] + b"Authorization: Bearer b\r\n" + field + b"\r\n\r\n"

    async def ask(server: Server) -> None:
        answer = await (await server.connect()).asks(request)
        assert (answer.status, answer.code, answer.closes) == (400, "malformed", True)
        client = await server.connect()
        for _ in range(2):  # one for each request
            assert (await client.asks(GET[:-2] + b"Authorization: Bearer b\r\n\r\n")).status == 201

    at_a_server(ask)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"{}\r\n\r\n"])
def test_what_is_no_request_is_refused(junk: bytes) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        answer = await client.asks(junk)
        assert (answer.status, answer.code, answer.closes) == (400, "malformed", True)
        assert await client.is_closed()

    at_a_server(ask)


@pytest.mark.parametrize(
    ("upgrade", "status"),
    [
        (UPGRADE[:-2] + b"X: " + b"x" * 9 * KIB + b"\r\n\r\n", 431),
        (UPGRADE.replace(b"GET", b"POST"), 400),
        (UPGRADE.replace(b"Version: 13", b"Version: 12"), 400),
        (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (UPGRADE.replace(b"/v1/stream", b"/\xc3\xa9"), 400),
        (GET + UPGRADE, 201),
    ],
    ids=["a long field", "no GET", "another version", "no key", "no ASCII", "behind a request that is being answered"],
)
def test_an_upgrade_that_cannot_be_is_refused_and_not_left_open(upgrade: bytes, status: int) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        answer = await client.asks(upgrade)
        assert answer.status == status
        assert status != 400 or answer.code == "malformed"
        await asyncio.wait_for(client.reader.read(), 10)  # up to its end
        await eventually(lambda: not server.state.connections)

    at_a_server(ask)


def frame(first: int, payload: bytes = b"") -> bytes:
    """A client's WebSocket frame (RFC 6455, 5.2), masked with zeros. ``first``: its first byte."""
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


TEXT, PING = 0x81, 0x89


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (frame(PING) * 20_000, "too_large"),
        (frame(TEXT, b"tea") * 20_000, "too_large"),
        (b"\xff" * 10, "malformed"),
        (frame(0x83), "malformed"),
    ],
    ids=["pings", "texts", "no frames", "an unknown frame"],
)
def test_a_websocket_whose_client_floods_or_breaks_it_is_cut_and_counted(sent: bytes, kind: str) -> None:
    before = counted(kind), cut(kind)

    async def ask(server: Server) -> None:
        client = await server.connect()
        assert (await client.asks(UPGRADE)).status == 101
        with suppress(ConnectionError):
            await client.send(sent)
        await eventually(lambda: server.gone)
        assert not server.state.connections

    at_a_server(ask)
    assert (counted(kind), cut(kind)) == (before[0] + 1, before[1] + 1)


def test_what_a_client_says_on_a_websocket_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        assert (await client.asks(UPGRADE)).status == 101
        assert await client.reader.readexactly(3) == b"\x82\x01\x00"
        await client.send(frame(TEXT, b"\xff") + frame(TEXT & 0x7F, b"a part") + frame(0, b"") * 10 + frame(PING))
        assert await client.reader.readexactly(2) == b"\x8a\x00", "the answer to the ping"
        assert server.gone == 0

    at_a_server(ask)
    assert not caplog.records


async def asks_for_a_websocket_whose_refusal_waits(server: Server) -> tuple[Client, FalconWebSocketProtocol]:
    client = await server.connect()
    await client.send(UPGRADE.replace(b"/v1/stream", b"/refused"))
    await eventually(lambda: objects_of([FalconWebSocketProtocol])[FalconWebSocketProtocol])
    return client, await waiting_one(server)


def test_nothing_is_read_of_a_websocket_before_its_client_is_answered() -> None:
    before = counted("malformed")

    async def ask(server: Server) -> None:
        client, _ = await asks_for_a_websocket_whose_refusal_waits(server)
        await client.send(frame(PING))
        assert (await client.answer()).status == 0
        await eventually(lambda: not server.taken())

    at_a_server(ask)
    assert counted("malformed") == before + 1


def test_a_refusal_that_waits_goes_out_when_the_server_stops_also_that_of_a_websocket() -> None:
    async def ask(server: Server) -> None:
        client, protocol = await asks_for_a_websocket_whose_refusal_waits(server)
        protocol.shutdown()
        assert (await client.answer()).status == 401

    at_a_server(ask)


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"Host: falcon\r\n", b""),
        UPGRADE.replace(b"Host: falcon\r\n", b""),
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked\r\n" * 2)[:-2] + b"0\r\n\r\n",
    ],
    ids=["no host", "no host of a websocket", "gzip", "two encodings"],
)
def test_a_request_that_servers_could_read_in_two_ways_is_refused(request_: bytes) -> None:
    async def ask(server: Server) -> None:
        answer = await (await server.connect()).asks(request_)
        assert (answer.status, answer.code, answer.closes) == (400, "malformed", True)

    at_a_server(ask)


def test_a_client_of_http_1_0_needs_no_host() -> None:
    async def ask(server: Server) -> None:
        assert (await (await server.connect()).asks(b"GET /v1/me HTTP/1.0\r\n\r\n")).status == 201

    at_a_server(ask)


@pytest.mark.parametrize("piece", [1 << 20, 7], ids=["one segment", "many"])
def test_requests_behind_an_upgrade_that_falcon_does_not_know_are_answered(piece: int) -> None:
    unknown = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: foo\r\n\r\n"
    sent = unknown + post(b"tea") + unknown + GET

    async def ask(server: Server) -> None:
        client = await server.connect()
        for start in range(0, len(sent), piece):
            await client.send(sent[start : start + piece])
        assert [(await client.answer()).body for _ in range(4)] == [b"0", b"3", b"0", b"0"]

    at_a_server(ask)


@pytest.mark.parametrize("stays", [True, False])
def test_a_refused_websocket_writes_no_line(stays: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(UPGRADE.replace(b"/v1/stream", b"/refused-at-once"))
        if stays:
            assert (await client.answer()).status == 401
        client.writer.close()
        await eventually(lambda: server.taken() == 0)

    with caplog.at_level(logging.WARNING):
        at_a_server(ask)
    assert caplog.records == []


def test_a_client_that_sends_on_is_still_told_why_it_was_refused() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(GET[:-2] + b"X: " + b"x" * 33 * KIB)
        await client.send(b"x" * 100 * KIB)
        assert (await client.answer()).code == "too_large"

    at_a_server(ask)


# --- time -------------------------------------------------------------------------------------------------------------


async def seconds_until_closed(server: Server, sent: bytes, *, drip: bytes = b"") -> tuple[float, Answer]:
    """Sends ``drip`` again and again."""
    client = await server.connect()
    await client.send(sent)
    began = time.monotonic()

    async def dripping() -> None:
        while drip:
            await client.send(drip)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(dripping())
    answer = await client.answer()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await client.is_closed()
    return time.monotonic() - began, answer


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "byte by byte"])
def test_a_head_has_to_be_complete_in_time(drip: bytes) -> None:
    async def ask(server: Server) -> None:
        seconds, answer = await seconds_until_closed(server, GET[:-2] + b"X: ", drip=drip)
        assert (answer.status, answer.code, answer.closes) == (408, "timeout", True)
        assert 0.3 < seconds < 3

    at_a_quick_server(ask)


def test_of_many_broken_requests_some_wait_for_their_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_BROKEN_AT_ONCE", 1)

    async def ask(server: Server) -> None:
        hostile = [await server.connect() for _ in range(2)]
        other = await server.connect()
        began = time.monotonic()
        answers = await asyncio.gather(*(client.asks(b"no request\r\n\r\n") for client in hostile))
        assert [(answer.status, answer.closes) for answer in answers] == [(400, True)] * 2
        assert time.monotonic() - began >= 0.2
        assert (await other.asks(GET)).status == 201
        assert all([await client.is_closed() for client in hostile])

    at_a_quick_server(ask, replace(QUICK, sweep_seconds=2, idle_seconds=10, linger_seconds=10))


def test_a_connection_without_a_request_is_closed_without_a_word() -> None:
    async def ask(server: Server) -> None:
        seconds, answer = await seconds_until_closed(server, b"")
        assert answer.status == 0
        assert 0.3 < seconds < 3
        client = await server.connect()
        assert (await client.asks(GET)).status == 201
        began = time.monotonic()
        assert await client.is_closed()
        assert 0.3 < time.monotonic() - began < 3

    at_a_quick_server(ask)


def test_empty_lines_are_no_request() -> None:
    async def ask(server: Server) -> None:
        seconds, answer = await seconds_until_closed(server, b"\r\n", drip=b"\r\n")
        assert answer.status == 0
        assert seconds < 3

    at_a_quick_server(ask)


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "byte by byte"])
def test_a_body_has_to_be_complete_in_time_and_the_application_hears_that_it_is_not(drip: bytes) -> None:
    async def ask(server: Server) -> None:
        seconds, answer = await seconds_until_closed(server, post(b"tea", 10_000), drip=drip)
        assert (answer.status, answer.code, answer.closes) == (408, "timeout", True)
        assert 0.3 < seconds < 3
        assert (server.gone, server.bodies) == (1, [])

    at_a_quick_server(ask)


def test_a_large_body_that_comes_steadily_has_more_time() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(post(b"", 256 * KIB))
        began = time.monotonic()
        for _ in range(16):
            await asyncio.sleep(0.05)
            await client.send(b"x" * 16 * KIB)
        assert (await client.answer()).body == b"%d" % (256 * KIB)
        assert time.monotonic() - began > QUICK.body_seconds

    at_a_quick_server(ask)


def test_a_body_that_nobody_waits_for_has_to_end_too() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        answer = await client.asks(post(b"tea", 10_000).replace(b"/v1/rooms", b"/early"))
        assert answer.status == 201
        assert await client.is_closed()

    at_a_quick_server(ask)


def test_a_client_that_takes_nothing_of_its_answer_is_cut() -> None:
    before = cut("stalled")

    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET.replace(b"/v1/me", b"/large"))
        await eventually(lambda: server.bodies)
        await eventually(lambda: not server.state.connections)

    at_a_quick_server(ask)
    assert cut("stalled") == before + 1


def test_so_is_one_that_takes_a_little_now_and_then() -> None:
    before = cut("stalled")

    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET.replace(b"/v1/me", b"/large"))
        await eventually(lambda: server.bodies)
        for _ in range(200):
            await asyncio.sleep(0.1)
            if not server.state.connections:
                break
            client.writer.get_extra_info("socket")._sock.recv(2 * KIB)
        assert cut("stalled") == before + 1

    at_a_quick_server(ask, replace(QUICK, read_bytes_a_second=64 * KIB))


def test_no_request_begins_while_its_client_has_an_answer_to_read() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET.replace(b"/v1/me", b"/large") * 2)
        await eventually(lambda: server.bodies)
        await client.send(GET)  # the next one in a segment of its own
        protocol = await waiting_one(server)
        held = server.held()
        await asyncio.sleep(1)  # it has looked several times
        assert len(server.bodies) == 1 and server.held() <= held and protocol.pipeline
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert [len((await client.answer()).body) for _ in range(3)] == [16 << 20, 16 << 20, 1]
        await eventually(lambda: not server.held())

    at_a_quick_server(ask, replace(QUICK, stalled_seconds=60))


def test_so_is_one_on_a_websocket() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(UPGRADE.replace(b"/v1/stream", b"/large"))
        await eventually(lambda: server.gone)
        assert not server.state.connections

    at_a_quick_server(ask)


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        await client.send(GET.replace(b"/v1/me", b"/large"))
        await client.reader.readuntil(b"\r\n\r\n")
        began = time.monotonic()
        taken = 0
        while taken < 16 << 20:
            piece = await client.reader.read(64 * KIB)
            assert piece
            taken += len(piece)
            if time.monotonic() - began < 1.5:
                await asyncio.sleep(0.1)
        assert time.monotonic() - began > 1.5

    at_a_quick_server(ask)


@pytest.mark.parametrize("sent", [b"", b"G"], ids=["silent", "with a byte more"])
def test_a_stream_that_has_nothing_to_say_is_left_alone(sent: bytes) -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(GET.replace(b"/v1/me", b"/stream"))
        await client.reader.readuntil(b"event")
        await client.send(sent)
        assert await client.reader.readexactly(2) == b"\r\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 1.0)
        assert server.gone == 0
        assert len(server.state.connections) == 1

    at_a_quick_server(ask)


def test_a_stream_ends_with_its_connection_also_if_a_request_waits_behind_it() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(GET.replace(b"/v1/me", b"/stream") + GET)
        await client.reader.readuntil(b"event")
        client.writer.transport.abort()
        await eventually(lambda: server.gone)
        assert (server.gone, server.bodies) == (1, []), "the request behind it is not begun"

    at_a_server(ask)


def test_a_quiet_websocket_is_left_alone() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        assert (await client.asks(UPGRADE)).status == 101
        assert await client.reader.readexactly(3) == b"\x82\x01\x00"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 1.0)
        assert len(server.state.connections) == 1

    at_a_quick_server(ask)


# --- how many ---------------------------------------------------------------------------------------------------------


def test_a_connection_too_many_is_refused_and_there_is_room_again_when_one_ends() -> None:
    before = cut("full")

    async def ask(server: Server) -> None:
        clients = [await server.connect() for _ in range(3)]
        answers = [await client.asks(GET) for client in clients]
        assert [answer.status for answer in answers] == [201, 201, 201]
        refused = await server.connect()
        answer = await refused.answer()
        assert (answer.status, answer.code, answer.closes) == (503, "overloaded", True)
        assert b"\r\nretry-after: 1\r\n" in answer.head
        assert await refused.is_closed()
        assert (await clients[0].asks(GET)).status == 201, "those that were there are served on"
        clients[1].writer.close()
        await eventually(lambda: len(server.state.connections) <= 2)
        assert (await (await server.connect()).asks(GET)).status == 201

    at_a_server(ask, PATIENT, connections_max=3)
    assert cut("full") == before + 1


def test_silent_clients_count_among_connections_and_make_room_when_they_go() -> None:
    async def ask(server: Server) -> None:
        silent = [await server.connect() for _ in range(3)]
        await eventually(lambda: server.taken() == 3)
        assert (await (await server.connect()).answer()).status == 503
        silent[0].writer.close()
        await eventually(lambda: server.taken() == 2)
        assert (await (await server.connect()).asks(GET)).status == 201
        assert (await silent[1].asks(GET)).status == 201, "it has been silent, and asks now"

    at_a_server(ask, PATIENT, connections_max=3)


def test_a_client_that_is_turned_away_may_have_sent_its_request_already() -> None:
    async def ask(server: Server) -> None:
        await (await server.connect()).asks(GET)
        for _ in range(20):
            client = await server.connect()
            assert (await client.asks(post(b"tea"))).status == 503

    at_a_server(ask, PATIENT, connections_max=1)


def test_many_silent_clients_end_together_and_others_are_answered_meanwhile() -> None:
    async def ask(server: Server) -> None:
        for _ in range(300):
            await server.connect()
        await eventually(lambda: server.taken() == 300)
        anna = await server.connect()
        while server.taken() > 1:
            assert (await anna.asks(GET)).status == 201
            await asyncio.sleep(QUICK.sweep_seconds)

    at_a_quick_server(ask)


def test_streams_count_among_connections() -> None:
    async def ask(server: Server) -> None:
        assert (await (await server.connect()).asks(UPGRADE)).status == 101
        client = await server.connect()
        await client.send(GET.replace(b"/v1/me", b"/stream"))
        await client.reader.readuntil(b"event")
        assert (await (await server.connect()).answer()).status == 503

    at_a_server(ask, PATIENT, connections_max=2)


def test_a_process_keeps_descriptors_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, left in ((65_536, 65_408), (300, 172), (100, 50), (resource.RLIM_INFINITY, sys.maxsize)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        assert descriptors_for_connections() == left


@pytest.mark.parametrize(
    ("limits", "megabytes"), [({"": "max"}, 0), ({"pods": "200"}, 200), ({"pods": "300", "pods/one": "100"}, 100)]
)
def test_a_process_has_no_more_connections_than_memory(
    limits: dict[str, str], megabytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.write_text("0::/pods/one\n")
    (tmp_path / "groups/pods/one").mkdir(parents=True)
    for group, limit in limits.items():
        bytes_ = limit if limit == "max" else str(int(limit) << 20)
        (tmp_path / "groups" / group / "memory.max").write_text(bytes_ + "\n")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = connection_slots.memory(tmp_path / "groups", own)
    assert allowed == (megabytes << 20 or machine)
    assert connection_slots.memory(tmp_path / "none", tmp_path / "none") == machine
    monkeypatch.setattr(connection_slots, "memory", lambda: 256 << 20)
    monkeypatch.setattr(connection_slots, "descriptors_for_connections", lambda: 1_000)
    assert [connection_slots.connections_for(processes) for processes in (1, 2)] == [1_000, 512]


def test_unfinished_heads_of_an_address_are_held_as_bodies_are() -> None:
    unfinished = head_of(30 * KIB)[:-4]

    async def ask(server: Server) -> None:
        clients = [await server.connect() for _ in range(6)]
        for client in clients[:5]:
            await client.send(unfinished)
        await eventually(lambda: server.held() >= 5 * 30 * KIB)
        answer = await clients[5].asks(unfinished)
        assert (answer.status, answer.code, answer.closes) == (429, "rate_limited", True)
        assert (await clients[0].asks(b"\r\n\r\n")).status == 201
        for client in clients:
            client.writer.close()
        await eventually(lambda: not server.held())

    at_a_server(ask, replace(PATIENT, holder_bytes=5 * 32 * KIB))


# --- what every answer bears ------------------------------------------------------------------------------------------


def test_no_browser_guesses_what_an_answer_is_or_frames_it() -> None:
    async def ask(server: Server) -> None:
        for request in (GET, post(b"tea"), GET.replace(b"/v1/me", b"/broken"), with_fields(101), b"{}\r\n\r\n"):
            answer = await (await server.connect()).asks(request)
            assert answer.head.count(b"\r\nx-content-type-options: nosniff\r\n") == 1
            assert answer.head.count(b"\r\nx-frame-options: DENY\r\n") == 1

    at_a_server(ask)


# --- and all else continues ------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order_however_many_fill_a_piece() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(b"".join(post(b"x" * number) for number in range(1000)))
        assert [(await client.answer()).body for _ in range(1000)] == [b"%d" % number for number in range(1000)]
        assert (await client.asks(GET)).status == 201

    at_a_server(ask)


def test_of_requests_that_wait_for_their_turn_a_few_are_parsed_and_all_are_answered() -> None:
    """A parsed request takes some kilobytes, and a client may send thousands without reading answers."""
    count = 8_000

    async def ask(server: Server) -> None:
        client = await server.connect(receive_buffer=4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(b"".join(post(b"x" * (number % 50)) for number in range(count)))
        protocol = await waiting_one(server)
        while not protocol.unread():
            assert len(protocol.pipeline) < 50
            await asyncio.sleep(0.01)
        assert len(protocol.pipeline) < 50
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(count):
            assert (await client.answer()).body == b"%d" % (number % 50)
        assert (await client.asks(GET)).status == 201
        await eventually(lambda: not server.held())

    at_a_server(ask)


async def waiting_one(server: Server) -> Any:
    await eventually(lambda: server.state.connections)
    (protocol,) = server.state.connections
    return protocol


def test_a_pipelined_head_past_the_limit_ends_the_connection_behind_the_answers_before_it() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(GET * 3 + head_of(33 * KIB) + GET)
        statuses = [(await client.answer()).status for _ in range(4)]
        assert statuses[:3] == [201, 201, 201] and statuses[3] in (0, 431)
        assert await client.is_closed()
        assert len(server.bodies) == 3

    at_a_server(ask)


def test_a_large_body_in_one_piece_with_its_head_is_taken() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        for size in (40 * KIB, 400 * KIB, 10):
            assert (await client.asks(post(b"x" * size))).body == b"%d" % size

    at_a_server(ask)


CHUNKED = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


def test_a_body_in_chunks_of_a_byte_is_taken_as_its_application_asks_for_it() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        for _ in range(2):
            assert (await client.asks(CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")).body == b"20000"

    at_a_server(ask)


def test_falcon_parses_a_few_chunks_of_a_byte_until_the_application_asks_for_more() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(CHUNKED.replace(b"/v1/rooms", b"/stream") + b"1\r\nx\r\n" * 20_000)
        await client.reader.readuntil(b"event")
        protocol = await waiting_one(server)
        await eventually(lambda: protocol.flow.read_paused)
        assert protocol.flow.untaken < 600

    at_a_server(ask)


def test_bytes_that_are_kept_are_dropped_if_their_connection_ends_before_they_are_parsed() -> None:
    async def ask(server: Server) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        client = await server.connect()
        await client.send(CHUNKED.replace(b"/v1/rooms", b"/stream"))
        protocol = await waiting_one(server)
        await eventually(lambda: protocol.cycle is not None)
        flow = protocol.flow
        protocol.data_received(b"1\r\nx\r\n" * 20_000)  # all at once: a network may bring it in parts
        assert flow.held
        protocol.transport.abort()
        flow.resume_reading()
        await eventually(lambda: server.gone == 1)
        assert not faults

    at_a_server(ask)


def test_a_client_may_send_the_whole_of_a_large_body_before_it_reads_its_early_answer() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        early = post(b"", 400 * KIB).replace(b"/v1/rooms", b"/early")
        for _ in range(3):
            assert (await client.asks(early)).status == 201
            for _ in range(400):
                await client.send(b"x" * KIB)
        assert (await client.asks(GET)).status == 201

    at_a_server(ask)


@pytest.mark.parametrize("body", [b"1\r\nx\r\n", b"400\r\n" + b"x" * KIB + b"\r\n"], ids=["tiny", "large"])
def test_a_client_that_sends_its_body_on_and_on_after_the_answer_is_cut(body: bytes) -> None:
    before = cut("too_large")

    async def ask(server: Server) -> None:
        client = await server.connect()
        early = CHUNKED.replace(b"/v1/rooms", b"/early")
        assert (await client.asks(early)).status == 201
        assert (await client.asks(body * 100 + b"0\r\n\r\n" + GET)).status == 201, "some of it may be on its way"
        assert (await client.asks(early)).status == 201
        with suppress(ConnectionError):
            await client.send(body * 9_000)
        assert await client.is_closed()

    at_a_server(ask)
    assert cut("too_large") == before + 1


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(post(b"", 3).replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.asks(b"tea")).body == b"3"

    at_a_server(ask)


def test_nothing_of_an_answered_request_is_kept() -> None:
    async def ask(server: Server) -> None:
        client = await server.connect()
        assert (await client.asks(post(b"tea"))).status == 201
        (protocol,) = server.state.connections
        assert (protocol.cycle, protocol.scope, protocol.headers) == (None, None, None)

    at_a_server(ask)


@pytest.mark.parametrize(
    ("sent", "objects"),
    [
        (GET[:-2], {FalconHttpProtocol: 1}),
        (post(b"tea", 10), {FalconHttpProtocol: 1, RequestResponseCycle: 1}),
        (GET.replace(b"/v1/me", b"/stream") + GET * 3, {FalconHttpProtocol: 1, RequestResponseCycle: 4}),
        (with_fields(101), {FalconHttpProtocol: 1}),
        (UPGRADE, {FalconHttpProtocol: 0, FalconWebSocketProtocol: 1, ServerProtocol: 1}),
    ],
    ids=["a head", "a body", "requests that wait", "a refused head", "a WebSocket"],
)
@pytest.mark.usefixtures("only_counted_references")
def test_a_connection_that_has_ended_needs_no_collector(sent: bytes, objects: dict[type, int]) -> None:
    """The collector comes to old objects once in some minutes."""

    async def ask(server: Server) -> None:
        client = await server.connect()
        await client.send(sent)
        await eventually(lambda: server.taken() and objects_of(objects) == objects)
        client.writer.transport.abort()
        await eventually(lambda: not server.taken() and not any(objects_of(objects).values()))

    at_a_server(ask)


def objects_of(kinds: Iterable[type]) -> dict[type, int]:
    """How many objects there are of each kind."""
    present = [type(each) for each in gc.get_objects()]
    return {kind: present.count(kind) for kind in kinds}
