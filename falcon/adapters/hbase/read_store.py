"""Queries on the read tables, on threads of their own."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

from falcon.adapters.hbase import queries
from falcon.adapters.hbase.calls import Calls, HBase
from falcon.adapters.hbase.lines import HBaseFault, TableMissing
from falcon.adapters.hbase.meta import Generations, Meta
from falcon.adapters.hbase.queries import View
from falcon.adapters.hbase.schema import TABLES
from falcon.adapters.hbase.timed import TimedCalls
from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Partition, RoomId, Seq
from falcon.journal.envelope import Position
from falcon.read.models import Access, AccountRow, MemberRow, RoomCursor, RoomRow, RoomSummaryRow, Standing, TokenRow
from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import Dispatcher

_GENERATIONS_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class HBaseReadStore:
    """ReadStore over HBase, for one event loop. No query takes longer than ``seconds``, whatever HBase does.

    ``threads`` ask at once and ``queue`` more wait; give ``hbase`` as many connections as there are threads.
    """

    def __init__(self, hbase: HBase, prefix: str, *, threads: int = 16, queue: int = 256, seconds: float = 2.0) -> None:
        self._hbase = hbase
        self._prefix = prefix
        self._timed = TimedCalls(Dispatcher("hbase-reads", threads=threads, queue=queue), seconds)
        self._lock = threading.Lock()
        self._live: tuple[dict[str, Generations], float] = ({}, 0.0)
        self._applied: dict[Partition, asyncio.Task[int]] = {}

    def close(self) -> None:
        self._timed.close()

    async def applied(self, partition: Partition) -> int:
        """Those who ask while one is away wait for its answer: many wait for the same event."""
        asked = self._applied.get(partition)
        if asked is None or asked.get_loop() is not asyncio.get_running_loop():
            asked = self._applied[partition] = asyncio.ensure_future(self._ask(queries.applied, partition))
            asked.add_done_callback(lambda done: self._answered(partition, done))
        return await asyncio.shield(asked)

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return await self._ask(queries.applied_in, partitions)

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        return await self._ask(queries.applied_everywhere, partitions, projections)

    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        return await self._ask(queries.access, room_id, account_id)

    async def page(self, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
        return await self._ask(queries.page, room_id, first, last)

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        return await self._ask(queries.message, room_id, seq)

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        return await self._ask(queries.message_at, room_id, seq)

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        return await self._ask(queries.newest, room_id, through)

    async def room(self, room_id: RoomId) -> RoomRow | None:
        return await self._ask(queries.room, room_id)

    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        return await self._ask(queries.room_of, account_id, room_id)

    async def direct_room(self, smaller: AccountId, larger: AccountId) -> RoomRow | None:
        return await self._ask(queries.direct_room, smaller, larger)

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        return await self._ask(queries.rooms_of, account_id, cursor, limit, most)

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        return await self._ask(queries.roles_of, account_id, limit, after)

    async def standings_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Standing]:
        return await self._ask(queries.standings_of, account_id, room_ids)

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        return await self._ask(queries.summaries_of, account_id, room_ids)

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        return await self._ask(queries.members, room_id, after, limit)

    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        return await self._ask(queries.mentions, account_id, room_id, after, through)

    async def account(self, account_id: AccountId) -> AccountRow | None:
        return await self._ask(queries.account, account_id)

    async def accounts(self, after: AccountId, limit: int) -> list[AccountRow]:
        return await self._ask(queries.accounts, after, limit)

    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        return await self._ask(queries.bearer, account_id, token_hash)

    async def tokens(self, account_id: AccountId) -> list[TokenRow]:
        return await self._ask(queries.tokens, account_id)

    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]:
        return await self._ask(queries.all_rooms, after, limit)

    async def totals(self) -> tuple[int, int, int]:
        return await self._ask(queries.totals)

    async def _ask(self, query: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work(seconds: float) -> T:
            calls = self._hbase.within(seconds)
            try:
                try:
                    return query(self._view(calls), *args, **kwargs)
                except TableMissing:  # rebuilt, and the old one dropped: look where the new one is
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

    def _view(self, calls: Calls) -> View:
        """Generations are looked up once a second: a rebuild is rare, and corrects what stood for long."""
        live, until = self._live
        if time.monotonic() >= until:
            found = Meta(calls, self._prefix).all_generations(list(TABLES))
            with self._lock:
                known = self._live[0]  # of a thread that was quicker, and which may not be taken back
                live = {
                    name: known[name] if name in known and known[name].live > each.live else each
                    for name, each in found.items()
                }
                self._live = (live, time.monotonic() + _GENERATIONS_SECONDS)
        return View(calls, self._prefix, live)

    def _look_again(self) -> None:
        with self._lock:
            self._live = (self._live[0], 0.0)

    def _answered(self, partition: Partition, done: "asyncio.Task[int]") -> None:
        if self._applied.get(partition) is done:
            del self._applied[partition]
        if not done.cancelled():
            done.exception()  # all who waited for it may have gone
