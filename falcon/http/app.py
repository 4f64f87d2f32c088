"""The public application: routes from the table of operations, and one place where faults become answers."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from falcon.http import docs
from falcon.http.edge import Edge
from falcon.http.openapi import document
from falcon.http.operations import OPERATIONS, Handler
from falcon.http.problems import Problem
from falcon.http.wire import problem_answer
from falcon.read.store import ReadStoreUnavailable

log = logging.getLogger("falcon.http")


class Serving(Protocol):
    """What the application needs of the process that it runs in: an edge, for as long as it serves."""

    def __call__(self) -> AbstractAsyncContextManager[Edge]: ...


def create_app(serving: Serving, cors_origins: Sequence[str] = ()) -> Starlette:
    """The application; ``serving`` is entered at start-up and left at shutdown."""
    resources = _resources()
    routes = [Route(path, resource, methods=list(resource.handlers)) for path, resource in resources.items()]
    routes += [Route("/openapi.json", _openapi), Route("/docs", _docs), Route("/", _index)]
    middleware = []
    if cors_origins:
        middleware = [
            Middleware(
                CORSMiddleware,
                allow_origins=list(cors_origins),
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Falcon-Position", "Falcon-Wait"],
                expose_headers=["Falcon-Position", "Idempotency-Replayed", "Retry-After", "ETag"],
            )
        ]

    def lifespan(app: Starlette) -> AbstractAsyncContextManager[None]:
        return _Lifespan(serving(), list(resources.values()))

    return Starlette(
        routes=routes,
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={404: _no_route, 405: _no_method, Exception: _fault},
    )


class _Lifespan(AbstractAsyncContextManager[None]):
    """Gives every resource the edge, while there is one."""

    def __init__(self, serving: AbstractAsyncContextManager[Edge], resources: "list[_Resource]") -> None:
        self._serving = serving
        self._resources = resources

    async def __aenter__(self) -> None:
        edge = await self._serving.__aenter__()
        for resource in self._resources:
            resource.edge = edge

    async def __aexit__(self, *error: Any) -> None:
        await self._serving.__aexit__(*error)


class _Resource:
    """The operations at one path, as an ASGI application: knows the caller, and turns problems into answers."""

    edge: Edge

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        handler = self.handlers["GET" if request.method == "HEAD" else request.method]
        try:
            call = await self.edge.call(request)
            answer = await handler(self.edge, call)
        except Problem as problem:
            answer = problem_answer(problem)
        except ReadStoreUnavailable as error:
            log.error("%s %s: %s", request.method, request.url.path, error)
            answer = problem_answer(Problem(503, "unavailable", "The read tables cannot be read.", retry_after=1))
        except ClientDisconnect:
            return
        await answer(scope, receive, send)


def _resources() -> dict[str, _Resource]:
    resources: dict[str, _Resource] = {}
    for operation in OPERATIONS:
        resources.setdefault(operation.path, _Resource()).handlers[operation.method] = operation.handler
    return resources


async def _openapi(request: Request) -> Response:
    return Response(msgspec.json.encode(document()), media_type="application/json")


async def _docs(request: Request) -> Response:
    url = str(request.base_url).rstrip("/")
    return HTMLResponse(docs.page(document(), url), headers={"content-security-policy": docs.POLICY})


async def _index(request: Request) -> Response:
    return Response(b'{"name":"Falcon","docs":"/docs","openapi":"/openapi.json"}', media_type="application/json")


async def _no_route(request: Request, error: Exception) -> Response:
    return _response(Problem(404, "not_found", f"There is nothing at {request.url.path}; see /docs."))


async def _no_method(request: Request, error: Exception) -> Response:
    headers = error.headers if isinstance(error, HTTPException) else None
    detail = f"{request.method} is not possible here; see /docs."
    return _response(Problem(405, "method_not_allowed", detail), headers)


async def _fault(request: Request, error: Exception) -> Response:
    """Our own fault. Starlette raises it again behind the answer, for the server to log once."""
    return _response(Problem(500, "internal", "This is a fault of Falcon's; it has been logged."))


def _response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(problem.body(), problem.status, headers, "application/problem+json")
