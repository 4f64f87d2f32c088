"""Admits operators to ``/debug`` and ``/ops`` on the operations port. Health and metrics need no token; on loopback no
page of another site reads the metrics."""

import base64
import binascii
import hmac
import ipaddress
from pathlib import Path
from typing import Final

from starlette.requests import Request

from falcon.base.secret_files import SecretFile, WrongSecret
from falcon.http.problems import Problem, broken

_CROSS_SITE: Final = ("cross-site", "same-site")
# A browser asks for a name and a password: any name will do, and the password is the token.
_CHALLENGE: Final = ((b"www-authenticate", b'Basic realm="Falcon operations", charset="UTF-8"'),)
_OWN_SITE: Final = broken("Sec-Fetch-Site", "must be this site")
_LOCAL: Final = broken("Host", "must be localhost, or an address")
_TOKEN: Final = broken("Authorization", "must have the token of FALCON_OPS_TOKEN_FILE")


class Operators:
    """``token_file``: without one only clients on loopback are admitted, and only if the port listens there alone."""

    def __init__(self, token_file: Path | None, *, on_loopback: bool) -> None:
        self._token_file = token_file
        self._on_loopback = on_loopback
        self._secrets: SecretFile | None = None

    def check(self, request: Request) -> None:
        """Raises Problem 401, 403, 503."""
        # A page of another site must not make a browser start a profile, or show these pages in a frame.
        if request.headers.get("sec-fetch-site") in _CROSS_SITE:
            raise Problem(403, "not_allowed", "Another site asks for this page.", _OWN_SITE)
        if self._token_file is not None:
            self._check_token(request)
        elif not self._on_loopback:
            raise Problem(
                403,
                "not_allowed",
                "This port listens beyond loopback: set FALCON_OPS_TOKEN_FILE, and send the token.",
                _TOKEN,
            )
        else:
            self.check_host(request)

    def check_host(self, request: Request) -> None:
        """Raises Problem 403 if the port listens on loopback and the request names another host."""
        if self._on_loopback and not _is_local(request):
            raise Problem(
                403, "not_allowed", "Without a token this page is at localhost, or at an address, only.", _LOCAL
            )

    def _check_token(self, request: Request) -> None:
        given = _given(request.headers.get("authorization", ""))
        if not any(hmac.compare_digest(given, token) for token in self._tokens()):
            raise Problem(
                401,
                "unauthenticated",
                "Send Authorization: Bearer TOKEN, or the token as password.",
                _TOKEN,
                headers=_CHALLENGE,
            )

    def _tokens(self) -> tuple[bytes, ...]:
        """Raises Problem 503 while the file has no token."""
        assert self._token_file is not None
        if self._secrets is None:
            try:
                self._secrets = SecretFile(self._token_file)
            except WrongSecret as error:
                raise Problem(503, "unavailable", f"FALCON_OPS_TOKEN_FILE: {error}.") from error
        return self._secrets()


def _given(authorization: str) -> bytes:
    """The token, from Bearer or from Basic; empty if there is none."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _is_local(request: Request) -> bool:
    """True if the Host is localhost or an address. Any other name may be an attacker's that points to this machine (DNS
    rebinding)."""
    host = request.url.hostname or ""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
