"""uvicorn as Falcon runs it."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Final, Literal

import uvicorn
from starlette.types import ASGIApp

from falcon.base.process import LISTEN_BACKLOG
from falcon.http.server.accepting import Acceptor
from falcon.http.server.admission import AdmissionControl
from falcon.http.server.connection_slots import ConnectionSlot
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.fast_lane import FastLane
from falcon.http.server.protocol import FalconHttpProtocol, FalconWebSocketProtocol
from falcon.http.server.tls import Certificate
from falcon.http.server.upgrades import NO_UPGRADES, Upgrades

_DRAIN_SECONDS: Final = 3  # requests end in a second; the launcher kills what has not ended after 4.5 s
_WEBSOCKET_BYTES_MAX: Final = 16_384  # clients send nothing on a WebSocket
# A client that is gone is noticed within half a minute; proxies cut what is silent for a minute.
_PING_SECONDS: Final = 10.0


def create_server(
    app: ASGIApp,
    sweeper: ConnectionSweeper,
    *,
    lifespan: Literal["on", "off"] = "off",
    admission: AdmissionControl | None = None,
    certificate: Certificate | None = None,
    upgrades: Upgrades = NO_UPGRADES,
    lane: FastLane | None = None,
) -> "FalconServer":
    """A server for sockets that are bound already. Without an ``admission`` it admits everything; with a
    ``certificate`` it speaks TLS. ``upgrades``: protocols for which connections may leave HTTP, beside WebSockets.
    ``lane``: without one uvicorn reads all requests, and the application finds their routes."""
    admission = admission or AdmissionControl()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan=lifespan,
        loop="none",
        http=functools.partial(FalconHttpProtocol, admission, sweeper, upgrades, lane=lane),  # type: ignore[arg-type]
        ws=FalconWebSocketProtocol,
        ws_max_size=_WEBSOCKET_BYTES_MAX,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS * 2,
        ws_per_message_deflate=False,
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        backlog=LISTEN_BACKLOG,
    )
    return FalconServer(config, sweeper, certificate)


class FalconServer(uvicorn.Server):
    """Leaves signals to the process, which may run other things, and accepts connections itself."""

    def __init__(self, config: uvicorn.Config, sweeper: ConnectionSweeper, certificate: Certificate | None) -> None:
        super().__init__(config)
        self._sweeper = sweeper
        self._certificate = certificate
        self._acceptors: list[Acceptor] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # uvicorn listens on no socket: each has its acceptor
        for listening in sockets or ():
            acceptor = Acceptor(listening, self._certificate, self._sweeper, self._make_protocol)
            acceptor.start()
            self._acceptors.append(acceptor)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            acceptor.stop()
        await super().shutdown(sockets)

    def _make_protocol(self, slot: ConnectionSlot) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            slot=slot,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
