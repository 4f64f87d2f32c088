"""The cookie of a session, for browsers, and the origin that a request with it must have.

A browser sends a cookie with every request to Falcon, also if a page of another site makes it. So a command, and the
upgrade to a WebSocket, must name an origin of this Falcon. A request with an Authorization header needs none:
no page of another site can set it.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from falcon.http.problems import not_allowed
from falcon.http.requests import Headers

_SECURE: Final = "__Host-falcon"  # browsers keep it for one host, and only if it came over TLS
_ON_LOOPBACK: Final = "falcon"  # where there may be no TLS
_COOKIE: Final = re.compile(rb"(?:^|;) ?(__Host-falcon|falcon)=(falcon_[0-9]+_[A-Za-z0-9_-]{43})(?=;|$)")
_HOST: Final = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]{1,5})?|[a-z0-9._-]{1,255}(?::[0-9]{1,5})?", re.IGNORECASE)
_READING: Final = frozenset({"GET", "HEAD"})


class Origins:
    """``allowed``: origins of this Falcon, such as ``https://chat.example``, beside the host that a request names."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = tuple(allowed)

    def authorize(self, headers: Headers, scope: Scope) -> None:
        """Give a request with the cookie, and without an Authorization header, the header that says the same. Raises
        Problem 403 for a command or an upgrade of another origin."""
        cookie = headers.get(b"cookie")
        if cookie is None or b"authorization" in headers:
            return
        token = _token_in(cookie, headers)
        if token is None:
            return
        if scope["type"] == "websocket" or scope["method"] not in _READING:
            self.check(headers)
        headers[b"authorization"] = b"Bearer " + token

    def check(self, headers: Headers) -> None:
        """Raises Problem 403 unless the request comes from a page of this Falcon."""
        if not self._is_own(headers):
            raise not_allowed("Origin", "requires an Origin of this Falcon with a cookie; see FALCON_ALLOWED_ORIGINS")

    def url(self, headers: Headers, scope: Scope) -> str:
        """The address of this Falcon as the client knows it, without a slash at the end. Raises Problem 403."""
        if self._is_own(headers):
            return headers[b"origin"].decode("latin-1")
        if self._allowed:
            return self._allowed[0]
        host = _host(headers)
        secure = b"https" in (scope.get("scheme", "").encode(), headers.get(b"x-forwarded-proto"))
        return f"{'https' if secure or not _is_loopback(host) else 'http'}://{host}"

    def _is_own(self, headers: Headers) -> bool:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin:
            return False
        if origin in self._allowed:
            return True
        host = headers.get(b"host", b"").decode("latin-1")
        return origin == f"https://{host}" or (origin == f"http://{host}" and _is_loopback(host))

    def cookie(
        self, value: str, seconds: int, headers: Headers, scope: Scope, name: str = _ON_LOOPBACK
    ) -> tuple[bytes, bytes]:
        """The header that sets the cookie; with 0 seconds it takes it away. ``name``: as it is without TLS on loopback.
        Raises Problem 403."""
        secure = ""
        if self.url(headers, scope).startswith("https:"):
            name, secure = f"__Host-{name}", "; Secure"
        header = f"{name}={value}; Path=/; Max-Age={seconds}{secure}; HttpOnly; SameSite=Lax"
        return b"set-cookie", header.encode()


def _token_in(cookie: bytes, headers: Headers) -> bytes | None:
    """The cookie without a prefix counts on loopback only: elsewhere a page of a neighbouring host can set it."""
    for name, token in _COOKIE.findall(cookie):
        if name == _SECURE.encode() or _is_loopback(headers.get(b"host", b"").decode("latin-1")):
            found: bytes = token
            return found
    return None


def _host(headers: Headers) -> str:
    """Raises Problem 403 for a Host that names none."""
    host = headers.get(b"host", b"").decode("latin-1")
    if _HOST.fullmatch(host) is None:
        raise not_allowed("Host", "requires the host of this Falcon")
    return host


def _is_loopback(host: str) -> bool:
    """``host`` may have a port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
