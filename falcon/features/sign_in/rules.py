"""Passwords and sign-in links of accounts: commands, events and answers, what an account keeps of them, and the rules.

A session is a token of its own kind. The owner of an account issues it only if the password that was found right, off
the write side, is still the account's newest one.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from falcon.domain import limits
from falcon.domain.aggregates import FeatureState
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis
from falcon.domain.rejections import NotAllowed
from falcon.features.accounts.rules import (
    Account,
    AccountRole,
    ProfileAnswer,
    TokenIssued,
    TokenKind,
    TokenRevoked,
    profile_answer,
    refuse_above,
    revocations,
)

LINKS_MAX: Final = 16  # an administrator gives another one if a person has lost the last; older ones are void


class NewSession(msgspec.Struct, frozen=True):
    """The fields are as in TokenIssued."""

    token_hash: str
    expires_at: Millis
    user_agent: str = ""
    address: str = ""


class ReadPassword(msgspec.Struct, frozen=True, tag=True):
    """Ask for the hash of an account's password. ``login``: only if the account shows this handle or e-mail."""

    account_id: AccountId
    login: str | None = None


class SignIn(msgspec.Struct, frozen=True, tag=True):
    """``number``: of the password that was right; None if something else says who signs in."""

    account_id: AccountId
    session: NewSession
    number: int | None = None


class SetPassword(msgspec.Struct, frozen=True, tag=True):
    """``number``: of the password that it replaces. ``kept``: the hash of the token that sets it; all other sessions
    and all links end."""

    account_id: AccountId
    password_hash: str
    number: int
    kept: str = ""


class SignOut(msgspec.Struct, frozen=True, tag=True):
    """Sign the account out everywhere. Its links end, too. ``kept``: the hash of a token that stays, or none. ``kind``:
    only these; None for all. ``by_role`` as in CreateAccount."""

    account_id: AccountId
    kept: str = ""
    kind: TokenKind | None = None
    by_role: AccountRole | None = None


class IssueLink(msgspec.Struct, frozen=True, tag=True):
    """Give the account a link, by which it sets a password once. ``by_role`` as in CreateAccount. ``sealed``: the
    link's secret, readable to the edge alone, for the answer."""

    account_id: AccountId
    code_hash: str
    expires_at: Millis
    by_role: AccountRole | None = None
    sealed: str = ""


class ReadLink(msgspec.Struct, frozen=True, tag=True):
    """Ask for whom a link is."""

    account_id: AccountId
    code_hash: str


class UseLink(msgspec.Struct, frozen=True, tag=True):
    """Set the password, and sign in. All other sessions and links end. ``password_hash``: empty to leave the password
    and the sessions as they are."""

    account_id: AccountId
    code_hash: str
    password_hash: str
    session: NewSession


class PasswordSet(msgspec.Struct, frozen=True):
    """``number``: how many passwords the account has had."""

    account_id: AccountId
    number: int
    password_hash: str


class LinkIssued(msgspec.Struct, frozen=True):
    """``code_hash`` is the hex SHA-256 of the link's secret."""

    account_id: AccountId
    code_hash: str
    expires_at: Millis


class LinkUsed(msgspec.Struct, frozen=True):
    """All other links end with it."""

    account_id: AccountId
    code_hash: str


class LinksEnded(msgspec.Struct, frozen=True):
    account_id: AccountId


class PasswordAnswer(msgspec.Struct, frozen=True, tag="password-answer"):
    """``password_hash``: empty if there is no password."""

    password_hash: str
    number: int


class SessionAnswer(msgspec.Struct, frozen=True, tag="session-answer"):
    token_id: int
    profile: ProfileAnswer


class LinkAnswer(msgspec.Struct, frozen=True, tag="link-answer"):
    """``name``: the account's. ``sealed`` as in IssueLink."""

    name: str
    expires_at: Millis
    sealed: str = ""


class Link(msgspec.Struct, frozen=True, array_like=True):
    """``role_changes``: of the account when it was issued. Who may make a link for a member might not for an owner, so
    a link ends when the role changes."""

    code_hash: str
    expires_at: Millis
    role_changes: int


class SignInState(msgspec.Struct, frozen=True, array_like=True):
    """``number`` as in PasswordSet. ``links``: the newest last."""

    password_hash: str = ""
    number: int = 0
    links: tuple[Link, ...] = ()


STATE: Final = FeatureState("sign_in", SignInState)


# --- how events change it ---------------------------------------------------------------------------------------------


def _set(account: Account, event: PasswordSet) -> Account:
    state = replace(STATE.of(account), password_hash=event.password_hash, number=event.number)
    return STATE.put(account, state)


def _link_issued(account: Account, event: LinkIssued) -> Account:
    state = STATE.of(account)
    links = (*state.links, Link(event.code_hash, event.expires_at, account.role_changes))[-LINKS_MAX:]
    return STATE.put(account, replace(state, links=links))


def _links_ended(account: Account, event: LinkUsed | LinksEnded) -> Account:
    return STATE.put(account, replace(STATE.of(account), links=()))


# --- the rules --------------------------------------------------------------------------------------------------------


def read_password(account: Account, command: ReadPassword, at: Millis) -> Decision:
    state = STATE.of(account)
    shows = command.login is None or command.login in (account.handle, account.email)
    if account.deactivated or not shows:
        return Decided((), PasswordAnswer("", 0))
    return Decided((), PasswordAnswer(state.password_hash, state.number))


def sign_in(account: Account, command: SignIn, at: Millis) -> Decision:
    if account.deactivated or command.number not in (None, STATE.of(account).number):
        return NotAllowed("the account is deactivated, or its password has changed")
    return _signed_in(account, command.session, at)


def set_password(account: Account, command: SetPassword, at: Millis) -> Decision:
    if command.number != STATE.of(account).number:
        return NotAllowed("the password has changed meanwhile")
    password = _password(account, command.password_hash)
    return Decided((password, *_signed_out(account, command.kept, "session")), Done())


def sign_out(account: Account, command: SignOut, at: Millis) -> Decision:
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    return Decided(_signed_out(account, command.kept, command.kind), Done())


def _signed_out(account: Account, kept: str, kind: TokenKind | None) -> tuple[LinksEnded | TokenRevoked, ...]:
    """A link is as good as a session: it ends with them."""
    links = (LinksEnded(account.account_id),) if STATE.of(account).links else ()
    return (*links, *revocations(account, kept, kind))


def issue_link(account: Account, command: IssueLink, at: Millis) -> Decision:
    if (refusal := refuse_above(command.by_role, account.role)) is not None:
        return refusal
    if account.deactivated:
        return NotAllowed("a deactivated account signs in nowhere", "account_id")
    event = LinkIssued(account.account_id, command.code_hash, command.expires_at)
    return Decided((event,), LinkAnswer(account.name, command.expires_at, command.sealed))


def read_link(account: Account, command: ReadLink, at: Millis) -> Decision:
    link = _link(account, command.code_hash, at)
    return NO_LINK if link is None else Decided((), LinkAnswer(account.name, link.expires_at))


def use_link(account: Account, command: UseLink, at: Millis) -> Decision:
    if _link(account, command.code_hash, at) is None:
        return NO_LINK
    used = LinkUsed(account.account_id, command.code_hash)
    if not command.password_hash:
        return _signed_in(account, command.session, at, (used,))
    password = _password(account, command.password_hash)
    ended = revocations(account, kind="session")
    return _signed_in(account, command.session, at, (used, password, *ended))


NO_LINK: Final = NotAllowed("the link was used, or has expired")


def _link(account: Account, code_hash: str, at: Millis) -> Link | None:
    """The link, if it is still good."""
    links = (link for link in STATE.of(account).links if link.code_hash == code_hash)
    good = (link for link in links if link.expires_at > at and link.role_changes == account.role_changes)
    return None if account.deactivated else next(good, None)


def _password(account: Account, password_hash: str) -> PasswordSet:
    return PasswordSet(account.account_id, STATE.of(account).number + 1, password_hash)


def _signed_in(
    account: Account, session: NewSession, at: Millis, before: tuple[PasswordSet | LinkUsed | TokenRevoked, ...] = ()
) -> Decision:
    """Decides on another session. Expired tokens make room for it, and else the oldest session does."""
    ended = {event.token_id for event in before if isinstance(event, TokenRevoked)}
    left = {number: token for number, token in account.tokens.items() if number not in ended}
    going = [number for number, token in left.items() if token.expires_at is not None and token.expires_at <= at]
    sessions = (number for number, token in left.items() if token.kind == "session" and number not in going)
    if len(left) - len(going) >= limits.TOKENS_MAX:
        oldest = min(sessions, default=None)
        if oldest is None:
            return NotAllowed(f"an account has at most {limits.TOKENS_MAX} tokens; revoke one first")
        going.append(oldest)
    account_id, token_id = account.account_id, account.tokens_issued + 1
    issued = TokenIssued(
        account_id,
        token_id,
        session.token_hash,
        at,
        "session",
        expires_at=session.expires_at,
        issued_by=account_id,
        user_agent=session.user_agent,
        address=session.address,
    )
    events = (*before, *_revoked(account, going), issued)
    return Decided(events, SessionAnswer(token_id, profile_answer(account)))


def _revoked(account: Account, numbers: Iterable[int]) -> tuple[TokenRevoked, ...]:
    return tuple(TokenRevoked(account.account_id, n, account.tokens[n].token_hash) for n in numbers)


RULES: Final = {
    ReadPassword: read_password,
    SignIn: sign_in,
    SetPassword: set_password,
    SignOut: sign_out,
    IssueLink: issue_link,
    ReadLink: read_link,
    UseLink: use_link,
}
EVOLVES: Final = {PasswordSet: _set, LinkIssued: _link_issued, LinkUsed: _links_ended, LinksEnded: _links_ended}
SignInCommand: TypeAlias = ReadPassword | SignIn | SetPassword | SignOut | IssueLink | ReadLink | UseLink
SignInEvent: TypeAlias = PasswordSet | LinkIssued | LinkUsed | LinksEnded
FREEING: Final = (ReadPassword, SignIn, SignOut, ReadLink, UseLink)  # taken while the disk is nearly full
