"""Sessions that ask until they are answered: some write steadily to one room each, so that a room that cannot be
written shows; some chat."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from tools.people.sessions import Act, Session

PACE_SECONDS: Final = 0.5  # between two messages of a room that is written steadily


class SteadySession(Session):
    think_seconds = (0.2, 0.8)

    async def probe(self, room: int) -> None:
        """One message after the other, until the load ends; as soon as one is late, the next follows at once."""
        while not self._load.ending:
            due = time.monotonic() + PACE_SECONDS
            started = self._load.history.now()
            if await self._post(room) is not None:
                self._waited("send", room, started)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def acts(self) -> Mapping[Act, int]:
        return {self.post: 35, self.edit: 12, self.delete: 3, self.mark: 10, self.read_latest: 30, self.ask_again: 10}

    async def read_latest(self) -> None:
        await self._until_answered(*self._page(self._some_room(), "latest", 0))
