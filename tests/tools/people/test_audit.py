"""The audit reads back all rooms that it must."""

import asyncio
from types import SimpleNamespace
from typing import Any

from tools.people.audit import Audit
from tools.people.history import Operation
from tools.people.sessions import Account
from tools.simulation.course import Noted

CHATTED, LOBBY = 30, 31


class ShownRooms:
    """A client whose account is in both rooms."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def messages(self, room_id: int, **_: object) -> Any:
        return SimpleNamespace(messages=[], has_after=False)

    async def rooms(self, **_: object) -> Any:
        rooms = [SimpleNamespace(room_id=each, last_seq=0, read_seq=0, unread=0) for each in (CHATTED, LOBBY)]
        return SimpleNamespace(rooms=rooms, next_cursor=None)

    async def threads(self, **_: object) -> Any:
        return SimpleNamespace(threads=[], next_cursor=None)


def test_only_rooms_where_no_message_can_still_arrive_are_compared_between_apis() -> None:
    history = Noted()
    history.note(Operation(kind="post", session=0, room=CHATTED, outcome="acknowledged"))
    audit = Audit(["a", "b"], [Account(1, "token")], [], history, lambda *_: ShownRooms())  # type: ignore[arg-type]
    asyncio.run(audit.run([]))
    assert [op.room for op in history.operations() if op.kind == "summary"] == [CHATTED, CHATTED]
