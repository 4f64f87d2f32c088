"""Accounts and the hashes of their tokens."""

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

import msgspec

from falcon.domain.ids import NOBODY, AccountId, Millis
from falcon.features.accounts.rules import (
    ADMINS,
    AccountChanged,
    AccountCreated,
    AccountRole,
    Scope,
    TokenIssued,
    TokenKind,
    TokenRevoked,
    TokenUsed,
    profile_of,
)
from falcon.features.catalogue import Event
from falcon.journal.envelope import Recorded
from falcon.read.times import rfc3339
from falcon.read.write import Write


class TokenRow(msgspec.Struct, frozen=True):
    """The fields are as in TokenIssued. ``used_on``: as the day in TokenUsed, or 0."""

    token_id: int
    created_at: str
    kind: TokenKind = "token"
    name: str = ""
    scopes: tuple[Scope, ...] | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    user_agent: str = ""
    address: str = ""
    used_on: int = 0


class AccountRow(msgspec.Struct, frozen=True):
    """The fields are as in AccountChanged. ``token``: the one that was asked for."""

    account_id: AccountId
    name: str
    role: AccountRole
    created_at: str
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    hide_reads: bool = False
    role_changes: int = 0
    token: TokenRow | None = None

    @property
    def is_admin(self) -> bool:
        return self.role in ADMINS


class AccountQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def names_of(self, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        """The names of those of these accounts that exist."""

    async def accounts(
        self, after: AccountId, limit: int, role: AccountRole | None = None, deactivated: bool | None = None
    ) -> list[AccountRow]:
        """``role``, ``deactivated``: only these; all if None."""

    async def accounts_of(self, account_ids: Collection[AccountId]) -> dict[AccountId, AccountRow]:
        """The accounts among these that exist."""

    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        """The account with the token, if that is its own and not revoked."""

    async def tokens(self, account_id: AccountId) -> list[TokenRow]: ...


class UpsertAccount(NamedTuple):
    account_id: AccountId
    name: str
    role: AccountRole
    created_at: str
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    hide_reads: bool = False
    role_changes: int = 0


class UpsertToken(NamedTuple):
    """``scopes``: as JSON."""

    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: str
    kind: TokenKind = "token"
    name: str = ""
    scopes: str | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    user_agent: str = ""
    address: str = ""


class SetTokenUse(NamedTuple):
    account_id: AccountId
    token_id: int
    day: int


class DropToken(NamedTuple):
    account_id: AccountId
    token_id: int


TAKES: Final = (AccountCreated, AccountChanged, TokenIssued, TokenUsed, TokenRevoked)


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case AccountCreated() as created:
            return (
                UpsertAccount(
                    created.account_id,
                    created.name,
                    created.role,
                    rfc3339(created.created_at),
                    created.title,
                    created.about,
                    deactivated=created.deactivated,
                ),
            )
        case AccountChanged() as changed:
            return (
                UpsertAccount(
                    changed.account_id,
                    **profile_of(changed),
                    created_at=rfc3339(changed.created_at),
                    role_changes=changed.role_changes,
                ),
            )
        case TokenIssued() as issued:
            return (
                UpsertToken(
                    issued.account_id,
                    issued.token_id,
                    issued.token_hash,
                    rfc3339(issued.created_at),
                    issued.kind,
                    issued.name,
                    None if issued.scopes is None else msgspec.json.encode(issued.scopes).decode(),
                    issued.expires_at,
                    issued.issued_by,
                    issued.user_agent,
                    issued.address,
                ),
            )
        case TokenUsed(account_id=account_id, token_id=token_id, day=day):
            return (SetTokenUse(account_id, token_id, day),)
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
            return f"account {account_id} keeps the profile and the role that it had before"
        case TokenIssued(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} is refused: issue another one"
        case TokenUsed(account_id=account_id, token_id=token_id):
            return f"on which day token {token_id} of account {account_id} was used last, until it is used again"
        case TokenRevoked(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} STILL WORKS though it was revoked"
        case _:
            return None
