"""Waits until the read tables show what was acknowledged."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from falcon.domain.ids import Partition
from falcon.http.problems import Problem
from falcon.journal.ports import ConfirmedPositions, JournalUnavailable
from falcon.read.catalogue import ReadStore
from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry import metrics

# The pause between two looks at the tables' positions. It doubles; while the positions stand still, it is a tenth of
# the time since they last moved.
_PAUSE_SECONDS: Final = 0.005
_PAUSE_SECONDS_MAX: Final = 0.015
_STILL_SECONDS_MAX: Final = 0.1
# If Freshness hears of moves and a request still waits after so long, a notice may have been lost. A rebuild by
# another process sends none.
_NOTIFIED_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 1.0  # the least time that the log gets to answer


def _no_notifications() -> bool:
    return False


def _no_cache(partitions: Collection[Partition] = ()) -> None:
    """Does nothing: the store asks the tables each time."""


class _Wanted(NamedTuple):
    """A position that a request waits for. ``since``: on CLOCK_MONOTONIC."""

    partition: Partition
    offset: int
    since: float


class Freshness:
    """One for each event loop. All requests that wait share one task, which looks where the tables stand in their
    partitions. It runs only while a request waits.

    ``has_notifications``: returns True while :meth:`moved` is called each time that the tables may have moved. Some
    notices may be lost. While it returns False, Freshness polls. ``invalidate``: makes the store ask the tables where
    they stand in some partitions, if it would answer from memory. ``forget``: makes it ask them for all that it keeps.
    """

    def __init__(
        self,
        store: ReadStore,
        positions: ConfirmedPositions,
        has_notifications: Callable[[], bool] = _no_notifications,
        invalidate: Callable[[Collection[Partition]], None] = _no_cache,
    ) -> None:
        self._store = store
        self._positions = positions
        self.has_notifications = has_notifications
        self.invalidate = invalidate
        self.forget: Callable[[], None] = _no_cache
        self._invalidated_at = -_NOTIFIED_SECONDS
        self._waiting: dict[asyncio.Future[None], _Wanted] = {}
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        metrics.refusals_checked.begin(("current",), ("unavailable",))
        self._current = metrics.refusals_checked.labels("current")
        self._unavailable = metrics.refusals_checked.labels("unavailable")

    def moved(self) -> None:
        """The tables may have moved."""
        self.forget()
        if self._waiting:
            self._news.set()

    async def reach(self, partition: Partition, offset: int, seconds: float) -> None:
        """Wait until reads show the event at ``offset``. With 0 seconds it only looks.

        Raises Problem 503 when that takes longer, ReadStoreUnavailable.
        """
        if await self._store.applied(partition) > offset:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wait(partition, offset)
        except TimeoutError:
            self.invalidate([partition])
            if await self._store.applied(partition) > offset:
                return
            detail = f"Position {partition}:{offset} could not be read within {seconds:g} s."
            raise Problem(503, "unavailable", detail, retry_after=1) from None

    async def catch_up(self, partition: Partition, seconds: float) -> None:
        """Wait until reads show everything that had been acknowledged in the partition when this was called.

        ``seconds`` bounds the wait for the tables; the log has at least one second to say where it stands.
        Raises Problem 503 when that takes longer, ReadStoreUnavailable.
        """
        until = time.monotonic() + seconds
        try:
            confirmed = await self._confirmed(partition, max(seconds, _ASK_SECONDS))
            await self.reach(partition, confirmed, max(0.0, until - time.monotonic()))
        except (Problem, ReadStoreUnavailable):
            self._unavailable.inc()
            raise
        self._current.inc()

    async def _confirmed(self, partition: Partition, seconds: float) -> int:
        try:
            async with asyncio.timeout(seconds):
                return await self._positions.confirmed(partition)
        except (TimeoutError, JournalUnavailable) as error:
            detail = "The tables do not show it, and the log could not be asked whether it is newer than they are."
            raise Problem(503, "unavailable", detail, retry_after=1) from error

    async def _wait(self, partition: Partition, offset: int) -> None:
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[reached] = _Wanted(partition, offset, time.monotonic())
        self._news.set()  # a look that is under way may have read the positions too early for this request
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            await reached
        finally:
            self._waiting.pop(reached, None)

    async def _look(self) -> None:
        """Runs while a request waits. It looks when it hears of a move, or at growing intervals."""
        pause, last, moved_at = _PAUSE_SECONDS, dict[Partition, int](), time.monotonic()
        try:
            while self._waiting:
                if not self.has_notifications():
                    await asyncio.sleep(pause)
                self._news.clear()
                self._invalidate_late()
                applied = await self._store.applied_in({wanted.partition for wanted in self._waiting.values()})
                if any(applied[partition] != last.get(partition) for partition in applied):
                    last, moved_at = applied, time.monotonic()
                self._release(applied)
                still = min((time.monotonic() - moved_at) / 10, _STILL_SECONDS_MAX)
                pause = min(2 * pause, max(still, _PAUSE_SECONDS_MAX))
                if self._waiting and self.has_notifications():
                    await self._until_notified()
        except Exception as error:  # every waiting request raises it
            for reached in self._waiting:
                if not reached.done():
                    reached.set_exception(error)
        finally:
            self._looking = None

    def _release(self, applied: Mapping[Partition, int]) -> None:
        """Let the requests continue whose position the tables have passed."""
        for reached, wanted in list(self._waiting.items()):
            if applied.get(wanted.partition, -1) > wanted.offset:
                del self._waiting[reached]
                if not reached.done():
                    reached.set_result(None)

    def _invalidate_late(self) -> None:
        now = time.monotonic()
        if now - self._invalidated_at < _NOTIFIED_SECONDS:
            return
        late = {wanted.partition for wanted in self._waiting.values() if now - wanted.since >= _NOTIFIED_SECONDS}
        if late:
            self._invalidated_at = now
            self.invalidate(late)

    async def _until_notified(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTIFIED_SECONDS):
                await self._news.wait()
