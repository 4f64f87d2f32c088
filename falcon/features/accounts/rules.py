"""Accounts, their tokens and direct rooms: commands, events and answers, the state, and the rules."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from immutables import Map
from msgspec.structs import replace

from falcon.domain import limits
from falcon.domain.aggregates import AggregateKind
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import DEFAULT_ORGANIZATION, NOBODY, AccountId, Millis, OrganizationId, RoomId
from falcon.domain.parted_map import IdMap, id_map, with_entry
from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    LastOwner,
    LastToken,
    NotAllowed,
    OutOfDate,
    TextTaken,
    TokenNotFound,
)

AccountRole: TypeAlias = Literal["owner", "admin", "member", "guest", "bot"]
RANKS: Final[Mapping[AccountRole, int]] = {"owner": 4, "admin": 3, "member": 2, "bot": 2, "guest": 1}
ADMINS: Final[tuple[AccountRole, ...]] = ("owner", "admin")
_DAY_MILLIS: Final = 86_400_000  # a day
TokenKind: TypeAlias = Literal["token", "session"]
Scope: TypeAlias = Literal["read", "write", "tokens", "export", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
Space: TypeAlias = Literal["handle", "email"]
"""A kind of texts of which each belongs to one account."""


class CreateAccount(msgspec.Struct, frozen=True, tag=True):
    """``token_hash`` of the first token; an imported account has none. ``imported_as`` names where it comes from.

    ``sealed``: the token's secret, readable to the edge alone, for the answer. ``by_role``: of the account that asks;
    None for Falcon itself. ``existing``: only ask for the account that ``imported_as`` has made. ``scopes``: of the
    first token, None for all that the account may.
    """

    name: str
    role: AccountRole = "member"
    token_hash: str | None = None
    sealed: str = ""
    imported_as: str | None = None
    title: str = ""
    about: str = ""
    deactivated: bool = False
    by_role: AccountRole | None = None
    existing: bool = False
    scopes: tuple[Scope, ...] | None = None


class ChangeAccount(msgspec.Struct, frozen=True, tag=True):
    """None leaves a field as it is. ``by_role`` as in CreateAccount. ``by_itself``: the account asks, and gets
    no role above the one that it has.

    ``texts``: the handle, the e-mail or both as they are to be shown from now on, None for none; ``wish``: the number
    that WantTexts gave for them. ``role_changes``: how often the role has changed, as the sender has read; None if that
    does not matter. ``refusal``: what another aggregate has refused of it; the account refuses it too, so that its key
    remembers that.
    """

    account_id: AccountId
    by_role: AccountRole | None = None
    name: str | None = None
    role: AccountRole | None = None
    title: str | None = None
    about: str | None = None
    deactivated: bool | None = None
    hide_reads: bool | None = None
    by_itself: bool = False
    texts: Mapping[Space, str | None] = {}
    wish: int = 0
    role_changes: int | None = None
    refusal: TextTaken | LastOwner | None = None


class WantTexts(msgspec.Struct, frozen=True, tag=True):
    """Number the wish of an account to show other texts. ``by_role`` as in CreateAccount."""

    account_id: AccountId
    texts: Mapping[Space, str | None]
    by_role: AccountRole | None = None


class IssueToken(msgspec.Struct, frozen=True, tag=True):
    """``sealed``, ``by_role`` as in CreateAccount. The other fields are as in TokenIssued."""

    account_id: AccountId
    token_hash: str
    sealed: str = ""
    kind: TokenKind = "token"
    name: str = ""
    scopes: tuple[Scope, ...] | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    user_agent: str = ""
    address: str = ""
    by_role: AccountRole | None = None


class UseToken(msgspec.Struct, frozen=True, tag=True):
    """Note that the token was used on a day, counted from 1970-01-01."""

    account_id: AccountId
    token_id: int
    day: int


class RevokeToken(msgspec.Struct, frozen=True, tag=True):
    """``token_hash``: names the token if ``token_id`` is 0. ``by_role`` as in CreateAccount. ``kind``: of the token;
    None for either."""

    account_id: AccountId
    token_id: int = 0
    token_hash: str = ""
    by_role: AccountRole | None = None
    kind: TokenKind | None = None


class AccountCreated(msgspec.Struct, frozen=True):
    account_id: AccountId
    name: str
    role: AccountRole
    created_at: Millis
    imported_as: str | None = None
    title: str = ""
    about: str = ""
    deactivated: bool = False
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class AccountChanged(msgspec.Struct, frozen=True):
    """The whole profile after a change. ``changed`` names the fields that differ. ``was_name``, ``was_role``
    and ``was_handle``: before it. ``wish``: the newest one that ``handle`` and ``email`` show. ``role_changes``: how
    often the role changed, or the account was deactivated or active again."""

    account_id: AccountId
    name: str
    role: AccountRole
    title: str
    about: str
    handle: str | None
    email: str | None
    deactivated: bool
    hide_reads: bool
    wish: int
    role_changes: int
    created_at: Millis
    was_name: str
    was_role: AccountRole
    was_handle: str | None
    changed: tuple[str, ...]


class TextsWanted(msgspec.Struct, frozen=True):
    """The account has numbered a wish. Until it shows it, and if it never does, it remembers these texts."""

    account_id: AccountId
    wish: int
    texts: Mapping[Space, str | None]


class TokenIssued(msgspec.Struct, frozen=True):
    """``token_hash`` is the hex SHA-256 of the secret. Falcon stores the secret nowhere. ``scopes``: None for all that
    the account may. ``issued_by``: the account that asked for it. ``user_agent``, ``address``: of the client that got a
    session."""

    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: Millis
    kind: TokenKind = "token"
    name: str = ""
    scopes: tuple[Scope, ...] | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    user_agent: str = ""
    address: str = ""
    organization_id: OrganizationId = DEFAULT_ORGANIZATION


class TokenUsed(msgspec.Struct, frozen=True):
    """``day``: the newest on which it was used, counted from 1970-01-01."""

    account_id: AccountId
    token_id: int
    day: int


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


class ProfileAnswer(msgspec.Struct, frozen=True, tag="profile-answer"):
    """``replaced``: texts that the account has just ceased to show, and still claims."""

    account_id: AccountId
    name: str
    role: AccountRole
    title: str
    about: str
    handle: str | None
    email: str | None
    deactivated: bool
    hide_reads: bool
    created_at: Millis
    replaced: tuple[tuple[Space, str], ...] = ()


class WishAnswer(msgspec.Struct, frozen=True, tag="wish-answer"):
    """``wish``: its number; 0 if the account shows these texts already. ``texts``: the ones to claim. ``left``: texts
    of earlier wishes that are not shown and may still be claimed."""

    wish: int
    texts: tuple[tuple[Space, str], ...] = ()
    left: tuple[tuple[Space, str], ...] = ()


class TokenAnswer(msgspec.Struct, frozen=True, tag="token-answer"):
    """``sealed`` as in AccountAnswer."""

    token_id: int
    sealed: str = ""


class Token(msgspec.Struct, frozen=True, array_like=True):
    """The fields are as in TokenIssued. ``used_on``: as the day in TokenUsed, or 0."""

    token_hash: str
    kind: TokenKind = "token"
    scopes: tuple[Scope, ...] | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    used_on: int = 0


def directs_of(entries: Iterable[tuple[AccountId, RoomId]] = ()) -> "IdMap[RoomId]":
    return id_map(limits.DIRECTS_IN_PART, entries)


class Account(msgspec.Struct, frozen=True):
    """``wishes``: the number of the newest wish; ``unshown``: texts of wishes and earlier profiles that may still be
    claimed, the newest last. ``role_changes`` as in AccountChanged. ``tokens`` by their numbers.

    ``directs``: peer to room, for the pairs in which this account has the smaller id. ``features``: what further
    features keep of the account, by their names.
    """

    account_id: AccountId
    name: str
    role: AccountRole
    created_at: Millis
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    hide_reads: bool = False
    wishes: int = 0
    unshown: tuple[tuple[Space, str], ...] = ()
    role_changes: int = 0
    tokens: Mapping[int, Token] = {}
    tokens_issued: int = 0
    directs: "IdMap[RoomId]" = msgspec.field(default_factory=directs_of)
    features: "Map[str, msgspec.Struct]" = Map()

    @property
    def is_admin(self) -> bool:
        return self.role in ADMINS

    def text(self, space: Space) -> str | None:
        return self.handle if space == "handle" else self.email


def no_account(command: "AccountCommand") -> AccountNotFound:
    return AccountNotFound(command.account_id)


ACCOUNT: Final = AggregateKind(
    "account",
    Account,
    "account_id",
    no_account,
    first=AccountCreated,
    entries="directs",
    in_part=limits.DIRECTS_IN_PART,
)


# --- how events change it ---------------------------------------------------------------------------------------------


_PROFILE: Final = ("name", "role", "title", "about", "handle", "email", "deactivated", "hide_reads")


def profile_of(account: Account | AccountChanged) -> dict[str, Any]:
    """The fields that an account, an event of its change, its row and an answer about it have alike."""
    return {name: getattr(account, name) for name in _PROFILE}


def created_account(_: None, event: AccountCreated) -> Account:
    return Account(
        event.account_id,
        event.name,
        event.role,
        event.created_at,
        event.title,
        event.about,
        deactivated=event.deactivated,
    )


def _changed(account: Account, event: AccountChanged) -> Account:
    replaced = _replaced(account, {"handle": event.handle, "email": event.email})
    return replace(
        account,
        **profile_of(event),
        role_changes=event.role_changes,
        unshown=_remembered(account.unshown, replaced),
    )


def _wanted(account: Account, event: TextsWanted) -> Account:
    texts = [(space, text) for space, text in event.texts.items() if text is not None]
    return replace(account, wishes=event.wish, unshown=_remembered(account.unshown, texts))


def _replaced(account: Account, texts: Mapping[Space, str | None]) -> list[tuple[Space, str]]:
    """The texts that the account shows now and no longer does with these."""
    shown = [(space, account.text(space)) for space, text in texts.items() if text != account.text(space)]
    return [(space, text) for space, text in shown if text is not None]


def _remembered(
    unshown: tuple[tuple[Space, str], ...], more: Iterable[tuple[Space, str]]
) -> tuple[tuple[Space, str], ...]:
    """The newest ones, each once. An older one was released by each wish that came after it."""
    return tuple(dict.fromkeys([*reversed([*unshown, *more])]))[: limits.UNSHOWN_TEXTS][::-1]


def _issued(account: Account, event: TokenIssued) -> Account:
    token = Token(event.token_hash, event.kind, event.scopes, event.expires_at, event.issued_by)
    return replace(account, tokens={**account.tokens, event.token_id: token}, tokens_issued=event.token_id)


def _used(account: Account, event: TokenUsed) -> Account:
    token = replace(account.tokens[event.token_id], used_on=event.day)
    return replace(account, tokens={**account.tokens, event.token_id: token})


def _revoked(account: Account, event: TokenRevoked) -> Account:
    return replace(account, tokens={n: token for n, token in account.tokens.items() if n != event.token_id})


def _opened_direct(account: Account, event: DirectRoomOpened) -> Account:
    return replace(account, directs=with_entry(account.directs, limits.DIRECTS_IN_PART, event.peer, event.room_id))


# --- the rules --------------------------------------------------------------------------------------------------------


def create_account(command: CreateAccount, account_id: AccountId, at: Millis) -> Decision:
    if (refusal := refuse_giving(command.by_role, command.role)) is not None:
        return refusal
    created = AccountCreated(
        account_id,
        command.name,
        command.role,
        at,
        command.imported_as,
        command.title,
        command.about,
        command.deactivated,
    )
    answer = AccountAnswer(account_id, command.name, command.sealed)
    if command.token_hash is None:
        return Decided((created,), answer)
    token = TokenIssued(account_id, 1, command.token_hash, at, scopes=command.scopes)
    return Decided((created, token), answer)


def change_account(account: Account, command: ChangeAccount, _: Millis) -> Decision:
    role = command.role or account.role
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    if (refusal := refuse_giving(account.role if command.by_itself else command.by_role, role)) is not None:
        return refusal
    if command.refusal is not None:
        return command.refusal
    if role != account.role and "bot" in (role, account.role):
        return Invalid("role", "bot is given at creation only, and stays")
    if command.texts and command.wish != account.wishes:
        return OutOfDate(account.account_id)
    if command.role_changes is not None and command.role_changes != account.role_changes:
        return OutOfDate(account.account_id)
    asked = {
        field: getattr(command, field) for field in ("name", "role", "title", "about", "deactivated", "hide_reads")
    }
    asked = {field: value for field, value in asked.items() if value is not None} | dict(command.texts)
    changed = tuple(field for field, value in asked.items() if value != getattr(account, field))
    after = replace(account, **{field: asked[field] for field in changed})
    answer = profile_answer(after, tuple(_replaced(account, command.texts)))
    if not changed:
        return Decided((), answer)
    event = AccountChanged(
        account.account_id,
        **profile_of(after),
        wish=account.wishes,
        role_changes=account.role_changes + bool({"role", "deactivated"} & set(changed)),
        created_at=account.created_at,
        was_name=account.name,
        was_role=account.role,
        was_handle=account.handle,
        changed=changed,
    )
    return Decided((event, *(revocations(account) if after.deactivated else ())), answer)


def profile_answer(account: Account, replaced: tuple[tuple[Space, str], ...] = ()) -> ProfileAnswer:
    return ProfileAnswer(account.account_id, **profile_of(account), created_at=account.created_at, replaced=replaced)


def want_texts(account: Account, command: WantTexts, _: Millis) -> Decision:
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    texts = {space: text for space, text in command.texts.items() if text != account.text(space)}
    if not texts:
        return Decided((), WishAnswer(0))
    wish = account.wishes + 1
    kept = {("handle", account.handle), ("email", account.email), *texts.items()}
    wanted = tuple((space, text) for space, text in texts.items() if text is not None)
    left = tuple(each for each in account.unshown if each not in kept)
    return Decided((TextsWanted(account.account_id, wish, texts),), WishAnswer(wish, wanted, left))


def issue_token(account: Account, command: IssueToken, at: Millis) -> Decision:
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    if account.deactivated:
        return NotAllowed("a deactivated account gets no token", "account_id")
    if len(account.tokens) >= limits.TOKENS_MAX:
        return NotAllowed(f"an account has at most {limits.TOKENS_MAX} tokens; revoke one first")
    token_id = account.tokens_issued + 1
    event = TokenIssued(
        account.account_id,
        token_id,
        command.token_hash,
        at,
        command.kind,
        command.name,
        command.scopes,
        command.expires_at,
        command.issued_by,
        command.user_agent,
        command.address,
    )
    return Decided((event,), TokenAnswer(token_id, command.sealed))


def use_token(account: Account, command: UseToken, at: Millis) -> Decision:
    """A sender whose clock is ahead notes no day that has not come."""
    token = account.tokens.get(command.token_id)
    day = min(command.day, at // _DAY_MILLIS)
    if token is None or token.used_on >= day:
        return Decided((), Done())
    return Decided((TokenUsed(account.account_id, command.token_id, day),), Done())


def revoke_token(account: Account, command: RevokeToken, _: Millis) -> Decision:
    """An admin keeps one token: the last admin without any could issue none, neither to itself nor to others."""
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    token_id = command.token_id or token_number(account, command.token_hash)
    token = account.tokens.get(token_id)
    if token is None or command.kind not in (None, token.kind):
        return TokenNotFound(account.account_id, token_id)
    if account.is_admin and token.kind == "token" and len(account.tokens) == 1:
        return LastToken(account.account_id)
    return Decided((TokenRevoked(account.account_id, token_id, token.token_hash),), Done())


def revocations(account: Account, kept: str = "", kind: TokenKind | None = None) -> tuple[TokenRevoked, ...]:
    """The ends of all tokens, or of those of a kind, except the one with the hash ``kept``."""
    return tuple(
        TokenRevoked(account.account_id, token_id, token.token_hash)
        for token_id, token in account.tokens.items()
        if token.token_hash != kept and kind in (None, token.kind)
    )


def token_number(account: Account, token_hash: str) -> int:
    """The number of the token with this hash; 0 if there is none."""
    return next((n for n, token in account.tokens.items() if token.token_hash == token_hash), 0)


def refuse_above(by_role: AccountRole | None, role: AccountRole) -> NotAllowed | None:
    """Refuse to change an account with a role above one's own."""
    if by_role is not None and RANKS[role] > RANKS[by_role]:
        return NotAllowed("must not be an account with a role above your own", "account_id")
    return None


def refuse_giving(by_role: AccountRole | None, role: AccountRole) -> NotAllowed | None:
    """Refuse to give a role above one's own."""
    if by_role is not None and RANKS[role] > RANKS[by_role]:
        return NotAllowed("must not be above your own", "role")
    return None


RULES: Final = {
    IssueToken: issue_token,
    RevokeToken: revoke_token,
    ChangeAccount: change_account,
    WantTexts: want_texts,
    UseToken: use_token,
}
EVOLVES: Final = {
    AccountCreated: created_account,
    AccountChanged: _changed,
    TextsWanted: _wanted,
    TokenIssued: _issued,
    TokenUsed: _used,
    TokenRevoked: _revoked,
    DirectRoomOpened: _opened_direct,
}
AccountCommand: TypeAlias = IssueToken | RevokeToken | ChangeAccount | WantTexts | UseToken
AccountEvent: TypeAlias = (
    AccountCreated | TokenIssued | TokenRevoked | DirectRoomOpened | AccountChanged | TextsWanted | TokenUsed
)
FREEING: Final = (IssueToken, RevokeToken)  # taken while the disk is nearly full
