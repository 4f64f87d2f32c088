"""Refusing at the door: what would find no room is refused before anything is made of it.

Under more than can be carried most of the work is refusing. A refusal that was parsed, routed and authenticated costs
half of what an accepted message does, so that at three times the limit nothing would be left for accepting. Here it is
a look at the bytes and a write of ready ones: a tenth.
"""

import asyncio
import functools
import logging
import math
import re
import socket
from collections.abc import Callable
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError

from falcon.domain.ids import AccountId, partition_of
from falcon.http.limits.addresses import AddressKey
from falcon.http.problems import Problem, from_unavailable
from falcon.http.server import held, junk
from falcon.http.server.connections import Limits, Sweep
from falcon.http.server.held import Share
from falcon.telemetry import metrics
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Unavailable

log = logging.getLogger("falcon.http")

_ROUTE: Final = "/v1/rooms/{room_id}/messages"
_SEND: Final = re.compile(rb"POST /v1/rooms/([0-9]{1,16})/messages HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]{1,7})\r\n", re.IGNORECASE)
# Bodies without a length, questions before the body, connections that end, and browsers, who want to be told more.
_UNUSUAL: Final = re.compile(
    rb"\r\n(?:transfer-encoding:|expect:|origin:|connection:(?! ?keep-alive\r))", re.IGNORECASE
)

# It tells accounts apart and may be false: the edge checks the token of each request that is let in.
_ACCOUNT: Final = re.compile(rb"\r\nauthorization: ?bearer falcon_([0-9]{1,16})_", re.IGNORECASE)

# What a connection is reading.
_NOTHING: Final = 0  # it is between two requests
_HEAD: Final = 1
_BODY: Final = 2
_LEAVING: Final = 3  # what comes is passed over, until the client has gone
_LINGER_BYTES_MAX: Final = 256 << 10
_SMALL_BODY: Final = 4 << 10
# Given to the parser at once. It makes some kilobytes of each request, of which a few bytes may be enough.
_PIECE: Final = 1 << 10
# The bit by which a field is known to have come: none twice, but for Expect, which is only looked at.
_ONCE: Final = {b"host": 1, b"authorization": 2, b"expect": 0}

# No browser guesses what an answer is, or shows it within another page.
_GUARDS: Final = b"x-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
# Every answer of uvicorn's begins with one of these. It would look at fields that are handed over at each answer, which
# costs a microsecond each.
STATUS_LINE.update({status: line + _GUARDS for status, line in STATUS_LINE.items()})


def require_https(seconds: int) -> None:
    """From now on every answer tells browsers to come by HTTPS only, for so long (HSTS)."""
    field = b"strict-transport-security: max-age=%d\r\n" % seconds
    STATUS_LINE.update({status: line + field for status, line in STATUS_LINE.items()})


class Door:
    """Of one event loop. It lets everything in until it stands before a gateway."""

    def __init__(self) -> None:
        self._gateway: CommandGateway | None = None
        self._partitions = 1
        self._refusal = _answer(from_unavailable(Unavailable("overloaded")), closes=False)
        self._refused = metrics.commands.labels("PostMessage", "overloaded")
        self._answered = metrics.http_requests.labels(_ROUTE, "POST", "5xx")

    def stand_before(self, gateway: CommandGateway, partitions: int) -> None:
        self._gateway = gateway
        self._partitions = partitions

    def refusal(self, data: bytes) -> bytes | None:
        """The answer to bytes that are a whole request to send a message for which there is no room."""
        send = _SEND.match(data)
        if send is None or self._gateway is None:
            return None
        lane = self._gateway.lane(partition_of(int(send[1]), self._partitions))
        if lane is None or lane.expects() or not _is_whole(data):
            return None
        account_id = _claimed_account(data)
        if account_id is not None and lane.yields_to(account_id):
            return None
        lane.rejected()
        self._refused.inc()
        self._answered.inc()
        return self._refusal


class _Refused(Exception):
    """Raised within the parser, which passes it on as the context of its own error."""

    def __init__(self, refusal: "_Refusal") -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class _Counted:
    """A protocol of uvicorn's, with what waits for its client counted."""

    share: Share
    transport: asyncio.Transport

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()  # type: ignore[misc]
        self.share.set_unread(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[misc]
        self.share.set_unread(0)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)  # type: ignore[misc]
        self.share.release()


class WebSocket(_Counted, WebSocketsSansIOProtocol):
    """uvicorn's. The connection still counts for its address."""

    on_lost: Callable[[], None] | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(error)


class _Flow(FlowControl):
    """uvicorn's, which reads on whenever an application waits for a body. While this is ``held`` it does not."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Protocol(_Counted, HttpToolsProtocol):
    """uvicorn's, with a door before it and limits to what a client may send, and how slowly.

    uvicorn has no limits of its own: a head without end is collected for ever, and concatenated anew with each piece.
    ``check_time`` is called once a second, and nothing else keeps the time.

    Once a request is answered, nothing of it is kept. A connection that waits for its next request would else hold some
    twenty objects of the last one: thousands of them are what the garbage collector looks at again and again, for tens
    of milliseconds each time.
    """

    def __init__(self, door: Door, sweep: Sweep, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.share = Share(sweep.held)
        self.app_state = {**self.app_state, held.KEY: self.share, junk.KEY: sweep.junk}
        self._door = door
        self._sweep = sweep
        self._limits = sweep.limits
        self._reading = _NOTHING
        self._since = 0.0  # when it began with what it is reading, or the last answer ended
        self._taken = 0  # of the head, in whole pieces; or of the body
        self._unseen = 0  # of these, what came since the last piece of a body: fields behind it
        self._must_measure = False  # the head may be longer than what was counted of it
        self._once = 0
        self._body = 0  # of all requests that are not answered
        self._behind = b""  # what came behind requests that wait for their turn: it is not parsed yet
        self._address: AddressKey | None = None
        self._running: RequestResponseCycle | None = None  # the request that is being answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        sent_from: socket.socket = transport.get_extra_info("socket")
        sent_from.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.kernel_bytes)
        self._since = self.loop.time()
        per_address = self._sweep.per_address
        address = per_address.of(self.client)
        if not self._sweep.admits(self.connections, self.loop):
            self._turn_away(_FULL)
        elif per_address.enter(address):
            self._address = address
        else:
            self._turn_away(_Refusal("address", per_address.refusal()))

    def _turn_away(self, refusal: "_Refusal") -> None:
        metrics.connections_cut.labels(refusal.reason).inc()
        self._reading = _LEAVING
        self.transport.write(refusal.answer)
        self.transport.close()  # at once: the descriptor may be one of those that are kept

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells only the request that was parsed last. One that is being answered may be before it."""
        self._sweep.per_address.leave(self._address)
        running, self._running = self._running, None
        super().connection_lost(exc)
        if running is not None:
            running.disconnected = True
            running.message_event.set()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A piece may hold thousands of requests. While any wait for their turn, nothing more is made of it."""
        if len(data) <= _PIECE and not self.pipeline and not self._behind:
            self._receive(data)
            return
        for start in range(0, len(data), _PIECE):
            if self.pipeline or self._behind:
                self._keep(data[start:])
                return
            self._receive(data[start : start + _PIECE])
            if self.transport.get_protocol() is not self:
                return  # it is a WebSocket's now, and before the answer its client has nothing to say

    def _keep(self, data: bytes) -> None:
        """Until the requests before it are answered. Reading rests meanwhile, so it is one piece."""
        self.flow.held = True
        self.flow.pause_reading()
        self._behind += data
        self.share.set_bodies(self._body + len(self._behind))
        if self.share.refusal_of_body() is not None:
            metrics.connections_cut.labels("held").inc()
            self.transport.abort()

    def _go_on(self) -> None:
        """No request waits for its turn."""
        behind, self._behind = self._behind, b""
        self.flow.held = False
        self.flow.resume_reading()
        if behind:
            self.share.set_bodies(self._body)
            self.data_received(behind)

    def _receive(self, data: bytes) -> None:
        reading = self._reading
        if reading == _NOTHING:
            # Behind a request that is still being answered everything has to wait for its turn, and so has a client
            # that does not read the answers.
            if not self.flow.write_paused and self._is_answered():
                refusal = self._door.refusal(data)
                if refusal is not None:
                    self._since = self.loop.time()
                    self.transport.write(refusal)
                    return
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
            self._take(data)
            if self._unseen > self._limits.head_bytes and self._reading == _BODY:
                self._refuse(_HEAD_TOO_LARGE)

    def _take(self, data: bytes) -> bool:
        """Whether this protocol goes on reading."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return False
            log.debug("a client asked for an upgrade that there is not")
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _Refused) else _MALFORMED)
            return False
        return True

    def handle_websocket_upgrade(self) -> None:
        """As uvicorn's, which leaves a connection open, and unanswered, where its WebSocket library does not take the
        request: that one has limits of its own, such as 8 KiB for a field."""
        if not self._is_answered():
            self._refuse(_MALFORMED)
            return
        upgraded: Any = self.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        upgraded.share = self.share
        lines = [b"%b %b HTTP/1.1\r\n" % (self.scope["method"].encode(), self.url)]
        lines += [b"%b: %b\r\n" % field for field in self.headers]
        upgraded.conn.receive_data(b"%b\r\n" % b"".join(lines))
        error = upgraded.conn.handshake_exc
        if error is not None:
            self._refuse(_HEAD_TOO_LARGE if isinstance(error, SecurityError) else _MALFORMED)
            return
        self.connections.discard(self)
        if isinstance(upgraded, WebSocket):
            upgraded.on_lost = functools.partial(self._sweep.per_address.leave, self._address)
        upgraded.connection_made(self.transport)
        upgraded.handle_events()
        self.transport.set_protocol(upgraded)

    def _take_long_head(self, data: bytes) -> None:
        """So much of it as a head may have, and the rest if the head ends there."""
        allowed = len(data) - (self._taken - self._limits.head_bytes)
        self._taken = self._limits.head_bytes
        goes_on = self._take(data[:allowed])
        if self._reading == _HEAD and self._taken:  # it is not another request's, behind one that is complete
            self._refuse(_HEAD_TOO_LARGE)
        elif goes_on:
            self.data_received(data[allowed:])  # which may have to wait

    def _pass_over(self, data: bytes) -> None:
        """The client has been refused. To close at once would be a reset, and lose it the answer."""
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
            raise _Refused(_TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also for the fields behind a body."""
        name = name.lower()
        once = _ONCE.get(name)
        if once is not None:
            if self._once & once:
                raise _Refused(_TWICE)
            self._once |= once
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        headers = self.headers
        if len(headers) >= self._limits.fields:
            raise _Refused(_TOO_MANY_FIELDS)
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._must_measure and self._head_size() > self._limits.head_bytes:
            raise _Refused(_HEAD_TOO_LARGE)
        super().on_headers_complete()
        self._reading = _BODY
        self._unseen = 0
        self._since = self.loop.time()

    def _head_size(self) -> int:
        """At least so much has come: "METHOD TARGET HTTP/1.1", "NAME:VALUE" for each field, and an empty line."""
        fields = sum(len(name) + len(value) + 3 for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + 14 + fields

    def on_body(self, body: bytes) -> None:
        """Of small bodies the connection itself is the larger part: they are not counted."""
        self._unseen = 0
        super().on_body(body)
        if self.cycle.response_complete:
            return
        self._body += len(body)
        if self._body > _SMALL_BODY:
            self.share.set_bodies(self._body)
            problem = self.share.refusal_of_body()
            if problem is not None:
                raise _Refused(_Refusal("held", problem))

    def _let_bodies_go(self) -> None:
        self._body = 0
        self.share.set_bodies(len(self._behind))

    def on_message_complete(self) -> None:
        self._reading = _NOTHING
        self._taken = 0
        super().on_message_complete()
        self._rest()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self.share.begins()
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer for the next request."""
        self._running = None
        self.server_state.total_requests += 1
        if not self.pipeline:
            self._let_bodies_go()
        if not self.transport.is_closing():
            if self.pipeline:
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
            if not self.pipeline:
                self._go_on()
        self._rest()

    def _rest(self) -> None:
        """Nothing of a request that was answered is kept."""
        if self._reading == _NOTHING and self.cycle is not None and self.cycle.response_complete:
            self._since = self.loop.time()
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def _is_answered(self) -> bool:
        """No answer is under way."""
        return self.cycle is None or self.cycle.response_complete

    # --- time, and ends -----------------------------------------------------------------------------------------------

    def check_time(self, now: float) -> None:
        """Called about once a second."""
        if self._reading == _NOTHING and not self._is_answered():
            return
        limits = self._limits
        seconds = now - self._since
        if self.transport.is_closing():
            return
        if self._reading == _NOTHING:
            if seconds > limits.idle_seconds:
                self.transport.close()
        elif self._reading == _LEAVING:
            if seconds > limits.linger_seconds and self._is_answered():
                self.transport.abort()
        elif self.flow.read_paused:  # it is we who take no more
            self._since = now
        elif self._reading == _HEAD:
            if seconds > limits.head_seconds:
                self._refuse(_HEAD_TOO_SLOW)
        elif seconds > limits.body_seconds + self._taken / limits.body_bytes_a_second:
            self._refuse(_BODY_TOO_SLOW)

    def _refuse(self, refusal: "_Refusal") -> None:
        """Answer if it is this answer's turn, and read nothing more of the connection."""
        metrics.connections_cut.labels(refusal.reason).inc()
        if refusal.reason in metrics.JUNK:
            self._sweep.junk.count(refusal.reason)
        in_body, self._reading = self._reading == _BODY, _LEAVING
        self._since, self._taken = self.loop.time(), 0
        self._let_bodies_go()
        if in_body and self.cycle is not None:
            if self.cycle.response_complete or self.cycle.response_started or self.pipeline:
                self.transport.abort()  # it has its answer, or some of one, or waits for its turn with half a body
                return
            self.cycle.disconnected = True  # the application finds the client gone
            self.cycle.message_event.set()
            self.cycle = None  # type: ignore[assignment]
        if not self._is_answered():
            self.cycle.keep_alive = False  # the connection ends with the answers that are under way
            return
        metrics.http_requests.labels("none", "other", refusal.status).inc()
        self.transport.write(refusal.answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _claimed_account(data: bytes) -> AccountId | None:
    claimed = _ACCOUNT.search(data)
    return None if claimed is None else int(claimed[1])


def _is_whole(data: bytes) -> bool:
    """These bytes are one request with a body, all of it and nothing else, that may be answered and forgotten."""
    end = data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2)
    return length is not None and len(data) == end + 4 + int(length[1]) and _UNUSUAL.search(data, 0, end + 2) is None


def _answer(problem: Problem, *, closes: bool) -> bytes:
    """All of it, as it goes over the wire."""
    body = problem.body()
    retry = b"" if problem.retry_after is None else b"retry-after: %d\r\n" % max(1, math.ceil(problem.retry_after))
    retry += b"".join(b"%b: %b\r\n" % field for field in problem.headers)
    connection = b"connection: close\r\n" if closes else b""
    content = b"content-length: %d\r\ncontent-type: application/problem+json\r\n" % len(body)
    return b"%b%b%b%b\r\n%b" % (STATUS_LINE[problem.status], content, retry, connection, body)


class _Refusal:
    """The last answer of a connection; ``reason``: one of metrics.CUTS."""

    def __init__(self, reason: str, problem: Problem) -> None:
        self.reason = reason
        self.status = f"{problem.status // 100}xx"
        self._problem = problem

    @functools.cached_property
    def answer(self) -> bytes:
        """Made when it is first needed: what every answer has may be set until then."""
        return _answer(self._problem, closes=True)


_LIMITS: Final = Limits()
_MALFORMED: Final = _Refusal("malformed", Problem(400, "malformed", "This is no HTTP request."))
_TWICE: Final = _Refusal("malformed", Problem(400, "malformed", "A request has one Host and one Authorization."))
_HEAD_TOO_SLOW: Final = _Refusal("timeout", Problem(408, "timeout", "The request's head did not come in time."))
_BODY_TOO_SLOW: Final = _Refusal("timeout", Problem(408, "timeout", "The request's body did not come in time."))
_TARGET_TOO_LONG: Final = _Refusal(
    "too_large", Problem(414, "too_large", f"The request's target is longer than {_LIMITS.target_bytes} bytes.")
)
_HEAD_TOO_LARGE: Final = _Refusal(
    "too_large", Problem(431, "too_large", f"The request's head is larger than {_LIMITS.head_bytes} bytes.")
)
_TOO_MANY_FIELDS: Final = _Refusal(
    "too_large", Problem(431, "too_large", f"The request's head has more than {_LIMITS.fields} fields.")
)
_FULL: Final = _Refusal("full", Problem(503, "overloaded", "There are too many connections.", retry_after=1))
