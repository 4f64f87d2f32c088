"""Checks that the stream sends each event once, and resumes after the last one."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from falcon.cli.smoke.check import Check, CheckFailed
from falcon_chat import (
    CatchUp,
    CaughtUp,
    Event,
    FalconClient,
    Hello,
    Message,
    MessageDeleted,
    MessagePosted,
    Stream,
)

_LOOK_AT: Final = "docs/runbooks/streams.md, and at proxies on the way, which may hold answers back or end long ones"


class Streaming:
    """``room_id``: of a room that has no other member. ``said``: what the client reported about its connection."""

    def __init__(self, falcon: FalconClient, run: str, said: list[str]) -> None:
        self.room_id = 0
        self._falcon = falcon
        self._run = run
        self._said = said
        self._awaited = ""
        self._last_id = ""

    def checks(self) -> Iterator[Check]:
        posted = "to receive a new message, once, and then its deletion"
        yield Check("stream", self._listen, posted, _LOOK_AT, self._awaits)
        missed = "to receive what was missed while not connected, in order, once"
        yield Check("resume", self._resume, missed, _LOOK_AT, self._awaits)

    def _awaits(self) -> str:
        return self._awaited + (f" ({self._said[-1]})" if self._said else "")

    async def _listen(self) -> str:
        self._awaited = "the first event of the stream"
        async with self._falcon.stream([self.room_id]) as stream:
            while not isinstance(await anext(stream), Hello):
                pass
            posted = await self._post("streamed")
            acknowledged = time.monotonic()
            self._awaited = f"message {posted.seq}, which was acknowledged,"
            times = await self._until_delivered(stream, posted)
            late = max(0.0, time.monotonic() - acknowledged)
            await self._falcon.delete_message(self.room_id, posted.seq)
            self._awaited = f"the deletion of message {posted.seq}"
            async for event in _about(stream, posted):
                times += isinstance(event, MessagePosted)
                self._last_id = event.id
        if times != 1:
            raise CheckFailed(f"message {posted.seq} was sent once and delivered {times} times")
        return f"message {posted.seq} delivered once, {late * 1000:,.0f} ms after it was acknowledged"

    async def _until_delivered(self, stream: Stream, posted: Message) -> int:
        async for event in _about(stream, posted):
            return int(isinstance(event, MessagePosted))
        return 0

    async def _resume(self) -> str:
        """After the connection ends, a new one, maybe to another server, sends what happened meanwhile."""
        missed = [(await self._post(f"missed {number}")).seq for number in (1, 2)]
        self._awaited = f"what was missed, messages {_listed(missed)},"
        delivered: list[int] = []
        async with self._falcon.stream([self.room_id], resume=self._last_id) as stream:
            async for event in stream:
                if isinstance(event, CatchUp):
                    raise CheckFailed("the stream does not go on: it asks for the history to be read by page")
                if isinstance(event, CaughtUp):
                    break
                if isinstance(event, MessagePosted):
                    delivered.append(event.message.seq)
        if delivered != missed:
            raise CheckFailed(f"messages {_listed(missed)} were missed, and it delivers {_listed(delivered) or 'none'}")
        return f"messages {_listed(missed)} delivered, which were missed"

    async def _post(self, what: str) -> Message:
        return await self._falcon.post(self.room_id, f"{self._run}: {what}")


async def _about(stream: AsyncIterator[Event], posted: Message) -> AsyncIterator[MessagePosted | MessageDeleted]:
    """The events of one message, up to its deletion."""
    async for event in stream:
        if isinstance(event, MessagePosted | MessageDeleted) and event.message.seq == posted.seq:
            yield event
            if isinstance(event, MessageDeleted):
                return


def _listed(places: list[int]) -> str:
    return " and ".join(map(str, places))


@contextmanager
def client_log_lines() -> Iterator[list[str]]:
    """Collects reports of lost connections, which would else be printed between the steps."""
    said = _LineCollector(logging.WARNING)
    log = logging.getLogger("falcon_chat")
    propagated, log.propagate = log.propagate, False
    log.addHandler(said)
    try:
        yield said.lines
    finally:
        log.removeHandler(said)
        log.propagate = propagated


class _LineCollector(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
