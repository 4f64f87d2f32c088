"""Checks that each message can be read once, as it was written."""

from collections.abc import Iterator
from typing import Final

from falcon.cli.smoke.check import Check, CheckFailed
from falcon_chat import FalconClient, Member, Message, Problem, Room

_SAID_MAX: Final = 200
_PAGE: Final = 200  # the largest page of the API
_OWNERS: Final = "docs/runbooks/partitions.md and docs/runbooks/appends.md: has every partition an owner?"
_TABLES: Final = "docs/runbooks/projection-stopped.md and docs/runbooks/projection-lag.md"


class Messaging:
    """Works in a room of its own. ``run`` is in the name of the room and in each message."""

    def __init__(self, falcon: FalconClient, run: str) -> None:
        self.room_id: int | None = None  # while it is there
        self._falcon = falcon
        self._run = run
        self._room: Room
        self._sent: Message

    def checks(self) -> Iterator[Check]:
        """The steps that create a room with a message in it."""
        yield Check("room", self._make_room, "a room to be made", _OWNERS)
        yield Check("send", self._send, "a message to be taken", _OWNERS)
        yield Check("retry", self._send_again, "the same key to get the same answer, and nothing to be done", _OWNERS)
        yield Check("read", self._read, "the message at its place, once, with its text", _TABLES)
        yield Check("edit", self._edit, "the message to have its new text", _TABLES)
        yield Check("mark", self._mark, "the read mark to be at the message", _TABLES)

    def last_checks(self) -> Iterator[Check]:
        yield Check("delete", self._delete_room, "the room to be gone", _TABLES)

    async def _make_room(self) -> str:
        about = "Made by `falcon smoke`, which tries this Falcon out; it may be deleted."
        made = await self._falcon.create_room(f"Smoke test {self._run}", description=about)
        self.room_id = made.room_id
        self._room = await self._falcon.room(made.room_id)
        if self._room != made:
            raise CheckFailed(
                f"room {made.room_id} was made and reads otherwise, as {self._room.name!r}", look_at=_TABLES
            )
        return f"room {made.room_id}"

    async def _send(self) -> str:
        self._sent = await self._post()
        if not self._falcon.position:
            expected = "the header Falcon-Position, by which a read waits for what was written"
            raise CheckFailed(
                "the answer does not say where the message stands in the log", expected, "proxies on the way"
            )
        return f"message {self._sent.seq}"

    async def _send_again(self) -> str:
        again = await self._post()
        if again.seq != self._sent.seq:
            raise CheckFailed(f"the same key made message {again.seq} beside {self._sent.seq}: it is there twice")
        if again != self._sent:
            raise CheckFailed(f"the same key was answered otherwise: {again.text[:_SAID_MAX]!r}")
        return f"message {again.seq} again"

    async def _post(self) -> Message:
        return await self._falcon.post(self._room.room_id, f"{self._run}: sent", key=f"smoke-{self._run}")

    async def _read(self) -> str:
        seq = self._sent.seq
        page = await self._falcon.messages(self._room.room_id, limit=_PAGE)
        places = [message.seq for message in page.messages if message.text == self._sent.text]
        if seq not in places:
            instead = next((f"{each.text[:_SAID_MAX]!r}" for each in page.messages if each.seq == seq), "nothing")
            raise CheckFailed(f"message {seq} was acknowledged and is lost: {instead} is in its place")
        if len(places) > 1:
            raise CheckFailed(f"the message was sent once and is there twice, at {' and '.join(map(str, places))}")
        return f"message {seq} at its place"

    async def _edit(self) -> str:
        seq, text = self._sent.seq, f"{self._run}: edited"
        await self._falcon.edit(self._room.room_id, seq, text)
        read = await self._falcon.message(self._room.room_id, seq)
        if read.text != text:
            raise CheckFailed(f"message {seq} reads {read.text[:_SAID_MAX]!r}", f"{text!r}, as was acknowledged")
        return f"message {seq} has its new text"

    async def _mark(self) -> str:
        """Moves the mark back to 0 and then forward, because posting has moved it."""
        seq = self._sent.seq
        for wanted in (0, seq):
            await self._falcon.mark_read(self._room.room_id, wanted, force=True)
            read = await self._own_mark()
            if read != wanted:
                raise CheckFailed(f"the mark was moved to {wanted} and reads {read}")
        return f"read up to {seq}"

    async def _own_mark(self) -> int:
        """The only mark in the room, which has no other member. Raises CheckFailed."""
        members: tuple[Member, ...] = (await self._falcon.members(self._room.room_id, limit=_PAGE)).members
        if len(members) != 1:
            raise CheckFailed(f"the room has {len(members)} members", "the account, as the only one")
        return members[0].read_seq

    async def _delete_room(self) -> str:
        room_id = self._room.room_id
        await self._falcon.delete_room(room_id)
        self.room_id = None
        try:
            await self._falcon.room(room_id)
        except Problem as problem:
            if problem.code == "room_not_found":
                return f"room {room_id} is gone"
            raise
        raise CheckFailed(f"room {room_id} was deleted and is there")
