"""How long requests take and how they end, by the route that they were for."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from falcon.telemetry import metrics

# Where whoever answers leaves the status.
STATUS: Final = "falcon.status"
_BUSY: Final = 2
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class PerTurn:
    """A counter of what happens on the running event loop, told at the end of each turn how often it did.

    A counter of its own costs a lock and a look into shared memory, and this stands in the way of every message. A
    process that is killed takes along what it has counted in the turn under way.
    """

    __slots__ = ("_count", "_counter", "_loop")

    def __init__(self, counter: metrics.Counter) -> None:
        self._loop = asyncio.get_running_loop()
        self._counter = counter
        self._count = 0

    def inc(self) -> None:
        if not self._count:
            self._loop.call_soon(self._hand_on)
        self._count += 1

    def _hand_on(self) -> None:
        self._counter.inc(self._count)
        self._count = 0


class Meter:
    """Of one event loop. Looks the figures of a route, method and status up once.

    ``operations``: paths and methods, the busiest first. Their counters are there from the beginning; histograms, which
    are large, only those of the first.
    """

    def __init__(self, operations: Sequence[tuple[str, str]]) -> None:
        self._figures: dict[tuple[str, str, int], tuple[metrics.Histogram, PerTurn]] = {}
        self._in_flight = 0
        for operation in operations:
            metrics.http_requests.begin((*operation, "2xx"), (*operation, "5xx"))
        metrics.http_seconds.begin(*operations[:_BUSY])
        metrics.http_in_flight.set_function(lambda: self._in_flight)

    def began(self) -> None:
        self._in_flight += 1

    def ended(self, scope: Scope, seconds: float) -> None:
        """Without a status the client went away before there was one."""
        self._in_flight -= 1
        key = (getattr(scope.get("endpoint"), "path", "none"), scope["method"], scope.get(STATUS, 0) // 100)
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = _figures(*key)
        histogram, counter = figures
        histogram.observe(seconds)
        counter.inc()


def _figures(route: str, method: str, hundreds: int) -> tuple[metrics.Histogram, PerTurn]:
    """Anybody can invent methods, and none may make a series."""
    method = method if method in _METHODS else "other"
    status = f"{hundreds}xx" if hundreds else "gone"
    metrics.http_requests.begin((route, method, "5xx"))
    return metrics.http_seconds.labels(route, method), PerTurn(metrics.http_requests.labels(route, method, status))
