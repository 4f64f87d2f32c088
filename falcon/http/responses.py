"""Responses whose bytes are there already."""

import math
from asyncio import sleep
from collections.abc import Awaitable, Callable, Hashable
from contextlib import ExitStack
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from falcon.base.buckets import Counts
from falcon.http.problems import Problem

# In a request's scope: the seconds for which its refusal waited.
DELAYED: Final = "falcon.delayed"

# In scope["state"], if the server has one: what the connection holds of the memory for all clients.
BUDGET: Final = "falcon.budget"

# In scope["state"], if the server has one: a function that writes a whole response at once, or returns False.
WRITE_WHOLE: Final = "falcon.write_whole"

# In scope["state"], if the server has one: a function that lets go of a request's body, and reads no more of it before
# the response.
DROP_BODY: Final = "falcon.drop_body"

# Refusals that wait at a time, by the address of the other end: behind a proxy each of them holds one of the proxy's
# connections, of which it often has 1,024. And so many for each client behind a proxy.
_waiting: Final = Counts(500)
_waiting_behind_proxy: Final = Counts(50)

JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")

# Browsers keep no answer with messages or a token on disk, after a person has signed out. One with an ETag may be kept,
# and is asked for again.
NO_STORE: Final = (b"cache-control", b"no-store")
REVALIDATED: Final = (b"cache-control", b"private, no-cache")

NO_BODY: Final = (204, 304)  # statuses of answers without a length

_encode: Final = msgspec.json.Encoder().encode


class BytesResponse:
    """An ASGI response. Starlette's own does more work for each message than Falcon needs. ``cached``: its
    Cache-Control; None if the other headers have one."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        *headers: tuple[bytes, bytes],
        cached: tuple[bytes, bytes] | None = NO_STORE,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers if cached is None else (*headers, cached)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        write_whole = scope.get("state", {}).get(WRITE_WHOLE)
        if write_whole is not None and write_whole(send, self):
            return
        length = (b"content-length", b"%d" % len(self.body))
        headers = self.headers if self.status in NO_BODY else (length, *self.headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class _DelayedResponse(BytesResponse):
    """The refusal of a client that continues in spite of refusals. It waits without its body if the client holds all
    it may. It goes out at once if as many from the same address wait as may."""

    __slots__ = ("_behind_proxy", "_delay_seconds")

    def __init__(self, problem: Problem, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(problem.status, problem.body(), *headers)
        self._delay_seconds = problem.delay_seconds
        self._behind_proxy = problem.behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        budget = state.get(BUDGET)
        if budget is not None and not budget.may_wait():
            state[DROP_BODY](send)
            budget.set_bodies(0)
        await self._wait(scope, sleep if budget is None else budget.wait)
        await super().__call__(scope, receive, send)

    async def _wait(self, scope: Scope, wait: Callable[[float], Awaitable[None]]) -> None:
        client = scope.get("client")
        peer = client and client[0]
        with ExitStack() as places:
            if not _enter(places, _waiting, peer):
                return
            if self._behind_proxy is not None and not _enter(places, _waiting_behind_proxy, (peer, self._behind_proxy)):
                return
            await wait(self._delay_seconds)
        scope[DELAYED] = self._delay_seconds


def _enter(places: ExitStack, counts: Counts, key: Hashable) -> bool:
    """True if there is room for one more, which counts as long as the stack."""
    if not counts.enter(key):
        return False
    places.callback(counts.leave, key)
    return True


def json_response(status: int, value: Any, *headers: tuple[bytes, bytes]) -> BytesResponse:
    return BytesResponse(status, _encode(value), JSON, *headers)


def problem_response(problem: Problem) -> BytesResponse:
    """The response to the request for which the problem was raised. The problem forgets its traceback, which has frames
    with the request's body, and often with the problem itself."""
    problem.__traceback__ = None
    headers = [_PROBLEM, *problem.headers]
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after))))
    if problem.delay_seconds:
        return _DelayedResponse(problem, *headers)
    return BytesResponse(problem.status, problem.body(), *headers)


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """True if an If-None-Match header names this ETag."""
    if if_none_match == etag:
        return True
    return any(tag.strip().removeprefix(b"W/") in (etag, b"*") for tag in if_none_match.split(b","))
