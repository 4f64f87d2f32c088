"""Queries on the read tables, on threads of their own."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from falcon.adapters.hbase import queries
from falcon.adapters.hbase.client import HBase, HBaseClient
from falcon.adapters.hbase.connection import HBaseFault, TableMissing
from falcon.adapters.hbase.meta import Generations, Meta
from falcon.adapters.hbase.queries import QueryContext
from falcon.adapters.hbase.timed_client import TimedClient
from falcon.domain.ids import Partition
from falcon.read.accounts import hbase as accounts_queries
from falcon.read.catalogue import READ_MODELS
from falcon.read.memberships import hbase as memberships_queries
from falcon.read.reactions import hbase as reactions_queries
from falcon.read.rooms import hbase as rooms_queries
from falcon.read.store import ReadStoreUnavailable
from falcon.read.timeline import hbase as timeline_queries
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import Dispatcher

_GENERATIONS_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


def _query(
    query: Callable[Concatenate[QueryContext, P], T],
) -> Callable[Concatenate["HBaseReadStore", P], Coroutine[Any, Any, T]]:
    """Makes a method that runs a query."""

    @functools.wraps(query)
    async def asked(self: "HBaseReadStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._ask(query, *args, **kwargs)

    return asked


class HBaseReadStore:
    """ReadStore over HBase, for one event loop. No query takes longer than ``seconds``, whatever HBase does.

    ``threads`` queries run at once and ``queue`` more wait. Give ``hbase`` as many connections as there are threads.
    """

    def __init__(self, hbase: HBase, prefix: str, *, threads: int = 16, queue: int = 256, seconds: float = 2.0) -> None:
        self._hbase = hbase
        self._prefix = prefix
        self._timed = TimedClient(Dispatcher("hbase-reads", threads=threads, queue=queue), seconds)
        self._lock = threading.Lock()
        self._live: tuple[dict[str, Generations], float] = ({}, 0.0)
        self._applied: dict[Partition, asyncio.Task[int]] = {}

    def close(self) -> None:
        self._timed.close()

    async def applied(self, partition: Partition) -> int:
        """Concurrent callers share one query: many wait for the same event."""
        asked = self._applied.get(partition)
        if asked is None or asked.get_loop() is not asyncio.get_running_loop():
            asked = self._applied[partition] = asyncio.ensure_future(self._ask(queries.applied, partition))
            asked.add_done_callback(lambda done: self._answered(partition, done))
        return await asyncio.shield(asked)

    applied_in = _query(queries.applied_in)
    applied_everywhere = _query(queries.applied_everywhere)
    page = _query(timeline_queries.page)
    message = _query(timeline_queries.message)
    message_at = _query(timeline_queries.message_at)
    newest = _query(timeline_queries.newest)
    room = _query(rooms_queries.room)
    direct_room = _query(rooms_queries.direct_room)
    all_rooms = _query(rooms_queries.all_rooms)
    totals = _query(rooms_queries.totals)
    access = _query(memberships_queries.access)
    rooms_of = _query(memberships_queries.rooms_of)
    room_of = _query(memberships_queries.room_of)
    roles_of = _query(memberships_queries.roles_of)
    member_rooms = _query(memberships_queries.member_rooms)
    member_rooms_among = _query(memberships_queries.member_rooms_among)
    summaries = _query(memberships_queries.summaries)
    summaries_of = _query(memberships_queries.summaries_of)
    members = _query(memberships_queries.members)
    mentions = _query(memberships_queries.mentions)
    account = _query(accounts_queries.account)
    accounts = _query(accounts_queries.accounts)
    names_of = _query(accounts_queries.names_of)
    bearer = _query(accounts_queries.bearer)
    tokens = _query(accounts_queries.tokens)
    shown_reactions = _query(reactions_queries.shown_reactions)
    reactions = _query(reactions_queries.reactions)
    known_reactions = _query(reactions_queries.known_reactions)

    async def _ask(self, query: Callable[Concatenate[QueryContext, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work(seconds: float) -> T:
            calls = self._hbase.within(seconds)
            try:
                try:
                    return query(self._view(calls), *args, **kwargs)
                except TableMissing:  # the table was rebuilt and the old one dropped: look up the new one
                    self._look_again()
                    return query(self._view(calls), *args, **kwargs)
            except HBaseFault as fault:
                raise ReadStoreUnavailable(f"cannot read the tables: {fault}") from fault

        name = query.__name__
        began = time.monotonic()
        try:
            return await self._timed.run(work)
        except ReadStoreUnavailable:
            metrics.read_failures.labels(name).inc()
            raise
        finally:
            metrics.read_seconds.labels(name).observe(time.monotonic() - began)

    def _view(self, calls: HBaseClient) -> QueryContext:
        """Generations are looked up once a second: a rebuild is rare, and corrects what was wrong for long."""
        live, until = self._live
        if time.monotonic() >= until:
            found = Meta(calls, self._prefix).all_generations(list(READ_MODELS))
            with self._lock:
                known = self._live[0]  # another thread was quicker: never go back to older generations
                live = {
                    name: known[name] if name in known and _age(known[name]) > _age(each) else each
                    for name, each in found.items()
                }
                self._live = (live, time.monotonic() + _GENERATIONS_SECONDS)
        return QueryContext(calls, self._prefix, live)

    def _look_again(self) -> None:
        with self._lock:
            self._live = (self._live[0], 0.0)

    def _answered(self, partition: Partition, done: "asyncio.Task[int]") -> None:
        if self._applied.get(partition) is done:
            del self._applied[partition]
        if not done.cancelled():
            done.exception()  # retrieve it: all callers may have gone


def _age(generations: Generations) -> tuple[int, int]:
    """Orders generations by time: a later look-up gives no less."""
    return generations.live, -generations.fill
