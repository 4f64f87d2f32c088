"""The stream over connections that break: every event once and in order, for as long as it is read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from types import TracebackType
from typing import Final

import httpx
import msgspec

from falcon_chat.connection import Busy, Connection, why
from falcon_chat.errors import Problem, ResumeRefused
from falcon_chat.events import Bye, Event, Restarted, read_event
from falcon_chat.sse import Block, Parser

log = logging.getLogger("falcon_chat")

_PATH: Final = "/v1/stream"
_SILENCE_SECONDS: Final = 30.0  # the server says something every 15
# A proxy that compresses could keep an event back until the next one.
_HEADERS: Final = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}


class Stream:
    """Events as they happen; see :meth:`FalconClient.stream`. One task listens to it.

    You may cancel a wait for the next event, with a timeout for example. That costs the connection and no event.
    """

    def __init__(
        self,
        connection: Connection,
        rooms: Iterable[int] | None,
        resume: str | None,
        signals: Iterable[str] = (),
        watch: Iterable[int] = (),
    ) -> None:
        self._connection = connection
        self._watched = _ids(watch)
        self._signals = ",".join(signals) or None
        self._rooms = None if rooms is None else _ids(rooms)
        self._given = self._resume = resume or None
        self._patience = connection.endless_patience()
        self._connected = self._connect()
        self._lost = False
        self._closed = False
        self._disconnecting = asyncio.Lock()
        self._outdated = False  # the connection has other parameters
        self._wait: asyncio.Timeout | None = None  # for the next event
        self._pause: asyncio.Timeout | None = None  # before the next attempt

    @property
    def is_closed(self) -> bool:
        return self._closed

    def watch(self, account_ids: Iterable[int]) -> None:
        """Watch these accounts from now on, instead of those before: Presence tells of them. At most 500.

        The stream continues over another connection, without losing an event. So keep those whom you will need again.
        """
        watched = _ids(account_ids)
        if watched == self._watched:
            return
        self._watched = watched
        self._outdated = True
        _end(self._wait)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Event:
        """Raises Problem, ResumeRefused."""
        while not self._closed:
            if self._outdated:
                self._outdated = False
                await self._connected.aclose()
                self._connected = self._connect()
            try:
                event = await self._next()
            except TimeoutError:
                if not (self._outdated or self._closed):
                    raise
            except StopAsyncIteration:  # the last wait was cancelled, or ended with a Problem
                self._connected = self._connect()
            except httpx.RequestError as fault:
                await self._lose(ConnectionError(why(fault)))
            except Busy as busy:
                await self._lose(busy.problem, busy.retry_after)
            except Problem as problem:
                if self._resume is None or not any(error.field == "resume" for error in problem.errors):
                    raise
                if self._resume == self._given:
                    raise ResumeRefused(problem.status, problem.code, problem.detail, problem.errors) from problem
                return self._restart()
            else:
                self._lost = False
                self._patience.renew()
                return event
        await self._disconnect()
        raise StopAsyncIteration

    def _restart(self) -> Event:
        """Begin again with the present state. Positions of writes are of the history that is gone, too."""
        log.warning("the server has another history, and the stream starts again: it was restored from a copy")
        self._resume = None
        self._connection.positions.forget()
        self._connected = self._connect()
        return Restarted()

    async def _next(self) -> Event:
        try:
            async with asyncio.timeout(None) as self._wait:
                return await anext(self._connected)
        finally:
            self._wait = None

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. A loop over the stream in another task ends. A stream that is not closed before is
        closed with its client."""
        self._closed = True
        _end(self._pause)
        _end(self._wait)
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._wait is not None:
            return  # the task that waits disconnects
        async with self._disconnecting:
            await self._connected.aclose()

    async def _lose(self, met: Exception, retry_after: float | None = None) -> None:
        """Wait before the next attempt. The log has one line, however many attempts it takes."""
        if self._closed:
            return
        if not self._lost and not isinstance(met, _SaidBye):
            log.warning("the stream is interrupted, and goes on when it can: %s", met)
            self._lost = True
        try:
            async with asyncio.timeout(None) as self._pause:
                await self._patience.wait(met, retry_after)
        except TimeoutError:
            if not self._closed:
                raise
        finally:
            self._pause = None

    async def _connect(self) -> AsyncGenerator[Event, None]:
        """The events of one connection, after those of the connections before. It ends with an exception."""
        params = {
            "rooms": self._rooms,
            "resume": self._resume,
            "signals": self._signals,
            "watch": self._watched or None,
        }
        given = {name: value for name, value in params.items() if value is not None}
        async with self._connection.stream(_PATH, given, headers=_HEADERS, silence=_SILENCE_SECONDS) as response:
            async for block in _blocks(response):
                id = block.id or self._resume or ""
                event = _read(block, id)
                # Before the event is handed out, so that it cannot come again if the connection breaks.
                self._resume = id or None
                if event is not None:
                    yield event
                if isinstance(event, Bye):
                    raise Busy(_SaidBye(event.reason), event.retry_after_ms / 1000)
        raise httpx.RemoteProtocolError("the stream ended without a bye")


def _end(wait: asyncio.Timeout | None) -> None:
    """The wait, if there is one, ends now with TimeoutError."""
    if wait is not None:
        wait.reschedule(asyncio.get_running_loop().time())


def _ids(ids: Iterable[int]) -> str:
    return ",".join(map(str, ids))


class _SaidBye(Problem):
    """The server closed the connection with a bye."""

    def __init__(self, reason: str) -> None:
        super().__init__(200, "bye", reason)


async def _blocks(response: httpx.Response) -> AsyncIterator[Block]:
    kind = response.headers.get("Content-Type", "")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        raise Problem(
            response.status_code, "not_falcon", f"{response.url.copy_with(query=None)} does not answer with a stream"
        )
    parser = Parser()
    async for piece in response.aiter_bytes():
        for block in parser.feed(piece):
            yield block


def _read(block: Block, id: str) -> Event | None:
    try:
        return read_event(block.name, block.data, id)
    except msgspec.DecodeError as fault:
        raise Problem(200, "not_falcon", f"a {block.name} is not as Falcon's are: {fault}") from fault
