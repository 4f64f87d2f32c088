"""The socket on which a process takes the commands of other processes of its machine."""

import asyncio
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from falcon.base.process import short_path
from falcon.http.internal.connection import Deliver, EdgeConnection
from falcon.write.signing import Keys
from falcon.write.transit import Arrivals

_CLOSE_SECONDS: Final = 1.0  # the other processes end at the same time and wait no longer


class LocalCommands:
    """Takes no connection before :meth:`start`: the ones that come wait in the kernel."""

    def __init__(self, folder: Path, name: str, keys: Keys) -> None:
        """``name``: of the socket in ``folder``. It takes the place of one that a killed process has left."""
        self._keys = keys
        self._arrivals = Arrivals()
        self._connections: set[EdgeConnection] = set()
        self._news = asyncio.Event()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server: asyncio.Server
        with short_path(folder, name) as path:
            path.unlink(missing_ok=True)
            self._listening.bind(str(path))
        self._listening.listen()

    async def start(self, deliver: Deliver) -> None:
        """``deliver`` passes commands to the shard of this process."""
        make = partial(self._connection, deliver)
        self._server = await asyncio.get_running_loop().create_unix_server(make, sock=self._listening)

    async def close(self) -> None:
        """Take no further command, and wait a moment for the others to get their replies."""
        self._server.close()
        for connection in [*self._connections]:
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._connections:
                    self._news.clear()
                    await self._news.wait()
        for connection in self._connections:
            connection.transport.abort()

    def _connection(self, deliver: Deliver) -> EdgeConnection:
        connection = EdgeConnection(self._keys, deliver, self._arrivals)
        self._connections.add(connection)
        connection.on_lost = partial(self._lost, connection)
        return connection

    def _lost(self, connection: EdgeConnection) -> None:
        self._connections.discard(connection)
        self._news.set()
