"""Users who come for the first time: an account, a first request, a stream, a first message that comes back on it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import ClassVar, Final

from falcon_chat import FalconClient
from load_tests.users.chance import poisson
from load_tests.users.following import Following
from load_tests.users.person import GaveUp, Person
from load_tests.users.stage import Identity, Stage

EACH_SECOND: Final = 0.2


class Newcomer(Person):
    acts: ClassVar[float] = 1.0

    async def live(self) -> None:
        """Act once. The cold start lasts from the first request to the event with the user's rooms."""
        with suppress(GaveUp):
            async with self.client(self.identity.token) as self.falcon:
                following = Following(self)
                try:
                    await self.timed("cold start", time.monotonic(), self._arrive(following))
                    room = await self.do("create room", self.falcon.create_room("A newcomer's"))
                    self.stage.opened(room.room_id, self.identity.token)
                    message = await self.send(room.room_id)
                    await following.reaches(room.room_id, message.seq)
                finally:
                    await following.leave()

    async def _arrive(self, following: Following) -> None:
        """Raises Problem, Unreachable, GaveUp."""
        me = await self.falcon.me()
        if me.account_id != self.identity.account_id:
            self.hold([f"account {self.identity.account_id} was made, and its token is that of {me.account_id}"])
        await following.begin("open stream")


class Arrivals(Person):
    """Newcomers arrive at random, independent of one another."""

    acts = 4 * EACH_SECOND  # an account, a stream, a room, a message

    def __init__(self, stage: Stage, identity: Identity, chance: Random) -> None:
        super().__init__(stage, identity, chance)
        self._rate = EACH_SECOND * stage.world.pace

    async def act(self, stack: AsyncExitStack) -> None:
        admin = await stack.enter_async_context(self.client(self.stage.world.admin_token))
        begun = time.monotonic()
        inside: set[asyncio.Task[None]] = set()
        try:
            for at in poisson(self._rate, self.chance):
                await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                task = asyncio.create_task(self._let_in(admin, begun + at))
                inside.add(task)
                task.add_done_callback(inside.discard)
        finally:
            for task in inside:
                task.cancel()
            await asyncio.gather(*inside, return_exceptions=True)

    async def _let_in(self, admin: FalconClient, meant: float) -> None:
        with suppress(GaveUp):
            made = await self.timed("create account", meant, admin.create_account("Newcomer"))
            await Newcomer(self.stage, Identity(made.account_id, made.token, []), self.chance).live()
