"""uvicorn's protocols, with admission control, limits to what a client may send and how slowly, and accounting."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHandshake, SecurityError
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from falcon.http.limits.addresses import UNKNOWN, AddressKey
from falcon.http.responses import BUDGET, DROP_BODY, WRITE_WHOLE
from falcon.http.server import raw_responses, unknown_requests
from falcon.http.server.admission import AdmissionControl
from falcon.http.server.connection_slots import ConnectionSlot
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.fanout import drop_body
from falcon.http.server.fast_lane import FastLane
from falcon.http.server.memory_budget import ConnectionBudget
from falcon.http.server.raw_responses import LastResponse
from falcon.http.server.unread import transport_below
from falcon.http.server.upgrades import Upgrades, switching_to
from falcon.http.server.whole_responses import write_whole
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# The part that a connection is reading.
_NOTHING: Final = 0  # it is between two requests
_HEAD: Final = 1  # of a request
_BODY: Final = 2  # of a request
_LEAVING: Final = 3  # its bytes are ignored until the client has gone
# A client that sends less than this after a refusal reads why; a reset would lose the answer.
_LINGER_BYTES_MAX: Final = 256 << 10
_SMALL_BODY: Final = 4 << 10  # most messages: they are not worth the bookkeeping
_SMALL_HEAD: Final = 2 << 10  # its connection holds more than that
_FIELD_BYTES: Final = 150  # what Python's objects of a field take beside its text: a tuple and two bytes
# Between two looks if a client has read its answer, so that its next request may begin. A transport says only that less
# than 64 KiB wait, and that of TLS says nothing of the bytes below it.
_READER_SECONDS: Final = 0.05
# So many bytes go to the parser at once. It makes some kilobytes of each request, which may have only a few bytes.
_PIECE: Final = 1 << 10
# On a WebSocket, with the fields of frames. Clients send pongs, a dozen bytes every ten seconds.
_WEBSOCKET_BYTES_A_SECOND: Final = 1 << 10
# The parser gets so many pieces of a body before the application asks for them, and so many small ones after it has
# answered. A piece takes microseconds, and may be a chunk of one byte.
_UNTAKEN_MAX: Final = 256
_SMALL_PIECE: Final = 512  # bytes; larger pieces cost little more than their bytes
# Fields that may come once only, each with the bit that says that it has come. Expect has none: it is only read.
_HOST: Final = 1
_ENCODING: Final = 4
_ONCE: Final = {b"host": _HOST, b"authorization": 2, b"transfer-encoding": _ENCODING, b"expect": 0}


class _Refused(Exception):
    """Raised in a callback of the parser, which makes it the context of its own error."""

    def __init__(self, response: LastResponse) -> None:
        super().__init__(response.reason)
        self.response = response


def _response_to(error: httptools.HttpParserError) -> LastResponse:
    """The response to a request that the parser refused.

    It looks at the cause here: a local variable for it, where the parser was fed, would be in a cycle, since the
    cause's traceback has that frame.
    """
    cause = error.__context__
    return cause.response if isinstance(cause, _Refused) else raw_responses.MALFORMED


def _refusal_of_opening(connection: ServerProtocol) -> LastResponse | None:
    """The response to a client that has asked for a WebSocket in a way that the library refuses."""
    error = connection.handshake_exc
    if error is None:
        (request,) = connection.events
        assert isinstance(request, Request)
        try:
            connection.process_request(request)
        except InvalidHandshake:
            return raw_responses.NO_WEBSOCKET
        return None
    return raw_responses.HEAD_TOO_LARGE if isinstance(error, SecurityError) else raw_responses.NO_WEBSOCKET


class _CountsUnread:
    """A protocol of uvicorn's that counts the bytes which wait for its client. ``below``: see
    :func:`~falcon.http.server.unread.transport_below`."""

    budget: ConnectionBudget
    transport: asyncio.Transport
    below: asyncio.Transport

    def unread(self) -> int:
        size = self.transport.get_write_buffer_size()
        return size if self.below is self.transport else size + self.below.get_write_buffer_size()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent."""
        super().pause_writing()  # type: ignore[misc]
        self.budget.set_unread(self.unread())

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)  # type: ignore[misc]
        self.budget.release()


class FalconWebSocketProtocol(_CountsUnread, WebSocketsSansIOProtocol):
    """uvicorn's, for clients that send nothing but what the protocol itself needs. After the upgrade the connection
    keeps its slot until ``on_lost`` is called."""

    on_lost: Callable[[], None] | None = None
    _received = 0  # bytes since the last round of the sweep

    def data_received(self, data: bytes) -> None:
        """A frame takes microseconds and six bytes, so that one connection could take the processor."""
        self._received += len(data)
        if not self.handshake_complete:  # the client has to wait for the answer (RFC 6455, 4.1)
            self._cut("malformed")
        elif self._received > _WEBSOCKET_BYTES_A_SECOND:
            self._cut("too_large")
        else:
            super().data_received(data)

    async def send(self, message: Any) -> None:
        """uvicorn's would log an error if the answer is a refusal, since that completes no handshake."""
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        """Nothing waits for what the client says."""

    handle_text = handle_bytes = handle_cont

    def handle_parser_exception(self) -> None:
        self._count("malformed")
        super().handle_parser_exception()

    def check_time(self, now: float) -> None:
        """Called about once a second."""
        self._received = 0

    def shutdown(self) -> None:
        """A request that is not answered yet gets its answer, as one without an upgrade does."""
        if self.handshake_complete:
            super().shutdown()
        else:
            self.budget.end_wait()

    def _cut(self, reason: str) -> None:
        self._count(reason)
        self.transport.abort()

    def _count(self, reason: str) -> None:
        metrics.connections_cut.labels(reason).inc()
        self.app_state[unknown_requests.KEY].count(reason)

    def connection_lost(self, error: Exception | None) -> None:
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(error)
        self.conn.parser.close()  # a generator that refers to ``conn``, and so keeps it alive


class _Flow(FlowControl):
    """uvicorn's resumes reading whenever an application waits for a body. While this is ``held`` it asks for the bytes
    that are kept.

    ``untaken``: pieces of the body since the application last waited for one, or answered.
    """

    def __init__(self, transport: asyncio.Transport, parse_kept: Callable[[], object]) -> None:
        super().__init__(transport)
        self.held = False
        self.untaken = 0
        self._parse_kept = parse_kept

    def resume_reading(self) -> None:
        self.untaken = 0
        if self.held:
            self._parse_kept()
        else:
            super().resume_reading()


class FalconHttpProtocol(_CountsUnread, HttpToolsProtocol):
    """uvicorn's, with admission control and limits.

    uvicorn has no limits of its own: it collects a head without end for ever, and copies it with each piece. No timers
    run here: the sweep calls ``check_time`` once a second.

    Once a request is answered, nothing of it is kept. Otherwise a connection that waits for its next request would hold
    some twenty objects of the last one. With thousands of connections the garbage collector would look at them again
    and again, for tens of milliseconds each time.
    """

    def __init__(
        self,
        admission: AdmissionControl,
        sweeper: ConnectionSweeper,
        upgrades: Upgrades,
        slot: ConnectionSlot,
        lane: FastLane | None = None,
        **uvicorns: Any,
    ) -> None:
        super().__init__(**uvicorns)
        self.budget = ConnectionBudget(sweeper.memory, slot)
        self.app_state = {
            **self.app_state,
            BUDGET: self.budget,
            unknown_requests.KEY: sweeper.unknown_requests,
            WRITE_WHOLE: write_whole,
            DROP_BODY: drop_body,
        }
        self._admission = admission
        self._sweeper = sweeper
        self._limits = sweeper.limits
        self._upgrades = upgrades
        self._lane = lane
        self._slot = slot
        self._reading = _NOTHING
        self._since = 0.0  # when this part began, or the last answer ended; on the loop's clock
        self._taken = 0  # bytes of the head, in whole pieces, or of the body
        self._unseen = 0  # bytes since the last piece of a body: they are fields after it
        self._must_measure = False  # the head may be longer than the bytes that were counted
        self._once = 0
        self._body = 0  # bytes of the bodies of all requests that are not answered
        self._unparsed = b""  # bytes after requests that wait for their turn: not parsed yet
        self._late: LastResponse | None = None  # it waits for the next round of the sweep
        self._running: RequestResponseCycle | None = None  # the request that is being answered
        self._peer: AddressKey | None = None  # None: a trusted proxy, whose requests are many clients'
        self._may_be_unread = False  # bytes have waited for the client when the last answer was written
        self._waits_for_reader = False  # a request waits until its client has read the answer before it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.below = transport_below(transport)
        self._peer = self._sweeper.addresses.of_peer(self.client)
        self.budget.start_request(self._peer or UNKNOWN)
        self.flow: _Flow = _Flow(transport, partial(self.loop.call_soon, self._parse_kept))
        sent_from: socket.socket = transport.get_extra_info("socket")
        sent_from.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.kernel_bytes)
        self._since = self.loop.time()
        self._sweeper.watch(self.connections, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells only the request that was parsed last. An earlier one may still be being answered."""
        self._slot.free()
        running, self._running = self._running, None
        super().connection_lost(exc)
        if running is not None:
            running.disconnected = True
            running.message_event.set()
        self._forget_requests()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """``data`` may hold thousands of requests, or of pieces of a body. While any waits, the rest is not parsed."""
        if len(data) > _PIECE or self.pipeline or self._unparsed or self.flow.untaken > _UNTAKEN_MAX:
            self._receive_in_pieces(data)
            return
        # Else the request waits for its turn after one that is being answered, or while the client reads no answers.
        is_next = self._reading == _NOTHING and self._running is None and not self.flow.write_paused
        if is_next and not (self._may_be_unread and self.unread()):
            refusal = self._admission.refusal(data) if data.startswith(b"P") else None
            if refusal is not None:
                self._since = self.loop.time()
                self.transport.write(refusal)
                self._may_be_unread = True
                return
            lane = self._lane
            request = None if lane is None or len(data) > self._limits.head_bytes else lane.request_in(data, self)
            if request is not None:
                self.cycle = self._running = request
                budget = self.budget
                if budget.account_id is None or budget.held.size or self._peer is None:
                    budget.start_request(self._address(request.scope["headers"]))
                # Else no client holds bytes, and mostly this request is of the same account as the one before it.
                if asyncio.current_task(self.loop) is None:
                    request.step()
                else:  # the request before it on the connection has just been answered
                    self.loop.call_soon(request.step)
                return
        self._receive(data)

    def _receive_in_pieces(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            if self.pipeline or self._unparsed or (self.flow.untaken > _UNTAKEN_MAX and self._running is not None):
                self._keep(data[start:])
                return
            self._receive(data[start : start + _PIECE])
            if self.transport.get_protocol() is not self:
                return  # it speaks another protocol now, in which the client may send nothing before the answer

    def _keep(self, data: bytes) -> None:
        """Keep bytes until the requests before them are answered, or their application takes what has come of the body.
        Reading is paused meanwhile."""
        self.flow.held = True
        self.flow.pause_reading()
        self._unparsed += data
        self.budget.set_bodies(self._body + len(self._unparsed))
        if self.budget.refusal_of_body() is not None:
            metrics.connections_cut.labels("held").inc()
            self.transport.abort()

    def _parse_kept(self) -> None:
        """Unless a request waits for its turn, or the connection has ended."""
        if self.pipeline or self.flow is None:
            return
        unparsed, self._unparsed = self._unparsed, b""
        self.flow.held = False
        self.flow.resume_reading()
        if unparsed:
            self.budget.set_bodies(self._body)
            self.data_received(unparsed)

    def _receive(self, data: bytes) -> None:
        reading = self._reading
        if reading == _NOTHING:
            self._taken = len(data)
            self._must_measure = self._taken > self._limits.head_bytes
        elif reading == _LEAVING:
            self._pass_over(data)
            return
        else:
            self._taken += len(data)
            self._unseen += len(data)
            self._must_measure = True
        if self._taken > self._limits.head_bytes and reading != _BODY:
            self._take_long_head(data)
        else:
            self._parse(data)
            if self._unseen > self._limits.head_bytes and self._reading == _BODY:
                self._refuse(raw_responses.HEAD_TOO_LARGE)
        if self._reading == _HEAD and self._taken > _SMALL_HEAD and self._peer is not None:
            self._count_head()

    def _count_head(self) -> None:
        self.budget.set_head(self._taken + _FIELD_BYTES * len(self.headers))
        problem = self.budget.refusal_of_head()
        if problem is not None:
            self.budget.set_head(0)
            self._refuse(LastResponse("held", problem))

    def _parse(self, data: bytes) -> bool:
        """Feed the parser. Returns True if this protocol continues reading."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade()
                return False
            rest = data[upgrade.args[0] :]  # the connection stays HTTP (RFC 9110, 7.8)
            return self._parse(rest) if rest else True
        except httptools.HttpParserError as error:
            self._refuse(_response_to(error))
            return False
        return True

    def _should_upgrade(self) -> bool:
        """Like uvicorn's, for other protocols too."""
        return self._get_upgrade() in self._upgrades or super()._should_upgrade()

    def _upgrade(self) -> None:
        name = self._get_upgrade()
        if self._running is not None or self.pipeline:
            self._refuse(raw_responses.MALFORMED)
        elif name is None or name not in self._upgrades:
            self.handle_websocket_upgrade()
        else:
            self._hand_over(name)

    def _hand_over(self, name: bytes) -> None:
        upgraded = self._upgrades[name]()
        self.connections.discard(self)
        self.connections.add(upgraded)  # type: ignore[arg-type]

        def leave() -> None:
            self.connections.discard(upgraded)
            self._slot.free()

        upgraded.on_lost = leave
        self.transport.write(switching_to(name))
        self.transport.set_protocol(upgraded)
        upgraded.connection_made(self.transport)
        self._forget_requests()

    def handle_websocket_upgrade(self) -> None:
        """Like uvicorn's, which leaves the connection open and unanswered if its WebSocket library refuses the
        request: the library has limits of its own, such as 8 KiB for a field."""
        upgraded: Any = self.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        upgraded.budget, upgraded.below = self.budget, self.below
        self.budget.start_request(self._address(self.headers))
        lines = [b"%b %b HTTP/1.1\r\n" % (self.scope["method"].encode(), self.url)]
        lines += [b"%b: %b\r\n" % field for field in self.headers]
        upgraded.conn.receive_data(b"%b\r\n" % b"".join(lines))
        refusal = _refusal_of_opening(upgraded.conn)
        if refusal is not None:
            self._refuse(refusal)
            return
        self.connections.discard(self)
        if isinstance(upgraded, FalconWebSocketProtocol):
            upgraded.on_lost = self._slot.free
        upgraded.connection_made(self.transport)
        upgraded.handle_events()
        self.transport.set_protocol(upgraded)
        self._forget_requests()

    def _take_long_head(self, data: bytes) -> None:
        """Parse as many bytes as a head may have, and the rest if the head ends there."""
        allowed = len(data) - (self._taken - self._limits.head_bytes)
        self._taken = self._limits.head_bytes
        goes_on = self._parse(data[:allowed])
        if self._reading == _HEAD and self._taken:  # 0: the head is that of the next request
            self._refuse(raw_responses.HEAD_TOO_LARGE)
        elif goes_on:
            self.data_received(data[allowed:])  # it may have to wait

    def _pass_over(self, data: bytes) -> None:
        """The client has been refused. Closing at once would be a reset, and the client would lose the answer."""
        self._taken += len(data)
        if self._taken > _LINGER_BYTES_MAX:
            self.transport.abort()

    # --- the parser's callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reading = _HEAD
        self._since = self.loop.time()
        self._once = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self._limits.target_bytes:
            raise _Refused(raw_responses.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser calls it for the fields after a body too. They are dropped (RFC 9110, 6.5.1): a proxy has checked
        and completed the fields of the head only."""
        if self._reading != _HEAD:
            return
        name = name.lower()
        once = _ONCE.get(name)
        if once is not None:
            if self._once & once:
                raise _Refused(raw_responses.TWICE)
            self._once |= once
            if not once:
                self.expect_100_continue = value.lower() == b"100-continue"
            elif once == _ENCODING and value.lower() != b"chunked":
                raise _Refused(raw_responses.ENCODED)
        headers = self.headers
        if len(headers) >= self._limits.fields:
            raise _Refused(raw_responses.TOO_MANY_FIELDS)
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._must_measure and self._head_size() > self._limits.head_bytes:
            raise _Refused(raw_responses.HEAD_TOO_LARGE)
        if not self._once & _HOST and self.parser.get_http_version() != "1.0":
            raise _Refused(raw_responses.NO_HOST)
        super().on_headers_complete()
        if self._taken > _SMALL_HEAD:
            self.budget.set_head(0)
        self._reading = _BODY
        self._unseen = 0
        self._since = self.loop.time()

    def _head_size(self) -> int:
        """The least size of the head: "METHOD TARGET HTTP/1.1", "NAME:VALUE" for each field, and an empty line."""
        fields = sum(len(name) + len(value) + 3 for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + 14 + fields

    def on_body(self, body: bytes) -> None:
        """Small bodies are not counted: the connection itself takes more memory."""
        self._unseen = 0
        self.flow.untaken += 1
        super().on_body(body)
        if self.cycle.response_complete:
            if self._is_unread_too_long():
                raise _Refused(raw_responses.BODY_UNREAD)
            return
        self._body += len(body)
        if self._body > _SMALL_BODY:
            self.budget.set_bodies(self._body)
            problem = self.budget.refusal_of_body()
            if problem is not None:
                raise _Refused(LastResponse("held", problem))

    def _is_unread_too_long(self) -> bool:
        """True if the client sends too much of its body after an early answer. A whole body in pieces of usual size is
        not too much: a client may read its answer only at the end of it."""
        pieces_max = _UNTAKEN_MAX + self._taken // _SMALL_PIECE
        return self.flow.untaken > pieces_max or self._taken > self._limits.holder_bytes

    def _release_bodies(self) -> None:
        self._body = 0
        self.budget.set_bodies(len(self._unparsed))

    def on_message_complete(self) -> None:
        self._reading = _NOTHING
        self._taken = 0
        super().on_message_complete()
        if self._running is None and self.cycle is not None and self.cycle.response_complete:
            self._since = self.loop.time()  # it was answered before its body had come
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """No request begins while its client has an answer to read: it would hold one more for each request."""
        if self._may_be_unread and self.unread():
            self.flow.pause_reading()
            self.pipeline.append((cycle, app))
            self._wait_for_reader()
            return
        self._running = cycle
        self.budget.start_request(self._peer or self._address(cycle.scope["headers"]))
        super()._start_asgi_task(cycle, app)

    def _address(self, headers: Iterable[tuple[bytes, bytes]]) -> AddressKey:
        return self._sweeper.addresses.of_request(self.client, headers) if self._peer is None else self._peer

    def _wait_for_reader(self) -> None:
        if not self._waits_for_reader:
            self._waits_for_reader = True
            self.loop.call_later(_READER_SECONDS, self._look_for_reader)

    def _look_for_reader(self) -> None:
        self._waits_for_reader = False
        if self.flow is None or self.transport.is_closing() or self._running is not None or not self.pipeline:
            return
        if self.unread():
            self._wait_for_reader()
        else:
            self._begin_next()

    def _begin_next(self) -> None:
        """Begin the request that waits for its turn, if there is one, and read on if none waits after it."""
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.flow.read_paused and not self.pipeline:
            self._parse_kept()

    def on_response_complete(self) -> None:
        """Like uvicorn's, without its timer for the next request."""
        self._running = None
        self.server_state.total_requests += 1
        if self._body and not self.pipeline:
            self._release_bodies()
        if not self.transport.is_closing():
            self.flow.untaken = 0
            # Mostly the kernel has taken all of the answer.
            self._may_be_unread = self.below.get_write_buffer_size() > 0 or (
                self.below is not self.transport and self.transport.get_write_buffer_size() > 0
            )
            if self._may_be_unread:
                self.budget.set_unread(self.unread())
            if self.pipeline or self.flow.read_paused:
                self._begin_next()
        if self._reading == _NOTHING and self.cycle is not None and self.cycle.response_complete:
            self._since = self.loop.time()
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def _forget_requests(self) -> None:
        """The connection has ended, or another protocol reads from it. The parser and the requests refer to this object
        too. If it kept them, only a full collection of garbage would free all of them, and there may be none for
        minutes."""
        self.parser = None  # type: ignore[assignment]
        self.flow = None  # type: ignore[assignment]
        self.pipeline.clear()
        self._unparsed = b""
        self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    # --- time, and ends -----------------------------------------------------------------------------------------------

    def check_time(self, now: float) -> None:
        """Called about once a second."""
        if self._reading == _NOTHING and (self._running is not None or self.pipeline):
            return
        limits = self._limits
        seconds = now - self._since
        if self.transport.is_closing():
            return
        if self._reading == _NOTHING:
            if seconds > limits.idle_seconds:
                self.transport.close()
        elif self._late is not None:
            response, self._late = self._late, None
            self._since = now
            self._respond_last(response)
        elif self._reading == _LEAVING:
            if seconds > limits.linger_seconds and self._running is None:
                self.transport.abort()
        elif self.flow.read_paused:  # Falcon does not read, so the client is not slow
            self._since = now
        elif self._reading == _HEAD:
            if seconds > limits.head_seconds:
                self._refuse(raw_responses.HEAD_TOO_SLOW)
        elif seconds > limits.body_seconds + self._taken / limits.body_bytes_a_second:
            self._refuse(raw_responses.BODY_TOO_SLOW)

    def shutdown(self) -> None:
        """The server stops: refusals that wait go out now."""
        super().shutdown()
        self.budget.end_wait()

    def _refuse(self, response: LastResponse) -> None:
        """Respond if no earlier answer is due, and read nothing more from the connection."""
        metrics.connections_cut.labels(response.reason).inc()
        if response.reason in metrics.JUNK:
            self._sweeper.unknown_requests.count(response.reason)
        in_body, self._reading = self._reading == _BODY, _LEAVING
        self._since, self._taken = self.loop.time(), 0
        self._release_bodies()
        if in_body and self.cycle is not None:
            if self.cycle.response_complete or self.cycle.response_started or self.pipeline:
                self.transport.abort()  # it has an answer, or part of one, or waits for its turn with half a body
                return
            self.cycle.disconnected = True  # for the application the client has gone
            self.cycle.message_event.set()
            self.cycle = self._running = None  # type: ignore[assignment]
        if self._running is not None or self.pipeline:
            self.cycle.keep_alive = False  # the connection closes after the answers that are under way
            return
        if response.reason in metrics.JUNK and self._sweeper.must_wait():
            self._late = response
        else:
            self._respond_last(response)

    def _respond_last(self, response: LastResponse) -> None:
        metrics.http_requests.labels("none", "other", response.status).inc()
        self.transport.write(response.data)
        if self.transport.can_write_eof():
            self.transport.write_eof()
