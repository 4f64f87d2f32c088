"""The server's socket, as clients in a burst see it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import uvloop

from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import FalconServer, create_server
from tools.harness.waiting import eventually

_BURST: Final = 160


async def _no_application(scope: Any, receive: Any, send: Any) -> None:
    """No client asks for anything."""


async def _turns_until(
    server: FalconServer, sweeper: ConnectionSweeper, is_accepted: Callable[[], bool], said: bytes
) -> int:
    """Turns of the loop until the server has accepted a burst of clients, each of which says this at once."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=_BURST)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listening])
    clients = [socket.create_connection(listening.getsockname()) for _ in range(_BURST)]
    for client in clients:
        client.sendall(said)
    turns = 0
    async with asyncio.timeout(60):
        while not is_accepted():
            turns += 1
            await asyncio.sleep(0)
    for client in clients:
        client.close()
    await eventually(lambda: not sweeper.slots.taken)
    await server.shutdown([listening])
    return turns


def test_a_burst_of_clients_is_accepted_in_few_turns_of_the_loop() -> None:
    async def burst() -> int:
        sweeper = ConnectionSweeper("public")
        server = create_server(_no_application, sweeper)
        return await _turns_until(server, sweeper, lambda: len(server.server_state.connections) == _BURST, b"GET ")

    assert uvloop.run(burst()) <= 10


def test_clients_that_say_nothing_get_a_slot_and_no_more() -> None:
    async def burst() -> int:
        sweeper = ConnectionSweeper("public")
        server = create_server(_no_application, sweeper)
        turns = await _turns_until(server, sweeper, lambda: sweeper.slots.taken == _BURST, b"")
        assert not server.server_state.connections
        return turns

    assert uvloop.run(burst()) <= 10
