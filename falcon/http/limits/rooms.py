"""The limit to how many rooms an account may have."""

import math
from typing import Final

import msgspec

from falcon.domain.ids import AccountId
from falcon.features.read_marks.table import roles_in_parts
from falcon.http.limits.limiter import Limiter, refused
from falcon.http.limits.quotas import Policy
from falcon.http.problems import Problem
from falcon.read.catalogue import ReadStore

_SHARE: Final = 10  # an account that uses a tenth of what is left between two counts stays within its limit
_PART: Final = 1_000  # rooms that one query reads
_LOOK_AGAIN_SECONDS: Final = 1.0  # a count is one query
_KNOWN_MAX: Final = 10_000  # accounts that make or enter rooms, of some 200 bytes each


class _Known(msgspec.Struct):
    """``left``: rooms that may be made before the tables are asked again. They are asked at ``look_at`` at the
    earliest."""

    left: float
    look_at: float


class RoomCounts:
    """Counts the rooms of which an account is an admin; an account is an admin of the rooms that it makes. Other rooms
    do not count, since other accounts could use up its limit with them.

    The read tables are counted, so the limit holds across processes and restarts. Counting takes longer the more rooms
    there are: a process counts once, allows a tenth of the rest, and counts again. Several processes that make rooms of
    one account at the same time may exceed the limit by a few rooms, and by the commands that were under way.
    """

    def __init__(self, limiter: Limiter, store: ReadStore) -> None:
        self._limiter = limiter
        self._store = store
        self._clock = limiter.clock
        self._known: dict[AccountId, _Known] = {}

    @property
    def _policy(self) -> Policy:
        return self._limiter.policies.account_rooms

    async def refusal(self, account_id: AccountId) -> Problem | None:
        """The refusal if the account has as many rooms as it may. Raises ReadStoreUnavailable."""
        if not self._policy.quota or math.isinf(self._limiter.factor(account_id)):
            return None
        known = self._known.get(account_id)
        if known is None or (known.left <= 0 and self._clock() >= known.look_at):
            known = await self._look(account_id)
        return refused(self._policy) if known.left <= 0 else None

    def made(self, account_id: AccountId) -> None:
        known = self._known.get(account_id)
        if known is not None:
            known.left -= 1
            known.look_at = 0.0

    async def _look(self, account_id: AccountId) -> _Known:
        most = self._policy.quota * self._limiter.factor(account_id)
        left = most - await self._count(account_id, most)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        known = _Known(max(1, left // _SHARE) if left > 0 else 0, self._clock() + _LOOK_AGAIN_SECONDS)
        self._known[account_id] = known
        return known

    async def _count(self, account_id: AccountId, most: float) -> int:
        """Counts up to ``most``."""
        count = 0
        async for part in roles_in_parts(self._store, account_id, _PART):
            count += sum(role == "admin" for role in part.values())
            if count >= most:
                break
        return count
