"""One on a train: listens, is cut off, says something meanwhile, and continues where it was: nothing missing or
twice."""

from __future__ import annotations

from typing import Final

from load_tests.users.chance import Thinking
from load_tests.users.following import Following
from load_tests.users.person import GaveUp, Person

LISTENS: Final = Thinking(3.0)
CUT_OFF: Final = Thinking(1.0)


class Reconnector(Person):
    acts = 2 / (LISTENS.mean + CUT_OFF.mean)

    async def visit(self) -> None:
        """One life of a stream: its first connection, and several that continue behind it."""
        following = Following(self)
        try:
            await following.begin("open stream")
            for _ in range(5):
                await self.pause(LISTENS.draw(self.chance))
                await following.leave()
                room_id = self.a_room()
                message = await self.send(room_id)
                await self.pause(CUT_OFF.draw(self.chance))
                confirmed = {room: self.stage.checker.reach(room) for room in self.identity.rooms}
                await following.begin("resume stream")
                self.hold(following.covers(confirmed))
                await following.reaches(room_id, message.seq)
        except GaveUp:
            # Pause before the next attempt: haste does not help while Falcon cannot be reached.
            await self.pause(CUT_OFF.draw(self.chance))
            raise
        finally:
            await following.leave()
