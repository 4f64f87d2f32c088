"""Names of accounts, as rooms and streams show them."""

from collections.abc import Iterable, Mapping
from typing import Final

from falcon.domain.ids import AccountId
from falcon.features.accounts.table import AccountQueries

_KNOWN_MAX: Final = 50_000  # names, of 200 bytes each


class AccountNames:
    """Keeps the names that were looked up: an account is never renamed. Nor is one ever removed, so a known name also
    says that the account exists. One instance for each event loop."""

    def __init__(self, store: AccountQueries) -> None:
        self._store = store
        self._known: dict[AccountId, str] = {}

    async def look_up(self, account_ids: Iterable[AccountId]) -> Mapping[AccountId, str]:
        """The names of the accounts that the tables know; one query for the ones that were never looked up. Raises
        ReadStoreUnavailable."""
        wanted = set(account_ids)
        found = {account_id: self._known[account_id] for account_id in wanted & self._known.keys()}
        unknown = wanted - found.keys()
        if unknown:
            looked_up = await self._store.names_of(unknown)
            if len(self._known) + len(looked_up) > _KNOWN_MAX:
                self._known.clear()
            self._known |= looked_up
            found |= looked_up
        return found
