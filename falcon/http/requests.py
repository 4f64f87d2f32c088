"""Requests and responses at the lowest level: bodies within bounds, typed values out of them, bytes back."""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import Receive, Scope, Send

from falcon.domain import names
from falcon.domain.ids import ID_MAX
from falcon.http.problems import Problem, invalid
from falcon.http.shapes import FieldError, Nothing

T = TypeVar("T")

Headers = dict[bytes, bytes]
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_AT = re.compile(r"^(?P<rule>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?:contains unknown|missing required) field `(?P<field>[^`]*)`")

_INTEGER = re.compile(r"[0-9]{1,19}")
_QUOTED_MAX = 200  # of what a client sent, in a problem
_KEPT_QUERY_MAX = 128  # bytes
_DIGITS_MAX = 15  # of a length; a number of thousands of digits would be dear to read

_encode = msgspec.json.Encoder().encode


class Answer:
    """A response whose bytes are there. Starlette's own does more than is needed once for each message."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(self.body))
        headers = (length, *self.headers) if self.status not in (204, 304) else self.headers
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_bytes(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, body, _JSON, *headers)


def json_value(status: int, value: Any, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, _encode(value), _JSON, *headers)


def problem_answer(problem: Problem) -> Answer:
    headers = [_PROBLEM, *problem.headers]
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after))))
    return Answer(problem.status, problem.body(), *headers)


async def read_body(request: Request, headers: Headers, limit: int) -> bytes:
    """Raises Problem 413 as soon as it is known to be too large, ClientDisconnect when the client goes away."""
    length = headers.get(b"content-length", b"0").lstrip(b"0")
    if length.isdigit() and (len(length) > _DIGITS_MAX or int(length) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"The request's body is larger than {limit} bytes.")


def decode_body(body: bytes, headers: Headers, decoder: "msgspec.json.Decoder[T]") -> T:
    """Raises Problem 415, 400 ``malformed`` for what is no JSON, 422 ``invalid`` for what breaks a rule."""
    if not body and decoder.type is Nothing:
        return Nothing()  # type: ignore[return-value]
    media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise Problem(415, "unsupported_media_type", "Send the body as Content-Type: application/json.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise from_validation(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f"The body is not JSON: {error}.") from None


def matches(header: bytes | None, etag: bytes) -> bool:
    """Whether an If-None-Match header names this ETag."""
    if header is None:
        return False
    return header == etag or any(tag.strip().removeprefix(b"W/") in (etag, b"*") for tag in header.split(b","))


def decode_query(request: HTTPConnection, query_type: type[T], *, known: bool = True) -> T:
    """The query string as a typed value. Of a caller who is not ``known`` nothing is kept. Raises Problem 422."""
    query = request.scope["query_string"]
    if not query:
        return query_type()
    kind: Any = query_type  # hashable, though its type does not say so
    decoded: T = (_kept_query if known and len(query) <= _KEPT_QUERY_MAX else _decode_query)(query, kind)
    return decoded


def _decode_query(query: bytes, query_type: Any) -> Any:
    parameters: dict[str, Any] = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for name, read in _readers(query_type).items():
        if name in parameters:
            parameters[name] = read(name, parameters[name])
    try:
        return msgspec.convert(parameters, query_type)
    except msgspec.ValidationError as error:
        raise from_validation(error) from None


def _read_integer(name: str, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise invalid(name, "must be an integer, in decimal digits")
    return int(text)


def _read_flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise invalid(name, "must be true or false")
    return text == "true"


@lru_cache
def _readers(query_type: Any) -> dict[str, Callable[[str, str], Any]]:
    """Of the parameters that are no texts. msgspec would also read ``1e2`` and ``null`` as numbers."""
    readers = ((field.name, _reader(field.type)) for field in msgspec.structs.fields(query_type))
    return {name: read for name, read in readers if read is not None}


def _reader(kind: Any) -> Callable[[str, str], Any] | None:
    """Also of ``Annotated[int, ...]``, or of one of these or None."""
    if kind is int:
        return _read_integer
    if kind is bool:
        return _read_flag
    return next((read for part in get_args(kind) if (read := _reader(part)) is not None), None)


# Most requests ask with the same few; the values are frozen, so one serves for all of them.
_kept_query = lru_cache(maxsize=1024)(_decode_query)


def from_validation(error: msgspec.ValidationError, prefix: str = "") -> Problem:
    """msgspec's sentence, taken apart into the field and the rule."""
    match = _AT.match(str(error))
    assert match is not None  # it matches everything
    rule = match["rule"]
    field = (match["path"] or "").lstrip(".")
    if (named := _FIELD.search(rule)) is not None:
        field = f"{field}.{named['field']}" if field else named["field"]
    field = prefix + (field or "body")[:_QUOTED_MAX]
    rule = rule[:_QUOTED_MAX]
    return Problem(422, "invalid", f"{field}: {rule}", (FieldError(field, rule),))


def identity(text: str, not_found: Callable[[str], Problem]) -> int:
    """An id or seq in a path. What cannot be one is not found."""
    if not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise not_found(text)
    value = int(text)
    if not 1 <= value <= ID_MAX:
        raise not_found(text)
    return value


def check_text(text: str, limit: int, field: str = "text") -> int:
    """The size of a text in bytes of UTF-8. Raises Problem 422 past the limit."""
    # No character takes more than four bytes, and most texts are short.
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise invalid(field, f"must be at most {limit} bytes of UTF-8, is {size}")
    return size


def read_name(name: str, field: str = "name") -> str:
    """As it is kept. Raises Problem 422."""
    name = names.normalized(name)
    broken = names.broken_rule(name)
    if broken is not None:
        raise invalid(field, broken)
    return name
