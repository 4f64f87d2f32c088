"""Tells streams what an account that they watch shows from now on. Guests hear of people in their rooms only."""

import asyncio
from collections import deque
from typing import Final

from falcon.features.accounts.rules import AccountChanged
from falcon.read.catalogue import ReadStore
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.signals import Signals

_ROOMS_MAX: Final = 1_000  # of the account, that are looked at for a guest: as many as a guest's search looks at
_WAITING_MAX: Final = 1_000  # changes: a signal may be lost, and a client that begins again reads what is shown


class Watchers:
    """One instance per event loop. It looks up the roles of the accounts that watch, for one change after the other:
    an older name never follows a newer one."""

    def __init__(self, store: ReadStore, signals: Signals) -> None:
        self._store = store
        self._signals = signals
        self._waiting: deque[AccountChanged] = deque(maxlen=_WAITING_MAX)
        self._telling: asyncio.Task[None] | None = None

    def account_changed(self, event: AccountChanged) -> None:
        if not self._signals.watching(event):
            return
        self._waiting.append(event)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            watching = self._signals.watching(event)
            try:
                accounts = await self._store.accounts_of({each.account_id for each in watching})
                rooms = await self._store.roles_of(event.account_id, _ROOMS_MAX)
            except ReadStoreUnavailable:
                continue  # it is not known who may hear of it
            members = {account_id for account_id, account in accounts.items() if account.role != "guest"}
            near = [each for each in watching if each.account_id in members or not rooms.keys().isdisjoint(each.rooms)]
            self._signals.show_account(event, near)
