"""A short way for the two requests that come most: a message is sent, and a page is read.

uvicorn's parser calls a function for each part of a request, a router looks for its route, and a task of its own
answers it: half of what a page costs. Here one look at the bytes recognises a usual request that has come whole. The
same application answers it, at once up to its first wait, and on from there when what it waits for is done. All other
requests go through uvicorn and the router, as all would without this lane.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from falcon.domain.ids import ID_MAX
from falcon.http.limits.costs import ASK_SECONDS, PROCESSOR
from falcon.http.limits.limiter import FORWARDED
from falcon.http.limits.usages import Usage
from falcon.http.requests import BODY, FIELDS, ROOM, USAGE, Headers

log = logging.getLogger("falcon.http")

ROUTE: Final = "/v1/rooms/{room_id}/messages"
_FIELD: Final = rb"[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n"
# Tokens are in a field, so a query is short; the fields are as many as a browser sends.
_HEAD: Final = re.compile(
    rb"(POST|GET) (/v1/rooms/([0-9]{1,16})/messages)(?:\?([!\"$-~]{1,64}))? HTTP/1\.1\r\n((?:%b){2,30})\r\n" % _FIELD
)
# Fields that change how a request is read, or how it is answered.
_UNUSUAL: Final = frozenset(
    b"content-encoding expect falcon-position falcon-wait http2-settings if-none-match keep-alive origin"
    b" proxy-connection te traceparent trailer transfer-encoding upgrade".split()
)
_KEEP_ALIVE: Final = b"keep-alive"
_DIGITS_MAX: Final = 4  # of a Content-Length: what comes whole is short

# Answers a request of the route.
Answer: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class FastLane:
    """One instance for each event loop. It takes no request until it is attached to an application."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._endpoint: object = None
        self._unusual = self._noted = _UNUSUAL

    def attach(self, endpoint: object, answer: Answer, watch: Callable[[Scope], None], *, origins: bool) -> None:
        """``endpoint``: what the router would find for the route. ``watch``: gets each request that a proxy has passed
        on. ``origins``: an Origin changes no answer."""
        self._endpoint, self._answer, self._watch = endpoint, answer, watch
        self._unusual = _UNUSUAL - {b"origin"} if origins else _UNUSUAL
        self._noted = self._unusual | FORWARDED

    def request_in(self, data: bytes, protocol: Any) -> "LaneRequest | None":
        """The request, if ``data`` is one usual request, and all of it."""
        head = _HEAD.match(data)
        if head is None or self._answer is None:
            return None
        method, path, room_id, query, lines = head.groups()
        fields, named = (_known_fields if method == b"GET" and len(lines) <= _KNOWN_BYTES else _fields)(lines)
        is_plain = self._noted.isdisjoint(named)
        if (
            len(named) != len(fields)
            or b"host" not in named
            or not (is_plain or self._unusual.isdisjoint(named))
            or named.get(b"connection", _KEEP_ALIVE).lower() != _KEEP_ALIVE
        ):
            return None
        body = data[head.end() :]
        length = named.get(b"content-length")
        if length is None:
            if body or method == b"POST":
                return None
        elif not (length.isdigit() and len(length) <= _DIGITS_MAX and int(length) == len(body)) or method == b"GET":
            return None
        scope = {
            "type": "http",
            "method": method.decode(),
            "path": path.decode(),
            "query_string": query or b"",
            "headers": fields,
            "client": protocol.client,
            "state": protocol.app_state,
            "endpoint": self._endpoint,
            "path_params": {"room_id": room_id.decode()},
            ROOM: number if (number := int(room_id)) <= ID_MAX else 0,
            BODY: body,
            FIELDS: named,
        }
        if not is_plain:
            self._watch(scope)
        return LaneRequest(scope, self._answer, protocol)


def _fields(lines: bytes) -> tuple[list[tuple[bytes, bytes]], Headers]:
    fields = []
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b": ")
        fields.append((name.lower(), value))
    return fields, dict(fields)


# A client reads again and again with the same fields. Each message has a length or a key of its own. A browser's fields
# are shorter than this. Before a token is looked at they may be a stranger's: 4 MB at most are kept.
_KNOWN_BYTES: Final = 1 << 10
_known_fields: Final = lru_cache(maxsize=1_000)(_fields)

# The body is complete, so that no work waits for this event.
_COMPLETE: Final = SimpleNamespace(set=bool)


class LaneRequest(RequestResponseCycle):
    """A request and its response, as uvicorn has them, and the work that answers it, in place of a task.

    To what it waits for it is a task (docs.python.org: "Extending", third-party tasks), since a time limit cancels one.
    """

    default_headers: Any = []  # noqa: RUF012
    access_log = False
    message_event: Any = _COMPLETE
    disconnected = False
    keep_alive = True
    waiting_for_100_continue = False
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _awaited: asyncio.Future[Any] | None = None
    _seconds = 0.0  # that its steps have taken
    _usage: Usage | None = None  # for which it is under way
    _cancels = 0
    _must_cancel = False  # at the next wait, once

    def __init__(self, scope: Any, answer: Any, protocol: Any) -> None:
        """Unlike uvicorn's, which is given what is the same for all of a connection's, and sets what begins alike."""
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.on_response = protocol.on_response_complete
        self._loop: asyncio.AbstractEventLoop = protocol.loop
        self._work = answer(scope, self.receive, self.send)
        self._context = copy_context()

    async def receive(self) -> Message:  # type: ignore[override]
        body = self.scope[BODY]  # type: ignore[typeddict-item]
        return {"type": "http.request", "body": body, "more_body": False}

    def step(self, done: "asyncio.Future[Any] | None" = None) -> None:
        """Work up to the next wait."""
        self._awaited = None
        PROCESSOR.before, PROCESSOR.began = self._seconds, time.perf_counter()
        if PROCESSOR.began - PROCESSOR.asked_at > ASK_SECONDS:
            PROCESSOR.ask(PROCESSOR.began)
        asyncio._enter_task(self._loop, self)  # type: ignore[arg-type]
        try:
            awaited = self._context.run(self._work.send, None)
        except BaseException as end:
            if self._usage is not None:
                self._usage.under_way -= 1
            if not isinstance(end, StopIteration):
                log.error("a request of the fast lane ended unanswered", exc_info=end)
            if not self.response_complete and not self.disconnected:
                self.transport.close()
        else:
            self._seconds = PROCESSOR.spent(time.perf_counter())
            if self._usage is None and USAGE in self.scope:
                self._usage = self.scope[USAGE]  # type: ignore[typeddict-item]
                self._usage.under_way += 1
            if awaited is None:  # it lets others work
                self._loop.call_soon(self.step)
            else:
                awaited._asyncio_future_blocking = False
                awaited.add_done_callback(self.step)
                self._awaited = awaited
                if self._must_cancel:
                    self._must_cancel = not awaited.cancel()
        finally:
            asyncio._leave_task(self._loop, self)  # type: ignore[arg-type]

    # --- what a time limit asks of a task -----------------------------------------------------------------------------

    def cancel(self, message: object = None) -> bool:
        self._cancels += 1
        self._must_cancel = self._awaited is None or not self._awaited.cancel()
        return True

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        self._cancels -= 1
        return self._cancels
