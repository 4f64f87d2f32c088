"""A user who listens to a stream, and reads now and then. What it reads must have been pushed as well."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from load_tests.users.chance import Thinking
from load_tests.users.following import Following
from load_tests.users.person import GaveUp, Person

READS: Final = Thinking(3.0)


class Lurker(Person):
    acts = 1 / READS.mean

    async def act(self, stack: AsyncExitStack) -> None:
        self.following = Following(self)
        stack.push_async_callback(self.following.leave)
        while True:
            try:
                await self.following.begin("open stream")
                break
            except GaveUp:
                await self.following.leave()
                await self.pause(READS.draw(self.chance))
        await super().act(stack)

    async def visit(self) -> None:
        await self.pause(READS.draw(self.chance))
        room_id = self.a_room()
        last = await self.read_page(room_id)
        await self.following.reaches(room_id, last)
