"""Admission control refuses only complete messages to a full mailbox, with the answer that they would get inside."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from falcon.domain.ids import Partition
from falcon.features.messages.rules import PostMessage
from falcon.http.server.admission import AdmissionControl
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.protocol import FalconHttpProtocol
from falcon.http.server.serving import create_server
from falcon.http.server.upgrades import NO_UPGRADES
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import CommandBatch, CommandEnvelope, Reply
from tools.harness.waiting import eventually

SEND = (
    b"POST /v1/rooms/640/messages HTTP/1.1\r\nHost: falcon\r\nAuthorization: Bearer token\r\n"
    b"Content-Type: application/json\r\nContent-Length: 14\r\n\r\n"
    b'{"text":"tea"}'
)


class Owner:
    """Owns partition 0. Its mailbox has room for two commands, and it takes none before the test ends."""

    def __init__(self) -> None:
        self._batches: list[CommandBatch] = []
        self._mailbox = Mailbox("test", self._batches.append, 2, 1)

    def fill(self) -> None:
        """Fill the mailbox with account 1's commands, which stay in the queue."""
        self._mailbox._batching.may_go = lambda queued: False  # type: ignore[method-assign]
        for _ in range(2):
            self._mailbox.ask(CommandEnvelope(0, 1, PostMessage(1, 640, "tea"), time.monotonic() + 60))

    def mailbox(self, partition: Partition) -> Mailbox | None:
        return self._mailbox if partition == 0 else None

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        raise NotImplementedError


class Client:
    """One connection. ``arrived``: the pieces that the server has received."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, arrived: list[bytes]) -> None:
        self._reader = reader
        self._arrived = arrived
        self.writer = writer

    async def send_piece(self, piece: bytes) -> None:
        self.writer.write(piece)
        await eventually(lambda: b"".join(self._arrived).endswith(piece), every=0.001)

    async def send(self, request: bytes = SEND) -> tuple[bytes, bytes]:
        """Gives the head and the body of the answer."""
        self.writer.write(request)
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 60)
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return head, await self._reader.readexactly(int(length[1]))


async def with_admission(admission: AdmissionControl, ask: Callable[[Client], Awaitable[None]]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    arrived: list[bytes] = []

    class Watched(FalconHttpProtocol):
        def data_received(self, data: bytes) -> None:
            arrived.append(data)
            super().data_received(data)

    sweeper = ConnectionSweeper("test")
    server = create_server(app, sweeper)
    server.config.http = partial(Watched, admission, sweeper, NO_UPGRADES)  # type: ignore[assignment]
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    await eventually(lambda: server.started)
    client = Client(*await asyncio.open_connection(*listening.getsockname()), arrived)
    try:
        await ask(client)
    finally:
        client.writer.close()
        server.should_exit = True
        await serving


def at_a_full_owner(ask: Callable[[Client], Awaitable[None]], *, full: bool = True) -> None:
    async def run() -> None:
        owner, admission = Owner(), AdmissionControl()
        admission.attach(owner, 64)
        if full:
            owner.fill()
        await with_admission(admission, ask)

    asyncio.run(run())


def test_a_message_to_a_full_mailbox_is_refused_with_all_that_the_client_must_know() -> None:
    async def ask(client: Client) -> None:
        for _ in range(2):  # on the same connection
            head, body = await client.send()
            assert head.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: 1\r\n" in head
            assert b"\r\ncontent-type: application/problem+json\r\n" in head
            assert json.loads(body)["code"] == "overloaded"

    at_a_full_owner(ask)


def test_a_full_mailbox_is_closed_for_those_who_filled_it_and_not_for_others() -> None:
    async def ask(client: Client) -> None:
        for who, status in [(b"falcon_1_", b"503"), (b"falcon_2_", b"201"), (b"", b"503")]:
            head, _ = await client.send(SEND.replace(b"Bearer token", b"bearer " + who + b"secret"))
            assert head.startswith(b"HTTP/1.1 " + status)

    at_a_full_owner(ask)


def test_where_there_is_room_a_message_is_let_in() -> None:
    async def ask(client: Client) -> None:
        assert (await client.send())[0].startswith(b"HTTP/1.1 201")

    at_a_full_owner(ask, full=False)


@pytest.mark.parametrize(
    "request_",
    [
        SEND.replace(b"640", b"641"),  # another owner's room
        SEND.replace(b"POST", b"PUT"),
        SEND.replace(b"/messages", b"/messages/5"),
        SEND.replace(b"Content-Length: 14\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\ne\r\n") + b"\r\n0\r\n\r\n",
        SEND.replace(b"Host: falcon", b"Host: falcon\r\nConnection: close"),
        SEND.replace(b"Host: falcon", b"Host: falcon\r\nOrigin: https://chat.example.com"),
    ],
)
def test_what_is_anything_else_goes_the_usual_way(request_: bytes) -> None:
    async def ask(client: Client) -> None:
        assert (await client.send(request_))[0].startswith(b"HTTP/1.1 201")

    at_a_full_owner(ask)


def test_a_request_that_comes_in_pieces_goes_the_usual_way() -> None:
    async def ask(client: Client) -> None:
        await client.send_piece(SEND[:-5])
        assert (await client.send(SEND[-5:]))[0].startswith(b"HTTP/1.1 201")
        head, _ = await client.send()  # and the next bytes are checked again
        assert head.startswith(b"HTTP/1.1 503")

    at_a_full_owner(ask)


def test_two_requests_in_one_piece_are_answered_in_their_order() -> None:
    async def ask(client: Client) -> None:
        assert (await client.send(SEND + SEND))[0].startswith(b"HTTP/1.1 201")
        assert (await client.send(b""))[0].startswith(b"HTTP/1.1 201")

    at_a_full_owner(ask)
