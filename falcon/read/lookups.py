"""Look-ups of streams in the read tables, which may be behind the log or ahead of it."""

import asyncio
import time
from typing import Final

from falcon.domain.ids import AccountId
from falcon.read.names import AccountNames
from falcon.read.store import ReadStoreUnavailable

_KNOWN_SECONDS: Final = 5.0  # an account that has just been made: its projection is milliseconds behind
_POLL_SECONDS: Final = 0.02  # a name is found this late at most


class StoreLookups:
    """``streams.delivery.Lookups`` on the read tables."""

    def __init__(self, names: AccountNames) -> None:
        self._names = names

    async def name_of(self, account_id: AccountId) -> str:
        """Waits some seconds for the tables to know the account. Raises ReadStoreUnavailable."""
        until = time.monotonic() + _KNOWN_SECONDS
        while account_id not in (names := await self._names.look_up([account_id])):
            if time.monotonic() > until:
                raise ReadStoreUnavailable(f"the tables do not know account {account_id} yet")
            await asyncio.sleep(_POLL_SECONDS)
        return names[account_id]
