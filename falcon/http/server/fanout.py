"""The transport under one of uvicorn's ``send``s, for what is framed already.

Fan-out is the one place where ASGI's way costs more than the work: a coroutine and a dict for each receiver, and for a
WebSocket the frame made anew. What goes to many is framed once and written to each transport. Where one is full, or not
to be had, the caller takes ASGI's way, which waits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.types import Send


class DirectWriter:
    """``write`` takes bytes for as long as ``is_paused`` does not say so."""

    __slots__ = ("is_paused", "transport", "write")

    def __init__(self, owner: Any, is_paused: Callable[[Any], bool]) -> None:
        self.is_paused = partial(is_paused, owner)
        self.transport = owner.transport
        self.write: Callable[[bytes], None] = owner.transport.write


def owner_of(send: Send) -> Any:
    """Of a ``send`` of the server's, also behind a layer that only wraps it; None for any other."""
    while isinstance(send, partial) and "send" in send.keywords:
        send = send.keywords["send"]
    return getattr(send, "__self__", None)


def is_gone(send: Send) -> bool:
    """The connection is closed already, though the server has not been told yet: writing to it raises."""
    transport = getattr(owner_of(send), "transport", None)
    return transport is not None and transport.is_closing()


def under_http(send: Send) -> DirectWriter | None:
    """Of an answer that has begun, and is chunked."""
    owner = owner_of(send)
    if all(hasattr(owner, name) for name in ("transport", "flow", "disconnected", "chunked_encoding")):
        return DirectWriter(owner, _http_is_paused)
    return None


def under_websocket(send: Send) -> DirectWriter | None:
    """Of one that was accepted."""
    owner = owner_of(send)
    if all(hasattr(owner, name) for name in ("transport", "writable", "close_sent", "conn")):
        return DirectWriter(owner, _websocket_is_paused)
    return None


def _http_is_paused(cycle: Any) -> bool:
    return bool(
        cycle.flow.write_paused
        or cycle.disconnected
        or cycle.response_complete
        or not cycle.chunked_encoding
        or cycle.transport.is_closing()
    )


def _websocket_is_paused(protocol: Any) -> bool:
    return bool(protocol.close_sent or not protocol.writable.is_set() or protocol.transport.is_closing())


def chunk(body: bytes) -> bytes:
    """As a part of a chunked answer."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def text_message(text: bytes) -> bytes:
    """As a WebSocket's message from a server: final, text, not masked (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        head = bytes((0x81, size))
    elif size < 1 << 16:
        head = b"\x81\x7e" + size.to_bytes(2)
    else:
        head = b"\x81\x7f" + size.to_bytes(8)
    return head + text
