"""A whole Falcon in one process: write pods, projectors and edges as they are, on simulated servers and networks.

What is replaced: Kafka's clients, the connections to HBase, the HTTP between processes, and the end of a process.
"""

import asyncio
import dataclasses
import logging
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlencode

import aiohttp
import httpx
import msgspec

import falcon.run.bootstrap as composing
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.owner_http import watch
from falcon.domain import limits
from falcon.http.app import create_app
from falcon.http.edge import Edge
from falcon.http.internal.app import InternalCommands
from falcon.run import bootstrap
from falcon.run.bootstrap import FirstAccounts
from falcon.run.bootstrap import cluster as roles
from falcon.run.settings import Settings
from falcon.streams import cuts, feed
from falcon.telemetry.health import Health
from tools.harness.waiting import eventually, eventually_within
from tools.simulation.hbase.lines import Road, SimulatedGateways
from tools.simulation.hbase.servers import Later, Servers
from tools.simulation.http import Broken, Exchange, Http, NotReached, lifespan, network_loop
from tools.simulation.kafka.brokers import Brokers
from tools.simulation.kafka.cluster import SimulatedCluster
from tools.simulation.threads import Killed, Process, Simulation

log = logging.getLogger("simulation")

PARTITIONS: Final = 4
_RESTART_SECONDS: Final = (0.2, 3.0)
_DRAIN_SECONDS: Final = 3.0  # as the processes below the launcher have it
_LATE_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 30.0  # after SIGTERM, as Kubernetes has it
_START_SECONDS: Final = 300.0
_CHECKPOINT_EVENTS: Final = 50
_TOKEN_GROWN: Final = 11  # so that tokens of a few partitions have the differences to cuts
_CUTS_KEPT: Final = 20
_MEMBERS_IN_PART: Final = 2  # so that rooms of a few people are stored in parts


class SimulatedFalcon:
    """``start`` it within the simulation; faults act on its parts. ``urls``: of the edges."""

    def __init__(self, simulation: Simulation, folder: Path, *, writers: int = 2, projectors: int = 2, edges: int = 2):
        self.simulation = simulation
        self.random = random.Random(simulation.random.random())
        self._folder = folder
        self.writers = [f"write-{i}" for i in range(writers)]
        self.projectors = [f"project-{i}" for i in range(projectors)]
        self.edges = [f"api-{i}" for i in range(edges)]
        self.urls = [f"http://{name}:8080" for name in self.edges]
        self.processes: dict[str, Process] = {}
        self.restarts = 0
        self.ended: list[str] = []  # what processes died of by themselves
        self.changed: dict[str, Any] = {}  # settings that are not as usual
        self.supervised = True  # what has ended is started again
        self._serving: dict[str, tuple[Edge, asyncio.AbstractEventLoop]] = {}
        self._terminate: dict[str, Callable[[], object]] = {}

    def reseed(self, seed: int) -> None:
        """All chances from now on follow from this seed."""
        chance = random.Random(seed)
        self.simulation.reseed(chance.randrange(2**32))
        for each in (self.random, self.brokers.random, self.hbase.random, self.road.random, self.http.random):
            each.seed(chance.random())

    async def start(self) -> FirstAccounts:
        """Everything, until it serves."""
        simulation = self.simulation
        self.http = Http(simulation, self._chance())
        kafka = network_loop(simulation, Process("kafka"))
        self.brokers = Brokers(kafka, seed=self.random.randrange(2**32), replication_max=0.01)
        self.brokers.network.delay_max = 0.002
        self.hbase = Servers(self.random.randrange(2**32))
        self.road = Road(self.hbase, Later(), self._chance(), delay_max=0.002)
        self._folder.mkdir(parents=True, exist_ok=True)
        for secret in ("internal-token", "secret"):
            (self._folder / secret).touch(0o600)
            (self._folder / secret).write_text("not a secret at all")
        await roles.prepare(self.settings("prepare"))
        await self.launch_all()
        edge, loop = self._serving[self.edges[0]]
        making = asyncio.run_coroutine_threadsafe(roles.credentials(self.settings(self.edges[0]), edge), loop)
        return await asyncio.wrap_future(making)

    def journal(self) -> KafkaCluster:
        return SimulatedCluster(("kafka:1",), PARTITIONS, servers=self.brokers, client="audit")

    # --- processes ----------------------------------------------------------------------------------------------------

    async def launch_all(self) -> None:
        """Start all, and wait until every edge serves."""
        self.supervised = True
        for name in (*self.writers, *self.projectors, *self.edges):
            self.launch(name)
        await eventually(lambda: len(self._serving) >= len(self.edges), "every edge serves", _START_SECONDS, every=0.1)

    async def end_all(self, *, orderly: bool) -> None:
        """End all, and start nothing again."""
        self.supervised = False
        for name, process in self.processes.items():
            if orderly and not process.dead:
                self.terminate(name)
        if orderly:
            await eventually_within(lambda: all(each.dead for each in self.processes.values()), _GRACE_SECONDS, 0.1)
        for name in self.processes:
            self.kill(name)

    def launch(self, name: str) -> None:
        """A new process of that name; its clock is as wrong as the last one's was."""
        before = self.processes.get(name)
        process = self.processes[name] = Process(name, skew=0.0 if before is None else before.skew)
        composing.blocking.cache_clear()
        self.simulation.spawn(partial(self._run, process), name, process)

    def kill(self, name: str) -> None:
        """At once; it is started again after a while."""
        process = self.processes[name]
        if process.dead:
            return
        self._serving.pop(name, None)
        self._terminate.pop(name, None)
        self.http.forget(process)
        if self.supervised:
            self.http.later(self.random.uniform(*_RESTART_SECONDS), partial(self._relaunch, process))
        self.simulation.kill(process)

    def terminate(self, name: str) -> None:
        """Like SIGTERM: it ends in order, and is restarted after a while."""
        end = self._terminate.pop(name, None)
        if end is not None:
            end()
        elif not self.processes[name].dead:  # it has not come so far that it would listen to that
            self.kill(name)

    def stop(self, name: str) -> None:
        """Like SIGSTOP, or a suspended machine."""
        self.simulation.stop(self.processes[name])

    def go_on(self, name: str) -> None:
        self.simulation.go_on(self.processes[name])

    async def stop_servers(self) -> None:
        """The brokers and HBase; ``heal`` starts them. Until nothing arrives any more that was sent before."""
        self.road.down = True
        for node in self.brokers.nodes:
            self.brokers.loop.call_soon_threadsafe(self.brokers.kill, node)
        await asyncio.sleep(_LATE_SECONDS)

    def heal(self) -> None:
        for process in self.processes.values():
            self.simulation.go_on(process)
        self.http.heal()
        self.http.delay_max = 0.002
        self.brokers.loop.call_soon_threadsafe(self._heal_brokers)
        self.road.heal()
        self.road.delay_max = 0.002

    def _heal_brokers(self) -> None:
        self.brokers.heal()
        self.brokers.network.delay_max = 0.002

    def _relaunch(self, process: Process) -> None:
        if self.processes[process.name] is process:
            self.restarts += 1
            self.launch(process.name)

    def _run(self, process: Process) -> None:
        """Any error in it ends the whole process."""
        role = {"write": self._write, "project": self._project, "api": self._api}[process.name.partition("-")[0]]
        try:
            role(process.name)
        except Killed:
            raise
        except Exception as error:
            log.warning("%s has ended: %r", process.name, error)
            self.ended.append(f"{process.name}: {error!r}")
        self.kill(process.name)

    def _exit(self, code: int) -> None:
        """Stands in for os._exit."""
        name = self.simulation.current.process.name
        self.ended.append(f"{name}: exit {code}")
        self.kill(name)
        raise Killed

    def _write(self, name: str) -> None:
        settings = self.settings(name)
        shutil.rmtree(settings.data_dir, ignore_errors=True)

        async def serve() -> None:
            internal = InternalCommands(roles.internal_keys(settings))
            async with roles.owning(settings, Health()) as shards:
                internal.attach(shards)
                self.http.serve(f"{name}:8082", internal, internal.connection)
                await self._terminated(name)
                await roles.handing_over(shards)()
                internal.end_beats()
                await self.http.close(_DRAIN_SECONDS)

        asyncio.run(serve())

    def _project(self, name: str) -> None:
        ending = threading.Event()
        self._terminate[name] = ending.set
        roles.project_until(self.settings(name), ending, lambda: None)

    def _api(self, name: str) -> None:
        settings = self.settings(name)

        @asynccontextmanager
        async def serving() -> AsyncIterator[Edge]:
            async with roles.serving(settings, Health()) as edge:
                self._serving[name] = edge, asyncio.get_running_loop()
                yield edge

        async def serve() -> None:
            app = create_app(serving)
            end = await lifespan(app)
            self.http.serve(f"{name}:8080", app)
            await self._terminated(name)
            self._serving[name][0].streams.drain()
            await self.http.close(_DRAIN_SECONDS)
            await end()

        asyncio.run(serve())

    async def _terminated(self, name: str) -> None:
        """From here on the process handles SIGTERM. Wait for it."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        self._terminate[name] = lambda: loop.call_soon_threadsafe(told.set)
        await told.wait()

    def settings(self, name: str) -> Settings:
        usual = Settings(
            partitions=PARTITIONS,
            data_dir=self._folder / name,
            advertise_host=name,
            internal_token_file=self._folder / "internal-token",
            secret_file=self._folder / "secret",
            kafka=("kafka:1",),
            hbase=("hbase:1",),
            append_seconds=8.0,
        )
        return dataclasses.replace(usual, **self.changed)

    def _chance(self) -> random.Random:
        return random.Random(self.random.random())

    # --- what is replaced ---------------------------------------------------------------------------------------------

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts, Falcon's processes find the simulated parts where they look for the real ones."""
        with ExitStack() as stack:
            for target, name, new in (
                (bootstrap, "_CHECKPOINT_EVENTS", _CHECKPOINT_EVENTS),
                (limits, "MEMBERS_IN_PART", _MEMBERS_IN_PART),
                (feed, "TOKEN_GROWN", _TOKEN_GROWN),
                (cuts, "KEPT_MAX", _CUTS_KEPT),
                (roles, "kafka_cluster", self._kafka_cluster),
                (roles, "hbase_gateways", self._gateways),
                (roles, "upgraded", self._upgraded),
                (watch, "aiohttp", _Aiohttp(self.http_of)),
                (watch, "connector", _no_connector),
                (httpx._client, "AsyncHTTPTransport", lambda **_: _Transport(self.http)),
                (os, "_exit", self._exit),
            ):
                stack.enter_context(patch.object(target, name, new))
            yield

    async def _upgraded(self, address: str, protocol: asyncio.Protocol, networks: object) -> None:
        await self.http.upgrade(address, protocol)

    def http_of(self) -> Http:
        return self.http

    def _kafka_cluster(self, settings: Settings) -> KafkaCluster:
        return SimulatedCluster(
            settings.kafka,
            settings.partitions,
            settings.kafka_prefix,
            settings.append_seconds,
            servers=self.brokers,
            client=settings.advertise_host,
        )

    @contextmanager
    def _gateways(self, settings: Settings) -> Iterator[SimulatedGateways]:
        gateways = SimulatedGateways(self.road)
        yield gateways
        gateways.close()


class _Aiohttp:
    """Stands in for the module aiohttp, with which owners watch one another."""

    def __init__(self, http: Callable[[], Http]) -> None:
        self._http = http

    def ClientSession(self, timeout: Any = None, **_: object) -> "_Session":
        return _Session(self._http(), timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(aiohttp, name)


def _no_connector(networks: object, **_: object) -> None:
    """Stands in for connections within some networks: there are none here."""


class _NotConnected(aiohttp.ClientConnectorError):
    def __init__(self, words: str) -> None:
        self._words = words

    def __str__(self) -> str:
        return self._words


class _Session:
    def __init__(self, http: Http, timeout: Any) -> None:
        self._http = http
        self._silence: float = timeout.sock_read

    def get(self, url: str, headers: dict[str, str]) -> "_Response":
        return _Response(self._http, url, headers, self._silence)

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""


class _Response:
    """A request and its answer. ``silence``: seconds without a part after which it is given up."""

    def __init__(self, http: Http, url: str, headers: dict[str, str], silence: float) -> None:
        self._http = http
        self._url = url
        self._sent = headers
        self._silence = silence
        self._exchange: Exchange | None = None
        self.content = SimpleNamespace(iter_any=self._parts)

    @property
    def status(self) -> int:
        assert self._exchange is not None
        return self._exchange.status

    @property
    def headers(self) -> dict[str, str]:
        assert self._exchange is not None
        return {name.decode(): value.decode() for name, value in self._exchange.headers}

    async def __aenter__(self) -> "_Response":
        self._exchange = await self._in_time(self._http.request("GET", self._url, self._sent, b""))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._exchange is not None
        self._http.drop(self._exchange)

    async def _parts(self) -> AsyncIterator[bytes]:
        assert self._exchange is not None
        while (part := await self._in_time(self._exchange.part())) is not None:
            yield part

    async def _in_time(self, work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._silence):
                return await work
        except NotReached as error:
            raise _NotConnected(str(error)) from error
        except Broken as error:
            raise aiohttp.ServerDisconnectedError from error


class _Body(httpx.AsyncByteStream):
    """``silence``: seconds without a part after which the connection is given up."""

    def __init__(self, http: Http, exchange: Exchange, silence: float | None) -> None:
        self._http = http
        self._exchange = exchange
        self._silence = silence

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    part = await self._exchange.part()
            except TimeoutError as error:
                raise httpx.ReadTimeout("nothing is heard") from error
            except Broken as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        self._http.drop(self._exchange)


class Answer:
    """An answer, as httpx has it."""

    def __init__(self, exchange: Exchange, content: bytes) -> None:
        self.status_code = exchange.status
        self.is_success = 200 <= exchange.status < 300
        self.headers = {name.decode().lower(): value.decode() for name, value in exchange.headers}
        self.content = content

    def json(self) -> Any:
        """Raises ValueError."""
        return msgspec.json.decode(self.content)


class EdgeClient:
    """A client of the edges that takes a fraction of httpx's time, and raises its errors."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def request(
        self, method: str, url: str, *, json: Any, params: Mapping[str, int], headers: Mapping[str, str]
    ) -> Answer:
        """Raises httpx.HTTPError."""
        body = b"" if json is None else msgspec.json.encode(json)
        sent = dict(headers)
        if body:
            sent |= {"content-type": "application/json", "content-length": str(len(body))}
        target = f"{url}?{urlencode(params)}" if params else url
        try:
            exchange = await self._http.request(method, target, sent, body)
            try:
                return Answer(exchange, await exchange.body())
            except asyncio.CancelledError:
                self._http.drop(exchange)
                raise
        except NotReached as error:
            raise httpx.ConnectError(str(error)) from error
        except Broken as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    async def aclose(self) -> None:
        """Does nothing: there is nothing to close."""


class _Transport(httpx.AsyncBaseTransport):
    """The clients' transport to the edges."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")}
        target = str(request.url)
        try:
            exchange = await self._http.request(request.method, target, headers, await request.aread())
            silence = request.extensions.get("timeout", {}).get("read")
            body = _Body(self._http, exchange, silence)
            return httpx.Response(exchange.status, headers=exchange.headers, stream=body)
        except NotReached as error:
            raise httpx.ConnectError(str(error)) from error
        except Broken as error:
            raise httpx.RemoteProtocolError(str(error)) from error
