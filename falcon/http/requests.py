"""Reads requests: the body within bounds, and typed values from body, query, path and headers."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from falcon.base.validation import broken_rule
from falcon.domain import names
from falcon.domain.ids import ID_MAX, AccountId, Partition
from falcon.domain.limits import TEXT_BYTES_MAX
from falcon.features.accounts.table import AccountRow
from falcon.http.problems import Problem, broken, invalid, not_json, wrong_media_type
from falcon.http.shapes import NewBookmark, NewLink, NewToken, Nothing

T = TypeVar("T")

Headers = dict[bytes, bytes]  # by lower-case name; the last one if a client sends several

# In the scope of a short request: its whole body, if the server has it already.
BODY: Final = "falcon.body"
# And its header fields by name, as Headers.
FIELDS: Final = "falcon.fields"
# And the id of the room in its path; 0 if it is none.
ROOM: Final = "falcon.room"
# In the scope of a request that counts for an account with limits: the account's Usage.
USAGE: Final = "falcon.usage"

_INTEGER = re.compile(r"[0-9]{1,19}")
_BODY_MAX = 512 << 10  # bytes: a message of TEXT_BYTES_MAX, each byte of which is escaped as six
_CACHED_QUERY_MAX = 128  # bytes
_PARAMETERS_MAX = 50  # of a query: each takes a microsecond, also of clients without a token
_DIGITS_MAX = 15  # of a Content-Length: reading a number of thousands of digits takes long
_MAY_BE_LEFT_OUT: Final = (Nothing, NewToken, NewLink, NewBookmark)  # bodies of which all fields have defaults
_nothing = msgspec.json.Decoder(Nothing)


class AuthedRequest(msgspec.Struct):
    """A request whose sender is known: ``account``, which has ``account_id``.

    ``trace``: the traceparent that its command passes on. ``body``: the bytes that :meth:`json`
    has read. ``positions``: places of its Falcon-Position that have not been waited for yet. ``wait_until``: the time
    on CLOCK_MONOTONIC at which it stops waiting for the read tables; 0 before its first wait.
    """

    scope: Scope
    receive: Receive
    headers: Headers
    account: AccountRow
    account_id: AccountId
    trace: str | None = None
    body: bytes = b""
    positions: tuple[tuple[Partition, int], ...] = ()
    wait_until: float = 0.0

    @property
    def is_guest(self) -> bool:
        """Guests see the rooms that they were added to, and no open ones."""
        return self.account.role == "guest"

    @property
    def is_admin(self) -> bool:
        """The account is an administrator, and its token may act as one."""
        token = self.account.token
        return self.account.is_admin and (token is None or token.scopes is None or "admin" in token.scopes)

    def path_id(self, name: str, not_found: Callable[[str], Problem]) -> int:
        """An id or seq in the path. Raises the Problem that ``not_found`` makes of a text that cannot be one."""
        return identity(self.scope["path_params"][name], not_found)

    def query(self, query_type: type[T]) -> T:
        """Raises Problem 422."""
        return decode_query(self.scope, query_type) if self.scope["query_string"] else query_type()

    async def json(self, decoder: "msgspec.json.Decoder[Any]") -> Any:
        """The body as the decoder's type. Raises Problem 415 for another media type, 400 ``malformed`` for bytes that
        are not JSON, 422 ``invalid`` for a value that breaks a rule, 413, and ClientDisconnect."""
        body: bytes | None = self.scope.get(BODY)
        if body is None:
            body = await read_body(self.receive, self.headers, _BODY_MAX)
        self.body = body
        if not body and decoder.type in _MAY_BE_LEFT_OUT:
            return decoder.type()
        media_type = self.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise wrong_media_type("application/json")
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise from_validation(error, decoder.type) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json("body", error) from None

    async def no_body(self) -> None:
        """Raises Problem 422 if there is one, and as :meth:`json`."""
        await self.json(_nothing)


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Raises Problem 413 as soon as the body is known to be larger than ``limit`` bytes, ClientDisconnect when the
    client goes away."""
    length = headers.get(b"content-length", b"0").lstrip(b"0")
    if length.isdigit() and (len(length) > _DIGITS_MAX or int(length) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
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
    rule = broken("body", f"must have at most {limit:,} bytes")
    return Problem(413, "too_large", f"The request's body is larger than {limit:,} bytes.", rule)


def decode_query(scope: Scope, query_type: type[T], *, authenticated: bool = True) -> T:
    """The query string as a typed value. Only queries of ``authenticated`` callers are cached. Raises Problem 422."""
    query = scope["query_string"]
    if not query:
        return query_type()
    kind: Any = query_type  # hashable, though its type does not say so
    is_cached = authenticated and len(query) <= _CACHED_QUERY_MAX
    decoded: T = (_cached_query if is_cached else _decode_query)(query, kind)
    return decoded


def _decode_query(query: bytes, query_type: Any) -> Any:
    if query.count(b"&") >= _PARAMETERS_MAX:
        raise invalid("query", f"must have at most {_PARAMETERS_MAX} parameters")
    parameters: dict[str, Any] = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for name, read in _readers(query_type).items():
        if name in parameters:
            parameters[name] = read(name, parameters[name])
    try:
        return msgspec.convert(parameters, query_type)
    except msgspec.ValidationError as error:
        raise from_validation(error, query_type) from None


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
    """Returns the functions that read parameters which are not texts. msgspec would accept ``1e2`` and ``null`` as
    numbers."""
    readers = ((field.encode_name, _reader(field.type)) for field in msgspec.structs.fields(query_type))
    return {name: read for name, read in readers if read is not None}


def _reader(kind: Any) -> Callable[[str, str], Any] | None:
    """``kind`` may be wrapped: ``Annotated[int, ...]``, or ``int | None``."""
    if kind is int:
        return _read_integer
    if kind is bool:
        return _read_flag
    return next((read for part in get_args(kind) if (read := _reader(part)) is not None), None)


# Most requests send one of a few queries; the values are frozen, so requests can share them.
_cached_query = lru_cache(maxsize=1024)(_decode_query)


def from_validation(error: msgspec.ValidationError, kind: Any, prefix: str = "") -> Problem:
    """``kind``: the type that was decoded. ``prefix`` goes before the field."""
    field, rule = broken_rule(error, kind)
    return invalid(prefix + (field or "body"), rule)


def identity(text: str, not_found: Callable[[str], Problem]) -> int:
    """The number of an id or seq. Raises the Problem that ``not_found`` makes of a text that cannot be one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise not_found(text)
    value = int(text)
    if not 1 <= value <= ID_MAX:
        raise not_found(text)
    return value


def read_ids(text: str, most: int) -> list[AccountId]:
    """Account ids of a query, without duplicates. Raises Problem 422."""
    parts = text.split(",")
    if len(parts) > most:
        raise invalid("ids", f"must have at most {most} account ids")
    wrong = invalid("ids", f"must be 1 to {most} account ids, separated by commas")
    return list(dict.fromkeys(identity(part, lambda _: wrong) for part in parts))


def check_text(text: str, field: str = "text") -> None:
    """Raises Problem 422 for a text of too many bytes."""
    size = len(text) if text.isascii() else len(text.encode())
    if size > TEXT_BYTES_MAX:
        raise invalid(field, f"must be at most {TEXT_BYTES_MAX} bytes of UTF-8, is {size}")


def read_name(name: str) -> str:
    """The name in the form that is stored. Raises Problem 422."""
    name = names.normalized(name)
    rule = names.broken_rule(name)
    if rule is not None:
        raise invalid("name", rule)
    return name
