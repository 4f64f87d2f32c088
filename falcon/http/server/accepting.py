"""Accepts connections from the kernel's queue. A TLS handshake, if there is one, comes before their protocol."""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from falcon.http.limits.addresses import AddressKey
from falcon.http.server.connections import Sweep
from falcon.http.server.tls import Certificate
from falcon.process import LISTEN_BACKLOG
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

# In a turn of the loop. Other processes that accept on the same socket get their share of a burst, and connections that
# are open already do not wait for all of it.
_ACCEPTED_A_TURN: Final = 32
_PAUSE_SECONDS: Final = 0.1
_SHUTDOWN_SECONDS: Final = 2.0


class Acceptor:
    """Accepts the connections of one listening socket.

    The loop's own server would accept one connection in a turn. Under load a turn takes milliseconds, so a burst of
    connections would keep others waiting in the kernel for seconds. And it would create a protocol only after the TLS
    handshake: clients that never finish it would hold descriptors that no limit counts.
    """

    def __init__(
        self,
        listening: socket.socket,
        certificate: Certificate | None,
        sweep: Sweep,
        connections: Collection[Any],
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        """``connections``: the server's open ones. ``make`` creates the protocol of a new connection."""
        listening.setblocking(False)
        self._listening = listening
        self._certificate = certificate
        self._sweep = sweep
        self._connections = connections
        self._make = make
        self._opening: set[asyncio.Task[None]] = set()
        self._handshakes = 0
        self._handshakes_per_address = sweep.per_address.separate()
        self._resuming: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._listening.listen(LISTEN_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._resuming is not None:
            self._resuming.cancel()
        for each in self._opening:
            each.cancel()

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
            if self._certificate is None:
                self._begin(self._open(connection))
            else:
                self._admit_handshake(self._certificate, connection, client)

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._resuming = loop.call_later(_PAUSE_SECONDS, loop.add_reader, self._listening, self._accept)

    def _begin(self, opening: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._make, connection)
        except OSError as error:
            log.debug("a connection ended before it began: %r", error)

    def _admit_handshake(self, certificate: Certificate, connection: socket.socket, client: Any) -> None:
        """Without encryption a client can get no answer, so a connection that finds no room is closed."""
        if len(self._connections) + self._handshakes >= self._sweep.connections_max:
            metrics.connections_cut.labels("full").inc()
            connection.close()
            return
        per_address = self._sweep.per_address
        address = per_address.of(client)
        if per_address.is_full(address) or not self._handshakes_per_address.enter(address):
            metrics.connections_cut.labels("address").inc()
            metrics.rate_limited.labels("address-connections").inc()
            connection.close()
            return
        self._handshakes += 1
        self._begin(self._secure(certificate, connection, address))

    async def _secure(self, certificate: Certificate, connection: socket.socket, address: AddressKey | None) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                connection,
                ssl=certificate.context(),
                ssl_handshake_timeout=self._sweep.limits.head_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError as error:
            # asyncio ends a handshake that takes too long with ConnectionAbortedError.
            reason = "timeout" if isinstance(error, ConnectionAbortedError) else "malformed"
            metrics.connections_cut.labels(reason).inc()
            log.debug("a TLS handshake failed: %r", error)
        finally:
            self._handshakes -= 1
            self._handshakes_per_address.leave(address)
