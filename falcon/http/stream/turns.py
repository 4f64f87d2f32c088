"""Bounds how many streams ask the read tables at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from falcon.http.problems import Problem
from falcon.telemetry import metrics

_TURNS: Final = 8  # half of the threads that read the tables, so that other reads have room
_TURN_SECONDS: Final = 10.0  # clients give up later, and come back by themselves


class TableTurns:
    """When very many streams begin at once, as after the end of another server, a few at a time ask the tables: the
    tables serve other requests too, and refuse what is too much for them. One instance for each event loop."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(_TURNS)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Problem 503 if none comes free within some seconds."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self.free.acquire()
        except TimeoutError:
            metrics.streams_refused.inc()
            detail = "More streams begin than this server can begin in time."
            raise Problem(503, "overloaded", detail, retry_after=1) from None
        try:
            yield
        finally:
            self.free.release()
