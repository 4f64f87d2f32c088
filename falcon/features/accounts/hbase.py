"""Accounts in HBase. An account's tokens are cells of its row, so that one row identifies a bearer."""

from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import Any, Final

import msgspec

from falcon.domain.ids import NOBODY, AccountId, Millis
from falcon.features.accounts.rules import ADMINS, AccountRole, Scope, TokenKind
from falcon.features.accounts.table import AccountRow, DropToken, SetTokenUse, TokenRow, UpsertAccount, UpsertToken
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
# The rest of the profile. Rows that were made before accounts had one do not have it: their administrators are owners.
PROFILE: Final = b"d:p"
TOKEN: Final = b"d:t:"  # and the token's number: hash, time of creation
DETAILS: Final = b"d:k:"  # and the token's number: the rest of it, if it is more than a token without a name
USED: Final = b"d:u:"  # and the token's number: the day of its last use
NO_TOKEN: Final = b"-"
_WALKED: Final = 1_000  # accounts at once, in a search for the ones with a role: half a megabyte


class _Profile(msgspec.Struct, frozen=True, array_like=True):
    role: AccountRole
    title: str = ""
    about: str = ""
    handle: str | None = None
    email: str | None = None
    deactivated: bool = False
    hide_reads: bool = False
    role_changes: int = 0


class _Details(msgspec.Struct, frozen=True, array_like=True):
    kind: TokenKind = "token"
    name: str = ""
    scopes: tuple[Scope, ...] | None = None
    expires_at: Millis | None = None
    issued_by: AccountId = NOBODY
    user_agent: str = ""
    address: str = ""


_PLAIN: Final = _Details()
_decode_account = msgspec.json.Decoder(tuple[str, bool, str]).decode
_decode_profile = msgspec.json.Decoder(_Profile).decode
_decode_token = msgspec.json.Decoder(tuple[str, str]).decode
_decode_details = msgspec.json.Decoder(_Details).decode
_decode_scopes = msgspec.json.Decoder(tuple[Scope, ...]).decode


# --- keys -------------------------------------------------------------------------------------------------------------


def account_key(account_id: AccountId) -> bytes:
    return hashed(U64(account_id), ROW)


def token_column(token_id: int, prefix: bytes = TOKEN) -> bytes:
    return b"%b%d" % (prefix, token_id)


# --- writing ----------------------------------------------------------------------------------------------------------


def _put_account(write: UpsertAccount) -> Cells:
    profile: Any
    account_id, name, role, created_at, *profile = write
    key = account_key(account_id)
    return (
        (key, ACCOUNT, encode((name, role in ADMINS, created_at))),
        (key, PROFILE, encode(_Profile(role, *profile))),
        (index_key(account_id), INDEXED, YES),
    )


def _put_token(write: UpsertToken) -> Cells:
    rest: Any
    account_id, token_id, token_hash, created_at, kind, name, scopes, *rest = write
    row = account_key(account_id)
    token = (row, token_column(token_id), encode((token_hash, created_at)))
    details = _Details(kind, name, None if scopes is None else _decode_scopes(scopes), *rest)
    return (token,) if details == _PLAIN else (token, (row, token_column(token_id, DETAILS), encode(details)))


def _put_use(write: SetTokenUse) -> Cells:
    return ((account_key(write.account_id), token_column(write.token_id, USED), b"%d" % write.day),)


def _drop_token(write: DropToken) -> Cells:
    return ((account_key(write.account_id), token_column(write.token_id), NO_TOKEN),)


MODEL: Final = HBaseModel(
    tables={"accounts": (4, ())},
    puts=("accounts",),
    cells={
        UpsertAccount: (0, _put_account),
        UpsertToken: (0, _put_token),
        SetTokenUse: (0, _put_use),
        DropToken: (0, _drop_token),
    },
    identity=attrgetter("account_id"),
    identity_of_row=lambda table, key, row: id_at_end(key),
)


# --- queries ----------------------------------------------------------------------------------------------------------


def table(view: HBaseQueryContext) -> str:
    return view.table("accounts", "accounts")


def accounts(
    view: HBaseQueryContext,
    after: AccountId,
    limit: int,
    role: AccountRole | None = None,
    deactivated: bool | None = None,
) -> list[AccountRow]:
    if role is None and deactivated is None:
        return accounts_among(view, indexed(view, table(view), after, limit))
    found: list[AccountRow] = []
    while len(found) < limit and (walked := indexed(view, table(view), after, _WALKED)):
        found += (
            row
            for row in accounts_among(view, walked)
            if role in (None, row.role) and deactivated in (None, row.deactivated)
        )
        after = walked[-1]
    return found[:limit]


def accounts_of(view: HBaseQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, AccountRow]:
    return {row.account_id: row for row in accounts_among(view, account_ids)}


def names_of(view: HBaseQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    return {row.account_id: row.name for row in accounts_among(view, account_ids)}


def bearer(view: HBaseQueryContext, account_id: AccountId, token_hash: str) -> AccountRow | None:
    row = _account_row(view, account_id)
    token = next((token for held, token in _tokens(row) if held == token_hash), None)
    return None if token is None else _account(account_id, row, token)


def tokens(view: HBaseQueryContext, account_id: AccountId) -> list[TokenRow]:
    return sorted((token for _, token in _tokens(_account_row(view, account_id))), key=attrgetter("token_id"))


def _account_row(view: HBaseQueryContext, account_id: AccountId) -> Row:
    return view.calls.row(table(view), account_key(account_id))


def accounts_among(view: HBaseQueryContext, account_ids: Iterable[AccountId]) -> list[AccountRow]:
    keys = {account_id: account_key(account_id) for account_id in account_ids}
    found = view.calls.rows(table(view), keys.values(), [ACCOUNT, PROFILE])
    rows = (_account(account_id, found.get(key, {})) for account_id, key in keys.items())
    return [each for each in rows if each is not None]


def _account(account_id: AccountId, row: Row, token: TokenRow | None = None) -> AccountRow | None:
    if ACCOUNT not in row:
        return None
    name, is_admin, created_at = _decode_account(row[ACCOUNT])
    profile = _decode_profile(row[PROFILE]) if PROFILE in row else _Profile("owner" if is_admin else "member")
    role, *rest = msgspec.structs.astuple(profile)
    fields: Any = (name, role, created_at, *rest, token)
    return AccountRow(account_id, *fields)


def _tokens(row: Row) -> Iterable[tuple[str, TokenRow]]:
    """Hash and token of each."""
    for column, value in row.items():
        if column.startswith(TOKEN) and value != NO_TOKEN:
            token_hash, created_at = _decode_token(value)
            token_id = int(column[len(TOKEN) :])
            details = row.get(token_column(token_id, DETAILS))
            used_on = int(row.get(token_column(token_id, USED), 0))
            known = _PLAIN if details is None else _decode_details(details)
            fields: Any = (created_at, *msgspec.structs.astuple(known), used_on)
            yield token_hash, TokenRow(token_id, *fields)


class HBaseAccountQueries:
    accounts = query(accounts)
    accounts_of = query(accounts_of)
    names_of = query(names_of)
    bearer = query(bearer)
    tokens = query(tokens)
