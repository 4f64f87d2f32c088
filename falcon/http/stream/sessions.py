"""The streams of one event loop: how many there are, what they share, and their ends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from starlette.types import Scope

from falcon.base.shared import Shared
from falcon.domain.ids import AccountId, RoomId
from falcon.http.authenticator import Authenticator
from falcon.http.limits.costs import measured
from falcon.http.limits.limiter import Limiter
from falcon.http.problems import Problem
from falcon.http.stream.callers import StreamCaller, StreamCallers
from falcon.http.stream.opening import Opener, PendingStream, Rooms, StreamTables
from falcon.http.stream.sinks import CLOSE_CODES, StreamSink
from falcon.http.stream.turns import TableTurns
from falcon.journal.ports import JournalUnavailable
from falcon.read.catalogue import ReadStore
from falcon.read.names import AccountNames
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.delivery import Lookups
from falcon.streams.feed import Feed
from falcon.streams.receipts import Receipts
from falcon.streams.room_lists import RoomLists
from falcon.streams.signals import Signals
from falcon.streams.subscription import Subscription
from falcon.streams.tail import WrongPlace
from falcon.telemetry import metrics

T = TypeVar("T")

log = logging.getLogger("falcon.http")

_BEAT_SECONDS: Final = 7.0  # so that no connection is silent for fifteen


class Streams:
    """``most``: how many there may be. ``buffer_bytes``: what may wait for one connection. ``secret``: the server's,
    which signs tickets."""

    def __init__(
        self,
        store: ReadStore,
        feed: Feed,
        signals: Signals,
        lookups: Lookups,
        names: AccountNames,
        authenticator: Authenticator,
        limiter: Limiter,
        secret: bytes,
        most: int,
        buffer_bytes: int,
    ) -> None:
        self.signals = signals
        applied = Shared(lambda: store.applied_everywhere(feed.partitions))
        self.room_lists = RoomLists(store, feed, applied)
        self._feed = feed
        self._receipts = Receipts(feed, store)
        self._callers = StreamCallers(authenticator, limiter, signals, secret)
        self._opener = Opener(
            store, feed, lookups, names, applied, self.room_lists, limiter, TableTurns(), authenticator.revocations
        )
        self._limiter = limiter
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._draining = False
        self._opening = 0
        self._serving: set[Subscription] = set()
        self._open = {"sse": 0, "websocket": 0}
        self._beating: asyncio.Task[None] | None = None
        metrics.streams_max.set(most)
        metrics.streams_queued.set(0)
        metrics.streams_opened.begin(("hello",), ("replay",), ("catch_up",))
        metrics.streams_ended.begin(*((reason,) for reason in CLOSE_CODES))
        for transport in self._open:
            metrics.streams.labels(transport).set_function(partial(self._open.__getitem__, transport))

    def start(self) -> None:
        self._feed.start()
        self.signals.start()
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await self.signals.stop()
        await self._feed.stop()

    def drain(self) -> None:
        """Send every stream to another server, and refuse new ones."""
        self._draining = True
        self.signals.drain()
        for subscription in list(self._serving):
            subscription.end("draining")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            for subscription in list(self._serving):
                subscription.beat()
            metrics.streams_queued.set(sum(subscription.queued for subscription in self._serving))

    async def open(
        self,
        scope: Scope,
        ticket: str | None,
        only: Rooms,
        signals: frozenset[str],
        watched: frozenset[AccountId],
        token: str | None,
    ) -> PendingStream:
        """A stream that may begin. ``watched``: the accounts whose presence it receives. ``token``: to resume from.

        Raises Problem, ReadStoreUnavailable."""
        if self._draining or sum(self._open.values()) + self._opening >= self._most:
            metrics.streams_refused.inc()
            raise Problem(503, "overloaded", "This server takes no more streams.", retry_after=1)
        self._opening += 1
        try:
            tables = self._opener.tables(token)
            caller = await self._callers.identify(scope, dict(scope["headers"]), ticket, tables.turn)
            account_id = caller.account_id
            opening = await self._paid(account_id, self._opened(caller, only, signals, token, tables))
        finally:
            self._opening -= 1
        if self._limiter.limits_costs:
            self._limiter.charge(account_id, 0.0, opening.size)
        opening.signals = signals
        opening.watched = watched
        return opening

    async def _opened(
        self, caller: StreamCaller, only: Rooms, signals: frozenset[str], token: str | None, tables: StreamTables
    ) -> PendingStream:
        large: list[RoomId] = []
        if only is not None and "receipts" in signals:
            async with tables.turn():
                large = await self._receipts.large(only)
        return await self._opener.open(caller, only, token, tables, large)

    def _paid(self, account_id: AccountId, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """The work, whose processor time the account pays for."""
        return measured(work, partial(self._limiter.charge, account_id)) if self._limiter.limits_costs else work

    async def serve(self, opening: PendingStream, sink: StreamSink, gone: Coroutine[Any, Any, None]) -> None:
        """Runs until the client is ``gone``, or Falcon has ended the stream."""
        caller = opening.caller
        subscription = Subscription(
            caller.account_id,
            caller.token_hash,
            opening.only,
            sink,
            self._buffer_bytes,
            opening.signals,
            opening.watched,
        )
        subscription.id = opening.id
        expiring = None
        if caller.expires_at is not None:
            left = caller.expires_at / 1_000 - time.time()
            expiring = asyncio.get_running_loop().call_later(max(0.0, left), subscription.end, "unauthenticated")
        self._open[sink.transport] += 1
        self._serving.add(subscription)
        if self._draining:  # since it was opened
            subscription.end("draining")
        metrics.streams_opened.labels(opening.start).inc()
        listening = asyncio.ensure_future(self._paid(caller.account_id, opening.begin(subscription)))
        leaving = asyncio.ensure_future(gone)
        ends: set[asyncio.Future[Any]] = {leaving, sink.ended}
        try:
            await asyncio.wait({listening, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
                self.signals.came(subscription)
                self._receipts.came(subscription, opening.large)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except (JournalUnavailable, ReadStoreUnavailable, WrongPlace) as error:
            log.warning("a stream could not begin: %s", error)
            subscription.end("draining")
        finally:
            self._open[sink.transport] -= 1
            self._serving.discard(subscription)
            listening.cancel()
            leaving.cancel()
            if expiring is not None:
                expiring.cancel()
            self.signals.went(subscription)
            self._receipts.went(subscription)
            self._feed.remove(subscription)
            subscription.lose()
        if sink.ended.done():
            await sink.say_bye(*sink.ended.result())
