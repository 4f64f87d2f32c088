"""The processes below the launcher, one function a role. Run as ``python -m falcon.roles ROLE ...``."""

import argparse
import asyncio
import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from setproctitle import setproctitle

from falcon.process import die_with_parent, tether_forks
from falcon.settings import Settings

_DRAIN_SECONDS: Final = 3


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="falcon.roles")
    parser.add_argument("role", choices=("serve", "project", "actors"))
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--public-socket", type=int)
    parser.add_argument("--ops-socket", type=int)
    parser.add_argument("--ready", type=int)
    parser.add_argument("--actors-port", type=int)
    arguments = parser.parse_args(argv)
    die_with_parent(arguments.parent)
    # Ctrl-C reaches the whole terminal; only the launcher acts on it, so that things end in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle(f"falcon: {arguments.role}")
    settings = Settings.from_env()
    match arguments.role:
        case "serve":
            serve(settings, arguments)
        case "project":
            project(settings, arguments)
        case "actors":
            actors(settings, arguments)


def _ready(handle: int | None, line: bytes) -> None:
    """Tell the launcher, once."""
    if handle is not None:
        os.write(handle, line + b"\n")
        os.close(handle)


# --- serve ------------------------------------------------------------------------------------------------------------


def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    """HTTP; and, without an actor system of its own, the actors."""
    import uvloop

    from falcon import bootstrap

    bootstrap.configure_logging(settings.log_level)
    uvloop.run(_serve(settings, arguments))


async def _serve(settings: Settings, arguments: argparse.Namespace) -> None:
    import msgspec
    import uvicorn

    from falcon import bootstrap
    from falcon.http.app import create_app
    from falcon.http.edge import Edge
    from falcon.http.ops import Health, create_ops_app

    class Server(uvicorn.Server):
        """Two of them share a process, so the process handles the signals."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    health = Health()

    @asynccontextmanager
    async def edge() -> AsyncIterator[Edge]:
        async with bootstrap.serving(settings, arguments.actors_port, health) as edge:
            credentials = await bootstrap.credentials(settings, edge)
            # What start-up made lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
            health.started = True
            _ready(arguments.ready, msgspec.json.encode(credentials))
            yield edge

    def server(app: object, *, lifespan: str) -> Server:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan=lifespan,  # type: ignore[arg-type]
            loop="none",
            http="httptools",
            ws="none",
            server_header=False,
            proxy_headers=False,
            date_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            backlog=2048,
        )
        return Server(config)

    public = server(create_app(edge, settings.cors_origins), lifespan="on")
    servers = [(public, arguments.public_socket)]
    if arguments.ops_socket is not None:
        servers.append((server(create_ops_app(health), lifespan="off"), arguments.ops_socket))

    def drain() -> None:
        health.draining = True
        for each, _ in servers:
            each.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, drain)
    tasks = [asyncio.create_task(each.serve([socket.socket(fileno=handle)])) for each, handle in servers]
    await tasks[0]  # public; the operations port answers until it has ended
    drain()
    await asyncio.gather(*tasks)
    if not health.started:
        sys.exit(1)


# --- project ----------------------------------------------------------------------------------------------------------


def project(settings: Settings, arguments: argparse.Namespace) -> None:
    """The projections, in a process of their own."""
    from falcon import bootstrap

    bootstrap.configure_logging(settings.log_level)
    _ready(arguments.ready, b"{}")
    bootstrap.catch_up_until(settings, _terminated())


def _terminated() -> Callable[[], bool]:
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    return lambda: bool(received)


# --- actors -----------------------------------------------------------------------------------------------------------


def actors(settings: Settings, arguments: argparse.Namespace) -> None:
    """The actor system. When its admin or its Supervisor dies, this ends, and the launcher with all the rest."""
    tether_forks(arguments.parent)  # before anything forks
    from falcon import bootstrap
    from falcon.adapters.thespian import system as actor_system
    from falcon.adapters.thespian.actors import StartShard

    bootstrap.configure_logging(settings.log_level)
    starts = [StartShard(str(i), build) for i, build in enumerate(bootstrap.shard_builds(settings))]
    system, shards = actor_system.start(arguments.actors_port, starts)
    reading, writing = os.pipe()
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(writing, b"\0"))
    watched = [os.pidfd_open(pid) for pid in shards.pids]
    _ready(arguments.ready, b"{}")
    ended, _, _ = select.select([reading, *watched], [], [])
    if reading not in ended:
        print("the actor system's admin or supervisor has ended", file=sys.stderr)
        os._exit(1)
    system.shutdown()


if __name__ == "__main__":
    main()
