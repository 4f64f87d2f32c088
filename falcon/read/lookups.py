"""What streams look up in the read tables, which may be behind the log or ahead of it."""

import asyncio
import time
from typing import Final

from falcon.domain.ids import AccountId
from falcon.read.catalogue import ReadStore
from falcon.read.store import ReadStoreUnavailable

_KNOWN_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02


class StoreLookups:
    """``streams.delivery.Lookups`` on a read store."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def name_of(self, account_id: AccountId) -> str:
        """Waits some seconds for the tables to know the account. Raises ReadStoreUnavailable."""
        until = time.monotonic() + _KNOWN_SECONDS
        while (account := await self._store.account(account_id)) is None:
            if time.monotonic() > until:
                raise ReadStoreUnavailable(f"the tables do not know account {account_id} yet")
            await asyncio.sleep(_POLL_SECONDS)
        return account.name
