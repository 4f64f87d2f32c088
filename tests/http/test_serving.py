"""The server's socket, as clients in a burst see it."""

import asyncio
import socket
from typing import Any, Final

import uvloop

from falcon.http.server.connections import Sweep
from falcon.http.server.serving import create_server

_BURST: Final = 160


async def _no_application(scope: Any, receive: Any, send: Any) -> None:
    """No client asks for anything."""


def test_a_burst_of_connections_is_accepted_in_few_turns_of_the_loop() -> None:
    async def burst() -> int:
        listening = socket.create_server(("127.0.0.1", 0), backlog=_BURST)
        server = create_server(_no_application, Sweep("public"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listening])
        clients = [socket.create_connection(listening.getsockname()) for _ in range(_BURST)]
        turns = 0
        async with asyncio.timeout(30):
            while len(server.server_state.connections) < _BURST:
                turns += 1
                await asyncio.sleep(0)
        for client in clients:
            client.close()
        await server.shutdown([listening])
        return turns

    assert uvloop.run(burst()) <= 10
