"""How far the read tables show what was acknowledged, and how to wait for them."""

import asyncio
import time
from typing import Final

from falcon.domain.ids import Partition
from falcon.http.problems import Problem
from falcon.journal.ports import ConfirmedPositions, JournalUnavailable
from falcon.read.store import ReadStore, ReadStoreUnavailable
from falcon.telemetry import metrics

_PAUSE_SECONDS: Final = 0.005  # between two looks at a partition's position; it doubles
_PAUSE_SECONDS_MAX: Final = 0.015
_STILL_SECONDS_MAX: Final = 0.1  # the same while it stands still: a tenth of the time since when it has
_ASK_SECONDS: Final = 1.0  # for the log to answer a request that waits for no tables


class Freshness:
    """For one event loop. Those who wait for the same partition wait together: its position is looked up for all."""

    def __init__(self, store: ReadStore, positions: ConfirmedPositions) -> None:
        self._store = store
        self._positions = positions
        self._waiting: dict[Partition, dict[asyncio.Future[None], int]] = {}
        self._looking: set[asyncio.Task[None]] = set()
        metrics.refusals_checked.begin(("current",), ("unavailable",))
        self._current = metrics.refusals_checked.labels("current")
        self._unavailable = metrics.refusals_checked.labels("unavailable")

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
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = {}
            looking = asyncio.get_running_loop().create_task(self._look(partition, waiting))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting[reached] = offset
        try:
            await reached
        finally:
            waiting.pop(reached, None)

    async def _look(self, partition: Partition, waiting: "dict[asyncio.Future[None], int]") -> None:
        """Again and again, at growing intervals, for as long as anybody waits."""
        pause, last, moved_at = _PAUSE_SECONDS, -1, 0.0
        try:
            while waiting:
                await asyncio.sleep(pause)
                applied = await self._store.applied(partition)
                if applied != last:
                    last, moved_at = applied, time.monotonic()
                still = min((time.monotonic() - moved_at) / 10, _STILL_SECONDS_MAX)
                pause = min(2 * pause, max(still, _PAUSE_SECONDS_MAX))
                for reached in [reached for reached, offset in waiting.items() if applied > offset]:
                    del waiting[reached]
                    if not reached.done():
                        reached.set_result(None)
        except Exception as error:  # whatever it is, it is for those who wait to deal with
            for reached in waiting:
                if not reached.done():
                    reached.set_exception(error)
        finally:
            del self._waiting[partition]
