"""Connections that take a stream's frames: Server-Sent Events, or a WebSocket."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from starlette.types import Message, Send

from falcon.http.server.fanout import (
    abort,
    chunk,
    finish_send,
    start_send,
    text_message,
    under_http,
    under_websocket,
)
from falcon.streams.frames import Frame, Reason, StreamEnd, encode

log = logging.getLogger("falcon.http")

Transport: TypeAlias = Literal["sse", "websocket"]

_BYE_SECONDS: Final = 2.0  # a client that does not read does not hold up the end of the process
_LOST_SECONDS: Final = 0.05  # some turns of the loop, in which the server notices the abort
_SPREAD_MILLIS: Final = 5_000  # over which clients of a server that drains come back
_RETRY_MILLIS: Final = 1_000  # a browser comes back after so long, plus its part of the spread
CLOSE_CODES: Final[dict[Reason, int]] = {"draining": 1012, "slow": 4008, "unauthenticated": 4001}


class StreamSink:
    """A frame goes straight to the transport, without waking a task. Only where the transport is full a task waits.

    ``ended``: the reason for which Falcon ends the stream, and the id to resume from.
    """

    transport: Transport

    def __init__(self, send: Send, direct: asyncio.WriteTransport | None) -> None:
        self._send = send
        self._direct = direct
        self.ended: asyncio.Future[tuple[Reason, str]] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        """See ``streams.subscription.Sink``.

        Called for each receiver of a message, whose objects have left the caches: so it looks at the transport alone. A
        server is not paused while its transport has nothing that waits, and a transport that closes drops what it gets.
        """
        direct = self._direct
        if direct is None or direct.get_write_buffer_size():
            return self._send_message(self.message(frame), sent)
        wire = frame.wire.get(self.transport)
        if wire is None:
            wire = frame.wire[self.transport] = self.framed(frame)
        try:
            direct.write(wire)
        except RuntimeError as error:  # closed a moment ago; the server tells the request's own task
            log.debug("a connection is lost: %r", error)
            return False
        return True

    def framed(self, frame: Frame) -> bytes:
        """The bytes that the frame has on the wire."""
        raise NotImplementedError

    def message(self, frame: Frame) -> Message:
        """The frame for ASGI's ``send``."""
        raise NotImplementedError

    def beat(self, sent: Callable[[], None]) -> bool:
        """See ``streams.subscription.Sink``."""
        raise NotImplementedError

    def close(self, reason: Reason, id: str) -> None:
        if not self.ended.done():
            self.ended.set_result((reason, id))

    async def say_bye(self, reason: Reason, id: str) -> None:
        """Send the last event, or cut the connection after some seconds: a client that reads nothing would keep it for
        ever."""
        spread = random.randrange(_SPREAD_MILLIS) if reason == "draining" else 0
        retry_after = _RETRY_MILLIS + spread
        bye = self.bye(Frame(id, "bye", encode(StreamEnd(reason, retry_after))), retry_after)
        try:
            async with asyncio.timeout(_BYE_SECONDS):
                if self._waiting is not None:
                    await self._waiting
                await self._send(bye)
                await self.finish(reason)
        except TimeoutError:
            abort(self._send)
            await asyncio.sleep(_LOST_SECONDS)  # until the server knows that the connection is lost

    def bye(self, frame: Frame, retry_after: int) -> Message:
        return self.message(frame)

    async def finish(self, reason: Reason) -> None:
        """End the answer or close the WebSocket."""
        raise NotImplementedError

    def _send_message(self, message: Message, sent: Callable[[], None]) -> bool:
        try:
            rest = start_send(self._send, message)
        except Exception as error:  # the server tells the request's own task; other receivers must not notice
            log.debug("a connection is lost: %r", error)
            return False
        if rest is None:
            return True
        self._waiting = asyncio.get_running_loop().create_task(finish_send(rest))
        self._waiting.add_done_callback(lambda done: self._finished(done, sent))
        return False

    def _finished(self, done: "asyncio.Task[None]", sent: Callable[[], None]) -> None:
        self._waiting = None
        if not done.cancelled() and done.exception() is None:
            sent()


class SseSink(StreamSink):
    """``send`` has sent the head of a chunked answer."""

    transport = "sse"

    def __init__(self, send: Send) -> None:
        super().__init__(send, under_http(send))

    def framed(self, frame: Frame) -> bytes:
        return chunk(frame.sse)

    def message(self, frame: Frame) -> Message:
        return {"type": "http.response.body", "body": frame.sse, "more_body": True}

    def bye(self, frame: Frame, retry_after: int) -> Message:
        """``retry:`` tells a browser's EventSource when to come back."""
        body = b"retry: %d\n%b" % (retry_after, frame.sse)
        return {"type": "http.response.body", "body": body, "more_body": True}

    def beat(self, sent: Callable[[], None]) -> bool:
        return self._send_message({"type": "http.response.body", "body": b":\n\n", "more_body": True}, sent)

    async def finish(self, reason: Reason) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class WebSocketSink(StreamSink):
    """``send`` has accepted the WebSocket."""

    transport = "websocket"

    def __init__(self, send: Send) -> None:
        super().__init__(send, under_websocket(send))

    def framed(self, frame: Frame) -> bytes:
        return text_message(frame.text.encode())

    def message(self, frame: Frame) -> Message:
        return {"type": "websocket.send", "text": frame.text}

    def beat(self, sent: Callable[[], None]) -> bool:
        return True  # the server's pings are enough

    async def finish(self, reason: Reason) -> None:
        await self._send({"type": "websocket.close", "code": CLOSE_CODES[reason], "reason": reason})
