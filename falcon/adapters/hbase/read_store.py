"""Queries on the read tables, on threads of their own."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

from falcon.adapters.hbase import queries
from falcon.adapters.hbase.client import HBase, HBaseClient
from falcon.adapters.hbase.connection import HBaseFault, TableMissing
from falcon.adapters.hbase.meta import Generations, Meta
from falcon.adapters.hbase.queries import QueryContext
from falcon.adapters.hbase.timed_client import TimedClient
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.catalogue import READ_MODELS, HBaseQueries
from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import Dispatcher

_GENERATIONS_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class HBaseReadStore(HBaseQueries):
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
            asked = self._applied[partition] = asyncio.ensure_future(self.ask(queries.applied, partition))
            asked.add_done_callback(lambda done: self._answered(partition, done))
        return await asyncio.shield(asked)

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return await self.ask(queries.applied_in, partitions)

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        return await self.ask(queries.applied_everywhere, partitions, projections)

    async def ask(self, query: Callable[Concatenate[QueryContext, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
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
