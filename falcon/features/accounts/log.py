"""Events of accounts and their tokens, and answers about them; and the record that changes nothing."""

from typing import Final

import msgspec

from falcon.domain.events import CommandAnswered
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountCreated,
    DirectRoomOpened,
    TokenAnswer,
    TokenIssued,
    TokenRevoked,
)
from falcon.journal.shapes.shape import Shape, alike


class AccountCreatedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: int
    account_id: int
    name: str
    is_admin: bool
    created_at: int
    imported_as: str | None = None


class TokenIssuedV1(msgspec.Struct, frozen=True):
    organization_id: int
    account_id: int
    token_id: int
    token_hash: str
    created_at: int


class TokenRevokedV1(msgspec.Struct, frozen=True):
    organization_id: int
    account_id: int
    token_id: int
    token_hash: str


class DirectRoomOpenedV1(msgspec.Struct, frozen=True):
    account_id: int
    peer: int
    room_id: int


class CommandAnsweredV1(msgspec.Struct, frozen=True):
    pass


class AccountAnswerV1(msgspec.Struct, frozen=True, tag="account-answer.v1", omit_defaults=True):
    account_id: int
    name: str
    sealed: str = ""


class TokenAnswerV1(msgspec.Struct, frozen=True, tag="token-answer.v1", omit_defaults=True):
    token_id: int
    sealed: str = ""


def _created_v1(event: AccountCreated) -> AccountCreatedV1:
    return AccountCreatedV1(
        event.organization_id, event.account_id, event.name, event.is_admin, event.created_at, event.imported_as
    )


def _created(stored: AccountCreatedV1) -> AccountCreated:
    return AccountCreated(
        stored.account_id, stored.name, stored.is_admin, stored.created_at, stored.imported_as, stored.organization_id
    )


def _issued_v1(event: TokenIssued) -> TokenIssuedV1:
    return TokenIssuedV1(event.organization_id, event.account_id, event.token_id, event.token_hash, event.created_at)


def _issued(stored: TokenIssuedV1) -> TokenIssued:
    return TokenIssued(stored.account_id, stored.token_id, stored.token_hash, stored.created_at, stored.organization_id)


def _revoked_v1(event: TokenRevoked) -> TokenRevokedV1:
    return TokenRevokedV1(event.organization_id, event.account_id, event.token_id, event.token_hash)


def _revoked(stored: TokenRevokedV1) -> TokenRevoked:
    return TokenRevoked(stored.account_id, stored.token_id, stored.token_hash, stored.organization_id)


EVENTS: Final = (
    Shape("account-created", 1, AccountCreated, AccountCreatedV1, _created_v1, _created),
    Shape("token-issued", 1, TokenIssued, TokenIssuedV1, _issued_v1, _issued),
    Shape("token-revoked", 1, TokenRevoked, TokenRevokedV1, _revoked_v1, _revoked),
    alike("direct-room-opened", DirectRoomOpened, DirectRoomOpenedV1),
    alike("command-answered", CommandAnswered, CommandAnsweredV1),
)


ANSWERS: Final = (
    alike("account-answer", AccountAnswer, AccountAnswerV1),
    alike("token-answer", TokenAnswer, TokenAnswerV1),
)
