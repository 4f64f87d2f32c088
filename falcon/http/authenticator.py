"""Finds the account of a request's bearer token."""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, TypeAlias

import msgspec
from starlette.types import Scope

from falcon.domain.ids import AccountId, partition_of
from falcon.features.accounts.rules import AccountChanged
from falcon.features.accounts.table import AccountRow, TokenRow
from falcon.http import bearer_tokens
from falcon.http.cookies import Origins
from falcon.http.limits.limiter import Limiter
from falcon.http.problems import Problem, unauthenticated
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.requests import AuthedRequest, Headers
from falcon.http.token_uses import TokenUses
from falcon.read.catalogue import ReadStore
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.revocations import Revocations, after

_FRESH_SECONDS: Final = 1.0  # while the log does not confirm a token, its revocation is noticed this soon
_USABLE_SECONDS: Final = 600.0  # through an outage of the read tables for so long people can still send
_CACHED_MAX: Final = 50_000  # tokens
_REVOKED: Final = "Send Authorization: Bearer TOKEN with a token that is not revoked."

Turn: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]


class _Cached(msgspec.Struct, frozen=True, gc=False):
    """A token that the tables knew when they were asked at ``asked_at``. It is good until ``fresh_until``; until
    ``usable_until`` while the log confirms it, or the tables are away. Times on CLOCK_MONOTONIC. ``confirmed``: no
    event of the account's partition up to this offset has revoked it.

    The account is kept as the log changes it."""

    account: AccountRow
    asked_at: float
    fresh_until: float
    usable_until: float
    confirmed: int = -1


class _Cache(OrderedDict[bytes, _Cached]):
    """Good tokens by their Authorization header. The last one is the one that was used last."""

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[AccountId, set[bytes]] = {}

    def keep(self, authorization: bytes, cached: _Cached) -> None:
        """Cache the token. If there are too many, drop the one that was not used for the longest time."""
        self.drop(authorization)
        if len(self) >= _CACHED_MAX:
            self.drop(next(iter(self)))
        self[authorization] = cached
        self._headers.setdefault(cached.account.account_id, set()).add(authorization)

    def drop(self, authorization: bytes) -> None:
        cached = self.pop(authorization, None)
        if cached is None:
            return
        account_id = cached.account.account_id
        self._headers[account_id].discard(authorization)
        if not self._headers[account_id]:
            del self._headers[account_id]

    def change_account(self, event: AccountChanged) -> None:
        for authorization in self._headers.get(event.account_id, ()):
            cached = self[authorization]
            self[authorization] = msgspec.structs.replace(cached, account=after(cached.account, event))

    def drop_account(self, account_id: AccountId) -> None:
        for authorization in self._headers.pop(account_id, ()):
            del self[authorization]


class Authenticator:
    """Checks the tokens of one event loop's requests, and caches the good ones by their Authorization header."""

    def __init__(
        self,
        store: ReadStore,
        reads: ReadYourWrites,
        limiter: Limiter,
        revocations: Revocations,
        secret: bytes,
        origins: Origins,
        uses: TokenUses,
    ) -> None:
        """``secret``: the server's, which signs the tokens that this deployment issues. ``origins`` reads the cookies
        of the same requests. ``uses``: told of each token that the tables know, at least every ten minutes."""
        self._store = store
        self._reads = reads
        self._limiter = limiter
        self.revocations = revocations
        self._secret = secret
        self.origins = origins
        self._uses = uses
        self._cache = _Cache()
        revocations.revoked = self.forget
        revocations.changed.append(self._changed)
        self._store_is_away = False
        self._refreshing: asyncio.Task[None] | None = None

    async def authenticate(self, headers: Headers, turn: Turn = nullcontext, scope: Scope | None = None) -> AccountRow:
        """The account whose token it is. A good token is cached for ten minutes while the log confirms it, and for a
        second otherwise, so a token that another process revokes is accepted for about a second,
        but not with the position of the revocation (:meth:`confirm`).

        ``turn`` is held while the tables are asked, and not while they are waited for. With a ``scope``, a request
        whose token is not good counts for its address.

        While the read tables are away, cached tokens stay good for ten minutes, so that sending does not depend on the
        tables. Meanwhile this process notices that a token was revoked only if it follows the log.

        Raises Problem 401, 429, 503, ReadStoreUnavailable.
        """
        account = self.known(headers)
        if account is not None:
            return account
        now = time.monotonic()
        authorization = headers.get(b"authorization", b"")
        cached = self._cache.get(authorization)
        if cached is not None and cached.usable_until > now and self._store_is_away:
            self._refresh(authorization, headers)
            return cached.account
        try:
            return await self._look_up(authorization, headers, turn, scope)
        except ReadStoreUnavailable:
            cached = self._cache.get(authorization)  # a token that was found revoked has left the cache meanwhile
            if cached is not None and cached.usable_until > now:
                return cached.account
            raise

    def known(self, headers: Headers) -> AccountRow | None:
        """Like :meth:`authenticate`, if the token is cached and the log confirms it, as most are."""
        authorization = headers.get(b"authorization", b"")
        cached = self._cache.get(authorization)
        if cached is None:
            return None
        now = time.monotonic()
        if cached.fresh_until <= now and not (
            cached.usable_until > now and self.revocations.still_valid_since(cached.asked_at, now)
        ):
            return None
        self._cache.move_to_end(authorization)
        return cached.account

    async def confirm(self, request: AuthedRequest) -> None:
        """Refuse the request's token if an event that its Falcon-Position has reached revoked it, at whichever server.
        The event is in the account's own partition. Raises Problem 401, 503, ReadStoreUnavailable."""
        partition = partition_of(request.account_id, self._reads.partitions)
        offset = dict(request.positions).get(partition, -1)
        authorization = request.headers[b"authorization"]
        cached = self._cache.get(authorization)
        if offset < 0 or (cached is not None and cached.confirmed >= offset):
            return
        seconds = self._reads.seconds_left(request)
        if cached is None or not await self.revocations.reach(cached.asked_at, partition, offset, seconds):
            await self._reads.reach_all([(partition, offset)], time.monotonic() + self._reads.seconds_left(request))
            self._cache.drop(authorization)
            await self._look_up(authorization, request.headers)
        elif self.token_hash(request.headers) in self.revocations:
            raise unauthenticated(_REVOKED)
        cached = self._cache.get(authorization)
        if cached is not None:
            self._cache[authorization] = msgspec.structs.replace(cached, confirmed=max(offset, cached.confirmed))

    def asked_at(self, headers: Headers) -> float:
        """When the tables were last asked about the caller's token, and knew it; on CLOCK_MONOTONIC."""
        cached = self._cache.get(headers.get(b"authorization", b""))
        return -math.inf if cached is None else cached.asked_at

    def token_hash(self, headers: Headers) -> str:
        """Hash of the caller's token, which has been found good."""
        parsed = _parse_bearer(headers[b"authorization"])
        assert parsed is not None
        return bearer_tokens.hash_of(parsed[1])

    def _changed(self, event: AccountChanged) -> None:
        self._cache.change_account(event)

    def forget(self, account_id: AccountId) -> None:
        """Look up the account's tokens again, because one was revoked."""
        self._cache.drop_account(account_id)

    def count_public(self, scope: Scope) -> None:
        """Count a request that needs no token: for its account if its token is cached, else for its address.
        Raises Problem 429."""
        if not self._limiter.limits_addresses:
            return
        cached = self._cache.get(dict(scope["headers"]).get(b"authorization", b""))
        if cached is not None and cached.usable_until > time.monotonic():
            self._limiter.enter(cached.account.account_id, "GET")
        else:
            self._limiter.count_unauthenticated(scope)

    # --- the tables ---------------------------------------------------------------------------------------------------

    async def _look_up(
        self, authorization: bytes, headers: Headers, turn: Turn = nullcontext, scope: Scope | None = None
    ) -> AccountRow:
        """Raises Problem 401, 429, 503, ReadStoreUnavailable."""
        issued: str | None = None
        limited = scope is not None and self._limiter.limits_addresses
        if scope is not None and limited:
            issued = self._hash_of_issued(authorization)
            self._limiter.check_unauthenticated(scope, issued)
        account, asked_at = await self._account_of(authorization, headers, turn)
        if account is None:
            if scope is not None and limited:
                self._limiter.count_unauthenticated(scope, issued)
            problem = unauthenticated(_REVOKED)
            raise problem if scope is None else self._limiter.delayed(problem, scope)
        self._uses.note(account)
        if _has_no_spare_space(authorization):
            now = time.monotonic()
            before = self._cache.get(authorization)
            confirmed = -1 if before is None else before.confirmed  # these tables are newer than the earlier ones
            usable = _USABLE_SECONDS if account.token is None else min(_USABLE_SECONDS, _seconds_left(account.token))
            cached = _Cached(account, asked_at, now + min(usable, _FRESH_SECONDS), now + usable, confirmed)
            self._cache.keep(authorization, cached)
        return account

    async def _account_of(self, authorization: bytes, headers: Headers, turn: Turn) -> tuple[AccountRow | None, float]:
        """The account whose token it is, and when the tables were asked, on CLOCK_MONOTONIC.

        A token that the tables do not show is refused at once, unless this deployment has issued it: then it may be
        newer than the tables. So refusing a forged token costs less than accepting a good one. One that the tables
        still show is refused if the log has revoked it."""
        parsed = _parse_bearer(authorization)
        if parsed is None:
            return None, -math.inf
        account_id, secret = parsed
        token_hash = bearer_tokens.hash_of(secret)
        if token_hash in self.revocations:
            return None, -math.inf
        async with turn():
            asked_at = time.monotonic()
            account = await self._bearer(account_id, token_hash)
        if account is None:
            self._cache.drop(authorization)
            if bearer_tokens.is_issued(self._secret, secret):
                await self._reads.catch_up(account_id, self._reads.wait_seconds(headers))
                account = await self._bearer(account_id, token_hash)
        # A revocation may have been read meanwhile.
        if account is None or token_hash in self.revocations:
            return None, asked_at
        if account.token is not None and _seconds_left(account.token) <= 0:
            return None, asked_at
        return self.revocations.newest(account), asked_at

    async def _bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        """Like ``AccountQueries.bearer``. Only its own answer or error says if the table of tokens is away: others may
        be away while it answers."""
        try:
            account = await self._store.bearer(account_id, token_hash)
        except ReadStoreUnavailable:
            self._store_is_away = True
            raise
        self._store_is_away = False
        return account

    def _hash_of_issued(self, authorization: bytes) -> str | None:
        """The hash of a secret that this deployment has issued, even if it is no longer good; else None.

        The account is not signed: a client may write another account's number before a secret."""
        parsed = _parse_bearer(authorization)
        if parsed is None or not bearer_tokens.is_issued(self._secret, parsed[1]):
            return None
        return bearer_tokens.hash_of(parsed[1])

    def _refresh(self, authorization: bytes, headers: Headers) -> None:
        """Ask the tables in the background whether they are back: one request at a time asks, since tables that are
        away take long to say so."""

        async def refresh() -> None:
            with contextlib.suppress(Problem, ReadStoreUnavailable):  # _look_up has updated the cache by then
                await self._look_up(authorization, headers)

        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(refresh())


def _seconds_left(token: TokenRow) -> float:
    """How long the token is good."""
    return math.inf if token.expires_at is None else token.expires_at / 1_000 - time.time()


def _has_no_spare_space(authorization: bytes) -> bool:
    """Returns True for a header that may be cached: one token, spelled with more and more spaces, would otherwise fill
    the cache."""
    credentials = authorization.partition(b" ")[2]
    return credentials == credentials.strip()


def _parse_bearer(authorization: bytes) -> tuple[AccountId, str] | None:
    """The account and the secret; None for any other header."""
    scheme, _, credentials = authorization.partition(b" ")
    return bearer_tokens.parse(credentials.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
