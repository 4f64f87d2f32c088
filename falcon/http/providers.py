"""OpenID Connect providers: their entries in the settings, what a browser keeps while its person is at one, and what
comes of it. :mod:`falcon.http.oidc` asks them.

The code flow with PKCE, a state and a nonce. The three are in a cookie of the browser that began, signed by this
Falcon, so that nothing is stored, any process may answer the callback, and another browser's callback is refused.
"""

import base64
import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

BEGUN_SECONDS: Final = 600  # for typing a password and a second factor at the provider
_SIGNATURE_BYTES: Final = 32  # of SHA-256
_LOOPBACK: Final = ("http://localhost", "http://127.0.0.1", "http://[::1]")

ProviderName = Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$")]
GivenRole = Literal["owner", "admin", "member", "guest"]


class ProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``domains``: of verified e-mails that get accounts; any if there are none. ``roles``: by group.
    ``match_email``: a verified e-mail picks the account that shows it."""

    provider: ProviderName
    name: str
    issuer: str
    client_id: str
    client_secret_file: str
    create_accounts: bool
    domains: tuple[str, ...] = ()
    roles: Mapping[str, GivenRole] = {}
    match_email: bool = False


class _ProvidersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    providers: tuple[ProviderSettings, ...]


class Begun(msgspec.Struct, frozen=True):
    """A sign-in that has begun. The browser keeps it while its person is at the provider."""

    provider: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    until: float


class Person(msgspec.Struct, frozen=True):
    """A person, as the provider says. ``email``: only if it is verified."""

    issuer: str
    subject: str
    name: str
    email: str | None
    groups: frozenset[str]


class Provider(Protocol):
    """One provider, as one event loop asks it."""

    settings: ProviderSettings

    async def begin(self, redirect_uri: str, return_to: str) -> tuple[str, Begun]:
        """The address to which the browser goes, and what it keeps. Raises ProviderAway."""

    async def person(self, redirect_uri: str, begun: Begun, code: str) -> Person:
        """The person who has come back with the code. Raises ProviderAway, SignInRefused."""

    async def metadata(self) -> dict[str, Any]:
        """The addresses that the provider names. Raises ProviderAway."""


class ProviderAway(Exception):
    """The provider cannot be asked, or does not answer as one."""


class SignInRefused(Exception):
    """Falcon does not sign the person in. The message has no secret and no code."""


def read_providers(path: Path) -> tuple[ProviderSettings, ...]:
    """Raises ValueError for a file that is wrong, OSError for one that cannot be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_ProvidersFile).providers
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    for each in found:
        if not each.issuer.startswith(("https://", *_LOOPBACK)):
            raise ValueError(f"{path}: the issuer {each.issuer} must begin with https:// (http:// on loopback only)")
    if len({each.provider for each in found}) < len(found):
        raise ValueError(f"{path}: two providers have the same name")
    return found


def sealed(begun: Begun, server_secret: bytes) -> str:
    """The value of the cookie."""
    body = msgspec.json.encode(begun)
    signature = hmac.digest(server_secret, b"oidc" + body, "sha256")
    return base64.urlsafe_b64encode(signature + body).rstrip(b"=").decode()


def unsealed(value: str, server_secret: bytes) -> Begun | None:
    """None for a value that this Falcon has not made, or has made too long ago."""
    try:
        data = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        signature, body = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(hmac.digest(server_secret, b"oidc" + body, "sha256"), signature):
            return None
        begun = msgspec.json.decode(body, type=Begun)
    except (ValueError, msgspec.DecodeError):
        return None
    return begun if begun.until > time.time() else None
