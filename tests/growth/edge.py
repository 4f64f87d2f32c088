"""An `api` process as it is, on an HBase, a log and owners in memory that count."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.types import Message as AsgiMessage

from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.sockets.lone_signal_transport import LocalSignalTransport
from falcon.domain.answers import Done, PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.ids import Partition
from falcon.features.accounts.rules import AccountCreated, TokenIssued, UseToken
from falcon.features.catalogue import Event
from falcon.http import bearer_tokens
from falcon.http.app import create_app
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Moves
from falcon.run.bootstrap import start_edge
from falcon.run.settings import Settings
from falcon.write.positions import OwnersPositions
from falcon.write.protocol import Accepted, CommandEnvelope, Reply
from tests.growth.log import NOW, CountedLog
from tests.support.hbase import FakeHBase
from tools.harness.asgi import lifespan

PREFIX: Final = "falcon"
_SECRET: Final = b"of a test"
_NAME: Final = "a log"


class Begun(NamedTuple):
    """A stream's first event, or ``caught_up`` after a replay. ``id``: to resume from."""

    name: str
    id: str


class CallFailed(Exception):
    """A request was refused. The message has the response."""


class Site:
    """Rooms and accounts in a log, and in the tables as far as these are to show it."""

    def __init__(self, partitions: int) -> None:
        self.hbase = FakeHBase()
        self.log = CountedLog(partitions)
        create = through_gateway(self.hbase)
        prepare(self.hbase, PREFIX, _NAME, partitions, create)
        self._tables = HBaseTables(self.hbase.beside(), PREFIX, partitions, create, moved=self._tell)
        self.told: Callable[[Moves], None] = lambda moves: None  # where the tables stand, as projectors tell it
        self._shown: Cursor = dict.fromkeys(range(partitions), Position())
        self.secrets: dict[int, str] = {}

    def happen(self, events: Iterable[Event]) -> list[Envelope]:
        """Append events to the log. The tables do not show them yet: see :meth:`show`."""
        return [self.log.happen(event) for event in events]

    def show(self, envelopes: Iterable[Envelope]) -> None:
        """The projections apply these events, and stand at the end of the log."""
        known, after = list(envelopes), self.log.cursor()
        for name, model in READ_MODELS.items():
            writes = [write for envelope in known for write in model.project(Recorded(envelope.n, envelope))]
            self._tables.apply(name, self._shown, after, writes)
        self._shown = after

    def _tell(self, moves: Moves) -> None:
        self.told(moves)

    def account(self, account_id: int) -> list[Event]:
        """The events of an account with a token."""
        secret = bearer_tokens.new_secret(_SECRET)
        self.secrets[account_id] = secret
        issued = TokenIssued(account_id, 1, bearer_tokens.hash_of(secret), NOW)
        return [AccountCreated(account_id, f"Account {account_id}", "member", NOW), issued]

    def headers(self, account_id: int) -> list[tuple[bytes, bytes]]:
        token = bearer_tokens.token(account_id, self.secrets[account_id])
        return [(b"authorization", f"Bearer {token}".encode())]

    @property
    def calls(self) -> int:
        """The calls for cells so far. A scan is one."""
        return len(self.hbase.asked)

    @property
    def rows(self) -> int:
        """The rows in the answers to these calls."""
        return self.hbase.given.total()


class SilentOwners:
    """CommandGateway of owners who accept nothing: nothing here is written through an API."""

    def __init__(self, log: CountedLog) -> None:
        self._log = log

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        match envelope.command:
            case ReadPosition(partition=partition):
                return Accepted(PositionAnswer(self._log.length(partition) - 1), partition, 0)
            case UseToken():
                return Accepted(Done(), envelope.partition, 0)
            case command:
                raise NotImplementedError(f"these owners do not know {command}")

    def mailbox(self, partition: Partition) -> None:
        """There is none: no command waits."""


class CountedEdge:
    """The public application over a site."""

    def __init__(self, app: Any, site: Site) -> None:
        self._app = app
        self.site = site

    async def get(self, path: str, account_id: int) -> bytes:
        """The body. Raises CallFailed."""
        received: list[AsgiMessage] = []

        async def send(message: AsgiMessage) -> None:
            received.append(message)

        requested = asyncio.Queue[AsgiMessage]()
        requested.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await self._app(self._scope(path, account_id), requested.get, send)
        if received[0]["status"] >= 300:
            raise CallFailed(f"GET {path}: {received}")
        return b"".join(message.get("body", b"") for message in received)

    async def begins(self, account_id: int, resume: str = "") -> Begun:
        """Open a stream, and close it when it has begun. Raises CallFailed."""
        async with self.stream(account_id, resume) as begun:
            return begun

    @asynccontextmanager
    async def stream(self, account_id: int, resume: str = "") -> AsyncIterator[Begun]:
        """A stream, from when it has begun to the end of the block. Raises CallFailed."""
        received = b""
        status = 0
        begun, gone = asyncio.Event(), asyncio.Event()

        async def send(message: AsgiMessage) -> None:
            nonlocal received, status
            status = message.get("status", status)
            if not begun.is_set():
                received += message.get("body", b"")
                if status >= 300 or _BEGUN.search(received):
                    begun.set()

        async def receive() -> AsgiMessage:
            await gone.wait()
            return {"type": "http.disconnect"}

        scope = self._scope("/v1/stream", account_id)
        scope["headers"] += [(b"last-event-id", resume.encode())] if resume else []
        streaming = asyncio.create_task(self._app(scope, receive, send))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([streaming, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        found = _BEGUN.search(received)
        if found is None:
            raise CallFailed(f"the stream of {account_id}: {status} {received!r}")
        try:
            yield Begun(found[2].decode(), found[1].decode())
        finally:
            gone.set()
            await streaming

    def _scope(self, path: str, account_id: int) -> dict[str, Any]:
        path, _, query = path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": self.site.headers(account_id),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        }


_BEGUN: Final = re.compile(rb"id: (\S+)\nevent: (hello|caught_up|catch_up)\n")


@asynccontextmanager
async def counted_edge(site: Site, **settings: Any) -> AsyncIterator[CountedEdge]:
    """The application over the site, until the end of the block. ``settings`` as Settings has them."""
    owners = SilentOwners(site.log)
    edges: list[Edge] = []
    with tempfile.TemporaryDirectory(prefix="falcon-growth-") as folder:
        chosen = Settings(data_dir=Path(folder), partitions=site.log.partitions, **settings)

        @asynccontextmanager
        async def serving() -> AsyncIterator[Edge]:
            store = HBaseReadStore(site.hbase, PREFIX, threads=1, seconds=60.0)
            freshness = Freshness(store, OwnersPositions(owners), lambda: True, store.positions.forget)

            def told(moves: Moves) -> None:
                store.learn(moves)
                freshness.moved()

            store.positions.are_told = lambda: True
            site.told = told
            transport = LocalSignalTransport()
            edges.append(start_edge(chosen, owners, store, freshness, site.log, transport, _NAME, _SECRET))
            edges[0].authenticator.revocations.start()
            store.keep_rows(site.log.partitions, edges[0].authenticator.revocations.unchanged_since)
            yield edges[0]
            await edges[0].authenticator.revocations.stop()
            await edges[0].streams.stop()
            store.close()

        app = create_app(serving)
        async with lifespan(app):
            yield CountedEdge(app, site)
