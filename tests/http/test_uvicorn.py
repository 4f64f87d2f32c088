"""Uvicorn's inside is as Falcon expects it, and responses really take the ways around ASGI.

When a test here fails after an upgrade, its message says which part of ``falcon/http/server`` to compare with uvicorn.
"""

import asyncio
import hashlib
import inspect
import socket
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import httptools
import pytest
import uvicorn
import uvloop
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from falcon.http.responses import BytesResponse
from falcon.http.server import fanout
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import create_server
from falcon.http.server.whole_responses import write_whole
from falcon.http.stream.sinks import SseSink, StreamSink, WebSocketSink
from falcon.streams.frames import Frame
from tools.harness.waiting import eventually

_SECONDS: Final = 60  # by then a test has failed
_FRAME: Final = Frame("1", "message.posted", b'{"text":"tea"}')
_PROTOCOL: Final = "FalconHttpProtocol in falcon/http/server/protocol.py"
_WEBSOCKET: Final = "FalconWebSocketProtocol in falcon/http/server/protocol.py"
_FANOUT: Final = "falcon/http/server/fanout.py"
_WHOLE: Final = "falcon/http/server/whole_responses.py"
_SERVER: Final = "FalconServer in falcon/http/server/serving.py"

# Functions of uvicorn that Falcon calls, or overrides and calls, by their parameters.
_SIGNATURES: Final = (
    (HttpToolsProtocol.__init__, "self config server_state app_state _loop", _PROTOCOL),
    (HttpToolsProtocol.connection_made, "self transport", _PROTOCOL),
    (HttpToolsProtocol.connection_lost, "self exc", _PROTOCOL),
    (HttpToolsProtocol.pause_writing, "self", _PROTOCOL),
    (HttpToolsProtocol.resume_writing, "self", _PROTOCOL),
    (HttpToolsProtocol.on_message_begin, "self", _PROTOCOL),
    (HttpToolsProtocol.on_headers_complete, "self", _PROTOCOL),
    (HttpToolsProtocol.on_body, "self body", _PROTOCOL),
    (HttpToolsProtocol.on_message_complete, "self", _PROTOCOL),
    (HttpToolsProtocol._start_asgi_task, "self cycle app", _PROTOCOL),
    (HttpToolsProtocol._should_upgrade, "self", _PROTOCOL),
    (HttpToolsProtocol._get_upgrade, "self", _PROTOCOL),
    (WebSocketsSansIOProtocol.__init__, "self config server_state app_state _loop", _WEBSOCKET),
    (WebSocketsSansIOProtocol.connection_made, "self transport", _WEBSOCKET),
    (WebSocketsSansIOProtocol.connection_lost, "self exc", _WEBSOCKET),
    (WebSocketsSansIOProtocol.pause_writing, "self", _WEBSOCKET),
    (WebSocketsSansIOProtocol.resume_writing, "self", _WEBSOCKET),
    (WebSocketsSansIOProtocol.data_received, "self data", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_parser_exception, "self", _WEBSOCKET),
    (ServerProtocol.receive_data, "self data", _WEBSOCKET),
    (ServerProtocol.process_request, "self request", _WEBSOCKET),
    (FlowControl.__init__, "self transport", _PROTOCOL),
    (uvicorn.Server.capture_signals, "self", _SERVER),
    (uvicorn.Server.startup, "self sockets", _SERVER),
    (uvicorn.Server.shutdown, "self sockets", _SERVER),
)

# Functions that Falcon replaces, or whose state it reads while it writes past them: any change of them matters.
_SOURCES: Final = (
    (HttpToolsProtocol.data_received, "bcda1a3a703b", _PROTOCOL),
    (HttpToolsProtocol.on_url, "381560766601", _PROTOCOL),
    (HttpToolsProtocol.on_header, "d03da8715673", _PROTOCOL),
    (HttpToolsProtocol.on_headers_complete, "14507b01aef0", _PROTOCOL),
    (HttpToolsProtocol.on_body, "cb19be4e444c", _PROTOCOL),
    (HttpToolsProtocol.on_response_complete, "c76bd2c26f84", _PROTOCOL),
    (HttpToolsProtocol.handle_websocket_upgrade, "2020d3d65173", _PROTOCOL),
    (HttpToolsProtocol.connection_lost, "f3757183d848", _PROTOCOL),
    (HttpToolsProtocol.shutdown, "4372fe9ca7a1", _PROTOCOL),
    (RequestResponseCycle.send, "a72cf2ac70d6", f"{_FANOUT} and {_WHOLE}"),
    (RequestResponseCycle.receive, "232cf97b111e", _PROTOCOL),
    (FlowControl, "a486b335427a", _PROTOCOL),
    (WebSocketsSansIOProtocol.send, "16523bd9474d", f"{_FANOUT} and {_WEBSOCKET}"),
    (WebSocketsSansIOProtocol.run_asgi, "622632164a9e", _WEBSOCKET),
    (WebSocketsSansIOProtocol.connection_lost, "1f05ca23c6de", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_connect, "d7dbf079acf7", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_events, "851d1ac45751", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_text, "8e284203b3d0", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_bytes, "d110da224094", _WEBSOCKET),
    (WebSocketsSansIOProtocol.handle_cont, "e822c6d377ab", _WEBSOCKET),
    (WebSocketsSansIOProtocol.shutdown, "b65de7c649d5", _WEBSOCKET),
)

_PROTOCOL_ATTRIBUTES: Final = (
    "app_state client config connections cycle expect_100_continue flow headers loop parser pipeline scope "
    "server_state transport ws_protocol_class"
)
_CYCLE_ATTRIBUTES: Final = (
    "default_headers disconnected flow keep_alive message_event on_response response_complete response_started scope "
    "transport waiting_for_100_continue"
)


def digest(what: Any) -> str:
    """The digest of its code, without comments and blank lines."""
    lines = [line.split("  # ")[0].rstrip() for line in textwrap.dedent(inspect.getsource(what)).splitlines()]
    code = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("function", "parameters", "user"), _SIGNATURES, ids=[each[0].__qualname__ for each in _SIGNATURES]
)
def test_what_falcon_calls_takes_the_same_parameters(function: Any, parameters: str, user: str) -> None:
    now = " ".join(inspect.signature(function).parameters)
    assert now == parameters, f"{function.__qualname__} takes ({now}) in uvicorn {uvicorn.__version__}: see {user}"


@pytest.mark.parametrize(("what", "known", "user"), _SOURCES, ids=[each[0].__qualname__ for each in _SOURCES])
def test_what_falcon_replaces_or_goes_around_is_the_same_code(what: Any, known: str, user: str) -> None:
    now = digest(what)
    assert now == known, (
        f"{what.__qualname__} has changed in uvicorn {uvicorn.__version__}. Read it beside {user}, bring that in line, "
        f"run tests/http and tests/streams, and put {now!r} here."
    )


def test_objects_of_uvicorns_have_the_attributes_that_falcon_uses() -> None:
    async def look() -> None:
        config = uvicorn.Config(partial(print), log_config=None)
        state = ServerState()
        http: Any = HttpToolsProtocol(config, state, {})
        assert missing(http, _PROTOCOL_ATTRIBUTES) == [], f"see {_PROTOCOL}"
        assert missing(state, "connections total_requests") == [], f"see {_PROTOCOL}"
        cycle: Any = RequestResponseCycle(*[None] * len(list(inspect.signature(RequestResponseCycle).parameters)))  # type: ignore[arg-type]
        assert missing(cycle, _CYCLE_ATTRIBUTES) == [], f"see {_PROTOCOL}"
        assert missing(cycle, " ".join(fanout.HTTP_ATTRIBUTES)) == [], f"see {_FANOUT}"
        websocket: Any = WebSocketsSansIOProtocol(config, state, {})
        assert missing(websocket, " ".join(fanout.WEBSOCKET_ATTRIBUTES)) == [], f"see {_FANOUT}"
        assert missing(websocket, "app_state close_sent handshake_complete") == [], f"see {_WEBSOCKET}"
        assert missing(websocket.conn, "events handshake_exc parser receive_data") == [], f"see {_WEBSOCKET}"
        assert missing(FlowControl(http.transport), "read_paused write_paused") == [], f"see {_PROTOCOL}"
        assert missing(LifespanOn(config), "state") == [], f"see {_SERVER}"

    asyncio.run(look())


def missing(thing: object, names: str) -> list[str]:
    return [name for name in names.split() if not hasattr(thing, name)]


def test_a_callbacks_exception_is_the_context_of_the_parsers_own() -> None:
    class Refused(Exception):
        pass

    class Callbacks:
        def on_url(self, url: bytes) -> None:
            raise Refused

    with pytest.raises(httptools.HttpParserError) as raised:
        httptools.HttpRequestParser(Callbacks()).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(raised.value.__context__, Refused), f"see _take of {_PROTOCOL}"


def test_every_answer_of_uvicorns_begins_with_falcons_own_fields() -> None:
    assert all(b"\r\nx-content-type-options: nosniff\r\n" in line for line in STATUS_LINE.values())
    assert "STATUS_LINE[status_code]" in inspect.getsource(RequestResponseCycle.send), (
        "see falcon/http/server/raw_responses.py"
    )


# --- on a real server -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Runs Falcon's server with this application; gives its port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = create_server(app, ConnectionSweeper("test"))
    running = asyncio.create_task(server.serve([listening]))
    await eventually(lambda: server.started)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def _answers(application: Any, request: bytes) -> bytes:
    """All that the server sends until it closes."""
    async with asyncio.timeout(_SECONDS), serving(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


async def _through_asgi(scope: Any, receive: Any, send: Any) -> None:
    async def wrapped(message: Any) -> None:
        await send(message)

    await _RESPONSE(scope, receive, wrapped)


_RESPONSE: Final = BytesResponse(200, b"tea", (b"x-cup", b"1"))
_ASKS: Final = (
    b"GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: f\r\n\r\nGET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n",
)


@pytest.mark.parametrize("request_bytes", _ASKS)
def test_a_whole_response_has_the_same_bytes_around_asgi_as_through_it(request_bytes: bytes) -> None:
    around = uvloop.run(_answers(_RESPONSE, request_bytes))
    assert around == uvloop.run(_answers(_through_asgi, request_bytes)), f"see {_WHOLE}"
    assert around.count(b"x-cup: 1") == request_bytes.count(b" / ")


def test_a_whole_response_leaves_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[Any] = []

    async def watched(owner: Any, message: Any) -> None:
        passed.append(message)

    monkeypatch.setattr(RequestResponseCycle, "send", watched)
    assert b"tea" in uvloop.run(_answers(_RESPONSE, _ASKS[0]))
    assert not passed


def test_no_field_of_a_response_can_begin_another_one() -> None:
    cycle: Any = RequestResponseCycle.__new__(RequestResponseCycle)
    cycle.response_started = cycle.disconnected = False
    cycle.flow, cycle.default_headers, cycle.scope = SimpleNamespace(write_paused=False), [], {"method": "GET"}
    with pytest.raises(ValueError, match="line break"):
        write_whole(cycle.send, BytesResponse(200, b"", (b"x-cup", b"1\r\nx-pot: 2")))


class Streaming:
    """An application that begins a stream on each connection, as ``falcon.http.stream`` does, and keeps its sink.
    ``messages``: what has passed through ASGI's ``send`` since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[Any] = []
        self.sinks: list[StreamSink] = []
        self.begun = asyncio.Event()
        for kind in (RequestResponseCycle, WebSocketsSansIOProtocol):
            monkeypatch.setattr(kind, "send", self._watched(kind.send))

    def _watched(self, send: Callable[..., Awaitable[None]]) -> Any:
        async def watched(owner: Any, message: Any) -> None:
            if self.begun.is_set():
                self.messages.append(message)
            await send(owner, message)

        return watched

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sink: StreamSink
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            sink = WebSocketSink(send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            sink = SseSink(send)
        self.sinks.append(sink)
        self.begun.set()
        while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass


SSE: Final = b"GET /v1/stream HTTP/1.1\r\nHost: falcon\r\n\r\n"
WEBSOCKET: Final = (
    b"GET /v1/stream HTTP/1.1\r\nHost: falcon\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def at_a_stream(
    request: bytes,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Streaming, asyncio.StreamReader], Awaitable[None]],
) -> None:
    async def run() -> None:
        app = Streaming(monkeypatch)
        async with asyncio.timeout(_SECONDS), serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            await app.begun.wait()
            await ask(app, reader)
            writer.close()

    uvloop.run(run())


@pytest.mark.parametrize(
    ("request_head", "framed"),
    [(SSE, fanout.chunk(_FRAME.sse)), (WEBSOCKET, fanout.text_message(_FRAME.text.encode()))],
    ids=["sse", "websocket"],
)
def test_a_frame_goes_to_the_transport_and_past_asgi(
    monkeypatch: pytest.MonkeyPatch, request_head: bytes, framed: bytes
) -> None:
    async def ask(app: Streaming, reader: asyncio.StreamReader) -> None:
        (sink,) = app.sinks
        assert sink._direct is not None, f"the server's send is not known: see {_FANOUT}"
        assert sink.send(_FRAME, lambda: None)
        assert sink.send(_FRAME, lambda: None), "a second one in the same turn, as where much is said"
        assert await reader.readexactly(2 * len(framed)) == 2 * framed
        assert app.messages == [], f"a frame went through ASGI: see {_FANOUT}"
        assert sink._send_message(sink.message(_FRAME), lambda: None)
        assert await reader.readexactly(len(framed)) == framed, "uvicorn frames as Falcon does"
        assert len(app.messages) == 1

    at_a_stream(request_head, monkeypatch, ask)


@pytest.mark.parametrize("request_head", [SSE, WEBSOCKET], ids=["sse", "websocket"])
def test_where_a_client_reads_nothing_a_send_waits_without_blocking_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, request_head: bytes
) -> None:
    large = Frame("2", "message.posted", b'{"text":"%b"}' % (b"x" * (1 << 20)))

    async def ask(app: Streaming, reader: asyncio.StreamReader) -> None:
        (sink,) = app.sinks
        assert sink._direct is not None
        for _ in range(64):
            if sink._direct.get_write_buffer_size():
                break
            assert sink.send(large, lambda: None)
        assert sink._direct.get_write_buffer_size(), "the kernel takes less than 64 MiB"
        sent = asyncio.Event()
        assert not sink.send(_FRAME, sent.set)
        reading = asyncio.create_task(reader.readuntil(b'"tea"'))
        await sent.wait()
        await reading
        assert sink.send(_FRAME, lambda: None)

    async def with_a_large_buffer(app: Streaming, reader: asyncio.StreamReader) -> None:
        reader._limit = 256 << 20  # type: ignore[attr-defined]
        await ask(app, reader)

    at_a_stream(request_head, monkeypatch, with_a_large_buffer)


def test_the_end_of_a_connection_is_known_behind_a_layer_that_wraps_send(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(app: Streaming, reader: asyncio.StreamReader) -> None:
        async def layer(message: Any, send: Any) -> None:
            await send(message)

        wrapped = partial(layer, send=app.sinks[0]._send)
        assert not fanout.is_gone(wrapped)
        fanout.abort(wrapped)
        assert fanout.is_gone(wrapped)

    at_a_stream(SSE, monkeypatch, ask)
