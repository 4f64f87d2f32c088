"""Accepts connections from the kernel's queue. A TLS handshake, if there is one, comes before their protocol."""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from falcon.base.process import LISTEN_BACKLOG
from falcon.http.server.connection_slots import ConnectionSlot
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.raw_responses import LastResponse
from falcon.http.server.silent import SilentConnections
from falcon.http.server.tls import Certificate
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# In a turn of the loop. Other processes that accept on the same socket get their share of a burst, and connections that
# are open already do not wait for all of it.
_ACCEPTED_A_TURN: Final = 32
# TLS handshakes that begin in a turn of the loop. One takes 0.4 to 0.6 ms, so others wait for 2.4 at most.
_HANDSHAKES_A_TURN: Final = 4
_PAUSE_SECONDS: Final = 0.1
_SHUTDOWN_SECONDS: Final = 2.0
_FIRST_BYTES: Final = 64 << 10  # of a client that is turned away


class Acceptor:
    """Accepts the connections of one listening socket.

    The loop's own server would accept one connection in a turn. Under load a turn takes milliseconds, so a burst of
    connections would keep others waiting in the kernel for seconds. It would also make a transport and a parser for
    clients that send nothing, and no limit would count clients that never finish the TLS handshake.
    """

    def __init__(
        self,
        listening: socket.socket,
        certificate: Certificate | None,
        sweeper: ConnectionSweeper,
        make: Callable[[ConnectionSlot], asyncio.Protocol],
    ) -> None:
        """``make`` creates the protocol of a connection that has this slot."""
        listening.setblocking(False)
        self._listening = listening
        self._certificate = certificate
        self._slots = sweeper.slots
        self._limits = sweeper.limits
        self._make = make
        self._silent = SilentConnections(sweeper.limits.idle_seconds, self._open)
        self._opening: set[asyncio.Task[None]] = set()
        self._before_handshake: deque[tuple[socket.socket, ConnectionSlot]] = deque()
        self._resuming: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._listening.listen(LISTEN_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._resuming is not None:
            self._resuming.cancel()
        self._silent.close()
        for each in self._opening:
            each.cancel()
        for connection, slot in self._before_handshake:
            connection.close()
            slot.free()
        self._before_handshake.clear()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            try:
                connection, client = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                self._pause()
                return
            connection.setblocking(False)
            slot = self._slots.accept(client)
            if not isinstance(slot, ConnectionSlot):
                self._turn_away(connection, slot)
            else:
                self._silent.add(connection, slot)

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._resuming = loop.call_later(_PAUSE_SECONDS, loop.add_reader, self._listening, self._accept)

    def _turn_away(self, connection: socket.socket, response: LastResponse) -> None:
        """Close at once: the descriptor may be one of the ones that are reserved. Without encryption a client can get
        no answer."""
        metrics.connections_cut.labels(response.reason).inc()
        with connection, contextlib.suppress(OSError):
            if self._certificate is None:
                connection.send(response.data)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(_FIRST_BYTES)  # unread bytes would make the end a reset, and the answer would be lost

    def _begin(self, opening: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _open(self, connection: socket.socket, slot: ConnectionSlot) -> None:
        if self._certificate is None:
            self._begin(self._serve(connection, slot))
        else:
            self._before_handshake.append((connection, slot))
            if len(self._before_handshake) == 1:
                asyncio.get_running_loop().call_soon(self._begin_handshakes, self._certificate)

    def _begin_handshakes(self, certificate: Certificate) -> None:
        for _ in range(min(_HANDSHAKES_A_TURN, len(self._before_handshake))):
            self._begin(self._secure(certificate, *self._before_handshake.popleft()))
        if self._before_handshake:
            asyncio.get_running_loop().call_soon(self._begin_handshakes, certificate)

    async def _serve(self, connection: socket.socket, slot: ConnectionSlot) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(partial(self._make, slot), connection)
        except OSError as error:
            slot.free()
            log.debug("a connection ended before it began: %r", error)

    async def _secure(self, certificate: Certificate, connection: socket.socket, slot: ConnectionSlot) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(self._make, slot),
                connection,
                ssl=certificate.context(),
                ssl_handshake_timeout=self._limits.head_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError as error:
            slot.free()
            # asyncio ends a handshake that takes too long with ConnectionAbortedError.
            reason = "timeout" if isinstance(error, ConnectionAbortedError) else "malformed"
            metrics.connections_cut.labels(reason).inc()
            log.debug("a TLS handshake failed: %r", error)
