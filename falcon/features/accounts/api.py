"""Accounts and their tokens. Admins manage all of them, an account its own tokens."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta

from falcon.domain import limits, names
from falcon.domain.ids import DEFAULT_ORGANIZATION, NOBODY, AccountId, Millis
from falcon.features.accounts.rules import (
    ADMINS,
    SCOPES,
    AccountAnswer,
    AccountChanged,
    AccountCreated,
    AccountRole,
    ChangeAccount,
    CreateAccount,
    IssueToken,
    ProfileAnswer,
    RevokeToken,
    Scope,
    Space,
    TokenAnswer,
    refuse_giving,
)
from falcon.features.accounts.table import AccountRow, TokenRow
from falcon.features.accounts.wishes import change_profile, holder_of
from falcon.features.people.search import people_near
from falcon.features.rooms.joining import join_default_rooms
from falcon.http import bearer_tokens, shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import Checks, ImportCommands, ImportedLines, LineKind, all_of, reference
from falcon.http.api.lists import page_of, start_of
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import (
    Problem,
    account_not_found,
    check_scopes,
    invalid,
    not_allowed,
    text_taken,
    token_not_found,
    token_unreadable,
)
from falcon.http.requests import AuthedRequest, read_ids, read_name
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import ACCOUNTS_MAX, AccountChange, AccountsQuery, MyProfile, NewAccount, NewToken
from falcon.read.store import ReadStoreUnavailable
from falcon.read.times import rfc3339

SPACES: Final[tuple[Space, ...]] = get_args(Space)
_DAY_MILLIS: Final = 24 * 3_600_000  # the log notes the day of a use
_new_token: Final = msgspec.json.Decoder(NewToken)
_HANDLE: Final = re.compile(r"[a-z0-9._-]{1,32}")
_new_account: Final = msgspec.json.Decoder(NewAccount)
_my_profile: Final = msgspec.json.Decoder(MyProfile)
_account_change: Final = msgspec.json.Decoder(AccountChange)


async def me(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Get the account of the token.

    Use it to check a token, and to find out what the account and the token may do.
    """
    # The tables show the newest profile that the request may ask for; while they are away, the one that is known.
    row = request.account
    try:
        row = (await edge.store.accounts_of([row.account_id])).get(row.account_id, row)
    except ReadStoreUnavailable:
        row = request.account
    token = request.account.token
    scopes = SCOPES if token is None or token.scopes is None else token.scopes
    return json_response(200, _me(row, scopes))


def _me(row: AccountRow, scopes: tuple[Scope, ...]) -> shapes.Me:
    return shapes.Me(
        **_shown(row),
        email=row.email,
        organization_id=DEFAULT_ORGANIZATION,
        hide_reads=row.hide_reads,
        scopes=scopes,
    )


def _shown(row: AccountRow | ProfileAnswer) -> dict[str, Any]:
    """The fields that everybody sees."""
    return {
        "account_id": row.account_id,
        "name": row.name,
        "handle": row.handle,
        "title": row.title,
        "about": row.about,
        "bot": row.role == "bot",
        "role": row.role,
        "deactivated": row.deactivated,
        "is_admin": row.role in ADMINS,
        "created_at": row.created_at if isinstance(row, AccountRow) else rfc3339(row.created_at),
    }


def account_shape(row: AccountRow | ProfileAnswer, caller: AccountRow) -> shapes.AccountShape:
    """The account as the caller sees it."""
    if caller.is_admin or caller.account_id == row.account_id:
        return shapes.AccountShape(**_shown(row), email=row.email)
    return shapes.AccountShape(**_shown(row))


async def account(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Get an account.

    The e-mail is shown to the account itself and to administrators.
    """
    account_id = request.path_id("account_id", account_not_found)
    row = (await edge.store.accounts_of([account_id])).get(account_id)
    if row is None:
        row = (await edge.reads.newest(request, account_id, edge.store.accounts_of, [account_id])).get(account_id)
    if row is None or (request.is_guest and account_id not in await people_near(edge.store, request.account_id)):
        raise account_not_found(account_id)
    return json_response(200, account_shape(row, request.account))


async def change_me(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Change your own account.

    Fields that are left out stay as they are. Your handle is yours alone; null takes it away.
    """
    change: MyProfile = await request.json(_my_profile)
    if change.email is not msgspec.UNSET and not request.account.is_admin:
        raise not_allowed("email", "is changed by owners and admins")
    return await _change(edge, request, change, request.account_id)


async def change_account(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Change an account.

    Requires an administrator. No account with a role above your own is changed, and no such role is given. A
    deactivated account loses its tokens and keeps its name, messages and rooms.
    """
    account_id = request.path_id("account_id", account_not_found)
    return await _change(edge, request, await request.json(_account_change), account_id)


async def _change(
    edge: Edge, request: AuthedRequest, change: MyProfile | AccountChange, account_id: AccountId
) -> BytesResponse:
    given: dict[str, Any] = {
        field: value for field, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET
    }
    asked: dict[Space, str | None] = {space: given.pop(space) for space in SPACES if space in given}
    if "name" in given:
        given["name"] = read_name(given["name"])
    texts = _read_texts(asked)
    by_itself = account_id == request.account_id
    command = ChangeAccount(account_id, _role_over(request, account_id), by_itself=by_itself, **given)
    result = await change_profile(edge, request, command, texts)
    assert isinstance(result.answer, ProfileAnswer)
    if result.answer.deactivated:
        edge.authenticator.forget(account_id)
    return json_response(200, account_shape(result.answer, request.account), *result.headers)


def _read_texts(texts: Mapping[Space, str | None]) -> dict[Space, str | None]:
    """The texts in the form that is stored. Raises Problem 422."""
    return {space: None if text is None else _READ[space](text) for space, text in texts.items()}


def read_handle(handle: str, at: str = "") -> str:
    """``at`` goes before the field. Raises Problem 422."""
    if _HANDLE.fullmatch(handle) is None:
        raise invalid(f"{at}handle", "must have 1 to 32 of the characters a to z, 0 to 9, '.', '_' and '-'")
    return handle


def read_email(email: str, at: str = "") -> str:
    """The e-mail in the form that is stored, and that a sign-in is compared with. ``at`` goes before the field. Raises
    Problem 422."""
    email = names.normalized(email).casefold()
    if not 0 < email.find("@") < len(email) - 1 or any(each.isspace() or not each.isprintable() for each in email):
        raise invalid(f"{at}email", "must have an @ between other characters, and no spaces")
    return email


_READ: Final[Mapping[Space, Callable[[str], str]]] = {"handle": read_handle, "email": read_email}


async def create_account(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Create an account.

    Requires an administrator. The answer has the first token of the account, with the scopes of yours. It is shown
    only once.
    """
    # An account whose handle or e-mail another one takes in the same moment is there without it.
    new: NewAccount = await request.json(_new_account)
    asked: dict[Space, str | None] = {"handle": new.handle, "email": new.email}
    texts = _read_texts({space: text for space, text in asked.items() if text is not None})
    if new.bot and new.role not in ("member", "bot"):
        raise invalid("role", "must be bot, or left out, for a bot")
    role: AccountRole = "bot" if new.bot else new.role
    secret = bearer_tokens.new_secret(edge.secret)
    sealed = bearer_tokens.seal(edge.secret, secret)
    command = CreateAccount(
        read_name(new.name),
        role,
        bearer_tokens.hash_of(secret),
        sealed,
        title=new.title,
        by_role=request.account.role,
        scopes=None if request.account.token is None else request.account.token.scopes,
    )
    result = await edge.commands.dispatch(request, command, refusal=await taken(edge, request, texts))
    answer = result.answer
    assert isinstance(answer, AccountAnswer)
    change = ChangeAccount(answer.account_id, request.account.role)
    shown = await change_profile(edge, request, change, texts, keyed=False)
    assert isinstance(shown.answer, ProfileAnswer)
    joined = b"" if role in ("guest", "bot") else await join_default_rooms(edge, request, answer.account_id)
    token = _token(edge, answer.account_id, answer.sealed, f"Account {answer.account_id}")
    created = shapes.CreatedAccount(**_shown(shown.answer), email=shown.answer.email, token=token)
    replayed = result.headers[1:]
    (name, position), *_ = shown.headers
    return json_response(201, created, (name, position + joined), *replayed)


async def taken(edge: Edge, request: AuthedRequest, texts: Mapping[Space, str | None]) -> Problem | None:
    """The refusal of a new account with texts of which another account has one."""
    for space, text in texts.items():
        assert text is not None
        if await holder_of(edge, request, space, text) != NOBODY:
            return text_taken(space)
    return None


def _token(edge: Edge, account_id: AccountId, sealed: str, made: str) -> str:
    """A replayed command answers with the token that it made the first time. ``made``: what else it made. Raises
    Problem 409."""
    secret = bearer_tokens.unseal(edge.secret, sealed)
    if secret is None:
        # No client retries it: a retry beyond the window of remembered keys would make another account.
        raise token_unreadable(made, account_id)
    return bearer_tokens.token(account_id, secret)


async def list_accounts(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List accounts.

    All of them, for administrators. With `ids` these accounts, in the order of the ids, also people who have left a
    room; guests see those with whom they share a room.
    """
    query = request.query(AccountsQuery)
    if query.ids is not None:
        return await _accounts_by_id(edge, request, read_ids(query.ids, ACCOUNTS_MAX))
    if not request.account.is_admin:
        raise not_allowed("ids", "must be given, unless the account is an administrator")
    check_scopes(request.account.token, ("admin",))
    rows = await edge.store.accounts(start_of(query), query.limit + 1, query.role, query.deactivated)
    page, next_cursor = page_of(rows, query.limit, attrgetter("account_id"))
    return json_response(200, shapes.Accounts([account_shape(row, request.account) for row in page], next_cursor))


async def _accounts_by_id(edge: Edge, request: AuthedRequest, account_ids: Sequence[AccountId]) -> BytesResponse:
    """The accounts in the order of the ids, also ones that have left a room. A guest knows of people with whom it
    shares a room."""
    rows = await edge.store.accounts_of(account_ids)
    missing = [account_id for account_id in account_ids if account_id not in rows]
    if missing:
        await edge.reads.names(request, missing)  # catches up with them
        rows |= await edge.store.accounts_of(missing)
    if request.is_guest:
        near = await people_near(edge.store, request.account_id)
        rows = {account_id: row for account_id, row in rows.items() if account_id in near}
    accounts = [account_shape(rows[each], request.account) for each in account_ids if each in rows]
    return json_response(200, shapes.Accounts(accounts, None))


async def issue_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Issue a token.

    For your own account. An administrator can issue tokens for any account. The token is shown only once.
    """
    account_id = request.path_id("account_id", account_not_found)
    new: NewToken = await request.json(_new_token)
    own = request.account.token
    check_scopes(own, new.scopes or ())
    scopes = new.scopes or (None if own is None else own.scopes)
    secret = bearer_tokens.new_secret(edge.secret)
    command = IssueToken(
        account_id,
        bearer_tokens.hash_of(secret),
        bearer_tokens.seal(edge.secret, secret),
        name=read_name(new.name) if new.name else "",
        scopes=scopes,
        expires_at=_end(own, new.expires_in),
        issued_by=request.account_id,
        by_role=_role_over(request, account_id),
    )
    result = await edge.commands.dispatch(request, command)
    assert isinstance(result.answer, TokenAnswer)
    token_id, expires_at = result.answer.token_id, command.expires_at
    token = _token(edge, account_id, result.answer.sealed, f"Token {token_id} of account {account_id}")
    if result.is_replayed and expires_at is not None:  # the first request's time counts
        rows = await edge.reads.newest(request, account_id, edge.store.tokens, account_id)
        expires_at = next((row.expires_at for row in rows if row.token_id == token_id), expires_at)
    shown = None if expires_at is None else rfc3339(expires_at)
    issued = shapes.IssuedToken(token_id, token, command.name, scopes or SCOPES, shown)
    return json_response(201, issued, *result.headers)


def _end(own: TokenRow | None, seconds: int | None) -> Millis | None:
    """The time at which a new token ends. ``own``: the token that asks, which no token outlives unless it is a session;
    ``seconds``: as asked, from now. Raises Problem 422."""
    latest = None if own is None or own.kind == "session" else own.expires_at
    if seconds is None:
        return latest
    end = round(1_000 * (time.time() + seconds))
    if latest is not None and end > latest:
        raise invalid("expires_in", "must not be after the end of the token that asks")
    return end


def _role_over(request: AuthedRequest, account_id: AccountId) -> AccountRole | None:
    """The role by which the caller changes the account; None for the own one."""
    return None if account_id == request.account_id else request.account.role


async def list_tokens(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the tokens of an account.

    Shows ids and times, never the tokens. For your own account; an administrator can list those of any account.
    """
    account_id = request.path_id("account_id", account_not_found)
    if await edge.reads.name(request, account_id) is None:
        raise account_not_found(account_id)
    rows = await edge.store.tokens(account_id)
    return json_response(200, shapes.Tokens([_token_shape(row) for row in rows]))


def _token_shape(row: TokenRow) -> shapes.TokenShape:
    return shapes.TokenShape(
        row.token_id,
        row.created_at,
        row.kind,
        row.name,
        SCOPES if row.scopes is None else row.scopes,
        None if row.expires_at is None else rfc3339(row.expires_at),
        rfc3339(_DAY_MILLIS * row.used_on) if row.used_on else None,
        row.issued_by or None,
    )


async def revoke_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Revoke a token.

    For your own account. An administrator can revoke tokens of any account. An administrator keeps at least one token.

    """
    account_id = request.path_id("account_id", account_not_found)
    token_id = request.path_id("token_id", token_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(
        request, RevokeToken(account_id, token_id, by_role=_role_over(request, account_id))
    )
    edge.authenticator.forget(account_id)
    return BytesResponse(204, b"", *result.headers)


async def sign_out(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Revoke the token of this request.

    The token stops working at once. A retry of this request gets 401.
    """
    await request.no_body()
    token_hash = edge.authenticator.token_hash(request.headers)
    result = await edge.commands.dispatch(request, RevokeToken(request.account_id, token_hash=token_hash))
    edge.authenticator.forget(request.account_id)
    return BytesResponse(204, b"", *result.headers)


# --- lines of exports and imports -------------------------------------------------------------------------------------


class AccountLineShape(shapes.RequestShape, frozen=True, tag_field="type", tag="account"):
    source: shapes.Reference
    ref: shapes.Reference
    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
    role: AccountRole = "member"
    title: shapes.Title = ""
    about: shapes.About = ""
    handle: shapes.Handle | None = None
    email: shapes.Email | None = None
    deactivated: bool = False


class AccountOut(msgspec.Struct, frozen=True, tag_field="type", tag="account", omit_defaults=True):
    """``at``: the place of a change in the log, PARTITION:OFFSET, here and in other lines. A row has none."""

    ref: str
    name: str
    role: AccountRole | msgspec.UnsetType = msgspec.UNSET  # a member
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    at: str | None = None


def account_line(row: AccountRow | AccountChanged | AccountCreated, at: str | None = None) -> AccountOut:
    texts = (None, None) if isinstance(row, AccountCreated) else (row.handle, row.email)
    return AccountOut(
        str(row.account_id),
        row.name,
        msgspec.UNSET if row.role == "member" else row.role,
        row.title,
        row.about,
        *texts,
        row.deactivated,
        at,
    )


async def _import_accounts(commands: ImportCommands, lines: Sequence[AccountLineShape]) -> ImportedLines:
    """An account that was imported before stays as it is, but gets the handle and the e-mail of its line if it has
    none: they are given after it was made. It comes in without one that another account has."""
    taken: dict[str, tuple[str, ...]] = {}

    async def imported(line: AccountLineShape) -> tuple[str, AccountId]:
        command = CreateAccount(
            names.cleaned(line.name),
            line.role,
            imported_as=reference("account", line.source, line.ref),
            title=line.title,
            about=line.about,
            deactivated=line.deactivated,
            by_role=commands.request.account.role,
        )
        answer = (await commands.dispatch(command)).answer
        assert isinstance(answer, AccountAnswer)
        asked: dict[Space, str | None] = {"handle": line.handle, "email": line.email}
        if any(asked.values()) and (others := await _give_texts(commands, answer.account_id, asked)):
            taken[line.ref] = others
        return line.ref, answer.account_id

    return ImportedLines(dict(await all_of(map(imported, lines))), taken=taken)


async def _give_texts(
    commands: ImportCommands, account_id: AccountId, asked: Mapping[Space, str | None]
) -> tuple[Space, ...]:
    """The kinds of texts that other accounts have."""
    change = ChangeAccount(account_id, commands.request.account.role)
    shown = (await commands.dispatch(change)).answer
    assert isinstance(shown, ProfileAnswer)
    shows: dict[Space, str | None] = {"handle": shown.handle, "email": shown.email}
    texts = _read_texts({space: text for space, text in asked.items() if text is not None and shows[space] is None})
    taken: list[Space] = []
    for space, text in texts.items():
        try:
            given = await change_profile(commands.edge, commands.request, change, {space: text}, keyed=False)
        except Problem as problem:
            if problem.code != f"{space}_taken":
                raise
            taken.append(space)
        else:
            commands.reach(given)
    return tuple(taken)


def _check_line(line: AccountLineShape, at: str) -> None:
    """Raises Problem 422."""
    if line.handle is not None:
        read_handle(line.handle, at)
    if line.email is not None:
        read_email(line.email, at)


async def _check_role(checks: Checks, line: AccountLineShape, at: str) -> None:
    """Raises Problem 403."""
    if (refusal := refuse_giving(checks.request.account.role, line.role)) is not None:
        raise not_allowed(f"{at}role", refusal.rule)


LINES: Final = (
    LineKind(
        AccountLineShape,
        _import_accounts,
        {AccountCreated: account_line, AccountChanged: account_line},
        rules=_check_line,
        check=_check_role,
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Accounts and tokens", "For admins of Falcon, and for your own account.", learned=8)
_BEN: Final = _shown(AccountRow(examples.BEN, "Ben", "member", examples.MADE, "Tea taster", handle="ben"))
_ALICE: Final = AccountRow(examples.ALICE, "Alice", "owner", examples.MADE, handle="alice", email="alice@example.org")
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "POST",
        "/v1/accounts",
        create_account,
        permissions.ADMINS,
        {201: shapes.CreatedAccount(**_BEN, email=None, token=examples.TOKEN)},
        shapes.NewAccount("Ben", handle="ben"),
        problems=("account_not_found", "email_taken", "handle_taken", "last_owner", "token_unreadable"),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts",
        list_accounts,
        permissions.Permission(more="without `ids`: administrators"),
        {200: shapes.Accounts([shapes.AccountShape(**_BEN, email=None)], None)},
        query=shapes.AccountsQuery,
        problems=("not_allowed",),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts/{account_id}",
        account,
        permissions.EVERYBODY,
        {200: shapes.AccountShape(**_BEN)},
        problems=("account_not_found",),
    ),
    ApiOperation(
        "PATCH",
        "/v1/accounts/{account_id}",
        change_account,
        permissions.ADMINS,
        {200: shapes.AccountShape(**_BEN, email="ben@example.org")},
        shapes.AccountChange(handle="ben", email="ben@example.org"),
        problems=("account_not_found", "email_taken", "handle_taken", "last_owner"),
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/tokens",
        issue_token,
        permissions.ONESELF,
        {201: shapes.IssuedToken(2, examples.TOKEN, "Reports", ("read",), examples.SAID)},
        shapes.NewToken("Reports", ("read",), 86_400),
        problems=("account_not_found", "token_unreadable"),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts/{account_id}/tokens",
        list_tokens,
        permissions.ONESELF,
        {200: shapes.Tokens([_token_shape(TokenRow(1, examples.MADE, name="Reports", scopes=("read",)))])},
        problems=("account_not_found",),
    ),
    ApiOperation(
        "DELETE",
        "/v1/accounts/{account_id}/tokens/{token_id}",
        revoke_token,
        permissions.ONESELF,
        {204: None},
        problems=("account_not_found", "last_admin", "token_not_found"),
    ),
    ApiOperation("GET", "/v1/me", me, permissions.EVERYBODY, {200: _me(_ALICE, SCOPES)}),
    ApiOperation(
        "PATCH",
        "/v1/me",
        change_me,
        permissions.EVERYBODY,
        {200: shapes.AccountShape(**_BEN, email=None)},
        shapes.MyProfile(handle="ben", title="Tea taster"),
        problems=("account_not_found", "email_taken", "handle_taken", "last_owner"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/me/token",
        sign_out,
        permissions.EVERYBODY,
        {204: None},
        problems=("account_not_found", "last_admin", "token_not_found"),
    ),
)
