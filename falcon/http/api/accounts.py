"""Accounts and their tokens. Admins manage all of them, an account its own tokens."""

from typing import Final

import msgspec

from falcon.domain.answers import AccountAnswer, TokenAnswer
from falcon.domain.commands import CreateAccount, IssueToken, RevokeToken
from falcon.http import bearer_tokens, shapes
from falcon.http.edge import Edge
from falcon.http.problems import account_not_found, not_allowed, token_not_found, wrong_cursor
from falcon.http.requests import AuthedRequest, identity, read_name
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import ListQuery, NewAccount

_new_account: Final = msgspec.json.Decoder(NewAccount)


async def me(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account = request.account
    return json_response(200, shapes.Me(account.account_id, account.name, None, account.is_admin))


async def create_account(edge: Edge, request: AuthedRequest) -> BytesResponse:
    require_admin(request)
    new: NewAccount = await request.json(_new_account)
    secret = bearer_tokens.new_secret(edge.secret)
    sealed = bearer_tokens.seal(edge.secret, secret)
    command = CreateAccount(read_name(new.name), token_hash=bearer_tokens.hash_of(secret), sealed=sealed)
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, AccountAnswer)
    # A replayed command answers with the token that it made the first time.
    token = bearer_tokens.token(answer.account_id, bearer_tokens.unseal(edge.secret, answer.sealed))
    created = shapes.CreatedAccount(answer.account_id, answer.name, token)
    return json_response(201, created, *result.headers)


async def list_accounts(edge: Edge, request: AuthedRequest) -> BytesResponse:
    require_admin(request)
    query = request.query(ListQuery)
    after = 0
    if query.cursor is not None:
        after = identity(query.cursor, wrong_cursor)
    rows = await edge.store.accounts(after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = str(page[-1].account_id) if len(rows) > query.limit else None
    accounts = [shapes.AccountShape(row.account_id, row.name, row.is_admin, row.created_at) for row in page]
    return json_response(200, shapes.Accounts(accounts, next_cursor))


async def issue_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = _manageable_account_id(request)
    await request.no_body()
    secret = bearer_tokens.new_secret(edge.secret)
    command = IssueToken(account_id, bearer_tokens.hash_of(secret), bearer_tokens.seal(edge.secret, secret))
    result = await edge.commands.dispatch(request, command)
    assert isinstance(result.answer, TokenAnswer)
    token = bearer_tokens.token(account_id, bearer_tokens.unseal(edge.secret, result.answer.sealed))
    issued = shapes.IssuedToken(result.answer.token_id, token)
    return json_response(201, issued, *result.headers)


async def list_tokens(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = _manageable_account_id(request)
    if await edge.reads.account(request, account_id) is None:
        raise account_not_found(account_id)
    rows = await edge.store.tokens(account_id)
    return json_response(200, shapes.Tokens([shapes.TokenShape(row.token_id, row.created_at) for row in rows]))


async def revoke_token(edge: Edge, request: AuthedRequest) -> BytesResponse:
    account_id = _manageable_account_id(request)
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


def require_admin(request: AuthedRequest) -> None:
    """Raises Problem 403. Whether an account is an admin never changes, so the tables are never behind with it."""
    if not request.account.is_admin:
        raise not_allowed("Authorization", "this takes the token of an administrator")


def _manageable_account_id(request: AuthedRequest) -> int:
    """The account in the path, where the caller may manage its tokens. Raises Problem 403, 404."""
    account_id = request.path_id("account_id", account_not_found)
    if account_id != request.account_id:
        require_admin(request)
    return account_id
