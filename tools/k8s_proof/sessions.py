"""Writers: some write steadily to one room each, so that a room that cannot be written shows; some chat."""

import asyncio
import time
from typing import Final

from tools.people.sessions import Load, Session

PACE_SECONDS: Final = 0.5  # between two messages of a room that is written steadily
_THINK_SECONDS: Final = (0.2, 0.8)


class Writer(Session):
    async def write(self, room: int) -> None:
        """One message after the other, until the load ends; as soon as one is late, the next follows at once."""
        while not self._load.ending:
            due = time.monotonic() + PACE_SECONDS
            started = self._load.history.now()
            if await self._post(room) is not None:
                self._waited("send", room, started)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class Chatter(Session):
    async def chat(self) -> None:
        """It sends each request until it is answered."""
        acts = {self.post: 35, self.edit: 12, self.delete: 3, self.mark: 10, self.read_latest: 30, self.ask_again: 10}
        while not self._load.ending:
            [act] = self._random.choices(list(acts), list(acts.values()))
            await act()
            await asyncio.sleep(self._random.uniform(*_THINK_SECONDS))

    async def read_latest(self) -> None:
        await self._until_answered(*self._page(self._some_room(), "latest", 0))


__all__ = ["PACE_SECONDS", "Chatter", "Load", "Writer"]
