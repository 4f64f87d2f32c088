"""Accounts and tokens in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field

from falcon.domain.ids import AccountId
from falcon.features.accounts.table import AccountRow, DropToken, TokenRow, UpsertAccount, UpsertToken
from falcon.read.write import Write
from tools.harness.memory.models import MemoryQueryContext, query


@dataclass
class AccountTables:
    """``tokens``: hash and time of creation of each, by account and number."""

    accounts: dict[AccountId, AccountRow] = field(default_factory=dict)
    tokens: dict[tuple[AccountId, int], tuple[str, str]] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case UpsertAccount(account_id, name, is_admin, created_at):
                self.accounts[account_id] = AccountRow(account_id, name, is_admin, created_at)
            case UpsertToken(account_id, token_id, token_hash, created_at):
                self.tokens[account_id, token_id] = (token_hash, created_at)
            case DropToken(account_id, token_id):
                self.tokens.pop((account_id, token_id), None)


def tables(view: MemoryQueryContext) -> AccountTables:
    found: AccountTables = view.tables("accounts")
    return found


def name(view: MemoryQueryContext, account_id: AccountId) -> str:
    """Empty if the account does not exist."""
    found = account(view, account_id)
    return "" if found is None else found.name


def account(view: MemoryQueryContext, account_id: AccountId) -> AccountRow | None:
    return tables(view).accounts.get(account_id)


def accounts(view: MemoryQueryContext, after: AccountId, limit: int) -> list[AccountRow]:
    there = tables(view).accounts
    return [there[account_id] for account_id in sorted(there) if account_id > after][:limit]


def names_of(view: MemoryQueryContext, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    there = tables(view).accounts
    return {account_id: there[account_id].name for account_id in account_ids if account_id in there}


def bearer(view: MemoryQueryContext, account_id: AccountId, token_hash: str) -> AccountRow | None:
    there = tables(view).tokens
    known = any(a == account_id and held == token_hash for (a, _), (held, _) in there.items())
    return account(view, account_id) if known else None


def tokens(view: MemoryQueryContext, account_id: AccountId) -> list[TokenRow]:
    there = sorted(tables(view).tokens.items())
    return [TokenRow(token_id, created_at) for (a, token_id), (_, created_at) in there if a == account_id]


class MemoryAccountQueries:
    accounts = query(accounts)
    names_of = query(names_of)
    bearer = query(bearer)
    tokens = query(tokens)
