"""Commands on their way from `api` to `write` and back: the CPU of both, by the size of the batch."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import uvloop

from falcon.adapters.owner_http.connecting import upgraded
from falcon.adapters.owner_http.gateway import OwnerGateway
from falcon.domain.answers import MessageAnswer
from falcon.domain.commands import PostMessage
from falcon.domain.ids import Partition
from falcon.domain.message import Message
from falcon.http.internal.app import InternalCommands
from falcon.http.server.connection_limits import ConnectionLimits
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import create_server
from falcon.write.framing import PROTOCOL
from falcon.write.protocol import Accepted, CommandEnvelope, Reply
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_PARTITION: Final = 1
_ACCOUNT: Final = 65
_COMMANDS: Final = 6_400
_GATEWAYS: Final = 16  # as many api processes
_DURABLE_SECONDS: Final = 0.001
_KEY: Final = b"an internal key of a benchmark"


class _Shards:
    """They accept every command together with the others that came in the same millisecond."""

    def __init__(self) -> None:
        self._waiting: list[tuple[list[CommandEnvelope], Callable[[list[tuple[int, Reply]]], None]]] = []

    def deliver(
        self, shard: int, commands: list[CommandEnvelope], replied: Callable[[list[tuple[int, Reply]]], None]
    ) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(_DURABLE_SECONDS, self._accept)
        self._waiting.append((commands, replied))

    def _accept(self) -> None:
        accepted, self._waiting = self._waiting, []
        for commands, replied in accepted:
            replied([(index, _answer(envelope)) for index, envelope in enumerate(commands)])


def _answer(envelope: CommandEnvelope) -> Accepted:
    command = envelope.command
    assert isinstance(command, PostMessage)
    message = Message(command.room_id, 1, command.by, command.text, NOW)
    return Accepted(MessageAnswer(message), envelope.partition, 5)


class _OneOwner:
    def __init__(self, port: int) -> None:
        self._port = port

    def address(self, partition: Partition) -> str | None:
        return f"127.0.0.1:{self._port}/0"


@asynccontextmanager
async def _gateways() -> AsyncIterator[list[OwnerGateway]]:
    """Gateways to the shards of a server over loopback."""
    internal = InternalCommands(lambda: [_KEY])
    internal.attach(_Shards())
    trusted = {"held_bytes": sys.maxsize, "holder_bytes": sys.maxsize}
    sweeper = ConnectionSweeper("internal", ConnectionLimits(**trusted))
    server = create_server(internal, sweeper, upgrades={PROTOCOL: internal.connection})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        directory = _OneOwner(listening.getsockname()[1])
        connect = partial(upgraded, networks=["127.0.0.0/8"])
        gateways = [OwnerGateway(directory, lambda: [_KEY], 10_000, connect) for _ in range(_GATEWAYS)]
        try:
            yield gateways
        finally:
            for gateway in gateways:
                await gateway.close()
            server.should_exit = True
            await serving


def measure(batch: int) -> Figures:
    """With so many commands in each batch."""
    return uvloop.run(_measure(batch))


async def _measure(batch: int) -> Figures:
    async with _gateways() as gateways:
        await _ask(gateways, batch)
        rounds = max(1, _COMMANDS // (batch * _GATEWAYS))
        clock = CpuClock()
        for _ in range(rounds):
            await _ask(gateways, batch)
        seconds = clock.seconds()
    batches = rounds * _GATEWAYS
    return {"µs a command, both ends": seconds / (batches * batch) * 1e6, "µs a batch": seconds / batches * 1e6}


async def _ask(gateways: list[OwnerGateway], batch: int) -> None:
    """A batch by each of the gateways, and its replies."""
    deadline = time.monotonic() + 5
    command = PostMessage(_ACCOUNT, _PARTITION, "x" * 100)
    envelope = CommandEnvelope(_PARTITION, _ACCOUNT, command, deadline, "0123456789abcdef0123", 1 << 60, 300)
    replies = await asyncio.gather(*(gateway.ask(envelope) for gateway in gateways for _ in range(batch)))
    assert all(isinstance(reply, Accepted) for reply in replies), replies[0]


TERM: Final = Term(
    name="commands",
    title="A command from api to write",
    unit="commands a batch",
    sizes=(1, 4, 16, 64),
    short=(1, 16),
    measure=measure,
    bounds=(
        Bound("µs a command, both ends", 100, at="smallest", is_counted=False),
        Bound("µs a command, both ends", 25, at="largest", is_counted=False),
    ),
    note=f"{_GATEWAYS} api processes send a batch each at a time to one write process over loopback. All are in one "
    "process, so that its CPU is that of both ends. The shards accept after a millisecond; mailboxes and futures are "
    "in the figures.",
)
