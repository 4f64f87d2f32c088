"""Accounts and the hashes of their tokens."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

import msgspec

from falcon.domain.ids import AccountId
from falcon.features.accounts.rules import ADMINS, AccountChanged, AccountCreated, TokenIssued, TokenRevoked
from falcon.features.catalogue import Event
from falcon.journal.envelope import Envelope
from falcon.read.times import rfc3339
from falcon.read.write import Write


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


class UpsertAccount(NamedTuple):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: str


class UpsertToken(NamedTuple):
    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: str


class DropToken(NamedTuple):
    account_id: AccountId
    token_id: int


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case (
            AccountCreated(account_id=account_id, name=name, role=role, created_at=created_at)
            | AccountChanged(account_id=account_id, name=name, role=role, created_at=created_at)
        ):
            return (UpsertAccount(account_id, name, role in ADMINS, rfc3339(created_at)),)
        case TokenIssued(account_id=account_id, token_id=token_id, token_hash=token_hash, created_at=created_at):
            return (UpsertToken(account_id, token_id, token_hash, rfc3339(created_at)),)
        case TokenRevoked(account_id=account_id, token_id=token_id):
            return (DropToken(account_id, token_id),)
        case _:
            return ()


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the projection does not use the
    event."""
    match event:
        case AccountCreated(account_id=account_id):
            return f"account {account_id} has no name, is in no list, and its tokens are refused"
        case AccountChanged(account_id=account_id):
            return f"account {account_id} keeps the name and the role that it had before"
        case TokenIssued(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} is refused: issue another one"
        case TokenRevoked(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} GOES ON WORKING though it was revoked"
        case _:
            return None
