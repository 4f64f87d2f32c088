"""Events of accounts and their tokens, and answers about them; and the record that changes nothing."""

from typing import Any, Final, Literal, TypeAlias

import msgspec

from falcon.domain.events import CommandAnswered
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountChanged,
    AccountCreated,
    DirectRoomOpened,
    ProfileAnswer,
    TextsWanted,
    TokenAnswer,
    TokenIssued,
    TokenRevoked,
    TokenUsed,
    WishAnswer,
)
from falcon.journal.shapes.shape import Shape, alike, earlier, event

RoleV2: TypeAlias = Literal["owner", "admin", "member", "guest", "bot"]
SpaceV1: TypeAlias = Literal["handle", "email"]


class AccountCreatedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: int
    account_id: int
    name: str
    is_admin: bool
    created_at: int
    imported_as: str | None = None


class AccountCreatedV2(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: int
    account_id: int
    name: str
    role: RoleV2
    created_at: int
    imported_as: str | None = None
    title: str = ""
    about: str = ""
    deactivated: bool = False


class TokenIssuedV1(msgspec.Struct, frozen=True):
    organization_id: int
    account_id: int
    token_id: int
    token_hash: str
    created_at: int


class TokenIssuedV2(TokenIssuedV1, frozen=True, omit_defaults=True):
    kind: Literal["token", "session"] = "token"
    name: str = ""
    scopes: tuple[Literal["read", "write", "tokens", "export", "admin"], ...] | None = None
    expires_at: int | None = None
    issued_by: int = 0
    user_agent: str = ""
    address: str = ""


class TokenRevokedV1(msgspec.Struct, frozen=True):
    organization_id: int
    account_id: int
    token_id: int
    token_hash: str


class AccountAnswerV1(msgspec.Struct, frozen=True, tag="account-answer.v1", omit_defaults=True):
    account_id: int
    name: str
    sealed: str = ""


class ProfileAnswerV1(msgspec.Struct, frozen=True, tag="profile-answer.v1", omit_defaults=True):
    account_id: int
    name: str
    role: RoleV2
    title: str
    about: str
    handle: str | None
    email: str | None
    deactivated: bool
    hide_reads: bool
    created_at: int
    replaced: tuple[tuple[SpaceV1, str], ...] = ()


class WishAnswerV1(msgspec.Struct, frozen=True, tag="wish-answer.v1", omit_defaults=True):
    wish: int
    texts: tuple[tuple[SpaceV1, str], ...] = ()
    left: tuple[tuple[SpaceV1, str], ...] = ()


class TokenAnswerV1(msgspec.Struct, frozen=True, tag="token-answer.v1", omit_defaults=True):
    token_id: int
    sealed: str = ""


def _created_v1(stored: AccountCreatedV1) -> AccountCreated:
    """The administrators of then are owners."""
    return AccountCreated(
        stored.account_id,
        stored.name,
        "owner" if stored.is_admin else "member",
        stored.created_at,
        stored.imported_as,
        organization_id=stored.organization_id,
    )


def _created_v2(event: AccountCreated) -> AccountCreatedV2:
    *fields, organization_id = msgspec.structs.astuple(event)
    return AccountCreatedV2(organization_id, *fields)


def _created(stored: AccountCreatedV2) -> AccountCreated:
    return AccountCreated(*_organization_last(stored))


def _organization_last(stored: AccountCreatedV2 | TokenIssuedV2) -> tuple[Any, ...]:
    organization_id, *fields = msgspec.structs.astuple(stored)
    return (*fields, organization_id)


def _issued_v1(stored: TokenIssuedV1) -> TokenIssued:
    return TokenIssued(
        stored.account_id,
        stored.token_id,
        stored.token_hash,
        stored.created_at,
        organization_id=stored.organization_id,
    )


def _issued_v2(event: TokenIssued) -> TokenIssuedV2:
    *fields, organization_id = msgspec.structs.astuple(event)
    return TokenIssuedV2(organization_id, *fields)


def _issued(stored: TokenIssuedV2) -> TokenIssued:
    return TokenIssued(*_organization_last(stored))


def _revoked_v1(event: TokenRevoked) -> TokenRevokedV1:
    return TokenRevokedV1(event.organization_id, event.account_id, event.token_id, event.token_hash)


def _revoked(stored: TokenRevokedV1) -> TokenRevoked:
    return TokenRevoked(stored.account_id, stored.token_id, stored.token_hash, stored.organization_id)


EVENTS: Final = (
    earlier("account-created", 1, AccountCreated, AccountCreatedV1, _created_v1),
    Shape("account-created", 2, AccountCreated, AccountCreatedV2, _created_v2, _created),
    event(
        "account-changed",
        AccountChanged,
        account_id=int,
        name=str,
        role=RoleV2,
        title=str,
        about=str,
        handle=str | None,
        email=str | None,
        deactivated=bool,
        hide_reads=bool,
        wish=int,
        role_changes=int,
        created_at=int,
        was_name=str,
        was_role=RoleV2,
        was_handle=str | None,
        changed=tuple[str, ...],
    ),
    event("account-texts-wanted", TextsWanted, account_id=int, wish=int, texts=dict[SpaceV1, str | None]),
    earlier("token-issued", 1, TokenIssued, TokenIssuedV1, _issued_v1),
    Shape("token-issued", 2, TokenIssued, TokenIssuedV2, _issued_v2, _issued),
    event("token-used", TokenUsed, critical=False, account_id=int, token_id=int, day=int),
    Shape("token-revoked", 1, TokenRevoked, TokenRevokedV1, _revoked_v1, _revoked),
    event("direct-room-opened", DirectRoomOpened, account_id=int, peer=int, room_id=int),
    event("command-answered", CommandAnswered),
)


ANSWERS: Final = (
    alike("account-answer", AccountAnswer, AccountAnswerV1),
    alike("profile-answer", ProfileAnswer, ProfileAnswerV1),
    alike("wish-answer", WishAnswer, WishAnswerV1),
    alike("token-answer", TokenAnswer, TokenAnswerV1),
)
