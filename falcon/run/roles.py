"""The processes below the launcher, one function for each role. Run as ``python -m falcon.run.roles ROLE ...``."""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from setproctitle import setproctitle

from falcon.base.process import die_with_parent
from falcon.run import free_memory, garbage, huge_pages
from falcon.run.settings import Settings, is_loopback
from falcon.run.startup import begin
from falcon.telemetry.dispatchers import start_thread
from falcon.telemetry.run_folder import NoRoom

if TYPE_CHECKING:
    import threading

    from falcon.http.edge import Edge
    from falcon.http.server.serving import FalconServer
    from falcon.telemetry.health import Health

_BEAT: Final = b"."
_BEAT_SECONDS: Final = 1.0  # the launcher takes 30 s of silence for a hang
_OPS_NICENESS: Final = 10  # operators' pages wait while messages need the processor
_OPS_THREADS: Final = 4  # requests that the operations port answers at once


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="falcon.run.roles")
    parser.add_argument("role", choices=tuple(_ROLES))
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ready", type=int)
    parser.add_argument("--socket", type=int)
    parser.add_argument("--place", type=int, default=0)
    parser.add_argument("--watched")
    arguments = parser.parse_args(argv)
    die_with_parent(arguments.parent)
    settings = Settings.from_env()
    has_place = arguments.role == "serve" and settings.processes > 1
    setproctitle(f"falcon: {arguments.role} {arguments.place}" if has_place else f"falcon: {arguments.role}")
    try:
        begin(settings, f"{arguments.role}-{arguments.place}")
    except NoRoom as error:
        sys.exit(f"falcon: {error}")
    _ROLES[arguments.role](settings, arguments)


def _ready(handle: int | None, line: bytes) -> None:
    """Tell the launcher once, and then each second that this process lives: the running event loop does, or a thread if
    there is none. The launcher kills a process that is silent for long."""
    if handle is None:
        return
    os.set_blocking(handle, False)
    _write(handle, line + b"\n")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        start_thread("beats", partial(_beat_for_ever, handle))
        return

    def beat() -> None:
        _write(handle, _BEAT)
        loop.call_later(_BEAT_SECONDS, beat)

    beat()


def _beat_for_ever(handle: int) -> None:
    while True:
        _write(handle, _BEAT)
        time.sleep(_BEAT_SECONDS)


def _write(handle: int, data: bytes) -> None:
    """The pipe is full if the launcher has been stopped, and closed if it is about to stop this process."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(handle, data)


# --- serve ------------------------------------------------------------------------------------------------------------


def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves one machine: HTTP, and the shard of this place."""
    from falcon.run.bootstrap import embedded
    from falcon.telemetry.health import Health

    async def first_accounts(edge: "Edge") -> object:
        return await embedded.announced(settings, edge) if arguments.place == 0 else None

    health = Health()
    serving = embedded.serving(settings, health, arguments.place)
    _serve_edge(settings, arguments, health, "up", embedded.REFUSALS, serving, first_accounts)


def api(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves a cluster: HTTP."""
    from falcon.run.bootstrap import cluster
    from falcon.telemetry.health import Health

    async def nothing(edge: "Edge") -> object:
        return {}

    health = Health()
    _serve_edge(settings, arguments, health, "api", cluster.REFUSALS, cluster.serving(settings, health), nothing)


def write(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves a cluster: an owner of partitions."""
    import uvloop

    from falcon.http.internal.app import InternalCommands
    from falcon.http.server.connection_limits import ConnectionLimits
    from falcon.http.server.connections import ConnectionSweeper
    from falcon.http.server.serving import create_server
    from falcon.run.bootstrap import cluster
    from falcon.telemetry.health import Health
    from falcon.write.framing import PROTOCOL

    health = Health()
    with _refusing("write", cluster.REFUSALS):
        internal = InternalCommands(cluster.internal_keys(settings))

    async def serve_commands() -> None:
        _tell(health)
        async with contextlib.AsyncExitStack() as stack:
            with _refusing("write", cluster.REFUSALS):
                shards = await stack.enter_async_context(cluster.owning(settings, health))
            internal.attach(shards)
            hand_over = cluster.handing_over(shards)

            async def close() -> None:
                await hand_over()
                internal.end_beats()

            trusted = {"held_bytes": sys.maxsize, "holder_bytes": sys.maxsize}
            sweeper = ConnectionSweeper("internal", ConnectionLimits(**trusted))
            server = create_server(internal, sweeper, upgrades={PROTOCOL: internal.connection})
            await _Server(arguments, server, health, close).run(partial(_started, health, arguments.ready, {}))

    uvloop.run(serve_commands())


@contextlib.contextmanager
def _refusing(command: str, refusals: tuple[type[Exception], ...]) -> Iterator[None]:
    """Known errors end the process at once, with a line each and no traceback."""
    try:
        yield
    except refusals as refusal:
        for line in str(refusal).splitlines():
            print(f"falcon {command}: {line}", file=sys.stderr, flush=True)
        os._exit(1)


def _started(health: "Health", ready: int | None, credentials: object) -> None:
    """Freeze the objects of the start-up, and move them to huge pages: they live as long as the process."""
    import msgspec

    garbage.freeze()
    huge_pages.move_memory()
    health.started = True
    _ready(ready, msgspec.json.encode(credentials))


def _serve_edge(
    settings: Settings,
    arguments: argparse.Namespace,
    health: "Health",
    command: str,
    refusals: tuple[type[Exception], ...],
    serving: "AbstractAsyncContextManager[Edge]",
    first: "Callable[[Edge], Awaitable[object]]",
) -> None:
    """Serve HTTP with the edge of ``serving``. ``first``: returns what the launcher is to hear. Both may raise
    ``refusals``."""
    import uvloop

    from falcon.http.app import create_app
    from falcon.http.server.admission import AdmissionControl
    from falcon.http.server.connection_slots import connections_for
    from falcon.http.server.connections import ConnectionSweeper
    from falcon.http.server.fast_lane import FastLane
    from falcon.http.server.raw_responses import require_https
    from falcon.http.server.serving import create_server
    from falcon.http.server.tls import Certificate
    from falcon.run.bootstrap import connections_per_address
    from falcon.telemetry import metrics

    if settings.hsts_seconds:
        require_https(settings.hsts_seconds)
    edges: list[Edge] = []
    admission = AdmissionControl()

    @asynccontextmanager
    async def started() -> "AsyncIterator[Edge]":
        async with contextlib.AsyncExitStack() as stack:
            with _refusing(command, refusals):
                edge = await stack.enter_async_context(serving)
                said = await first(edge)
            _started(health, arguments.ready, said)
            edges.append(edge)
            admission.attach(edge.gateway, edge.partitions)
            yield edge

    lane = FastLane()
    app = create_app(started, settings.cors_origins, lane)
    most = connections_for(settings.processes)
    sweeper = ConnectionSweeper("public", connections_max=most, per_address=connections_per_address(settings))
    certificate = None
    metrics.copied_at.labels().set_function(settings.copied_at)
    ends = metrics.certificate_ends.labels("FALCON_TLS_CERT")
    ends.set(math.inf)
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
        ends.set_function(certificate.certificate_ends)

    async def drain() -> None:
        if edges:
            edges[0].streams.drain()

    async def serve_requests() -> None:
        _tell(health)
        server = create_server(app, sweeper, lifespan="on", admission=admission, certificate=certificate, lane=lane)
        await _Server(arguments, server, health, drain).run()

    uvloop.run(serve_requests())
    if not health.started:
        sys.exit(1)


def _tell(health: "Health") -> None:
    """Report the health to the probes, and measure the running loop. Keep the process small, and its pauses short."""
    from falcon.telemetry import probes

    probes.watch_loop()
    free_memory.watch()
    garbage.look_often()
    health.tell(asyncio.get_running_loop())


class _Server:
    """The public server, or the internal one.

    At SIGTERM ``before_closing`` is awaited while it still serves. Then it answers the requests under way, and ends.
    Before it serves, the process ends at once: its start may wait for other processes, which get the signal to end,
    too.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        server: "FalconServer",
        health: "Health",
        before_closing: Callable[[], Awaitable[None]],
    ) -> None:
        self._health = health
        self._before_closing = before_closing
        self._server = server
        self._handle = arguments.socket

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """``started`` is called once a signal ends it in order."""
        loop = asyncio.get_running_loop()
        closing: list[asyncio.Task[None]] = []
        loop.add_signal_handler(signal.SIGTERM, lambda: closing.append(loop.create_task(self._close())))
        started()
        await self._server.serve([socket.socket(fileno=self._handle)])
        self._health.draining = True

    async def _close(self) -> None:
        if not self._health.started:
            os._exit(0)
        self._health.draining = True
        await self._before_closing()
        self._server.should_exit = True


# --- project, forward -------------------------------------------------------------------------------------------------


def projector(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves a cluster: the projections, each as a consumer."""
    from falcon.run.bootstrap import cluster

    _consume(settings, arguments, "project", cluster.REFUSALS, cluster.project_until)


def forwarder(settings: Settings, arguments: argparse.Namespace) -> None:
    """Serves a cluster: the sinks, each as a consumer."""
    from falcon.run.bootstrap import cluster

    _consume(settings, arguments, "forward", cluster.REFUSALS, cluster.forward_until)


def _consume(
    settings: Settings,
    arguments: argparse.Namespace,
    command: str,
    refusals: tuple[type[Exception], ...],
    run_until: "Callable[[Settings, threading.Event, Callable[[], None]], None]",
) -> None:
    import threading

    from falcon.telemetry.health import Health

    health = Health()
    health.tell(None)
    ending = threading.Event()

    def end(number: int, frame: object) -> None:
        health.draining = True
        ending.set()

    signal.signal(signal.SIGTERM, end)
    garbage.look_seldom()
    with _refusing(command, refusals):
        run_until(settings, ending, partial(_started, health, arguments.ready, {}))


# --- operations -------------------------------------------------------------------------------------------------------


def ops(settings: Settings, arguments: argparse.Namespace) -> None:
    """The operations port, in a process of its own: it answers when the others cannot, and costs them nothing."""
    # A page of metrics takes some 20 ms. On a busy core that time is taken from chat.
    os.nice(_OPS_NICENESS)
    import uvloop

    from falcon.http.ops.app import create_ops_app
    from falcon.http.ops.operators import Operators
    from falcon.http.server.connections import ConnectionSweeper
    from falcon.http.server.serving import create_server
    from falcon.telemetry import probes
    from falcon.telemetry.dispatchers import Dispatcher
    from falcon.telemetry.process_tree import ProcessTree

    tree = ProcessTree(Path(settings.run_dir), arguments.parent, arguments.watched)
    operators = Operators(settings.ops_token_file, on_loopback=is_loopback(settings.ops_host))
    needed = settings.processes if arguments.watched == "serve" else 1
    app = create_ops_app(tree, Dispatcher("operations", threads=_OPS_THREADS, queue=32), operators, needed)
    server = create_server(app, ConnectionSweeper("operations"))

    async def serve_operations() -> None:
        probes.watch_loop()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
        _ready(arguments.ready, b"{}")
        await server.serve([socket.socket(fileno=arguments.socket)])

    uvloop.run(serve_operations())


_ROLES: Final[dict[str, Callable[[Settings, argparse.Namespace], None]]] = {
    "serve": serve,
    "api": api,
    "write": write,
    "projector": projector,
    "forwarder": forwarder,
    "ops": ops,
}

if __name__ == "__main__":
    main()
