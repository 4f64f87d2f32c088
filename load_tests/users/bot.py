"""A user that sends at a steady rate, also without answers."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Final

from load_tests.users.chance import even
from load_tests.users.person import GaveUp, Person

EACH_SECOND: Final = 2.0
LOOKS_EVERY: Final = 20  # messages
_UNDER_WAY_MAX: Final = 200


class Bot(Person):
    acts = EACH_SECOND * (1 + 1 / LOOKS_EVERY)

    async def act(self, stack: AsyncExitStack) -> None:
        begun = time.monotonic()
        self.pace.since(begun)  # from here on it has a beat of its own
        under_way: set[asyncio.Task[None]] = set()
        room_for_more = asyncio.Semaphore(_UNDER_WAY_MAX)
        rate = EACH_SECOND * self.stage.world.pace
        try:
            for number, at in enumerate(even(rate, self.chance.random())):
                await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                # Past the bound it waits, and so do those behind it: their time counts from when they were meant.
                await room_for_more.acquire()
                task = asyncio.create_task(self._say(begun + at, looks=number % LOOKS_EVERY == 0))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: room_for_more.release())
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _say(self, meant: float, *, looks: bool) -> None:
        room_id = self.a_room()
        with suppress(GaveUp):
            await self.send(room_id, meant)
            if looks:
                await self.read_page(room_id)
