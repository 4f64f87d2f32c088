"""A user: an account and a pace. Each answer is timed and checked against the promises.

This is asyncio and Falcon's client, and knows nothing of locust, which spawns users by `locust_users.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from random import Random
from typing import ClassVar, Final, TypeVar

import msgspec

from falcon_chat import FalconClient, Message, Problem, Unreachable
from load_tests.users.chance import Pace, Zipf
from load_tests.users.checks import seen, sound, token
from load_tests.users.stage import Identity, Stage
from tools.people.history import Operation, Outcome, spoken

T = TypeVar("T")

CALL_SECONDS: Final = 10.0  # a call with its retries
_NOTICED_SECONDS: Final = 1.0  # what has waited for longer when the run ends counts as not answered


class GaveUp(Exception):
    """A call failed, and was recorded. The act that it was part of is over."""


class Person:
    """``acts``: a second, of one person, as long as nothing is slow; see `recorder.COUNTED`."""

    acts: ClassVar[float]

    def __init__(self, stage: Stage, identity: Identity, chance: Random) -> None:
        self.stage = stage
        self.identity = identity
        self.chance = chance
        self.pace = Pace(time.monotonic())
        self.session = next(stage.sessions)
        self._popularity = Zipf(max(1, len(identity.rooms)))
        self.falcon: FalconClient

    async def live(self) -> None:
        """Act until cancelled."""
        async with AsyncExitStack() as stack:
            self.falcon = await stack.enter_async_context(self.client(self.identity.token))
            # Users must not act in step with their start.
            await self.pause(self.chance.random() / self.acts)
            await self.act(stack)

    async def act(self, stack: AsyncExitStack) -> None:
        """The acts of this kind of user. ``stack`` is closed when it goes."""
        while True:
            try:
                await self.visit()
            except GaveUp:
                continue

    async def visit(self) -> None:
        """Once what it does again and again. Raises GaveUp."""
        raise NotImplementedError

    def client(self, token: str) -> FalconClient:
        return FalconClient(self.stage.world.urls, token, timeout=CALL_SECONDS)

    # --- when and what ------------------------------------------------------------------------------------------------

    async def pause(self, seconds: float) -> None:
        """Wait until the next act is meant to begin."""
        self.pace.pause(seconds / self.stage.world.pace)
        await asyncio.sleep(max(0.0, self.pace.meant - time.monotonic()))

    async def do(self, kind: str, call: Awaitable[T]) -> T:
        """The call's answer; its time counts from when it was meant to begin. Raises GaveUp."""
        return await self.timed(kind, self.pace.since(time.monotonic()), call)

    async def timed(self, kind: str, since: float, call: Awaitable[T]) -> T:
        """The same for what was meant to begin at ``since``."""
        record = self.stage.recorder.answered
        try:
            answer = await call
        except (Problem, Unreachable) as fault:
            record(kind, time.monotonic() - since, _described(fault))
            raise GaveUp from fault
        except TimeoutError as fault:
            record(kind, time.monotonic() - since, "nothing came in time")
            raise GaveUp from fault
        except asyncio.CancelledError:
            waited = time.monotonic() - since
            if waited >= _NOTICED_SECONDS:
                record(kind, waited, "not answered when the run ended")
            raise
        record(kind, time.monotonic() - since)
        return answer

    def note(self, operation: Operation, outcome: Outcome = "acknowledged") -> None:
        """Hold what was answered to the promises."""
        self.stage.note(msgspec.structs.replace(operation, session=self.session, outcome=outcome))

    def hold(self, violations: list[str]) -> None:
        """Hold what was seen to the promises."""
        self.stage.recorder.violated(violations)

    def a_room(self) -> int:
        """One of its own, popular ones more often."""
        return self.identity.rooms[self._popularity.draw(self.chance)]

    # --- what most of them do -----------------------------------------------------------------------------------------

    async def read_page(self, room_id: int) -> int:
        """The newest messages; gives the ``seq`` of the last one. Raises GaveUp."""
        page = await self.do("read page", self.falcon.messages(room_id, limit=50))
        self.hold(sound(room_id, page))
        self.note(Operation(kind="read", room=room_id, query="latest", seen=seen(page.messages)))
        return page.messages[-1].seq if page.messages else 0

    async def send(self, room_id: int, since: float | None = None) -> Message:
        """A message of its own, meant to be sent at ``since``, or as the pace says. Raises GaveUp."""
        said = Operation(kind="post", room=room_id, token=f"{self.stage.new_name()}/0")
        begun = self.pace.since(time.monotonic()) if since is None else since
        self.stage.sending(said.token, begun)
        message = await self.timed("send", begun, self.falcon.post(room_id, spoken(said.token)))
        if message.author_id != self.identity.account_id:
            self.hold([f"room {room_id}, seq {message.seq}: confirmed as sent by {message.author_id}"])
        said.seq = message.seq
        if (answered := token(message) or message.text[:40]) != said.token:
            self.hold([f"room {room_id}, seq {message.seq}: {said.token} was confirmed as {answered!r}"])
        self.note(said)
        return message

    async def edit(self, message: Message, version: int) -> None:
        """Raises GaveUp."""
        newer = f"{token(message).partition('/')[0]}/{version}"
        said = Operation(kind="edit", room=message.room_id, seq=message.seq, token=newer)
        self.note(said, "unknown")  # until it is confirmed it may show, and need not
        edited = await self.do("edit", self.falcon.edit(message.room_id, message.seq, spoken(newer)))
        if token(edited) != newer or edited.edited_at is None:
            shown = edited.text[:40]
            self.hold([f"room {message.room_id}, seq {message.seq}: the edit {newer} was confirmed as {shown!r}"])
        self.note(said)


def _described(fault: Problem | Unreachable) -> str:
    """Without what differs from one call to the next, so that the same are counted together."""
    if isinstance(fault, Problem):
        return f"{fault.status} {fault.code}"
    why = f"{fault.last.status} {fault.last.code}" if isinstance(fault.last, Problem) else str(fault.last)
    return f"no success within {CALL_SECONDS:g} s, at last: {why[:100]}"
