"""Accounts and their tokens. Admins manage all of them, an account its own tokens."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain import limits, names
from falcon.domain.ids import AccountId
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountCreated,
    CreateAccount,
    IssueToken,
    RevokeToken,
    TokenAnswer,
)
from falcon.http import bearer_tokens, shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import ImportCommands, ImportedLines, LineKind, all_of, reference
from falcon.http.api.lists import page_of, start_of
from falcon.http.api.operation import ApiOperation, Group
from falcon.http.edge import Edge
from falcon.http.problems import account_not_found, token_not_found, token_unreadable
from falcon.http.requests import AuthedRequest, read_name
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import ListQuery, NewAccount

_new_account: Final = msgspec.json.Decoder(NewAccount)


async def me(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account = request.account
    return json_response(200, shapes.Me(account.account_id, account.name, None, account.is_admin))


async def create_account(edge: Edge, request: AuthedRequest) -> BytesResponse:
    new: NewAccount = await request.json(_new_account)
    secret = bearer_tokens.new_secret(edge.secret)
    sealed = bearer_tokens.seal(edge.secret, secret)
    command = CreateAccount(read_name(new.name), token_hash=bearer_tokens.hash_of(secret), sealed=sealed)
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, AccountAnswer)
    token = _token(edge, answer.account_id, answer.sealed, f"Account {answer.account_id}")
    created = shapes.CreatedAccount(answer.account_id, answer.name, token)
    return json_response(201, created, *result.headers)


def _token(edge: Edge, account_id: AccountId, sealed: str, made: str) -> str:
    """A replayed command answers with the token that it made the first time. ``made``: what else it made. Raises
    Problem 409."""
    secret = bearer_tokens.unseal(edge.secret, sealed)
    if secret is None:
        # No client retries it: a retry beyond the window of remembered keys would make another account.
        raise token_unreadable(made, account_id)
    return bearer_tokens.token(account_id, secret)


async def list_accounts(edge: Edge, request: AuthedRequest) -> BytesResponse:
    query = request.query(ListQuery)
    rows = await edge.store.accounts(start_of(query), query.limit + 1)
    page, next_cursor = page_of(rows, query.limit, attrgetter("account_id"))
    accounts = [shapes.AccountShape(row.account_id, row.name, row.is_admin, row.created_at) for row in page]
    return json_response(200, shapes.Accounts(accounts, next_cursor))


async def issue_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = request.path_id("account_id", account_not_found)
    await request.no_body()
    secret = bearer_tokens.new_secret(edge.secret)
    command = IssueToken(account_id, bearer_tokens.hash_of(secret), bearer_tokens.seal(edge.secret, secret))
    result = await edge.commands.dispatch(request, command)
    assert isinstance(result.answer, TokenAnswer)
    token_id = result.answer.token_id
    token = _token(edge, account_id, result.answer.sealed, f"Token {token_id} of account {account_id}")
    issued = shapes.IssuedToken(token_id, token)
    return json_response(201, issued, *result.headers)


async def list_tokens(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = request.path_id("account_id", account_not_found)
    if await edge.reads.name(request, account_id) is None:
        raise account_not_found(account_id)
    rows = await edge.store.tokens(account_id)
    return json_response(200, shapes.Tokens([shapes.TokenShape(row.token_id, row.created_at) for row in rows]))


async def revoke_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = request.path_id("account_id", account_not_found)
    token_id = request.path_id("token_id", token_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, RevokeToken(account_id, token_id))
    edge.authenticator.forget(account_id)
    return BytesResponse(204, b"", *result.headers)


async def sign_out(edge: Edge, request: AuthedRequest) -> BytesResponse:
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


class AccountOut(msgspec.Struct, frozen=True, tag_field="type", tag="account", omit_defaults=True):
    """``at``: the place of a change in the log, PARTITION:OFFSET, here and in other lines. A row has none."""

    ref: str
    name: str
    at: str | None = None


def account_line(account_id: AccountId, name: str, at: str | None = None) -> AccountOut:
    return AccountOut(str(account_id), name, at)


async def _import_accounts(commands: ImportCommands, lines: Sequence[AccountLineShape]) -> ImportedLines:
    async def imported(line: AccountLineShape) -> tuple[str, AccountId]:
        command = CreateAccount(names.cleaned(line.name), imported_as=reference("account", line.source, line.ref))
        answer = (await commands.dispatch(command)).answer
        assert isinstance(answer, AccountAnswer)
        return line.ref, answer.account_id

    return ImportedLines(dict(await all_of(map(imported, lines))))


LINES: Final = (
    LineKind(
        AccountLineShape,
        _import_accounts,
        {AccountCreated: lambda event, at: account_line(event.account_id, event.name, at)},
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Accounts and tokens", "For admins of Falcon, and for your own account.", learned=8)
OPERATIONS: Final = (
    ApiOperation(
        "POST",
        "/v1/accounts",
        create_account,
        GROUP,
        permissions.ADMINS,
        "Create an account",
        "Requires an administrator. The answer has the first token of the account, which is shown only once.",
        {201: shapes.CreatedAccount(examples.BEN, "Ben", examples.TOKEN)},
        shapes.NewAccount("Ben"),
        command=True,
        problems=("token_unreadable",),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts",
        list_accounts,
        GROUP,
        permissions.ADMINS,
        "List all accounts",
        "Requires an administrator.",
        {200: shapes.Accounts([shapes.AccountShape(examples.BEN, "Ben", False, examples.MADE)], None)},
        query=shapes.ListQuery,
    ),
    ApiOperation(
        "POST",
        "/v1/accounts/{account_id}/tokens",
        issue_token,
        GROUP,
        permissions.ONESELF,
        "Issue a token",
        "For your own account. An administrator can issue tokens for any account. The token is shown only once.",
        {201: shapes.IssuedToken(2, examples.TOKEN)},
        shapes.Nothing(),
        command=True,
        problems=("account_not_found", "token_unreadable"),
    ),
    ApiOperation(
        "GET",
        "/v1/accounts/{account_id}/tokens",
        list_tokens,
        GROUP,
        permissions.ONESELF,
        "List the tokens of an account",
        "Shows ids and times, never the tokens. For your own account; an administrator can list those of any account.",
        {200: shapes.Tokens([shapes.TokenShape(1, examples.MADE), shapes.TokenShape(2, examples.SAID)])},
        problems=("account_not_found",),
    ),
    ApiOperation(
        "DELETE",
        "/v1/accounts/{account_id}/tokens/{token_id}",
        revoke_token,
        GROUP,
        permissions.ONESELF,
        "Revoke a token",
        "For your own account. An administrator can revoke tokens of any account. An administrator keeps at least one "
        "token.",
        {204: None},
        command=True,
        problems=("account_not_found", "last_admin", "token_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/me",
        me,
        GROUP,
        permissions.EVERYBODY,
        "Get the account of the token",
        "Use it to check a token, and to find out whether the account is an administrator.",
        {200: shapes.Me(examples.ALICE, "Alice", None, True)},
    ),
    ApiOperation(
        "DELETE",
        "/v1/me/token",
        sign_out,
        GROUP,
        permissions.EVERYBODY,
        "Revoke the token of this request",
        "The token stops working at once. A retry of this request gets 401.",
        {204: None},
        command=True,
        problems=("account_not_found", "last_admin", "token_not_found"),
    ),
)
