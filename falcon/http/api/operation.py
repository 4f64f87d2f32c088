"""An operation of the API, as the module of its feature declares it: routes and documents are made from it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec
from starlette.types import ASGIApp

from falcon.domain.ids import ID_MAX
from falcon.features.accounts.rules import ADMINS, Scope
from falcon.http.api import examples
from falcon.http.api.permissions import Permission
from falcon.http.edge import Edge
from falcon.http.problems import KINDS
from falcon.http.requests import AuthedRequest
from falcon.http.stream.endpoints import open_stream

Handler: TypeAlias = Callable[[Edge, AuthedRequest], Awaitable[ASGIApp]]
_ID: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": ID_MAX}


class Group(msgspec.Struct, frozen=True):
    """Operations that a developer who builds on Falcon learns together. ``learned``: the order of the groups; 3 comes
    after rooms and messages."""

    name: str
    description: str
    learned: int = 3


class PathParameter(msgspec.Struct, frozen=True):
    description: str
    example: Any
    schema: Mapping[str, Any] = MappingProxyType(_ID)


# Parameters that several features share.
_PATH_PARAMETERS: Final = {
    "room_id": PathParameter("The id of the room", examples.ROOM),
    "account_id": PathParameter("The id of the account", examples.BEN),
    "seq": PathParameter("The number of the message in its room", 1),
    "token_id": PathParameter("The id of the token", 2),
}


# What the server, the authenticator and the limiter answer to any request.
_ANY_REQUEST: Final = (
    "malformed",
    "unauthenticated",
    "timeout",
    "too_large",
    "invalid",
    "rate_limited",
    "internal",
    "scope_missing",
    "overloaded",
    "unavailable",
)
_ANY_COMMAND: Final = ("idempotency_key_reused", "outcome_unknown")
_TOO_LARGE_BODY: Final = 413


_READING: Final = ("/v1/stream/tickets",)  # commands that change nothing
_WITHOUT_KEY: Final = (*_READING, "/v1/rooms/{room_id}/typing", "/v1/import")  # done twice they do no harm


class ApiOperation(msgspec.Struct, frozen=True):
    """``handler``: None for the stream, which ``app`` routes. Its docstring is what the documents say: a line, and then
    Markdown.

    ``permission``: its row in the table of who may do what. ``answers``: an example of the body by status; None for no
    body. ``body``: an example of it. ``one_of``: its types, if there are several. The types of these examples are the
    ones that validate, so that an example cannot have a field that its type does not have. ``parameters``: those of
    the path that no other feature has. ``problems``: the codes that it answers with beside the ones that any such
    request can get.
    """

    method: str
    path: str
    handler: Handler | None
    permission: Permission
    answers: dict[int, Any]
    body: Any = None
    one_of: Any = None
    query: Any = None
    media_type: str = "application/json"
    parameters: Mapping[str, PathParameter] = MappingProxyType({})
    problems: tuple[str, ...] = ()
    group: Group = Group("", "")

    @property
    def command(self) -> bool:
        """True if it takes an Idempotency-Key."""
        return self.method != "GET" and not self.permission.is_public and self.path not in _WITHOUT_KEY

    @property
    def summary(self) -> str:
        return self._text()[0].removesuffix(".")

    @property
    def description(self) -> str:
        return self._text()[2].replace("\n", " ")

    def _text(self) -> tuple[str, str, str]:
        return (inspect.getdoc(self.handler or open_stream) or "").partition("\n\n")

    @property
    def body_type(self) -> Any:
        """The type that validates the body; None for no body."""
        return None if self.body is None else self.one_of or type(self.body)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes that a token needs for it."""
        if self.permission.is_public:
            return ()
        needed: list[Scope] = ["read" if self.method == "GET" or self.path in _READING else "write"]
        if self.path.startswith("/v1/accounts/{account_id}/tokens"):
            needed.append("tokens")
        if self.path == "/v1/export":
            needed.append("export")
        if self.permission.role in ADMINS:
            needed.append("admin")
        return tuple(needed)

    def parameter(self, name: str) -> PathParameter:
        return self.parameters.get(name) or _PATH_PARAMETERS[name]

    def codes(self) -> set[str]:
        """All problem codes that it can answer with."""
        body = {"unsupported_media_type"} if self.method != "GET" else set()
        # With a cookie, a command and the upgrade of the stream come from pages of Falcon only.
        foreign = self.method != "GET" or self.handler is None
        refused = {"not_allowed"} if foreign or not self.permission.for_all else set()
        if self.permission.is_public:
            return {*_ANY_REQUEST, "outcome_unknown", *body, *self.problems} - (
                {"unauthenticated", "scope_missing"} - {*self.problems}
            )
        return {*_ANY_REQUEST, *(_ANY_COMMAND if self.command else ()), *body, *refused, *self.problems}

    def codes_by_status(self) -> dict[int, list[str]]:
        """Both in order."""
        found: dict[int, list[str]] = {}
        for code in sorted(self.codes()):
            for status in KINDS[code].statuses:
                if status != _TOO_LARGE_BODY or self.method != "GET":
                    found.setdefault(status, []).append(code)
        return dict(sorted(found.items()))


def in_group(group: Group, *operations: ApiOperation) -> tuple[ApiOperation, ...]:
    return tuple(msgspec.structs.replace(each, group=group) for each in operations)
