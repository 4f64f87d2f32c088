"""Accounts and tokens in SQLite."""

from collections.abc import Collection
from operator import attrgetter
from typing import Any, Final

from falcon.domain.ids import AccountId
from falcon.features.accounts.table import AccountRow, DropToken, TokenRow, UpsertAccount, UpsertToken
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, json_of, query

MODEL: Final = SqliteModel(
    tables={
        "accounts": """CREATE TABLE accounts{} (
        account_id INTEGER PRIMARY KEY, name TEXT NOT NULL, is_admin INTEGER NOT NULL, created_at TEXT NOT NULL
    )""",
        "tokens": """CREATE TABLE tokens{} (
        account_id INTEGER NOT NULL, token_id INTEGER NOT NULL, token_hash TEXT NOT NULL,
        created_at TEXT NOT NULL, PRIMARY KEY (account_id, token_id)
    ) WITHOUT ROWID""",
    },
    identities={"accounts": "account_id", "tokens": "account_id"},
    statements={
        UpsertAccount: ("INSERT OR REPLACE INTO accounts{} VALUES (?1, ?2, ?3, ?4)",),
        UpsertToken: ("INSERT OR REPLACE INTO tokens{} VALUES (?1, ?2, ?3, ?4)",),
        DropToken: ("DELETE FROM tokens{} WHERE account_id = ?1 AND token_id = ?2",),
    },
)


def accounts(view: SqliteQueryContext, after: AccountId, limit: int) -> list[AccountRow]:
    rows = view.execute(
        "SELECT account_id, name, is_admin, created_at FROM accounts WHERE account_id > ? ORDER BY account_id LIMIT ?",
        (after, limit),
    )
    return [_account(row) for row in rows]


def names_of(view: SqliteQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    rows: Any = view.execute(
        "SELECT account_id, name FROM accounts WHERE account_id IN (SELECT value FROM json_each(?))",
        (json_of(account_ids),),
    )
    return dict(rows)


def bearer(view: SqliteQueryContext, account_id: AccountId, token_hash: str) -> AccountRow | None:
    row = view.execute(
        "SELECT a.account_id, a.name, a.is_admin, a.created_at FROM tokens t JOIN accounts a USING (account_id)"
        " WHERE t.account_id = ? AND t.token_hash = ?",
        (account_id, token_hash),
    ).fetchone()
    return None if row is None else _account(row)


def tokens(view: SqliteQueryContext, account_id: AccountId) -> list[TokenRow]:
    rows: Any = view.execute(
        "SELECT token_id, created_at FROM tokens WHERE account_id = ? ORDER BY token_id", (account_id,)
    )
    return [TokenRow(*row) for row in rows]


def _account(row: Any) -> AccountRow:
    account_id, name, is_admin, created_at = row
    return AccountRow(account_id, name, bool(is_admin), created_at)


class SqliteAccountQueries:
    accounts = query(accounts, "accounts")
    names_of = query(names_of, "accounts")
    bearer = query(bearer, "accounts")
    tokens = query(tokens, "accounts")


class SqliteFilesAccountQueries:
    bearer = in_file_of(SqliteAccountQueries.bearer)
    tokens = in_file_of(SqliteAccountQueries.tokens)

    async def accounts(self: Files, after: AccountId, limit: int) -> list[AccountRow]:
        rows = [row for file in self.files for row in await SqliteAccountQueries.accounts(file, after, limit)]
        return sorted(rows, key=attrgetter("account_id"))[:limit]

    async def names_of(self: Files, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        names: dict[AccountId, str] = {}
        for file, of_file in by_file(self, account_ids).items():
            names |= await SqliteAccountQueries.names_of(file, of_file)
        return names
