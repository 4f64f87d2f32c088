"""How many rooms an account has, as far as a limit needs to know."""

from collections.abc import Callable
from typing import Final

import msgspec

from falcon.domain.ids import AccountId
from falcon.http.limits.limiter import refused
from falcon.http.limits.quotas import Policy
from falcon.read.memberships.queries import roles_in_parts
from falcon.read.store import ReadStore

_SHARE: Final = 10
_PART: Final = 1_000  # rooms that are read at once
_LOOK_AGAIN_SECONDS: Final = 1.0
_KNOWN_MAX: Final = 10_000


class _Known(msgspec.Struct):
    """``left``: so many rooms may be made before the tables are asked again, but not before ``look_at``."""

    left: int
    look_at: float


class RoomCounts:
    """The rooms of which an account is an admin, as it is of those that it makes. Rooms that others put it into as a
    member do not count: they could use up its limit.

    The read tables know them, so the limit holds for all processes, and after a restart. Counting takes longer the more
    rooms there are, so a process counts once, lets through a tenth of what is left, and counts again. Several processes
    that make rooms of one account at the same time pass the limit by a few, and by what was under way.
    """

    def __init__(self, policy: Policy, store: ReadStore, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._store = store
        self._clock = clock
        self._known: dict[AccountId, _Known] = {}

    async def check(self, account_id: AccountId) -> None:
        """Raises Problem 429, ReadStoreUnavailable."""
        if not self._policy.quota:
            return
        known = self._known.get(account_id)
        if known is None or (known.left <= 0 and self._clock() >= known.look_at):
            known = await self._look(account_id)
        if known.left <= 0:
            raise refused(self._policy)

    def made(self, account_id: AccountId) -> None:
        known = self._known.get(account_id)
        if known is not None:
            known.left -= 1
            known.look_at = 0.0

    async def _look(self, account_id: AccountId) -> _Known:
        left = self._policy.quota - await self._count(account_id)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        known = _Known(max(1, left // _SHARE) if left > 0 else 0, self._clock() + _LOOK_AGAIN_SECONDS)
        self._known[account_id] = known
        return known

    async def _count(self, account_id: AccountId) -> int:
        """It stops where the quota is reached."""
        count = 0
        async for part in roles_in_parts(self._store, account_id, _PART):
            count += sum(role == "admin" for role in part.values())
            if count >= self._policy.quota:
                break
        return count
