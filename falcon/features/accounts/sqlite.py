"""Accounts and tokens in SQLite."""

import itertools
from collections.abc import Collection
from operator import attrgetter
from typing import Any, Final

import msgspec

from falcon.domain.ids import AccountId
from falcon.features.accounts.rules import AccountRole, Scope
from falcon.features.accounts.table import AccountRow, DropToken, SetTokenUse, TokenRow, UpsertAccount, UpsertToken
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, json_of, query

# The accounts that an admin looks for: few of many.
_UNUSUAL: Final = "(role != 'member' OR deactivated)"
MODEL: Final = SqliteModel(
    tables={
        "accounts": f"""CREATE TABLE accounts{{}} (
        account_id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, created_at TEXT NOT NULL,
        title TEXT NOT NULL, about TEXT NOT NULL, handle TEXT, email TEXT, deactivated INTEGER NOT NULL,
        hide_reads INTEGER NOT NULL, role_changes INTEGER NOT NULL
    );
    CREATE INDEX accounts_{{unique}} ON accounts{{}} (account_id) WHERE {_UNUSUAL}""",
        "tokens": """CREATE TABLE tokens{} (
        account_id INTEGER NOT NULL, token_id INTEGER NOT NULL, token_hash TEXT NOT NULL, created_at TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT 'token', name TEXT NOT NULL DEFAULT '', scopes TEXT, expires_at INTEGER,
        issued_by INTEGER NOT NULL DEFAULT 0, user_agent TEXT NOT NULL DEFAULT '', address TEXT NOT NULL DEFAULT '',
        used_on INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account_id, token_id)
    ) WITHOUT ROWID""",
    },
    identities={"accounts": "account_id", "tokens": "account_id"},
    statements={
        UpsertAccount: ("INSERT OR REPLACE INTO accounts{} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",),
        UpsertToken: ("INSERT OR REPLACE INTO tokens{} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)",),
        SetTokenUse: ("UPDATE tokens{} SET used_on = ?3 WHERE account_id = ?1 AND token_id = ?2",),
        DropToken: ("DELETE FROM tokens{} WHERE account_id = ?1 AND token_id = ?2",),
    },
)
_ACCOUNT: Final = ", ".join(f"a.{field}" for field in UpsertAccount._fields)
_TOKEN: Final = ", ".join(f"t.{field}" for field in TokenRow.__struct_fields__)
_decode_scopes: Final = msgspec.json.Decoder(tuple[Scope, ...]).decode


def accounts(
    view: SqliteQueryContext,
    after: AccountId,
    limit: int,
    role: AccountRole | None = None,
    deactivated: bool | None = None,
) -> list[AccountRow]:
    rare = role not in (None, "member") or deactivated
    rows = view.execute(
        f"SELECT {_ACCOUNT} FROM accounts a WHERE account_id > ?1 AND (?2 IS NULL OR role = ?2)"
        f" AND (?3 IS NULL OR deactivated = ?3) {f'AND {_UNUSUAL}' if rare else ''} ORDER BY account_id LIMIT ?4",
        (after, role, deactivated, limit),
    )
    return [_account(row) for row in rows]


def accounts_of(view: SqliteQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, AccountRow]:
    rows = view.execute(
        f"SELECT {_ACCOUNT} FROM accounts a WHERE account_id IN (SELECT value FROM json_each(?))",
        (json_of(account_ids),),
    )
    return {row[0]: _account(row) for row in rows}


def names_of(view: SqliteQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    rows: Any = view.execute(
        "SELECT account_id, name FROM accounts WHERE account_id IN (SELECT value FROM json_each(?))",
        (json_of(account_ids),),
    )
    return dict(rows)


def bearer(view: SqliteQueryContext, account_id: AccountId, token_hash: str) -> AccountRow | None:
    row = view.execute(
        f"SELECT {_ACCOUNT}, {_TOKEN} FROM tokens t JOIN accounts a USING (account_id)"
        " WHERE t.account_id = ? AND t.token_hash = ?",
        (account_id, token_hash),
    ).fetchone()
    fields = len(UpsertAccount._fields)
    return None if row is None else _account(row[:fields], _token(row[fields:]))


def tokens(view: SqliteQueryContext, account_id: AccountId) -> list[TokenRow]:
    rows = view.execute(f"SELECT {_TOKEN} FROM tokens t WHERE account_id = ? ORDER BY token_id", (account_id,))
    return [_token(row) for row in rows]


def _account(row: Any, token: TokenRow | None = None) -> AccountRow:
    account_id, *profile, deactivated, hide_reads, role_changes = row
    fields: Any = (*profile, bool(deactivated), bool(hide_reads), role_changes, token)
    return AccountRow(account_id, *fields)


def _token(row: Any) -> TokenRow:
    token_id, created_at, kind, name, scopes, *rest = row
    return TokenRow(token_id, created_at, kind, name, None if scopes is None else _decode_scopes(scopes), *rest)


class SqliteAccountQueries:
    accounts = query(accounts, "accounts")
    accounts_of = query(accounts_of, "accounts")
    names_of = query(names_of, "accounts")
    bearer = query(bearer, "accounts")
    tokens = query(tokens, "accounts")


class SqliteFilesAccountQueries:
    bearer = in_file_of(SqliteAccountQueries.bearer)
    tokens = in_file_of(SqliteAccountQueries.tokens)

    async def accounts(
        self: Files, after: AccountId, limit: int, role: AccountRole | None = None, deactivated: bool | None = None
    ) -> list[AccountRow]:
        asked = [await SqliteAccountQueries.accounts(file, after, limit, role, deactivated) for file in self.files]
        return sorted(itertools.chain(*asked), key=attrgetter("account_id"))[:limit]

    async def accounts_of(self: Files, account_ids: Collection[AccountId]) -> dict[AccountId, AccountRow]:
        rows: dict[AccountId, AccountRow] = {}
        for file, of_file in by_file(self, account_ids).items():
            rows |= await SqliteAccountQueries.accounts_of(file, of_file)
        return rows

    async def names_of(self: Files, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        names: dict[AccountId, str] = {}
        for file, of_file in by_file(self, account_ids).items():
            names |= await SqliteAccountQueries.names_of(file, of_file)
        return names
