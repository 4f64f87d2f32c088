"""Asks OpenID Connect providers: where to send a browser, and who has come back with a code.

Imported only where FALCON_OIDC_FILE names one: its libraries take 15 MB and 0.07 s of a start.
"""

import asyncio
import secrets
import time
import warnings
from pathlib import Path
from typing import Any, Final

import httpx
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from falcon.base.secret_files import SecretFile
from falcon.http.providers import BEGUN_SECONDS, Begun, Person, ProviderAway, ProviderSettings, SignInRefused

# Authlib asks for a successor of httpx, which all of Falcon uses.
warnings.filterwarnings("ignore", message="The httpx module is deprecated", category=AuthlibDeprecationWarning)
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: E402
from authlib.oidc.core import CodeIDToken  # noqa: E402

_TIMEOUT_SECONDS: Final = 5.0  # a person waits; the page then says that the provider is away
_KEPT_SECONDS: Final = 600.0  # what a provider says of itself changes in days; a key that is new is asked for at once
_LEEWAY_SECONDS: Final = 60  # clocks of servers that are set by hand
# Asymmetric ones: whatever knows the client's secret could sign with the others, and "none" is not signed.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class OidcProvider:
    """One provider. One instance for each event loop."""

    def __init__(self, settings: ProviderSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Raises WrongSecret."""
        self.settings = settings
        self._secret = SecretFile(Path(settings.client_secret_file))
        self._transport = transport
        self._metadata: dict[str, Any] = {}
        self._keys = KeySet([])
        self._asked_at = -_KEPT_SECONDS
        self._asking = asyncio.Lock()

    async def begin(self, redirect_uri: str, return_to: str) -> tuple[str, Begun]:
        """The address to which the browser goes, and what it keeps. Raises ProviderAway."""
        metadata = await self.metadata()
        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        begun = Begun(self.settings.provider, state, nonce, verifier, return_to, time.time() + BEGUN_SECONDS)
        async with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=begun.state,
                nonce=begun.nonce,
                code_verifier=begun.verifier,
            )
        return str(url), begun

    async def person(self, redirect_uri: str, begun: Begun, code: str) -> Person:
        """The person who has come back with the code. Raises ProviderAway, SignInRefused."""
        metadata = await self.metadata()
        try:
            async with self._client(redirect_uri) as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=begun.verifier
                )
        except OAuthError as error:
            raise SignInRefused(f"the provider refuses the code: {error.error}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderAway(f"its token endpoint: {type(error).__name__}") from None
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise SignInRefused("the provider's answer has no id_token")
        return await self._checked(id_token, begun, token.get("access_token"))

    async def _checked(self, id_token: str, begun: Begun, access_token: str | None) -> Person:
        try:
            try:
                decoded = jwt.decode(id_token, self._keys, algorithms=list(_ALGORITHMS))
            except (JoseError, ValueError):  # the provider may have another key by now
                await self._ask()
                decoded = jwt.decode(id_token, self._keys, algorithms=list(_ALGORITHMS))
            issuer, client_id = self.settings.issuer, self.settings.client_id
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
                {"nonce": begun.nonce, "client_id": client_id, "access_token": access_token},
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise SignInRefused(f"the id_token is not good: {type(error).__name__}") from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise SignInRefused("the id_token names nobody")
        email = claims.get("email")
        verified = isinstance(email, str) and claims.get("email_verified") is True
        groups = claims.get("groups", claims.get("roles", ()))
        return Person(
            self.settings.issuer,
            subject,
            str(claims.get("name") or claims.get("preferred_username") or email or subject),
            email.lower() if verified else None,
            frozenset(each for each in groups if isinstance(each, str)) if isinstance(groups, list) else frozenset(),
        )

    async def metadata(self) -> dict[str, Any]:
        """The addresses that the provider names. Raises ProviderAway."""
        if time.monotonic() - self._asked_at >= _KEPT_SECONDS:
            await self._ask()
        return self._metadata

    async def _ask(self) -> None:
        """Raises ProviderAway."""
        address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        async with self._asking:
            try:
                async with httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT_SECONDS) as client:
                    answer = await client.get(address)
                    metadata = answer.raise_for_status().json()
                    if metadata["issuer"] != self.settings.issuer:
                        raise ProviderAway(f"{address} is of the issuer {metadata['issuer']!r}")
                    keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
                self._keys = KeySet.import_key_set(keys)
                self._metadata = {name: metadata[name] for name in ("authorization_endpoint", "token_endpoint")}
            except (httpx.HTTPError, httpx.InvalidURL, JoseError, ValueError, KeyError, TypeError) as error:
                raise ProviderAway(f"{address}: {type(error).__name__}") from None
            self._asked_at = time.monotonic()

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        settings = self.settings
        return AsyncOAuth2Client(
            settings.client_id,
            self._secret()[0].decode(),
            scope="openid profile email",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            transport=self._transport,
            timeout=_TIMEOUT_SECONDS,
        )
