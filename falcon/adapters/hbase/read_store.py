"""Queries on the read tables, on threads of their own."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from falcon.adapters.hbase import queries
from falcon.adapters.hbase.client import HBase, HBaseClient
from falcon.adapters.hbase.connection import HBaseFault, TableMissing
from falcon.adapters.hbase.kept_rows import ROWS_MAX, KeptRows, NotKept, RowsOfRooms
from falcon.adapters.hbase.known_positions import KnownPositions, Live
from falcon.adapters.hbase.meta import Generations, Meta
from falcon.adapters.hbase.queries import QueryContext, live_generation
from falcon.adapters.hbase.timed_client import TimedClient
from falcon.domain.ids import NOBODY, AccountId, Partition, RoomId, partition_of
from falcon.features.read_marks import hbase as memberships
from falcon.features.read_marks.table import Access, Newest
from falcon.journal.envelope import Position
from falcon.read.catalogue import READ_MODELS, HBaseQueries
from falcon.read.hbase import Row
from falcon.read.items import Item, Items, items_in
from falcon.read.store import Moves, ReadStoreUnavailable
from falcon.streams.feed import Unchanged
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import Dispatcher

_GENERATIONS_SECONDS: Final = (
    1.0  # a rebuild keeps the tables that it replaced for longer, until readers have heard of the new ones
)

_ITEM_LISTS_MAX: Final = 1_000  # pages: as many as messages are kept of
_ITEMS_KEPT: Final = 50  # of a page, of some 300 bytes: at most 15 MB in all

# As Revocations.unchanged_since; last how far the tables are known to show the log.
UnchangedSince: TypeAlias = Callable[[RoomId, AccountId, int, int], Unchanged]

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
        self.positions = KnownPositions()
        self._kept: KeptRows[tuple[str, bytes], Row] | None = None
        self._kept_items: KeptRows[tuple[object, ...], list[Item]] | None = None
        self._partitions = 0
        self._looking: dict[Partition, asyncio.Task[int]] = {}

    def close(self) -> None:
        self._timed.close()

    def keep_rows(self, partitions: int, unchanged_since: UnchangedSince) -> None:
        """Keep who may read a room and what its page shows of small read models, beginning now."""

        def since(room_id: RoomId, account_id: AccountId, floor: int) -> Unchanged:
            shown = self.positions.highest[partition_of(room_id, partitions)]
            return unchanged_since(room_id, account_id, floor, shown)

        self._kept, self._kept_items = KeptRows(since, ROWS_MAX), KeptRows(since, _ITEM_LISTS_MAX)
        self._partitions = partitions

    # --- how far the tables show the log ------------------------------------------------------------------------------

    async def applied(self, partition: Partition) -> int:
        """Concurrent callers share one look: many wait for the same event."""
        live = await self._told([partition])
        if live is not None:
            return self.positions.shown(live, [partition])[partition].offset
        looking = self._looking.get(partition)
        if looking is None or looking.get_loop() is not asyncio.get_running_loop():
            looking = self._looking[partition] = asyncio.ensure_future(self._look_at(partition))
            looking.add_done_callback(lambda done: self._looked(partition, done))
        return await asyncio.shield(looking)

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        shown = self.positions.shown(await self._known(partitions), partitions)
        return {partition: position.offset for partition, position in shown.items()}

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        live = await self._known(range(partitions))
        for name in projections or ():
            live_generation(live, self._prefix, name)
        return self.positions.shown(live, range(partitions), projections)

    def learn(self, moves: Moves) -> None:
        """A projector has moved the positions of its tables."""
        self.positions.learn(moves)
        if self.positions.are_of_newer_tables(moves, self._live[0]):
            self._look_again()

    async def _known(self, partitions: Collection[Partition]) -> Live:
        """The live tables, whose positions are known. A query on another thread may find that others are live by now,
        of which nothing is known yet: they have all that the known ones show."""
        live = await self._told(partitions)
        return await self._look(partitions) if live is None else live

    async def _told(self, partitions: Collection[Partition]) -> Live | None:
        """The live tables if projectors have told all their positions, so that no look at them is needed. Which tables
        are live is looked up as for any query: positions of others say nothing of what a query shows."""
        if not self.positions.are_told():
            return None
        if time.monotonic() >= self._live[1]:
            await self.ask(queries.generations)
        live = self._live[0]
        return live if self.positions.know(live, partitions) else None

    async def _look_at(self, partition: Partition) -> int:
        """Returns what was seen: the position may be forgotten before all callers continue."""
        return self.positions.shown(await self._look([partition]), [partition])[partition].offset

    async def _look(self, partitions: Collection[Partition]) -> Live:
        """If other tables become live meanwhile, these are looked at, too."""
        while True:
            for moves in await self.ask(queries.applied, partitions):
                self.positions.learn(moves)
            live = self._live[0]
            self.positions.drop_before(live)
            if self.positions.know(live, partitions):
                return live

    # --- queries ------------------------------------------------------------------------------------------------------

    async def access(self, room_id: RoomId, account_id: AccountId, newest: Newest | None = None) -> Access | None:
        """Makes no call while nothing happens in the room."""
        if newest is not None:  # a caller that asks again may get newer rights, from kept rows
            newest.messages = newest.reactions = None
        if self._kept is None:
            return await super().access(room_id, account_id, newest)
        rows = RowsOfRooms(self._kept, account_id)
        live, until = self._live
        if time.monotonic() < until:
            with suppress(NotKept):
                view = QueryContext(self._hbase.within(0.0), self._prefix, live, rows)
                return memberships.access(view, room_id, account_id)
        may_keep = self.positions.are_told()  # otherwise it is one call to find out where the tables stand
        if may_keep:
            rows.shown = await self.applied(partition_of(room_id, self._partitions))
        rows.may_call = True

        def access(view: QueryContext) -> Access | None:
            return memberships.access(view._replace(rows=rows), room_id, account_id, newest)

        found = await self.ask(access)
        if may_keep and found is not None:
            self._kept.keep(rows.read, rows.shown)
        return found

    async def items(self, identity: int, model: Items, first: bytes, last: bytes, limit: int) -> list[Item]:
        """Makes no call for several items of a room while only messages are sent there and read."""
        if self._kept_items is None or model.of != "room_id" or first == last:
            return await super().items(identity, model, first, last, limit)
        asked = (identity, first, last, limit)
        live, until = self._live
        if (now := time.monotonic()) < until:
            table = QueryContext(self._hbase.within(0.0), self._prefix, live).table(model.name, model.name)
            kept = self._kept_items.get((table, *asked), now)
            if kept and kept.offset >= self._kept_items.unchanged_since(identity, NOBODY, kept.offset).history:
                return kept.value
        may_keep = self.positions.are_told()
        offset = await self.applied(partition_of(identity, self._partitions)) if may_keep else 0

        def items(view: QueryContext) -> tuple[str, list[Item]]:
            return view.table(model.name, model.name), items_in(view, identity, model, first, last, limit)

        table, found = await self.ask(items)
        if may_keep and len(found) <= _ITEMS_KEPT:
            self._kept_items.keep({(table, *asked): found}, offset)
        return found

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

    def _looked(self, partition: Partition, done: "asyncio.Task[int]") -> None:
        if self._looking.get(partition) is done:
            del self._looking[partition]
        if not done.cancelled():
            done.exception()  # retrieve it: all callers may have gone


def _age(generations: Generations) -> tuple[int, int]:
    """Orders generations by time: a later look-up gives no less."""
    return generations.live, -generations.fill
