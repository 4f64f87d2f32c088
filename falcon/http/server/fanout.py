"""Ways around ASGI for streams: frames to a transport, a send without a task, and a cut connection.

For fan-out ASGI costs more than the work itself: each receiver needs a coroutine and a dict, and each WebSocket frames
the message again. Here a message is framed once and written to each transport. If bytes still wait in a transport, or
it is of an unknown server, the caller uses ASGI's ``send``, which waits where the transport is full.
"""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Final

from starlette.types import Message, Send

# Attributes of uvicorn's own objects: the owner of an HTTP ``send`` is a RequestResponseCycle, that of a WebSocket's
# ``send`` the protocol itself.
HTTP_ATTRIBUTES: Final = ("transport", "flow", "response_complete", "chunked_encoding")
WEBSOCKET_ATTRIBUTES: Final = ("transport", "conn")


def owner_of(send: Send) -> Any:
    """The server's object that a ``send`` is a method of, also through layers that wrap it; None for any other
    ``send``."""
    while isinstance(send, partial) and "send" in send.keywords:
        send = send.keywords["send"]
    return getattr(send, "__self__", None)


def is_gone(send: Send) -> bool:
    """True if the connection is closed already, though the server has not been told yet: writing to it raises."""
    transport = getattr(owner_of(send), "transport", None)
    return transport is not None and transport.is_closing()


def abort(send: Send) -> None:
    """Cut the connection. ASGI has no way to do that while the client reads nothing."""
    transport = getattr(owner_of(send), "transport", None)
    if transport is not None:
        transport.abort()


def drop_body(send: Send) -> None:
    """Let go of what has come of the request's body. No more of it is read until the response is complete."""
    cycle = owner_of(send)
    if cycle is not None:
        cycle.body = b""
        cycle.flow.pause_reading()


# --- frames -----------------------------------------------------------------------------------------------------------


def under_http(send: Send) -> asyncio.WriteTransport | None:
    """The transport of an answer whose head has been sent, and that is chunked."""
    owner = owner_of(send)
    known = all(hasattr(owner, name) for name in HTTP_ATTRIBUTES) and owner.chunked_encoding
    return owner.transport if known else None


def under_websocket(send: Send) -> asyncio.WriteTransport | None:
    """The transport of a WebSocket that was accepted."""
    owner = owner_of(send)
    return owner.transport if all(hasattr(owner, name) for name in WEBSOCKET_ATTRIBUTES) else None


def chunk(body: bytes) -> bytes:
    """One chunk of a chunked answer."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def text_message(text: bytes) -> bytes:
    """A server's WebSocket message: final, text, not masked (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        head = bytes((0x81, size))
    elif size < 1 << 16:
        head = b"\x81\x7e" + size.to_bytes(2)
    else:
        head = b"\x81\x7f" + size.to_bytes(8)
    return head + text


# --- a send without a task --------------------------------------------------------------------------------------------


class UnfinishedSend:
    """A ``send`` that has run up to where it waits. Awaiting it runs the rest."""

    def __init__(self, coroutine: "Coroutine[Any, Any, None]", awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        awaited = self._awaited
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                try:
                    awaited = self._coroutine.throw(error)
                except StopIteration:
                    return
            else:
                try:
                    awaited = self._coroutine.send(value)
                except StopIteration:
                    return


def start_send(send: Send, message: Message) -> UnfinishedSend | None:
    """Send without a task: None if ``send`` did not have to wait. Raises the errors of ``send``."""
    sending = send(message)
    assert isinstance(sending, Coroutine)
    try:
        awaited = sending.send(None)
    except StopIteration:
        return None
    return UnfinishedSend(sending, awaited)


async def finish_send(unfinished: UnfinishedSend) -> None:
    await unfinished
