"""Metrics of requests by route: how long they take, and their status."""

from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

from falcon.http.responses import DELAYED
from falcon.telemetry import metrics

# In a request's scope: the status of its response.
STATUS: Final = "falcon.status"
_BUSY: Final = 2
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Meter:
    """One instance for each event loop. It looks up the metrics of a route, method and status once.

    ``in_flight``: the requests that are being answered; the caller counts one when it begins.

    ``operations``: paths and methods, the most frequent first. Their counters exist from the start; of the histograms,
    which are large, only those of the first operations.
    """

    def __init__(self, operations: Sequence[tuple[str, str]]) -> None:
        self._metrics: dict[tuple[str, str, int], tuple[metrics.Histogram, metrics.Counter]] = {}
        self.in_flight = 0
        for operation in operations:
            metrics.http_requests.begin((*operation, "2xx"), (*operation, "5xx"))
        metrics.http_seconds.begin(*operations[:_BUSY])
        metrics.http_in_flight.set_function(lambda: self.in_flight)

    def ended(self, scope: Scope, seconds: float) -> None:
        """A request without a status has lost its client before the response. The time for which a refusal is delayed
        is not counted: it says nothing of how fast Falcon is."""
        self.in_flight -= 1
        key = (getattr(scope.get("endpoint"), "path", "none"), scope["method"], scope.get(STATUS, 0) // 100)
        found = self._metrics.get(key)
        if found is None:
            found = self._metrics[key] = _metrics_of(*key)
        histogram, counter = found
        histogram.observe(seconds - scope.get(DELAYED, 0.0))
        counter.inc()


def _metrics_of(route: str, method: str, hundreds: int) -> tuple[metrics.Histogram, metrics.Counter]:
    """Unknown methods are counted as ``other``: a client must not be able to create series."""
    method = method if method in _METHODS else "other"
    status = f"{hundreds}xx" if hundreds else "gone"
    metrics.http_requests.begin((route, method, "5xx"))
    return metrics.http_seconds.labels(route, method), metrics.http_requests.labels(route, method, status)
