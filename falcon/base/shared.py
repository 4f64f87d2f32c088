"""One answer for all callers that ask at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Asks a question that many callers have, once at a time. For one event loop.

    A caller that comes while a question is under way waits for the next one, together with all callers that come until
    it is asked. So each answer belongs to a question that was asked after the caller came. ``apart``: the least seconds
    between two questions, so that a flood of callers costs little.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], apart: float = 0.0) -> None:
        self._ask = ask
        self._apart = apart
        self._asked_at = -apart
        self._asked: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Raises what the question raises."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask_after(self._asked))
            self._next.add_done_callback(_retrieved)
        return await asyncio.shield(self._next)  # other callers may wait for it when this one has given up

    async def _ask_after(self, before: "asyncio.Task[T] | None") -> T:
        if before is not None:
            await asyncio.wait([before])
        if self._apart:
            await asyncio.sleep(self._asked_at + self._apart - time.monotonic())
            self._asked_at = time.monotonic()
        self._asked, self._next = self._next, None
        return await self._ask()


def _retrieved(task: "asyncio.Task[T]") -> None:
    """All callers may have gone."""
    if not task.cancelled():
        task.exception()
