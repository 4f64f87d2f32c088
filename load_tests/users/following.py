"""Listening to a stream, and holding each event to the promises."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from falcon_chat import (
    CatchUp,
    CaughtUp,
    Event,
    Hello,
    MemberLeft,
    Message,
    MessagePosted,
    Stream,
)
from load_tests.users.checks import seen, token
from load_tests.users.person import CALL_SECONDS, Person
from load_tests.users.recorder import PUSHED
from tools.people.follower import Follower
from tools.people.history import Operation

PUSHED_SECONDS: Final = 10.0  # a message that was confirmed, or could be read, and has not come by then is missing


class Following:
    """One person's stream: over as many connections as it takes, each event once."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._follower = Follower()
        self._stream: Stream | None = None
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._began = asyncio.Event()
        self.token: str | None = None

    async def begin(self, kind: str) -> None:
        """Listen from now on, or continue where it was left; until the first event that says so. Raises GaveUp."""
        self._began.clear()
        self._stream = self._person.falcon.stream(resume=self.token)
        since = self._person.pace.since(time.monotonic())
        self._listening = asyncio.create_task(self._listen(self._stream))
        await self._person.timed(kind, since, asyncio.wait_for(self._begun(), CALL_SECONDS))

    async def leave(self) -> None:
        """End the connection. What is on its way is lost, and comes again with ``token``."""
        if self._listening is not None and self._stream is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            await self._stream.aclose()
            self._listening = self._stream = None

    async def reaches(self, room_id: int, seq: int) -> None:
        """A message that can be read must be pushed, too."""
        deadline = time.monotonic() + PUSHED_SECONDS
        while self._follower.reach(room_id) < seq:
            left = deadline - time.monotonic()
            if left <= 0:
                late = f"seq {seq} could be read and was not pushed within {PUSHED_SECONDS:g} s"
                self._person.hold([f"room {room_id}: {late}"])
                # Said once; what comes after it is held to its own place again.
                self._follower.caught_up_to(room_id, seq)
                return
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                continue

    def covers(self, confirmed: dict[int, int]) -> list[str]:
        """After a replay: all that was confirmed before it began has been told."""
        return [
            f"room {room_id}: seq {seq} was confirmed, and a replay ended at {self._follower.reach(room_id)}"
            for room_id, seq in confirmed.items()
            if self._follower.reach(room_id) < seq
        ]

    async def _begun(self) -> None:
        """Raises Problem when the stream ends before it has begun."""
        began = asyncio.create_task(self._began.wait())
        assert self._listening is not None
        try:
            await asyncio.wait([began, self._listening], return_when=asyncio.FIRST_COMPLETED)
        finally:
            began.cancel()
        if self._listening.done() and not self._began.is_set():
            self._listening.result()

    async def _listen(self, stream: Stream) -> None:
        """Raises Problem."""
        async for event in stream:
            await self._take(event)
            self.token = event.id or self.token
            self._news.set()

    async def _take(self, event: Event) -> None:
        match event:
            case Hello():
                self._follower.hello({room.room_id: room.last_seq for room in event.rooms})
                self._began.set()
            case CaughtUp():
                self._began.set()
            case CatchUp():
                await self._read_up(event)
                self._began.set()
            case MessagePosted(message=message):
                self._person.hold(self._follower.posted(message.room_id, message.seq))
                self._person.note(Operation(kind="heard", room=message.room_id, seen=seen([message])))
                self._time(message)
            case MemberLeft(room_id=room_id, account_id=account_id) if account_id == self._person.identity.account_id:
                self._follower.left(room_id)
            case _:
                return

    def _time(self, message: Message) -> None:
        """The time from when its author meant to send it to its arrival."""
        meant = self._person.stage.sent(token(message))
        if meant is not None and self._began.is_set():
            self._person.stage.recorder.answered(PUSHED, time.monotonic() - meant)

    async def _read_up(self, event: CatchUp) -> None:
        """Read what was missed page by page, as a client must after a CatchUp."""
        for room in event.rooms:
            at = self._follower.reach(room.room_id)
            while at < room.last_seq:
                page = await self._person.falcon.messages(room.room_id, after=at, limit=200)
                self._person.note(Operation(kind="heard", room=room.room_id, seen=seen(page.messages)))
                if not page.messages or page.messages[0].seq != at + 1:
                    self._person.hold([f"room {room.room_id}: a page after {at} does not begin at {at + 1}"])
                    break
                at = page.messages[-1].seq
            self._follower.caught_up_to(room.room_id, room.last_seq)
