"""The public application: the API, the stream and the documents on one port, and our own faults as 500."""

import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from falcon.http import web
from falcon.http.api import asyncapi, openapi
from falcon.http.api.operations import OPERATIONS
from falcon.http.api.resources import HasEdge, method_not_allowed, refusal_response, resources
from falcon.http.api.tickets import STREAM
from falcon.http.constant_documents import ConstantDocument
from falcon.http.edge import Edge
from falcon.http.limits.costs import PROCESSOR, SHORT_SECONDS
from falcon.http.limits.limiter import FORWARDED
from falcon.http.problems import Problem, broken
from falcon.http.requests import USAGE
from falcon.http.responses import problem_response
from falcon.http.server import memory_budget, unknown_requests
from falcon.http.server.fanout import is_gone
from falcon.http.server.fast_lane import ROUTE, FastLane
from falcon.http.server.request_metrics import STATUS, Meter
from falcon.http.stream.endpoints import open_stream
from falcon.read.store import ReadStoreUnavailable

log = logging.getLogger("falcon.http")


class EdgeLifespan(Protocol):
    """Gives the application its edge, for as long as it serves."""

    def __call__(self) -> AbstractAsyncContextManager[Edge]: ...


def create_app(serving: EdgeLifespan, cors_origins: Sequence[str] = (), lane: FastLane | None = None) -> ASGIApp:
    """The application; ``serving`` is entered at start-up and left at shutdown. ``lane``: a server's, which gets the
    requests that it takes answered without the router.

    A bare router rather than a Starlette application: ``_Faults`` and the resources handle exceptions, for a tenth less
    of a message's cost than Starlette's layers.
    """
    lifespan = _Lifespan(serving)
    found = resources(lifespan)
    routes: list[BaseRoute] = [Route(path, resource) for path, resource in found.items()]
    stream = _Stream(lifespan)
    routes += [Route(STREAM, stream), WebSocketRoute(STREAM, stream)]
    rendered: dict[str, web.Render] = {
        "/openapi.json": _answered(openapi.document),
        "/asyncapi.json": _answered(asyncapi.document),
        **web.documents(),
    }
    routes += [Route(path, _Document(path, render, lifespan)) for path, render in rendered.items()]
    router = Router(routes, redirect_slashes=False, default=_NotFound(lifespan), lifespan=lifespan.serve)
    faults = _Faults(router, lifespan)
    app: ASGIApp = faults
    if lane is not None:
        messages = found[ROUTE]
        lane.attach(messages, partial(faults.answer, messages.answer), faults.watch, origins=not cors_origins)
    if cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "Falcon-Position",
                "Falcon-Wait",
                "Last-Event-ID",
                "traceparent",
            ],
            expose_headers=[
                "Falcon-Position",
                "Idempotency-Replayed",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
                "ETag",
            ],
        )
    return app


class _Lifespan:
    """Holds the edge while the application serves."""

    edge: Edge

    def __init__(self, serving: EdgeLifespan) -> None:
        self._serving = serving

    @asynccontextmanager
    async def serve(self, app: Any) -> AsyncIterator[None]:
        async with self._serving() as edge:
            self.edge = edge
            yield


class _Faults:
    """The outermost layer: logs our own faults once and answers them with 500, and measures every request."""

    def __init__(self, app: ASGIApp, serving: HasEdge) -> None:
        self._app = app
        self._serving = serving
        self._meter = Meter([(operation.path, operation.method) for operation in OPERATIONS])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            scope["method"] = "GET"  # of the request that opens it
            send = partial(_send_before_upgrade, send=send)
        self.watch(scope)
        await self.answer(self._app, scope, receive, send)

    def watch(self, scope: Scope) -> None:
        """Look if a proxy that is not named has passed the request on."""
        watch = self._serving.edge.limiter.watch
        if watch is not None and not FORWARDED.isdisjoint(dict(scope["headers"])):
            watch(scope)

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer a request, for which its account then pays."""
        began = time.perf_counter()
        self._meter.in_flight += 1
        try:
            await app(scope, receive, send)
        except Exception:
            if is_gone(send):
                log.debug("%s %s: the client has gone", scope["method"], scope["path"], exc_info=True)
                return
            log.exception("%s %s failed", scope["method"], scope["path"])
            scope[STATUS] = 500
            problem = Problem(500, "internal", "This is a fault of Falcon's; it has been logged.")
            with contextlib.suppress(RuntimeError):  # the response had begun: it ends early, which clients notice
                await problem_response(problem)(scope, receive, send)
        finally:
            now = time.perf_counter()
            self._meter.ended(scope, now - began)
            if now - began > SHORT_SECONDS and USAGE in scope:
                self._serving.edge.limiter.leave(scope[USAGE], PROCESSOR.spent(now))


async def _send_before_upgrade(message: Message, send: Send) -> None:
    """The response to the request for a WebSocket that is refused has types of its own in ASGI."""
    kind = message["type"]
    await send({**message, "type": f"websocket.{kind}"} if kind.startswith("http.") else message)


class _Stream:
    """The stream is neither a command nor a query: the request may be an upgrade, and it lasts."""

    path = STREAM

    def __init__(self, app: HasEdge) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        edge = self._app.edge
        response: ASGIApp
        try:
            if scope["method"] != "GET":
                edge.authenticator.count_public(scope)
                raise method_not_allowed(scope["method"], ["GET"])
            response = await open_stream(edge.streams, edge.authenticator, scope)
        except (Problem, ReadStoreUnavailable) as refusal:
            response = refusal_response(scope, refusal)
        scope[STATUS] = getattr(response, "status", 200)
        await response(scope, receive, send)


class _Document:
    """A page that is the same for every caller. It is answered also while clients hold as much memory as they may: what
    waits for a slow client is a reference to bytes that are there already."""

    def __init__(self, path: str, render: web.Render, app: HasEdge) -> None:
        self.path = path
        self._render = render
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: ASGIApp
        try:
            edge = self._app.edge
            if request.method not in ("GET", "HEAD"):
                edge.authenticator.count_public(scope)
                raise method_not_allowed(request.method, ["GET", "HEAD"])
            edge.limiter.count_document(scope)
            response = page = self._render(request)
            memory_budget.share_answer(scope)
            scope[STATUS] = page.status
        except Problem as problem:
            scope[STATUS] = problem.status
            response = problem_response(problem)
        await response(scope, receive, send)


class _NotFound:
    """Answers requests that no route matches."""

    def __init__(self, app: HasEdge) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unknown_requests.count_request(scope, "nowhere")
        rule = broken("path", "must be a path that /docs lists")
        problem = Problem(404, "not_found", f"There is nothing at {scope['path']}; see /docs.", rule)
        try:
            self._app.edge.authenticator.count_public(scope)
        except Problem as refusal:
            problem = refusal
        scope[STATUS] = problem.status
        await problem_response(problem)(scope, receive, send)


# --- documents --------------------------------------------------------------------------------------------------------

_ASK: Final = (b"cache-control", b"no-cache")  # clients ask each time, and mostly get 304


def _answered(make: Callable[[], dict[str, Any]]) -> web.Render:
    """Made once, when it is asked for: it takes a tenth of a second, and requests for it need no token."""
    made = functools.cache(lambda: ConstantDocument(msgspec.json.encode(make()), "application/json", _ASK))
    return lambda request: made().answer(dict(request.scope["headers"]))
