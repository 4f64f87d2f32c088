"""Accounts and their tokens: for admins, and each account's own."""

from typing import Final

import msgspec

from falcon.domain.answers import AccountAnswer, TokenAnswer
from falcon.domain.commands import CreateAccount, IssueToken, RevokeToken
from falcon.http import bearer_tokens, shapes
from falcon.http.edge import Call, Edge
from falcon.http.problems import Problem, account_not_found, token_not_found, wrong_cursor
from falcon.http.requests import Answer, decode_query, identity, json_value, read_name
from falcon.http.shapes import ListQuery, NewAccount, Nothing

_new_account: Final = msgspec.json.Decoder(NewAccount)
_nothing: Final = msgspec.json.Decoder(Nothing)


async def me(edge: Edge, call: Call) -> Answer:
    account = call.account
    return json_value(200, shapes.Me(account.account_id, account.name, None, account.is_admin))


async def create_account(edge: Edge, call: Call) -> Answer:
    require_admin(call)
    new: NewAccount = await edge.body(call, _new_account)
    secret = bearer_tokens.new_secret(edge.secret)
    sealed = bearer_tokens.seal(edge.secret, secret)
    told = await edge.tell(
        call, CreateAccount(read_name(new.name), token_hash=bearer_tokens.hash_of(secret), sealed=sealed)
    )
    assert isinstance(told.answer, AccountAnswer)
    account_id = told.answer.account_id
    token = bearer_tokens.token(account_id, bearer_tokens.unseal(edge.secret, told.answer.sealed))
    created = shapes.CreatedAccount(account_id, told.answer.name, token)
    return json_value(201, created, *told.headers)


async def list_accounts(edge: Edge, call: Call) -> Answer:
    require_admin(call)
    query = decode_query(call.request, ListQuery)
    after = 0
    if query.cursor is not None:
        after = identity(query.cursor, wrong_cursor)
    rows = await edge.store.accounts(after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = str(page[-1].account_id) if len(rows) > query.limit else None
    accounts = [shapes.Account(row.account_id, row.name, row.is_admin, row.created_at) for row in page]
    return json_value(200, shapes.Accounts(accounts, next_cursor))


async def issue_token(edge: Edge, call: Call) -> Answer:
    account_id = _own_or_admins(call)
    await edge.body(call, _nothing)
    secret = bearer_tokens.new_secret(edge.secret)
    told = await edge.tell(
        call, IssueToken(account_id, bearer_tokens.hash_of(secret), bearer_tokens.seal(edge.secret, secret))
    )
    assert isinstance(told.answer, TokenAnswer)
    token = bearer_tokens.token(account_id, bearer_tokens.unseal(edge.secret, told.answer.sealed))
    issued = shapes.IssuedToken(told.answer.token_id, token)
    return json_value(201, issued, *told.headers)


async def list_tokens(edge: Edge, call: Call) -> Answer:
    account_id = _own_or_admins(call)
    if await edge.account(call, account_id) is None:
        raise account_not_found(account_id)
    rows = await edge.store.tokens(account_id)
    return json_value(200, shapes.Tokens([shapes.Token(row.token_id, row.created_at) for row in rows]))


async def revoke_token(edge: Edge, call: Call) -> Answer:
    account_id = _own_or_admins(call)
    token_id = identity(call.path["token_id"], token_not_found)
    await edge.no_body(call)
    told = await edge.tell(call, RevokeToken(account_id, token_id))
    edge.forget_callers()
    return Answer(204, b"", *told.headers)


async def sign_out(edge: Edge, call: Call) -> Answer:
    await edge.no_body(call)
    told = await edge.tell(call, RevokeToken(call.account.account_id, token_hash=edge.token_hash(call.headers)))
    edge.forget_callers()
    return Answer(204, b"", *told.headers)


def require_admin(call: Call) -> None:
    """Raises Problem 403. An account is made an admin or not, once for all: the tables are never behind with that."""
    if not call.account.is_admin:
        raise Problem(403, "not_allowed", "This needs an admin's token.")


def _own_or_admins(call: Call) -> int:
    """The account in the path, if the caller may manage its tokens. Raises Problem 403, 404."""
    account_id = identity(call.path["account_id"], account_not_found)
    if account_id != call.account.account_id:
        require_admin(call)
    return account_id
