"""Frames that go past ASGI are written to open connections only, and a closed one disturbs no other."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from falcon.http.server import fanout
from falcon.http.stream.sinks import SseSink
from falcon.streams.frames import Frame


class Transport:
    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        """Like uvloop's."""
        if self.closed:
            raise RuntimeError("unable to perform operation on a closed transport")


class Cycle:
    """uvicorn's object for an answer that has begun."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.flow = SimpleNamespace(write_paused=False)
        self.disconnected = False
        self.response_complete = False
        self.chunked_encoding = True

    async def send(self, message: Any) -> None:
        self.transport.write(b"")


@pytest.fixture
def cycle() -> Cycle:
    return Cycle()


def test_what_goes_to_many_disturbs_nobody_where_one_was_reset_a_moment_ago(cycle: Cycle) -> None:
    async def stream() -> None:
        sink, frame = SseSink(cycle.send), Frame("id", "message.posted", b"{}")
        assert sink.send(frame, lambda: None)
        cycle.transport.closed = True  # before the server has been told
        assert not sink.send(frame, lambda: None)

    asyncio.run(stream())


def test_a_connection_that_is_closed_is_known_behind_layers_that_wrap_it(cycle: Cycle) -> None:
    async def layer(message: Any, send: Any) -> None:
        await send(message)

    wrapped = partial(layer, send=cycle.send)
    assert not fanout.is_gone(wrapped)
    cycle.transport.closed = True
    assert fanout.is_gone(wrapped)


def test_of_a_server_that_is_not_known_nothing_is_assumed() -> None:
    async def send(message: Any) -> None:
        pass

    assert not fanout.is_gone(send)
    assert fanout.under_http(send) is None
