"""How far the read tables show what was acknowledged, and how to wait for them."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from falcon.domain.ids import Partition
from falcon.http.problems import Problem
from falcon.journal.ports import ConfirmedPositions, JournalUnavailable
from falcon.read.store import ReadStore, ReadStoreUnavailable
from falcon.telemetry import metrics

# Between two looks at where the tables stand; it doubles. While they stand still: a tenth of the time since when.
_PAUSE_SECONDS: Final = 0.005
_PAUSE_SECONDS_MAX: Final = 0.015
_STILL_SECONDS_MAX: Final = 0.1
_TOLD_SECONDS: Final = 1.0  # the same where it is told of what moves them, but for a rebuild by another process
_ASK_SECONDS: Final = 1.0  # for the log to answer a request that waits for no tables


class Freshness:
    """For one event loop. All who wait, wait together: one looks where the tables stand in their partitions, and only
    while somebody waits.

    ``is_told``: :meth:`moved` is called whenever the tables may stand elsewhere: it looks then, not again and again.
    """

    def __init__(self, store: ReadStore, positions: ConfirmedPositions, *, is_told: bool = False) -> None:
        self._store = store
        self._positions = positions
        self.is_told = is_told
        self._waiting: dict[asyncio.Future[None], tuple[Partition, int]] = {}
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        metrics.refusals_checked.begin(("current",), ("unavailable",))
        self._current = metrics.refusals_checked.labels("current")
        self._unavailable = metrics.refusals_checked.labels("unavailable")

    def moved(self) -> None:
        """The tables may stand elsewhere now."""
        if self._waiting:
            self._news.set()

    async def reach(self, partition: Partition, offset: int, seconds: float) -> None:
        """Until reads show what stands at ``offset``. With 0 seconds it only looks.

        Raises Problem 503 when that takes longer, ReadStoreUnavailable.
        """
        if await self._store.applied(partition) > offset:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wait(partition, offset)
        except TimeoutError:
            detail = f"Position {partition}:{offset} could not be read within {seconds:g} s."
            raise Problem(503, "unavailable", detail, retry_after=1) from None

    async def catch_up(self, partition: Partition, seconds: float) -> None:
        """Until reads show everything that had been acknowledged in the partition when this was called.

        ``seconds`` bounds the wait for the tables; the log has a second at least to say where it stands.
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
        self._waiting[reached] = (partition, offset)
        self._news.set()  # a look that was under way may have been too early for this one
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            await reached
        finally:
            self._waiting.pop(reached, None)

    async def _look(self) -> None:
        """For as long as somebody waits: when it is told to, or at growing intervals."""
        pause, last, moved_at = _PAUSE_SECONDS, dict[Partition, int](), time.monotonic()
        try:
            while self._waiting:
                if not self.is_told:
                    await asyncio.sleep(pause)
                self._news.clear()
                applied = await self._store.applied_in({partition for partition, _ in self._waiting.values()})
                if any(applied[partition] != last.get(partition) for partition in applied):
                    last, moved_at = applied, time.monotonic()
                for reached, (partition, offset) in list(self._waiting.items()):
                    if applied.get(partition, -1) > offset:
                        del self._waiting[reached]
                        if not reached.done():
                            reached.set_result(None)
                still = min((time.monotonic() - moved_at) / 10, _STILL_SECONDS_MAX)
                pause = min(2 * pause, max(still, _PAUSE_SECONDS_MAX))
                if self.is_told and self._waiting:
                    await self._until_told()
        except Exception as error:  # whatever it is, it is for those who wait to deal with
            for reached in self._waiting:
                if not reached.done():
                    reached.set_exception(error)
        finally:
            self._looking = None

    async def _until_told(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_SECONDS):
                await self._news.wait()
