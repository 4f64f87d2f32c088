"""Limits of a server's connections: the size of a request, the time for each part of it, and their number."""

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from falcon.base.buckets import Buckets
from falcon.http.limits.per_address import ConnectionsPerAddress
from falcon.http.server.connection_limits import ConnectionLimits
from falcon.http.server.connection_slots import ConnectionSlots
from falcon.http.server.memory_budget import ConnectionBudget, MemoryBudget
from falcon.http.server.unknown_requests import UnknownRequests
from falcon.telemetry import metrics

_BYTES_ACKED: Final = slice(120, 128)  # tcpi_bytes_acked in struct tcp_info
# Broken requests that are answered at once in a second. Each further one is answered by the next round, so that clients
# that send them do not take the processor from others.
_BROKEN_AT_ONCE: Final = 100
# The sweep works for so long, then lets others work. Clients that come together end together, and to end a connection
# takes fifty times as long as to check it.
TURN_SECONDS: Final = 0.002
_CHECKED_AT_ONCE: Final = 20  # between two looks at the clock
PAUSE_SECONDS: Final = 0.01  # a fifth of the processor at most goes to closing connections


class _Unread(NamedTuple):
    """``size``: bytes that the client has not read. ``acknowledged``: bytes that it has acknowledged so far, since the
    connection began. ``until``: the time at which it is cut unless it has read more."""

    size: int
    acknowledged: int
    until: float


class ConnectionSweeper:
    """Checks every connection of one server once a second. A timer for each request would cost more.

    It cuts clients that read too slowly. All other times depend on the part that a connection is reading, so the
    protocol checks them itself. uvicorn's WebSockets have pings instead.
    """

    def __init__(
        self,
        server: str,
        limits: ConnectionLimits | None = None,
        connections_max: int | None = None,
        per_address: ConnectionsPerAddress | None = None,
    ) -> None:
        self.limits = limits or ConnectionLimits()
        per_address = per_address or ConnectionsPerAddress()
        self.addresses = per_address.addresses
        self.slots = ConnectionSlots(server, connections_max, per_address)
        self.memory = MemoryBudget(self.limits.held_bytes, self.limits.holder_bytes)
        self.unknown_requests = UnknownRequests()
        self._broken = Buckets(_BROKEN_AT_ONCE, 1.0)
        self._connections: Collection[Any] = ()
        self._round: list[Any] = []  # connections that have not been checked yet
        self._waiting: dict[Any, _Unread] = {}
        self._waited: dict[Any, _Unread] = {}  # those of the round before
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.connections_cut.begin(*((reason,) for reason in metrics.CUTS))

    def watch(self, connections: Collection[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Check these connections from now on, while there are any."""
        self._connections = connections
        if self._loop is None:
            self._loop = loop
            loop.call_later(self.limits.sweep_seconds, self._begin_round)

    def must_wait(self) -> bool:
        """True if so many broken requests are answered this second that the next one waits for its answer."""
        return self._broken.consume(None) > 0

    def _begin_round(self) -> None:
        assert self._loop is not None
        if not self._connections:
            self._loop = None
            return
        self._round = list(self._connections)
        self._waiting, self._waited = {}, self._waiting
        self._check_some()

    def _check_some(self) -> None:
        """Checks connections for some milliseconds, so that other tasks do not wait long."""
        assert self._loop is not None
        now = self._loop.time()
        until = time.perf_counter() + TURN_SECONDS  # the loop's own clock stands still within a turn
        while self._round and time.perf_counter() < until:
            for connection in self._round[-_CHECKED_AT_ONCE:]:
                if connection in self._connections:
                    self._check(connection, now)
            del self._round[-_CHECKED_AT_ONCE:]
        if self._round:
            self._loop.call_later(PAUSE_SECONDS, self._check_some)
        else:
            self._cut_slowest()
            self._loop.call_later(self.limits.sweep_seconds, self._begin_round)

    def _check(self, connection: Any, now: float) -> None:
        size = _unread(connection)
        budget: ConnectionBudget | None = getattr(connection, "budget", None)
        if budget is not None:
            budget.set_unread(size)
        if size:
            waits = self._waiting[connection] = self._waits(connection, size, now)
            if now > waits.until:
                self._cut(connection, "stalled")
                return
        check_time = getattr(connection, "check_time", None)
        if check_time is not None:
            check_time(now)

    def _cut_slowest(self) -> None:
        """Cut the slowest readers of each holder that has as much as it may, until it has less. The ones that wait
        since the last round only may be fast."""
        full = [
            (waits.until, connection)
            for connection, waits in self._waiting.items()
            if connection in self._waited and _must_be_cut(connection)
        ]
        for _, connection in sorted(full, key=lambda each: each[0]):
            if _must_be_cut(connection):
                self._cut(connection, "held")

    def _cut(self, connection: Any, reason: str) -> None:
        metrics.connections_cut.labels(reason).inc()
        connection.transport.abort()
        if (budget := getattr(connection, "budget", None)) is not None:
            budget.set_unread(0)

    def _waits(self, connection: Any, size: int, now: float) -> _Unread:
        """Returns what the client has not read, and until when it may wait with that. The kernel's count tells how much
        it reads; the size alone does not, since more may be written meanwhile."""
        acknowledged = _acknowledged(connection.transport)
        before = self._waited.get(connection)
        latest = now + self.limits.stalled_seconds
        if before is None:
            return _Unread(size, acknowledged, latest)
        read = max(acknowledged - before.acknowledged, before.size - size)
        return _Unread(size, acknowledged, min(latest, before.until + read / self.limits.read_bytes_a_second))


def _unread(connection: Any) -> int:
    unread: Callable[[], int] = getattr(connection, "unread", connection.transport.get_write_buffer_size)
    return unread()


def _must_be_cut(connection: Any) -> bool:
    budget: ConnectionBudget | None = getattr(connection, "budget", None)
    return budget is not None and budget.must_be_cut()


def _acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the other end has acknowledged, as the kernel's counter; 0 if it does not count them."""
    try:
        info: bytes = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return 0
    return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
