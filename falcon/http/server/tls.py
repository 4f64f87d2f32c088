"""TLS: the certificate, and connections from being accepted to the end of their handshake."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Final

from falcon.certificates import TlsFiles, load_pair
from falcon.http.limits.addresses import AddressKey
from falcon.http.server.connections import Sweep
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

_SHUTDOWN_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.1


class Certificate(TlsFiles):
    """The certificate of the public port with its chain, and its key; both are reloaded when they are renewed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises WrongCertificate."""
        super().__init__((certificate, key), partial(_server_context, certificate, key))


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises WrongCertificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, certificate, key)
    return context


class Acceptor:
    """Accepts the connections of one server, and gives them a protocol after their handshake.

    asyncio's server would create a protocol only after the handshake: clients that never finish it would hold
    descriptors that no limit counts.
    """

    def __init__(
        self,
        listening: socket.socket,
        certificate: Certificate,
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
        self._handshakes: set[asyncio.Task[None]] = set()
        self._handshakes_per_address = sweep.per_address.separate()
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def stop(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, client = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._connections) + len(self._handshakes) >= self._sweep.connections_max:
                metrics.connections_cut.labels("full").inc()
                connection.close()  # without encryption it can get no answer
                continue
            per_address = self._sweep.per_address
            address = per_address.of(client)
            if per_address.is_full(address) or not self._handshakes_per_address.enter(address):
                metrics.connections_cut.labels("address").inc()
                metrics.rate_limited.labels("address-connections").inc()
                connection.close()
                continue
            handshake = loop.create_task(self._secure(loop, connection, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _secure(
        self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: AddressKey | None
    ) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                self._make,
                connection,
                ssl=self._certificate.context(),
                ssl_handshake_timeout=self._sweep.limits.head_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError as error:
            # asyncio ends a handshake that takes too long with ConnectionAbortedError.
            reason = "timeout" if isinstance(error, ConnectionAbortedError) else "malformed"
            metrics.connections_cut.labels(reason).inc()
            log.debug("a TLS handshake failed: %r", error)
        finally:
            self._handshakes_per_address.leave(address)
