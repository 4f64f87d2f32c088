"""Accounts, their tokens and direct rooms: commands, events and answers, the state, and the rules."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, assert_never, get_args

import msgspec
from immutables import Map
from msgspec.structs import replace

from falcon.domain import limits
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import DEFAULT_ORGANIZATION, AccountId, Millis, OrganizationId, RoomId
from falcon.domain.parted_map import IdMap, id_map, with_entry
from falcon.domain.rejections import AccountNotFound, LastToken, NotAllowed, TokenNotFound


class CreateAccount(msgspec.Struct, frozen=True, tag=True):
    """``token_hash`` of the first token; an imported account has none. ``imported_as`` names where it comes from.

    ``sealed``: the token's secret, readable to the edge alone, for the answer.
    """

    name: str
    is_admin: bool = False
    token_hash: str | None = None
    sealed: str = ""
    imported_as: str | None = None


class IssueToken(msgspec.Struct, frozen=True, tag=True):
    """``sealed`` as in CreateAccount."""

    account_id: AccountId
    token_hash: str
    sealed: str = ""


class RevokeToken(msgspec.Struct, frozen=True, tag=True):
    """``token_hash``: names the token if ``token_id`` is 0."""

    account_id: AccountId
    token_id: int = 0
    token_hash: str = ""


class AccountCreated(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: Millis
    imported_as: str | None = None
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class TokenIssued(msgspec.Struct, frozen=True):
    """``token_hash`` is the hex SHA-256 of the secret. Falcon stores the secret nowhere."""

    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: Millis
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class TokenRevoked(msgspec.Struct, frozen=True):
    account_id: AccountId
    token_id: int
    token_hash: str
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class DirectRoomOpened(msgspec.Struct, frozen=True):
    """An event of the account with the smaller id: its room with ``peer`` is this one, for ever."""

    account_id: AccountId
    peer: AccountId
    room_id: RoomId


class AccountAnswer(msgspec.Struct, frozen=True, tag="account-answer"):
    """``sealed``: the secret of the account's first token, readable to the edge alone."""

    account_id: AccountId
    name: str
    sealed: str = ""


class TokenAnswer(msgspec.Struct, frozen=True, tag="token-answer"):
    """``sealed`` as in AccountAnswer."""

    token_id: int
    sealed: str = ""


AccountCommand: TypeAlias = IssueToken | RevokeToken


AccountEvent: TypeAlias = AccountCreated | TokenIssued | TokenRevoked | DirectRoomOpened


def directs_of(entries: Iterable[tuple[AccountId, RoomId]] = ()) -> "IdMap[RoomId]":
    return id_map(limits.DIRECTS_IN_PART, entries)


class Account(msgspec.Struct, frozen=True):
    """``directs``: peer to room, for the pairs in which this account has the smaller id."""

    account_id: AccountId
    name: str
    is_admin: bool
    tokens: "Map[int, str]" = Map()
    tokens_issued: int = 0
    directs: "IdMap[RoomId]" = msgspec.field(default_factory=directs_of)


def evolve_account(account: Account | None, event: AccountEvent) -> Account:
    """The account after the event. Never refuses."""
    if isinstance(event, AccountCreated):
        return Account(event.account_id, event.name, event.is_admin)
    assert account is not None, f"{event} came before its account was created"
    match event:
        case TokenIssued(token_id=token_id, token_hash=token_hash):
            tokens = account.tokens.set(token_id, token_hash)
            return replace(account, tokens=tokens, tokens_issued=token_id)
        case TokenRevoked(token_id=token_id):
            return replace(account, tokens=account.tokens.delete(token_id))
        case DirectRoomOpened(peer=peer, room_id=room_id):
            directs = with_entry(account.directs, limits.DIRECTS_IN_PART, peer, room_id)
            return replace(account, directs=directs)
        case _:
            assert_never(event)


def create_account(command: CreateAccount, account_id: AccountId, at: Millis) -> Decision:
    created = AccountCreated(account_id, command.name, command.is_admin, at, command.imported_as)
    answer = AccountAnswer(account_id, command.name, command.sealed)
    if command.token_hash is None:
        return Decided((created,), answer)
    return Decided((created, TokenIssued(account_id, 1, command.token_hash, at)), answer)


def decide_account(account: Account | None, command: AccountCommand, at: Millis) -> Decision:
    if account is None:
        return AccountNotFound(command.account_id)
    match command:
        case IssueToken():
            return issue_token(account, command, at)
        case RevokeToken():
            return revoke_token(account, command)
        case _:
            assert_never(command)


def issue_token(account: Account, command: IssueToken, at: Millis) -> Decision:
    if len(account.tokens) >= limits.TOKENS_MAX:
        return NotAllowed(f"an account has at most {limits.TOKENS_MAX} tokens; revoke one first")
    token_id = account.tokens_issued + 1
    event = TokenIssued(account.account_id, token_id, command.token_hash, at)
    return Decided((event,), TokenAnswer(token_id, command.sealed))


def revoke_token(account: Account, command: RevokeToken) -> Decision:
    """An admin keeps one token: the last admin without any could issue none, neither to itself nor to others."""
    token_id = command.token_id or next((n for n, each in account.tokens.items() if each == command.token_hash), 0)
    token_hash = account.tokens.get(token_id)
    if token_hash is None:
        return TokenNotFound(account.account_id, token_id)
    if account.is_admin and len(account.tokens) == 1:
        return LastToken(account.account_id)
    return Decided((TokenRevoked(account.account_id, token_id, token_hash),), Done())


RULES: Final[dict[Any, Any]] = {}  # of rooms it has none
EVOLVES: Final = dict.fromkeys(get_args(AccountEvent), evolve_account)
FREEING: Final = (IssueToken, RevokeToken)  # taken while the disk is nearly full
