"""Cuts in memory, for processes that share them."""

import asyncio
from collections.abc import Callable

from falcon.journal.ports import JournalUnavailable
from falcon.streams.cuts import KEPT_MAX, Record


class KeptCuts:
    """What all processes share. ``away``: nothing can be read or written."""

    def __init__(self) -> None:
        self.cuts: list[bytes] = []
        self.away = False
        self.history = 0
        self.changed = asyncio.Condition()

    async def lose(self) -> None:
        async with self.changed:
            self.cuts.clear()
            self.history += 1
            self.changed.notify_all()


class MemoryCuts:
    """One process's way to them. ``reads``: the look-ups so far."""

    def __init__(self, kept: KeptCuts) -> None:
        self._kept = kept
        self._following: asyncio.Task[None] | None = None
        self.reads = 0

    def follow(self, take: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        self._following = asyncio.get_running_loop().create_task(self._follow(take, lost))

    async def write(self, data: bytes) -> int:
        await asyncio.sleep(0)
        if self._kept.away:
            raise JournalUnavailable("away")
        async with self._kept.changed:
            self._kept.cuts.append(data)
            self._kept.changed.notify_all()
            return len(self._kept.cuts) - 1

    async def read(self, number: int) -> list[Record]:
        self.reads += 1
        await asyncio.sleep(0)
        if self._kept.away:
            raise JournalUnavailable("away")
        return list(enumerate(self._kept.cuts))[number : number + 10]

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def _follow(self, take: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        at, history = max(0, len(self._kept.cuts) - KEPT_MAX), self._kept.history
        while True:
            if self._kept.history != history:
                at, history = 0, self._kept.history
                lost()
            while at < len(self._kept.cuts):
                take(at, self._kept.cuts[at])
                at += 1
            async with self._kept.changed:
                while at == len(self._kept.cuts) and self._kept.history == history:
                    await self._kept.changed.wait()
