"""Identifies the account that asks for a stream, by a bearer token or a ticket."""

import math

import msgspec
from starlette.types import Scope

from falcon.domain.ids import AccountId, Millis
from falcon.http import bearer_tokens
from falcon.http.authenticator import Authenticator, Turn
from falcon.http.limits.limiter import Limiter
from falcon.http.problems import Problem, check_scopes, unauthenticated
from falcon.http.requests import Headers
from falcon.http.server import memory_budget
from falcon.streams.signals import Signals


class StreamCaller(msgspec.Struct, frozen=True):
    """``asked_at``: when the tables were asked about the token, and knew it; on CLOCK_MONOTONIC. ``expires_at``: of the
    token; None if it does not expire, or a ticket stands for it."""

    account_id: AccountId
    token_hash: str
    asked_at: float = -math.inf
    by_ticket: bool = False
    expires_at: Millis | None = None


class StreamCallers:
    """``signals`` know which tickets were used, here and on other servers. ``secret``: the server's, which signs
    tickets."""

    def __init__(self, authenticator: Authenticator, limiter: Limiter, signals: Signals, secret: bytes) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._signals = signals
        self._secret = secret

    async def identify(self, scope: Scope, headers: Headers, ticket: str | None, turn: Turn) -> StreamCaller:
        """The caller, as far as this process's memory tells: the opening checks later if the token is still good.
        ``turn`` is held while the tables are asked. Raises Problem 401, 403, 429, 503, ReadStoreUnavailable."""
        if ticket is None:
            self._authenticator.origins.authorize(headers, scope)
        if ticket is None or b"authorization" in headers:
            account = await self._authenticator.authenticate(headers, turn, scope)
            check_scopes(account.token, ("read",))
            self._admit(scope, account.account_id)
            token_hash = self._authenticator.token_hash(headers)
            expires_at = None if account.token is None else account.token.expires_at
            asked_at = self._authenticator.asked_at(headers)
            return StreamCaller(account.account_id, token_hash, asked_at, expires_at=expires_at)
        found = bearer_tokens.read_ticket(self._secret, ticket)
        if found is not None:
            self._admit(scope, found.account_id)  # before the ticket is used up
        if found is None or not self._signals.is_first_use(found.signature):
            self._limiter.count_unauthenticated(scope)
            raise self._limiter.delayed(wrong_ticket(), scope)
        return StreamCaller(found.account_id, found.token_hash, by_ticket=True)

    def _admit(self, scope: Scope, account_id: AccountId) -> None:
        """Raises Problem 429."""
        full = memory_budget.charge_to(scope, account_id)
        self._limiter.check_stream(account_id)
        if full is not None:
            raise full


def wrong_ticket() -> Problem:
    return unauthenticated(
        "The ticket is not valid: a ticket is for one minute and for one stream.", "ticket", "must be new, and unused"
    )
