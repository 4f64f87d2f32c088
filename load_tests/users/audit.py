"""Reads all confirmed messages once more after the run, and holds them to what was confirmed."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from falcon_chat import FalconClient, Message, Problem, Unreachable
from load_tests.users.checks import seen
from load_tests.users.recorder import AUDIT
from load_tests.users.stage import Stage
from tools.people.history import Operation

_AT_ONCE: Final = 8
_PAGE: Final = 200
_CALL_SECONDS: Final = 30.0


async def audit(stage: Stage) -> None:
    """A lost, doubled or changed message is a violation. A room that cannot be read is a failure."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(room_id: int, first: int, last: int) -> None:
        async with turns:
            began = time.monotonic()
            try:
                messages = await _read(stage, room_id, first, last)
            except (Problem, Unreachable) as fault:
                stage.recorder.answered(AUDIT, time.monotonic() - began, str(fault))
                return
            stage.recorder.answered(AUDIT, time.monotonic() - began)
            stage.checker.take(Operation(kind="final", room=room_id, seen=seen(messages)))

    await asyncio.gather(*(one(room_id, *reach) for room_id, reach in stage.checker.acknowledged().items()))
    stage.recorder.violated(stage.checker.settle())


async def _read(stage: Stage, room_id: int, first: int, last: int) -> list[Message]:
    """Read from the first confirmed message to the last. Raises Problem, Unreachable."""
    found: list[Message] = []
    async with FalconClient(stage.world.urls, stage.reader_of(room_id), timeout=_CALL_SECONDS) as falcon:
        at = first - 1
        while at < last:
            page = await falcon.messages(room_id, after=at, limit=_PAGE)
            if not page.messages:
                break
            found += page.messages
            at = page.messages[-1].seq
    return found
