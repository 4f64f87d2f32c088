"""Names of accounts, as rooms and streams show them."""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

from falcon.domain.ids import AccountId
from falcon.features.accounts.table import AccountQueries

_KEPT_SECONDS: Final = 1.0  # as long as a token is trusted there
_KNOWN_MAX: Final = 50_000  # names, of 200 bytes each


class AccountNames:
    """Keeps the names that were looked up. An account is never removed, so a known name also says that the account
    exists. The log tells each new name (:meth:`know`), and older tables never replace it. Where the log is not followed
    a name is kept for a second. One instance for each event loop."""

    def __init__(self, store: AccountQueries, tells_names: Callable[[], bool] = lambda: True) -> None:
        """``tells_names``: True while the log tells new names."""
        self._store = store
        self._tells_names = tells_names
        self._known: dict[AccountId, str] = {}
        self._forgot = 0
        self._forgot_at = time.monotonic()

    async def look_up(self, account_ids: Iterable[AccountId]) -> Mapping[AccountId, str]:
        """The names of the accounts that the tables know; one query for the ones that are not known here. Raises
        ReadStoreUnavailable."""
        if time.monotonic() - self._forgot_at > _KEPT_SECONDS and not self._tells_names():
            self.forget()
        wanted = set(account_ids)
        found = {account_id: self._known[account_id] for account_id in wanted & self._known.keys()}
        unknown = wanted - found.keys()
        if unknown:
            forgot = self._forgot
            looked_up = await self._store.names_of(unknown)
            found |= looked_up | {each: self._known[each] for each in unknown & self._known.keys()}
            if forgot == self._forgot:  # else a name may have changed since the tables were asked
                for account_id, name in looked_up.items():
                    self._known.setdefault(account_id, name)
                self._bound()
        return found

    def know(self, account_id: AccountId, name: str) -> None:
        """The account is called so from now on."""
        self._known.pop(account_id, None)
        self._known[account_id] = name
        self._bound()

    def forget(self) -> None:
        """Look all names up again: some may have changed unseen."""
        self._known = {}
        self._forgot += 1
        self._forgot_at = time.monotonic()

    def _bound(self) -> None:
        """Drop the older half of too many. The tables may not show the newest ones, which the log has told, yet."""
        if len(self._known) > _KNOWN_MAX:
            self._known = dict(islice(self._known.items(), _KNOWN_MAX // 2, None))
