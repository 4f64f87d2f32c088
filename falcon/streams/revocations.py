"""Remembers the tokens that the log has revoked and the profiles that it has changed, so that a process may continue
trusting tokens, roles and names that the read tables once knew.

The tables are asked first where they stand, and the log is read from there on. So a token that they know from then on
is good until the log revokes it: each revocation is either shown by the tables or read here. Roles and names likewise.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from falcon.domain.ids import AccountId, Partition, RoomId
from falcon.features.accounts.rules import AccountChanged, TokenRevoked, profile_of
from falcon.features.accounts.table import AccountRow
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import ReadStore
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.feed import Feed, Unchanged

log = logging.getLogger("falcon.streams")

_FRESH_SECONDS: Final = 1.0  # a log that was read to its end so long ago may hide a revocation
_PAUSE_SECONDS: Final = 0.3  # between two looks for the log's end
_REACH_SECONDS: Final = 5.0  # an end that is reached later says nothing of the present one
_REMEMBERED: Final = 10_000  # then the ones that the tables show are forgotten
_REMEMBERED_MAX: Final = 100_000  # of some 200 bytes: 20 MB
# A look-up, or the opening of a stream, that began before the tables showed the revocation has ended by then.
_FORGET_SECONDS: Final = 20.0
_TOKENS: Final = ("accounts",)  # the read model that knows tokens


class _Place(NamedTuple):
    segment: int
    offset: int
    read_at: float


def after(account: AccountRow, event: AccountChanged) -> AccountRow:
    """The account after the change."""
    return msgspec.structs.replace(account, **profile_of(event), role_changes=event.role_changes)


class Revocations:
    """One instance per event loop. Before it is started and after it is stopped, the log confirms nothing."""

    def __init__(
        self, store: ReadStore, feed: Feed, revoked: Callable[[AccountId], None] = lambda account_id: None
    ) -> None:
        """``revoked`` is called with the account of each token that the log revokes, each of ``changed`` with each
        change of an account, and each of ``began`` when some may have been missed."""
        self._store = store
        self._feed = feed
        self.revoked = revoked
        self.changed: list[Callable[[AccountChanged], None]] = []
        self.began: list[Callable[[], None]] = []
        self._revoked: dict[str, _Place] = {}
        self._changed: dict[AccountId, tuple[_Place, AccountChanged]] = {}
        self._forgot_at = -math.inf
        feed.account_changed = self._remember_change
        self._since = math.inf  # tables that were asked later lack no revocation that is not remembered here
        self._complete_from: dict[int, int] = {}  # by segment: all revocations from this offset on are remembered
        self._read_at = -math.inf  # what was durable by then has been read
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._feed.token_revoked = self._remember
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        self._since = math.inf
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def still_valid_since(self, checked_at: float, now: float) -> bool:
        """True if a token that the tables knew at ``checked_at`` is good unless ``in`` finds it here as revoked. Times
        on CLOCK_MONOTONIC."""
        return checked_at >= self._since and self._is_fresh(now)

    def is_following(self) -> bool:
        """True while this process hears of each change within about a second."""
        now = time.monotonic()
        return now >= self._since and self._is_fresh(now)

    def unchanged_since(self, room_id: RoomId, account_id: AccountId, floor: int, shown: int) -> Unchanged:
        """The offsets that the feed has. They are not known if this process may not know of each change within about a
        second, or not of all before the offset ``shown``, which the tables show."""
        if not self.is_following() or self._feed.reached(self._feed.segment_with(room_id)) < shown:
            return Unchanged()
        return self._feed.unchanged_since(room_id, account_id, floor)

    async def reach(self, asked_at: float, partition: Partition, offset: int, seconds: float) -> bool:
        """Wait until the log has been read beyond the offset. Then each revocation up to there is remembered, or tables
        that were asked at ``asked_at`` showed it. False if that is not so within the time."""
        if asked_at < self._since:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._feed.reach({self._feed.segment_of(partition): offset + 1})
        except TimeoutError:
            return False
        return asked_at >= self._since

    def _is_fresh(self, now: float) -> bool:
        return now - self._read_at < _FRESH_SECONDS

    def __contains__(self, token_hash: str) -> bool:
        """True if the log is known to have revoked the token. The tables may not show it yet."""
        return token_hash in self._revoked

    def newest(self, account: AccountRow) -> AccountRow:
        """The account as the log has it, if that has changed what the tables show."""
        _, event = self._changed.get(account.account_id, (None, None))
        return account if event is None or event.role_changes < account.role_changes else after(account, event)

    def _remember_change(self, segment: int, offset: int, event: AccountChanged) -> None:
        self._make_room()
        self._changed[event.account_id] = (_Place(segment, offset, time.monotonic()), event)
        for changed in self.changed:
            changed(event)

    def _make_room(self) -> None:
        if len(self._revoked) + len(self._changed) >= _REMEMBERED_MAX:  # the tables have been away for long
            self._complete_from = self._feed.reached_everywhere()
            self._since = math.inf
            self._revoked.clear()
            self._changed.clear()

    def _remember(self, segment: int, offset: int, event: TokenRevoked) -> None:
        self._make_room()
        self._revoked[event.token_hash] = _Place(segment, offset, time.monotonic())
        self.revoked(event.account_id)

    async def _follow(self) -> None:
        with self._feed.held():
            while True:
                was_fresh = self._is_fresh(time.monotonic())
                try:
                    await self._step()
                except (ReadStoreUnavailable, JournalUnavailable, TimeoutError) as error:
                    if was_fresh:
                        log.warning("tokens are looked up each second: the log cannot be followed: %r", error)
                except Exception:  # if this task ended, tokens would be looked up each second for ever
                    log.exception("following revoked tokens met a fault of ours; it continues")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _step(self) -> None:
        if math.isinf(self._since):
            await self._begin()
        asked_at = time.monotonic()
        async with asyncio.timeout(_REACH_SECONDS):
            await self._feed.reach(await self._feed.ends(self._feed.every_segment))
        self._read_at = asked_at
        if len(self._revoked) + len(self._changed) >= _REMEMBERED and asked_at - self._forgot_at >= _FORGET_SECONDS:
            self._forgot_at = asked_at
            await self._forget()

    async def _begin(self) -> None:
        """Read the log from where the tables stand. Raises ReadStoreUnavailable."""
        shown = await self._shown()
        if all(shown[segment] >= offset for segment, offset in self._complete_from.items()):
            self._since = time.monotonic()
            for began in self.began:
                began()

    async def _forget(self) -> None:
        """Forget what the tables show. Raises ReadStoreUnavailable."""
        shown, before = await self._shown(), time.monotonic() - _FORGET_SECONDS

        def is_needed(place: _Place) -> bool:
            return place.offset >= shown[place.segment] or place.read_at > before

        self._revoked = {token_hash: place for token_hash, place in self._revoked.items() if is_needed(place)}
        self._changed = {account_id: each for account_id, each in self._changed.items() if is_needed(each[0])}

    async def _shown(self) -> dict[int, int]:
        """The offset of each segment up to which the tables show revocations. The feed follows each segment at least
        from there on."""
        applied = await self._store.applied_everywhere(self._feed.partitions, _TOKENS)
        starts = {self._feed.segment_of(partition): position for partition, position in applied.items()}
        self._feed.follow(starts)
        return {segment: position.offset for segment, position in starts.items()}
