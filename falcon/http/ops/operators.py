"""Who may look inside at the operations port: ``/debug`` and ``/ops``. Health and metrics are for all who reach it."""

import base64
import binascii
import hmac
import ipaddress
from pathlib import Path
from typing import Final

from starlette.requests import Request

from falcon.http.problems import Problem
from falcon.secret_files import SecretFile, WrongSecret

_CROSS_SITE: Final = ("cross-site", "same-site")
# A browser asks for a name and a password: any name, and the token.
_CHALLENGE: Final = ((b"www-authenticate", b'Basic realm="Falcon operations", charset="UTF-8"'),)


class Operators:
    """``token_file``: without one only loopback may look, and only where the port listens there."""

    def __init__(self, token_file: Path | None, *, on_loopback: bool) -> None:
        self._token_file = token_file
        self._on_loopback = on_loopback
        self._secrets: SecretFile | None = None

    def check(self, request: Request) -> None:
        """Raises Problem 401, 403, 503."""
        # No page elsewhere may have a browser make a profile, or show what is here in its own frame.
        if request.headers.get("sec-fetch-site") in _CROSS_SITE:
            raise Problem(403, "not_allowed", "Another site asks for this page.")
        if self._token_file is not None:
            self._check_token(request)
        elif not self._on_loopback:
            raise Problem(
                403, "not_allowed", "This port listens beyond loopback: set FALCON_OPS_TOKEN_FILE, and send the token."
            )
        elif not _is_local(request):
            raise Problem(403, "not_allowed", "Without a token this page is at localhost, or at an address, only.")

    def _check_token(self, request: Request) -> None:
        given = _given(request.headers.get("authorization", ""))
        if not any(hmac.compare_digest(given, token) for token in self._tokens()):
            raise Problem(
                401,
                "unauthenticated",
                "Send Authorization: Bearer TOKEN, or the token as password.",
                headers=_CHALLENGE,
            )

    def _tokens(self) -> tuple[bytes, ...]:
        """Nobody may look while there is no token in the file. Raises Problem 503."""
        assert self._token_file is not None
        if self._secrets is None:
            try:
                self._secrets = SecretFile(self._token_file)
            except WrongSecret as error:
                raise Problem(503, "unavailable", f"FALCON_OPS_TOKEN_FILE: {error}.") from error
        return self._secrets()


def _given(authorization: str) -> bytes:
    """The token in either form; nothing where there is none."""
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
    """The browser of this machine was not led here by a name that someone else has made point to it."""
    host = request.url.hostname or ""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
