"""Queries of accounts, and the rows that they return."""

from collections.abc import Collection
from typing import Protocol

import msgspec

from falcon.domain.ids import AccountId


class AccountRow(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: str


class TokenRow(msgspec.Struct, frozen=True):
    token_id: int
    created_at: str


class AccountQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def names_of(self, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        """The names of those of these accounts that exist."""

    async def accounts(self, after: AccountId, limit: int) -> list[AccountRow]: ...

    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        """The account, if the token is its own and not revoked."""

    async def tokens(self, account_id: AccountId) -> list[TokenRow]: ...
