"""A user who talks: looks at the rooms, opens one, reads it, mostly says something, and now and then edits it."""

from __future__ import annotations

from typing import ClassVar, Final

from load_tests.users.chance import Thinking
from load_tests.users.person import Person
from tools.people.history import Operation

AWAY: Final = Thinking(2.0)
GLANCE: Final = Thinking(0.4)
READING: Final = Thinking(1.0)
TYPING: Final = Thinking(1.5)
SAYS, EDITS = 0.7, 0.1  # of visits; of what is said
ROOMS_SHOWN: Final = 30


class Chatter(Person):
    _VISIT: ClassVar[float] = AWAY.mean + GLANCE.mean + READING.mean + SAYS * (TYPING.mean + EDITS * TYPING.mean)
    acts = (3 + SAYS * (2 + EDITS)) / _VISIT

    async def visit(self) -> None:
        await self.pause(AWAY.draw(self.chance))
        found = await self.do("list rooms", self.falcon.rooms(limit=ROOMS_SHOWN))
        for room in found.rooms:
            seq, at, unread = room.last_seq, room.read_seq, room.unread
            self.note(Operation(kind="listed", room=room.room_id, seq=seq, at=at, unread=unread))
        await self.pause(GLANCE.draw(self.chance))
        room_id = self.a_room()
        last = await self.read_page(room_id)
        await self.pause(READING.draw(self.chance))
        await self.mark_read(room_id, last)
        if self.chance.random() < SAYS:
            await self.say(room_id)

    async def say(self, room_id: int) -> None:
        await self.pause(TYPING.draw(self.chance))
        message = await self.send(room_id)
        if self.chance.random() < EDITS:
            await self.pause(TYPING.draw(self.chance))
            await self.edit(message, 1)
        await self.read_page(room_id)

    async def mark_read(self, room_id: int, seq: int) -> None:
        if seq == 0:
            return
        moved = await self.do("mark read", self.falcon.mark_read(room_id, seq))
        if moved.read_seq < seq:
            self.hold([f"room {room_id}: marked read up to {seq}, and the mark is at {moved.read_seq}"])
