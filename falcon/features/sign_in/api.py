"""Signing in with a password or a link, the sessions that come of it, and their ends."""

import time
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from falcon.domain import names
from falcon.domain.aggregates import id_of_text
from falcon.domain.ids import ID_MAX, NOBODY, AccountId, Millis
from falcon.features.accounts.rules import SCOPES, RevokeToken, Space
from falcon.features.accounts.wishes import holder_of
from falcon.features.sign_in.rules import (
    IssueLink,
    LinkAnswer,
    NewSession,
    PasswordAnswer,
    ReadLink,
    ReadPassword,
    SessionAnswer,
    SetPassword,
    SignIn,
    SignOut,
    UseLink,
)
from falcon.http import bearer_tokens, shapes
from falcon.http.api import examples, permissions
from falcon.http.api.operation import ApiOperation, Group, PathParameter, in_group
from falcon.http.edge import Edge
from falcon.http.passwords import CHARS_MAX, NewPassword, check_new
from falcon.http.problems import (
    Problem,
    account_not_found,
    check_scopes,
    item_not_found,
    not_allowed,
    token_unreadable,
    unauthenticated,
)
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.read.times import rfc3339

SESSION_SECONDS: Final = 30 * 86_400  # a person signs in once a month on each device
LINK_SECONDS: Final = 86_400  # it goes from hand to hand, so it is worth nothing the day after tomorrow
_DAY_MILLIS: Final = 86_400_000  # a day
_USER_AGENT_CHARS_MAX: Final = 200  # browsers send about 120
_SUBJECT: Final = "Sign in to Falcon / Falcon へのサインイン"
_MAIL: Final = """\
This link signs you in to Falcon, once, until {until}. It is for you alone.
次のリンクで Falcon に一度だけサインインできます（{until} まで）。ほかの人に渡さないでください。

{url}
"""
_NO_CODE: Final = "must be a code that is unused and not expired"

Password = Annotated[str, Meta(description=f"At most {CHARS_MAX} characters; a longer one is wrong")]


class PasswordSignIn(shapes.RequestShape, frozen=True):
    """``login``: an e-mail or a handle. ``bearer``: answer with the token, and set no cookie."""

    login: str
    password: Password
    bearer: bool = False


class PasswordChange(shapes.RequestShape, frozen=True):
    """``current``: needed if the account has a password."""

    password: NewPassword
    current: Password | None = None


class LinkPassword(shapes.RequestShape, frozen=True):
    """``password``: without one the account keeps its own, and its other sessions."""

    password: NewPassword | None = None
    bearer: bool = False


class ProviderShape(msgspec.Struct, frozen=True):
    """An OpenID Connect provider: ``/v1/sign-in/{provider}`` begins there."""

    provider: str
    name: str


class SignInWays(msgspec.Struct, frozen=True):
    password: bool
    providers: list[ProviderShape]


class SignedIn(msgspec.Struct, frozen=True, omit_defaults=True):
    """``token``: if the request asked for it; else the answer sets the cookie."""

    account: shapes.Profile
    session_id: int
    expires_at: shapes.Time
    token: str | None = None


class Session(msgspec.Struct, frozen=True):
    """``last_used_at``: to the day, from the day after ``created_at`` on. ``address``: of the client that signed in.
    ``current``: the request's own."""

    session_id: int
    created_at: shapes.Time
    last_used_at: shapes.Time | None
    user_agent: str
    address: str
    current: bool


class Sessions(msgspec.Struct, frozen=True):
    sessions: list[Session]


class SignInLink(msgspec.Struct, frozen=True):
    """The address is shown this once. ``mailed``: the mail server has taken it."""

    url: str
    expires_at: shapes.Time
    mailed: bool


class LinkOwner(msgspec.Struct, frozen=True):
    name: str
    has_password: bool


_new_link: Final = msgspec.json.Decoder(shapes.NewLink)
_credentials: Final = msgspec.json.Decoder(PasswordSignIn)
_password_change: Final = msgspec.json.Decoder(PasswordChange)
_link_password: Final = msgspec.json.Decoder(LinkPassword)


# --- signing in -------------------------------------------------------------------------------------------------------


async def ways_to_sign_in(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the ways to sign in.

    What a page needs before it knows who asks.
    """
    providers = [ProviderShape(name, each.settings.name) for name, each in edge.providers.items()]
    return json_response(200, SignInWays(True, providers))


async def sign_in(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Sign in with a password.

    A browser gets the cookie `__Host-falcon` (on loopback without TLS `falcon`); a command with it must have an
    `Origin` of this Falcon. With `bearer` the answer has the token instead. Every mistake gets the same 401. After 10
    wrong passwords for a login, or 30 from an address, in 10 minutes further attempts get 429, right or wrong.
    """
    # Every mistake gets the same answer, after the same work.
    credentials: PasswordSignIn = await request.json(_credentials)
    login = credentials.login.strip()
    edge.limiter.begin_sign_in(login, request.scope)
    try:
        answer, session, secret = await _judged(edge, request, login, credentials)
    except Problem as problem:
        if problem.status == 503:  # nothing was found wrong: an outage locks no login
            edge.limiter.signed_in(login, request.scope)
        raise
    edge.limiter.signed_in(login, request.scope)
    return signed_in(edge, request, answer, session, secret, bearer=credentials.bearer)


async def _judged(
    edge: Edge, request: AuthedRequest, login: str, credentials: PasswordSignIn
) -> tuple[SessionAnswer, NewSession, str]:
    """The session and the secret of its token. Raises Problem 401, 503."""
    account_id, password = await _password_of(edge, request, login)
    if not await edge.passwords.matches(password.password_hash or None, credentials.password):
        raise _wrong_login()
    session, secret = new_session(edge, request)
    try:
        result = await edge.commands.dispatch(request, SignIn(account_id, session, password.number))
    except Problem as problem:
        raise (_wrong_login() if problem.code == "not_allowed" else problem) from None
    assert isinstance(result.answer, SessionAnswer)
    return result.answer, session, secret


async def _password_of(edge: Edge, request: AuthedRequest, login: str) -> tuple[AccountId, PasswordAnswer]:
    """The owners are asked, who know the newest. An unknown login costs as many questions as a known one."""
    space: Space = "email" if "@" in login else "handle"
    text = names.normalized(login).casefold()
    account_id = await holder_of(edge, request, space, text)
    if account_id == NOBODY:
        account_id = id_of_text("login", text) % ID_MAX + 1  # no account is likely to have it; its owner says so
    try:
        answer = (await edge.commands.dispatch(request, ReadPassword(account_id, text))).answer
    except Problem as problem:
        if problem.code != "account_not_found":
            raise
        return account_id, PasswordAnswer("", 0)
    assert isinstance(answer, PasswordAnswer)
    return account_id, answer


def _wrong_login() -> Problem:
    return unauthenticated(
        "The login or the password is wrong.", "login", "must be the handle or e-mail of an account, with its password"
    )


def new_session(edge: Edge, request: AuthedRequest) -> tuple[NewSession, str]:
    """A session that is not issued yet, and the secret of its token."""
    secret = bearer_tokens.new_secret(edge.secret)
    agent = request.headers.get(b"user-agent", b"").decode("latin-1")[:_USER_AGENT_CHARS_MAX]
    session = NewSession(
        bearer_tokens.hash_of(secret),
        now_millis() + SESSION_SECONDS * 1_000,
        "".join(each for each in agent if each.isprintable()),
        edge.limiter.address_of(request.scope),
    )
    return session, secret


def signed_in(
    edge: Edge, request: AuthedRequest, answer: SessionAnswer, session: NewSession, secret: str, *, bearer: bool
) -> BytesResponse:
    token = bearer_tokens.token(answer.profile.account_id, secret)
    shown = SignedIn(
        shapes.profile(answer.profile), answer.token_id, rfc3339(session.expires_at), token if bearer else None
    )
    if bearer:
        return json_response(201, shown)
    return json_response(201, shown, cookie_of(edge, request, token, SESSION_SECONDS))


def cookie_of(edge: Edge, request: AuthedRequest, token: str, seconds: int) -> tuple[bytes, bytes]:
    """The header that sets the cookie, or with no seconds ends it. Raises Problem 403."""
    return edge.authenticator.origins.cookie(token, seconds, request.headers, request.scope)


def now_millis() -> Millis:
    return time.time_ns() // 1_000_000


# --- one's own password -----------------------------------------------------------------------------------------------


async def set_password(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Set your password.

    All other sessions end. `current` is needed if there is a password.
    """
    change: PasswordChange = await request.json(_password_change)
    request.body = b""  # the log keeps a digest of a keyed request: not of one with a password
    check_new(change.password)
    answer = (await edge.commands.dispatch(request, ReadPassword(request.account_id), keyed=False)).answer
    assert isinstance(answer, PasswordAnswer)
    if not answer.password_hash:
        check_scopes(request.account.token, SCOPES)  # sessions have all scopes
    refusal = None
    if answer.password_hash and not await _is_current(edge, request, answer.password_hash, change.current):
        refusal = not_allowed("current", "must be the present password")
    command = SetPassword(
        request.account_id,
        "" if refusal else await edge.passwords.hash(change.password),
        answer.number,
        edge.authenticator.token_hash(request.headers),
    )
    result = await edge.commands.dispatch(request, command, refusal=refusal)
    edge.authenticator.forget(request.account_id)
    return BytesResponse(204, b"", *result.headers)


async def _is_current(edge: Edge, request: AuthedRequest, password_hash: str, current: str | None) -> bool:
    """Raises Problem 429, 503."""
    login = f"account {request.account_id}"
    edge.limiter.begin_sign_in(login, request.scope)
    if current is None or not await edge.passwords.matches(password_hash, current):
        return False
    edge.limiter.signed_in(login, request.scope)
    return True


# --- sessions ---------------------------------------------------------------------------------------------------------


async def list_sessions(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List your sessions.

    One for each browser or program in which you are signed in.
    """
    now = now_millis()
    current = request.account.token
    sessions = [
        Session(
            row.token_id,
            row.created_at,
            rfc3339(row.used_on * _DAY_MILLIS) if row.used_on else None,
            row.user_agent,
            row.address,
            current is not None and row.token_id == current.token_id,
        )
        for row in await edge.store.tokens(request.account_id)
        if row.kind == "session" and (row.expires_at or 0) > now
    ]
    return json_response(200, Sessions(sessions))


async def end_session(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """End one of your sessions.

    Its streams end, too.
    """
    token_id = request.path_id("session_id", lambda text: _no_session())
    await request.no_body()
    command = RevokeToken(request.account_id, token_id, kind="session")
    return await _ended(edge, request, command)


async def end_other_sessions(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """End all your other sessions.

    The session of this request stays. Unused sign-in links end, too.
    """
    await request.no_body()
    kept = edge.authenticator.token_hash(request.headers)
    return await _ended(edge, request, SignOut(request.account_id, kept, "session"))


async def end_current_session(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Sign out.

    Ends the session of this request, and takes the cookie away. A retry of this request gets 401.
    """
    await request.no_body()
    token_hash = edge.authenticator.token_hash(request.headers)
    command = RevokeToken(request.account_id, token_hash=token_hash)
    return await _ended(edge, request, command, cookie_of(edge, request, "", 0))


async def sign_out_everywhere(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Sign an account out everywhere.

    All tokens and sessions that were issued before end within two seconds, with their streams. Unused sign-in
    links end, too.
    """
    account_id = request.path_id("account_id", account_not_found)
    await request.no_body()
    return await _ended(edge, request, SignOut(account_id, by_role=request.account.role))


async def _ended(
    edge: Edge, request: AuthedRequest, command: RevokeToken | SignOut, *headers: tuple[bytes, bytes]
) -> BytesResponse:
    try:
        result = await edge.commands.dispatch(request, command)
    except Problem as problem:
        raise (_no_session() if problem.code == "token_not_found" else problem) from None
    edge.authenticator.forget(command.account_id)
    return BytesResponse(204, b"", *result.headers, *headers)


def _no_session() -> Problem:
    return item_not_found("session_id", "must be a session of yours")


# --- links ------------------------------------------------------------------------------------------------------------


async def issue_sign_in_link(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Issue a sign-in link.

    For a person who has forgotten the password, or has none. The link is shown only once. As a session has all scopes,
    so must the token that asks for one. With `mail` the account's e-mail gets it, too, if Falcon has a mail server.
    """
    account_id = request.path_id("account_id", account_not_found)
    new: shapes.NewLink = await request.json(_new_link)
    check_scopes(request.account.token, SCOPES)  # sessions have all scopes
    url = edge.authenticator.origins.url(request.headers, request.scope)
    secret = bearer_tokens.new_secret(edge.secret)
    command = IssueLink(
        account_id,
        bearer_tokens.hash_of(secret),
        now_millis() + LINK_SECONDS * 1_000,
        request.account.role,
        bearer_tokens.seal(edge.secret, secret),
    )
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, LinkAnswer)
    unsealed = bearer_tokens.unseal(edge.secret, answer.sealed)
    if unsealed is None:
        raise token_unreadable("A sign-in link", account_id)
    link = SignInLink(f"{url}/#sign-in={account_id}_{unsealed}", rfc3339(answer.expires_at), mailed=False)
    if new.mail and edge.mail is not None:
        row = (await edge.reads.newest(request, account_id, edge.store.accounts_of, [account_id])).get(account_id)
        if row is not None and row.email is not None:
            text = _MAIL.format(url=link.url, until=link.expires_at)
            link = replace(link, mailed=await edge.mail.send(row.email, _SUBJECT, text))
    return json_response(201, link, *result.headers)


async def read_sign_in_link(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """See for whom a sign-in link is.

    The link stays as good as it was.
    """
    account_id, code_hash = _code(request)
    answer = await _linked(edge, request, ReadLink(account_id, code_hash))
    assert isinstance(answer, LinkAnswer)
    password = (await edge.commands.dispatch(request, ReadPassword(account_id))).answer
    assert isinstance(password, PasswordAnswer)
    return json_response(200, LinkOwner(answer.name, bool(password.password_hash)))


async def use_sign_in_link(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Sign in by a link, and set a password.

    A link is good once, within a day. A new password ends all other sessions of the account. A browser gets the cookie
    `__Host-falcon` (on loopback without TLS `falcon`); a command with it must have an `Origin` of this Falcon. With
    `bearer` the answer has the token instead.
    """
    account_id, code_hash = _code(request)
    new: LinkPassword = await request.json(_link_password)
    if new.password is not None:
        check_new(new.password)
    await _linked(edge, request, ReadLink(account_id, code_hash))  # a wrong code costs no hash
    session, secret = new_session(edge, request)
    password_hash = "" if new.password is None else await edge.passwords.hash(new.password)
    answer = await _linked(edge, request, UseLink(account_id, code_hash, password_hash, session))
    assert isinstance(answer, SessionAnswer)
    edge.authenticator.forget(account_id)
    return signed_in(edge, request, answer, session, secret, bearer=new.bearer)


def _code(request: AuthedRequest) -> tuple[AccountId, str]:
    """The account of a link, and the hash of its secret. Raises Problem 404."""
    parsed = bearer_tokens.parse(f"falcon_{request.scope['path_params']['code']}")
    if parsed is None:
        raise _no_link()
    return parsed[0], bearer_tokens.hash_of(parsed[1])


async def _linked(edge: Edge, request: AuthedRequest, command: ReadLink | UseLink) -> object:
    """Raises Problem 404 for a code that is used, expired or unknown."""
    try:
        return (await edge.commands.dispatch(request, command)).answer
    except Problem as problem:
        raise (_no_link() if problem.code in ("not_allowed", "account_not_found") else problem) from None


def _no_link() -> Problem:
    return item_not_found("code", _NO_CODE)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Signing in", "With a password, with a link from an administrator, or with a provider.", learned=7)
_CODE: Final = PathParameter("The code of the link", "130_Y29kZQ", {"type": "string"})
_SESSION: Final = PathParameter("The id of the session", 2)
SIGNED_IN: Final = SignedIn(examples.PROFILE, 2, "2026-12-25T09:30:00.000Z")
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "GET",
        "/v1/sign-in",
        ways_to_sign_in,
        permissions.STRANGERS,
        {200: SignInWays(True, [ProviderShape("keycloak", "Our company")])},
    ),
    ApiOperation(
        "POST",
        "/v1/sign-in",
        sign_in,
        permissions.STRANGERS,
        {201: SIGNED_IN},
        PasswordSignIn("ben", "tea at four o'clock"),
        problems=("unauthenticated",),
    ),
    ApiOperation(
        "GET",
        "/v1/sign-in/by-code/{code}",
        read_sign_in_link,
        permissions.STRANGERS,
        {200: LinkOwner("Ben", has_password=True)},
        parameters={"code": _CODE},
        problems=("item_not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/sign-in/by-code/{code}",
        use_sign_in_link,
        permissions.STRANGERS,
        {201: SIGNED_IN},
        LinkPassword("tea at four o'clock"),
        parameters={"code": _CODE},
        problems=("item_not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/sign-in-link",
        issue_sign_in_link,
        permissions.ADMINS,
        {201: SignInLink("https://chat.example/#sign-in=130_Y29kZQ", "2026-11-26T09:30:00.000Z", mailed=False)},
        shapes.NewLink(),
        problems=("account_not_found", "token_unreadable"),
    ),
    ApiOperation(
        "PUT",
        "/v1/me/password",
        set_password,
        permissions.EVERYBODY,
        {204: None},
        PasswordChange("tea at four o'clock", "coffee at ten"),
    ),
    ApiOperation(
        "GET",
        "/v1/sessions",
        list_sessions,
        permissions.EVERYBODY,
        {200: Sessions([Session(2, examples.MADE, examples.MADE, "Firefox", "192.0.2.7", True)])},
    ),
    ApiOperation(
        "DELETE",
        "/v1/sessions/{session_id}",
        end_session,
        permissions.EVERYBODY,
        {204: None},
        parameters={"session_id": _SESSION},
        problems=("account_not_found", "item_not_found", "last_admin"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/sessions",
        end_other_sessions,
        permissions.EVERYBODY,
        {204: None},
    ),
    ApiOperation(
        "DELETE",
        "/v1/session",
        end_current_session,
        permissions.EVERYBODY,
        {204: None},
        problems=("account_not_found", "item_not_found", "last_admin"),
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/sign-out",
        sign_out_everywhere,
        permissions.ONESELF,
        {204: None},
        shapes.Nothing(),
        problems=("account_not_found",),
    ),
)
