"""The operations at one path as an ASGI application: authenticates the caller, and turns problems into responses."""

import logging
from typing import Final, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from falcon.domain.ids import NOBODY
from falcon.features.accounts.rules import Scope as TokenScope
from falcon.features.accounts.table import AccountRow
from falcon.http.api.operation import Handler
from falcon.http.api.operations import OPERATIONS
from falcon.http.api.permissions import Permission
from falcon.http.edge import Edge
from falcon.http.limits.costs import stepwise
from falcon.http.problems import Problem, broken, check_scopes, tables_away
from falcon.http.requests import FIELDS, USAGE, AuthedRequest, Headers
from falcon.http.responses import BUDGET, BytesResponse, problem_response
from falcon.http.server import memory_budget, unknown_requests
from falcon.http.server.memory_budget import ConnectionBudget
from falcon.http.server.request_metrics import STATUS
from falcon.http.server.whole_responses import write_whole
from falcon.read.store import BeingFilled, ReadStoreUnavailable
from falcon.telemetry import tracing

log = logging.getLogger("falcon.http")

_LARGE_BYTES: Final = 64 << 10  # an answer that a client may leave unread, which its connection then counts
_SMALL_BYTES: Final = 4 << 10  # answers to which the rate of reads is bound enough
_OF_PAGES: Final = ("GET", "/v1/sign-in")  # the same for all, and asked by every page: it counts as the page's files do

_STRANGER: Final = AccountRow(NOBODY, "", "guest", "")  # who asks without a token

T = TypeVar("T")


class HasEdge(Protocol):
    """``edge`` exists while the application serves."""

    @property
    def edge(self) -> Edge: ...


class Resource:
    def __init__(self, path: str, app: HasEdge) -> None:
        self.path = path
        self.handlers: dict[str, Handler] = {}
        self.public: set[str] = set()  # methods that need no token
        self.scopes: dict[str, tuple[TokenScope, ...]] = {}
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = self.answer(scope, receive, send)
        await (stepwise(work, scope) if self._app.edge.limiter.limits_requests else work)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where accounts pay for what their requests cost, the caller measures the steps of this one."""
        edge = self._app.edge
        method = scope["method"]
        kind = "GET" if method == "HEAD" else method
        handler = self.handlers.get(kind)
        response: ASGIApp
        try:
            if handler is None:
                edge.authenticator.count_public(scope)
                raise method_not_allowed(
                    method, [*self.handlers, "HEAD"] if "GET" in self.handlers else [*self.handlers]
                )
            if kind in self.public:
                request = unauthenticated(edge, scope, receive)
            else:
                request = await authenticated(edge, scope, receive)
                if request.account.token is not None and request.account.token.scopes is not None:
                    check_scopes(request.account.token, self.scopes[kind])
            response = await handler(edge, request)
            if method == "GET":
                size = len(getattr(response, "body", b""))
                if size > _SMALL_BYTES:
                    if USAGE in scope:
                        usage = scope[USAGE]
                        usage.sent += size
                        if usage.sent > edge.limiter.portion_bytes:
                            edge.limiter.settle(usage)
                    if size > _LARGE_BYTES:
                        response = unless_full(scope, response)
        except (Problem, ReadStoreUnavailable) as refusal:
            response = refusal_response(scope, refusal)
        except ClientDisconnect:
            return
        status = getattr(response, "status", 200)  # a response that is streamed begins with 200
        if tracing.exporter is not None:
            tracing.leave(status)
        scope[STATUS] = status
        if type(response) is not BytesResponse or not write_whole(send, response):
            await response(scope, receive, send)


def resources(app: HasEdge) -> dict[str, Resource]:
    """One for each path of the table of operations, in its order."""
    found: dict[str, Resource] = {}
    for operation in OPERATIONS:
        if operation.handler is not None:
            resource = found.setdefault(operation.path, Resource(operation.path, app))
            resource.handlers[operation.method] = _guarded(operation.handler, operation.permission)
            resource.scopes[operation.method] = operation.scopes
            if operation.permission.is_public:
                resource.public.add(operation.method)
    return found


def _guarded(handler: Handler, permission: Permission) -> Handler:
    """The handler, for callers whom its row allows."""
    if permission.for_all:
        return handler

    async def guarded(edge: Edge, request: AuthedRequest) -> ASGIApp:
        permission.check(request)
        return await handler(edge, request)

    return guarded


def unauthenticated(edge: Edge, scope: Scope, receive: Receive) -> AuthedRequest:
    """A request that needs no token, as one of no account. It counts for its address. An Idempotency-Key does not
    apply, since keys belong to accounts. Raises Problem 429."""
    if (scope["method"], scope["path"]) == _OF_PAGES:
        edge.limiter.count_document(scope)
    else:
        edge.authenticator.count_public(scope)
    headers: Headers = dict(scope["headers"])
    headers.pop(b"idempotency-key", None)
    return AuthedRequest(scope, receive, headers, _STRANGER, NOBODY)


async def authenticated(edge: Edge, scope: Scope, receive: Receive) -> AuthedRequest:
    """The request with its sender's account. From here on it counts as under way for the limits of the account.

    A query waits here for its Falcon-Position. A command that reads the tables waits in its handler; other commands do
    not depend on the tables. Each request waits until it is known that nothing up to its position has revoked its
    token. Raises Problem 400, 401, 422, 429, 503, ReadStoreUnavailable.
    """
    headers: Headers = scope.get(FIELDS) or dict(scope["headers"])
    method = scope["method"]
    header, key = headers.get(b"traceparent"), headers.get(b"idempotency-key")
    trace = None
    if header is not None or key is not None or tracing.exporter is not None:
        trace = tracing.enter(f"{method} {scope['endpoint'].path}", header, key)
    if b"cookie" in headers:
        headers = dict(headers)  # other requests of the lane may share them
        edge.authenticator.origins.authorize(headers, scope)
    budget: ConnectionBudget | None = scope["state"].get(BUDGET) if "state" in scope else None
    account = edge.authenticator.known(headers)
    if account is None:
        if budget is not None and budget.account_id is not None:
            budget.start_request(budget.address)
        account = await edge.authenticator.authenticate(headers, scope=scope)
    account_id = account.account_id
    full = None
    if budget is not None and (budget.account_id != account_id or budget.held.size):
        full = budget.charge_to(account_id)
    limiter = edge.limiter
    if limiter.limits_requests:
        # Most reads count already, since Limiter.enter gives an account some ahead.
        usage = limiter.usages.lately.get(account_id) if method == "GET" else None
        if usage is not None and usage.reads_ahead and usage.under_way < usage.under_way_max:
            usage.reads_ahead -= 1
        else:
            usage = limiter.enter(account_id, method)
            usage.role = account.role
        scope[USAGE] = usage
    if full is not None:
        raise full
    request = AuthedRequest(scope, receive, headers, account, account_id, trace)
    position = headers.get(b"falcon-position")
    if position is not None:
        request.positions = edge.reads.parse_positions(position)
        await edge.authenticator.confirm(request)
        if method in ("GET", "HEAD"):
            await edge.reads.reach_positions(request)
    return request


def unless_full(scope: Scope, response: T) -> T | BytesResponse:
    """The large response to a request that changed nothing, or a refusal if unread answers hold too much memory."""
    problem = memory_budget.refusal(scope)
    return response if problem is None else problem_response(problem)


def method_not_allowed(method: str, allowed: list[str]) -> Problem:
    allow = (b"allow", ", ".join(sorted(allowed)).encode())
    rule = broken("method", f"must be {' or '.join(sorted(allowed))}")
    return Problem(405, "method_not_allowed", f"{method} is not possible here; see /docs.", rule, headers=(allow,))


def refusal_response(scope: Scope, refusal: Problem | ReadStoreUnavailable) -> BytesResponse:
    """The response to a request that raised this. Logs that tables cannot be read, and counts a token that is not
    good."""
    if isinstance(refusal, ReadStoreUnavailable):
        if not isinstance(refusal, BeingFilled):
            log.error("%s %s: %s", scope["method"], scope["path"], refusal)
        return problem_response(tables_away(refusal))
    if refusal.status == 401:
        unknown_requests.count_request(scope, "unauthenticated")
    return problem_response(refusal)
