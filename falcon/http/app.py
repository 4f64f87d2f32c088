"""The public application: routes from the table of operations, and one place where faults become answers."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from falcon.http import web
from falcon.http.api import docs
from falcon.http.api.openapi import document
from falcon.http.api.operations import OPERATIONS, STREAM, Handler
from falcon.http.edge import Edge
from falcon.http.problems import Problem, tables_away
from falcon.http.requests import Answer, problem_answer
from falcon.http.server import held, junk
from falcon.http.server.fanout import is_gone
from falcon.http.server.request_metrics import STATUS, Meter
from falcon.http.stream import sessions
from falcon.read.store import BeingFilled, ReadStoreUnavailable
from falcon.telemetry import tracing

log = logging.getLogger("falcon.http")

_LARGE_BYTES: Final = 64 << 10  # what a client may leave unread before its connection says so

T = TypeVar("T")


class Serving(Protocol):
    """What the application needs of the process that it runs in: an edge, for as long as it serves."""

    def __call__(self) -> AbstractAsyncContextManager[Edge]: ...


def create_app(serving: Serving, cors_origins: Sequence[str] = ()) -> ASGIApp:
    """The application; ``serving`` is entered at start-up and left at shutdown.

    A bare router rather than a Starlette application: what its layers do about exceptions, ``_Faults`` and the
    resources do here, at a tenth of a message's cost less.
    """
    resources = _resources()
    routes: list[BaseRoute] = [Route(path, resource) for path, resource in resources.items()]
    live = _Live(STREAM)
    routes += [Route(STREAM, live), WebSocketRoute(STREAM, live)]
    rendered = {"/openapi.json": _openapi, "/docs": _docs, **web.documents()}
    documents = [_Document(path, render) for path, render in rendered.items()]
    routes += [Route(document.path, document) for document in documents]
    nothing = _NothingThere()

    def lifespan(app: Any) -> AbstractAsyncContextManager[None]:
        return _Lifespan(serving(), [*resources.values(), live, *documents, nothing])

    app: ASGIApp = _Faults(Router(routes, redirect_slashes=False, default=nothing, lifespan=lifespan))
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


class _Faults:
    """The outermost layer: our own faults are answered with 500 and logged, once; and every request is measured."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._meter = Meter([(operation.path, operation.method) for operation in OPERATIONS])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        self._meter.began()
        try:
            await self._app(scope, receive, send)
        except Exception:
            if is_gone(send):
                log.debug("%s %s: nobody is there to be answered", scope["method"], scope["path"], exc_info=True)
                return
            log.exception("%s %s failed", scope["method"], scope["path"])
            scope[STATUS] = 500
            problem = Problem(500, "internal", "This is a fault of Falcon's; it has been logged.")
            with contextlib.suppress(RuntimeError):  # the answer had begun: then it ends short, which clients notice
                await problem_answer(problem)(scope, receive, send)
        finally:
            self._meter.ended(scope, time.monotonic() - began)


class _Lifespan(AbstractAsyncContextManager[None]):
    """Gives every resource the edge, while there is one."""

    def __init__(self, serving: AbstractAsyncContextManager[Edge], resources: "list[_NeedsEdge]") -> None:
        self._serving = serving
        self._resources = resources

    async def __aenter__(self) -> None:
        edge = await self._serving.__aenter__()
        for resource in self._resources:
            resource.edge = edge

    async def __aexit__(self, *error: Any) -> None:
        await self._serving.__aexit__(*error)


class _NeedsEdge(Protocol):
    edge: Edge


class _Resource:
    """The operations at one path, as an ASGI application: knows the caller, and turns problems into answers."""

    edge: Edge

    def __init__(self, path: str) -> None:
        self.path = path
        self.handlers: dict[str, Handler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        handler = self.handlers.get("GET" if request.method == "HEAD" else request.method)
        answer: ASGIApp
        try:
            try:
                if handler is None:
                    self.edge.admit_public(scope)
                    raise self._not_allowed(request.method)
                call = await self.edge.call(request)
                answer = await handler(self.edge, call)
                if request.method == "GET" and len(getattr(answer, "body", b"")) > _LARGE_BYTES:
                    answer = _unless_full(scope, answer)
            except Problem as problem:
                _count_junk(scope, problem)
                answer = problem_answer(problem)
            except ReadStoreUnavailable as error:
                answer = problem_answer(_unreadable(request.method, request.url.path, error))
            except ClientDisconnect:
                return
            tracing.leave(getattr(answer, "status", 200))
            scope[STATUS] = getattr(answer, "status", 200)  # what is streamed begins well
            await answer(scope, receive, send)
        finally:
            self.edge.answered(scope)

    def _not_allowed(self, method: str) -> Problem:
        return _not_allowed(method, [*self.handlers, "HEAD"] if "GET" in self.handlers else list(self.handlers))


def _resources() -> dict[str, _Resource]:
    resources: dict[str, _Resource] = {}
    for operation in OPERATIONS:
        if operation.handler is None:
            continue
        resources.setdefault(operation.path, _Resource(operation.path)).handlers[operation.method] = operation.handler
    return resources


class _Live:
    """The stream, which is a request of its own kind: it may be an upgrade, and lasts."""

    edge: Edge

    def __init__(self, path: str) -> None:
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await sessions.stream_websocket(self.edge, scope, receive, send)
            return
        answer: ASGIApp
        try:
            if scope["method"] != "GET":
                self.edge.admit_public(scope)
                raise _not_allowed(scope["method"], ["GET"])
            answer = await sessions.stream(self.edge, Request(scope, receive))
        except Problem as problem:
            _count_junk(scope, problem)
            answer = problem_answer(problem)
        except ReadStoreUnavailable as error:
            answer = problem_answer(_unreadable("GET", self.path, error))
        scope[STATUS] = getattr(answer, "status", 200)
        await answer(scope, receive, send)


class _Document:
    """A page for people or tools, the same for everybody."""

    edge: Edge

    def __init__(self, path: str, render: Callable[[Request], Response]) -> None:
        self.path = path
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer: ASGIApp
        try:
            self.edge.admit_public(scope)
            if request.method not in ("GET", "HEAD"):
                raise _not_allowed(request.method, ["GET", "HEAD"])
            page = self._render(request)
            answer = _unless_full(scope, page)
            scope[STATUS] = getattr(answer, "status", page.status_code)
        except Problem as problem:
            scope[STATUS] = problem.status
            answer = problem_answer(problem)
        await answer(scope, receive, send)


def _unless_full(scope: Scope, answer: T) -> T | Answer:
    """A large answer, or a refusal where too much waits for clients that take nothing. Nothing was changed by the
    request."""
    problem = held.refusal(scope)
    return answer if problem is None else problem_answer(problem)


def _count_junk(scope: Scope, problem: Problem) -> None:
    if problem.status == 401:
        junk.count(scope, "unauthenticated")


def _not_allowed(method: str, allowed: list[str]) -> Problem:
    allow = (b"allow", ", ".join(sorted(allowed)).encode())
    return Problem(405, "method_not_allowed", f"{method} is not possible here; see /docs.", headers=(allow,))


def _unreadable(method: str, path: str, error: ReadStoreUnavailable) -> Problem:
    if not isinstance(error, BeingFilled):
        log.error("%s %s: %s", method, path, error)
    return tables_away(error)


def _openapi(request: Request) -> Response:
    return Response(_document(), media_type="application/json")


def _docs(request: Request) -> Response:
    url = str(request.base_url).rstrip("/")
    return HTMLResponse(_page().at(url), headers={"content-security-policy": docs.POLICY})


@functools.cache
def _document() -> bytes:
    """Made once: that takes a twentieth of a second, and anybody may ask."""
    return msgspec.json.encode(document())


@functools.cache
def _page() -> docs.Page:
    return docs.Page(document())


class _NothingThere:
    """Where no route leads."""

    edge: Edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await PlainTextResponse("not found", 404)(scope, receive, send)
            return
        junk.count(scope, "nowhere")
        problem = Problem(404, "not_found", f"There is nothing at {scope['path']}; see /docs.")
        try:
            self.edge.admit_public(scope)
        except Problem as refusal:
            problem = refusal
        scope[STATUS] = problem.status
        await problem_answer(problem)(scope, receive, send)
