"""Accounts in HBase. An account's tokens are cells of its row, so that one row identifies a bearer."""

from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import Final

import msgspec

from falcon.domain.ids import AccountId
from falcon.features.accounts.table import AccountRow, DropToken, TokenRow, UpsertAccount, UpsertToken
from falcon.read.hbase import (
    INDEXED,
    ROW,
    U64,
    YES,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    Row,
    encode,
    hashed,
    id_at_end,
    index_key,
    indexed,
    query,
)

ACCOUNT: Final = b"d:a"  # name, administrator or not, time of creation
TOKEN: Final = b"d:t:"  # and the token's number: hash, time of creation
NO_TOKEN: Final = b"-"

_decode_account = msgspec.json.Decoder(tuple[str, bool, str]).decode
_decode_token = msgspec.json.Decoder(tuple[str, str]).decode


# --- keys -------------------------------------------------------------------------------------------------------------


def account_key(account_id: AccountId) -> bytes:
    return hashed(U64(account_id), ROW)


def token_column(token_id: int) -> bytes:
    return b"%b%d" % (TOKEN, token_id)


# --- writing ----------------------------------------------------------------------------------------------------------


def _put_account(write: UpsertAccount) -> Cells:
    return (
        (
            account_key(write.account_id),
            ACCOUNT,
            encode((write.name, write.is_admin, write.created_at)),
        ),
        (index_key(write.account_id), INDEXED, YES),
    )


def _put_token(write: UpsertToken) -> Cells:
    row, column = account_key(write.account_id), token_column(write.token_id)
    return ((row, column, encode((write.token_hash, write.created_at))),)


def _drop_token(write: DropToken) -> Cells:
    return ((account_key(write.account_id), token_column(write.token_id), NO_TOKEN),)


def _identity_of_row(table: str, key: bytes, row: Row) -> int:
    return id_at_end(key)


MODEL: Final = HBaseModel(
    tables={"accounts": (4, ())},
    puts=("accounts",),
    cells={UpsertAccount: (0, _put_account), UpsertToken: (0, _put_token), DropToken: (0, _drop_token)},
    identity=attrgetter("account_id"),
    identity_of_row=_identity_of_row,
)


# --- queries ----------------------------------------------------------------------------------------------------------


def table(view: HBaseQueryContext) -> str:
    return view.table("accounts", "accounts")


def accounts(view: HBaseQueryContext, after: AccountId, limit: int) -> list[AccountRow]:
    return accounts_among(view, indexed(view, table(view), after, limit))


def names_of(view: HBaseQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    return {row.account_id: row.name for row in accounts_among(view, account_ids)}


def bearer(view: HBaseQueryContext, account_id: AccountId, token_hash: str) -> AccountRow | None:
    row = _account_row(view, account_id)
    known = any(held == token_hash for _, held, _ in _tokens(row))
    return _account(account_id, row) if known else None


def tokens(view: HBaseQueryContext, account_id: AccountId) -> list[TokenRow]:
    return sorted(
        (TokenRow(token_id, created_at) for token_id, _, created_at in _tokens(_account_row(view, account_id))),
        key=lambda token: token.token_id,
    )


def _account_row(view: HBaseQueryContext, account_id: AccountId) -> Row:
    return view.calls.row(table(view), account_key(account_id))


def accounts_among(view: HBaseQueryContext, account_ids: Iterable[AccountId]) -> list[AccountRow]:
    keys = {account_id: account_key(account_id) for account_id in account_ids}
    found = view.calls.rows(table(view), keys.values(), [ACCOUNT])
    rows = (_account(account_id, found.get(key, {})) for account_id, key in keys.items())
    return [each for each in rows if each is not None]


def _account(account_id: AccountId, row: Row) -> AccountRow | None:
    if ACCOUNT not in row:
        return None
    name, is_admin, created_at = _decode_account(row[ACCOUNT])
    return AccountRow(account_id, name, is_admin, created_at)


def _tokens(row: Row) -> Iterable[tuple[int, str, str]]:
    """Number, hash and time of creation of each."""
    for column, value in row.items():
        if column.startswith(TOKEN) and value != NO_TOKEN:
            token_hash, created_at = _decode_token(value)
            yield int(column[len(TOKEN) :]), token_hash, created_at


class HBaseAccountQueries:
    accounts = query(accounts)
    names_of = query(names_of)
    bearer = query(bearer)
    tokens = query(tokens)
