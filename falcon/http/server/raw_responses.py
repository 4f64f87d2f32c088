"""Responses as bytes, for connections whose request never becomes one of ASGI's."""

import functools
import math
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from falcon.http.problems import Problem, broken
from falcon.http.responses import NO_STORE
from falcon.http.server.connection_limits import ConnectionLimits

# No browser guesses the type of an answer, or shows one within another page.
_GUARDS: Final = b"x-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
# uvicorn begins each answer with one of these. Fields that an application sends cost a microsecond each.
STATUS_LINE.update({status: line + _GUARDS for status, line in STATUS_LINE.items()})


def require_https(seconds: int) -> None:
    """Have every answer tell browsers to use HTTPS only, for so long (HSTS)."""
    field = b"strict-transport-security: max-age=%d\r\n" % seconds
    STATUS_LINE.update({status: line + field for status, line in STATUS_LINE.items()})


def problem_bytes(problem: Problem, *, closes: bool) -> bytes:
    """The whole response as it goes over the wire. ``closes``: it is the connection's last."""
    body = problem.body()
    retry = b"" if problem.retry_after is None else b"retry-after: %d\r\n" % max(1, math.ceil(problem.retry_after))
    retry += b"".join(b"%b: %b\r\n" % field for field in problem.headers)
    connection = b"connection: close\r\n" if closes else b""
    content = b"content-length: %d\r\ncontent-type: application/problem+json\r\n%b: %b\r\n" % (len(body), *NO_STORE)
    return b"%b%b%b%b\r\n%b" % (STATUS_LINE[problem.status], content, retry, connection, body)


class LastResponse:
    """The last response of a connection. ``reason``: one of metrics.CUTS."""

    def __init__(self, reason: str, problem: Problem) -> None:
        self.reason = reason
        self.status = f"{problem.status // 100}xx"
        self._problem = problem

    @functools.cached_property
    def data(self) -> bytes:
        """Made when it is first needed, after :func:`require_https`."""
        return problem_bytes(self._problem, closes=True)


def _last(code: str, status: int, detail: str, field: str, rule: str) -> LastResponse:
    return LastResponse(code, Problem(status, code, detail, broken(field, rule)))


_LIMITS: Final = ConnectionLimits()
MALFORMED: Final = _last("malformed", 400, "This is not an HTTP request.", "request", "must be HTTP/1.1")
TWICE: Final = _last(
    "malformed",
    400,
    "A request has one Host, one Authorization and one Transfer-Encoding.",
    "header",
    "must be sent once",
)
NO_HOST: Final = _last("malformed", 400, "A request of HTTP/1.1 has a Host.", "host", "must be sent")
ENCODED: Final = _last(
    "malformed", 400, "Falcon knows no Transfer-Encoding but chunked.", "transfer-encoding", "must be chunked, alone"
)
NO_WEBSOCKET: Final = LastResponse(
    "malformed",
    Problem(
        400,
        "malformed",
        "This request does not open a WebSocket (RFC 6455, 4.1).",
        broken("upgrade", "must be a GET with Sec-WebSocket-Key, and with Sec-WebSocket-Version: 13"),
        headers=((b"sec-websocket-version", b"13"),),
    ),
)
HEAD_TOO_SLOW: Final = _last("timeout", 408, "The request's head did not come in time.", "head", "must come in time")
BODY_TOO_SLOW: Final = _last("timeout", 408, "The request's body did not come in time.", "body", "must come in time")
BODY_UNREAD: Final = _last(
    "too_large",
    413,
    "The request was answered before the end of its body.",
    "body",
    "must end soon after an early answer",
)
TARGET_TOO_LONG: Final = _last(
    "too_large",
    414,
    f"The path and the query are longer than {_LIMITS.target_bytes:,} bytes.",
    "path",
    f"must have at most {_LIMITS.target_bytes:,} bytes, with the query",
)
HEAD_TOO_LARGE: Final = _last(
    "too_large",
    431,
    f"The request's head is larger than {_LIMITS.head_bytes:,} bytes.",
    "head",
    f"must have at most {_LIMITS.head_bytes:,} bytes",
)
TOO_MANY_FIELDS: Final = _last(
    "too_large",
    431,
    f"The request has more than {_LIMITS.fields:,} headers.",
    "head",
    f"must have at most {_LIMITS.fields:,} headers",
)
FULL: Final = LastResponse("full", Problem(503, "overloaded", "There are too many connections.", retry_after=1))
