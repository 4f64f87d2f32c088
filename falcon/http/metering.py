"""How long requests take and how they end, by the route that they were for."""

from typing import Final

from starlette.types import Scope

from falcon.telemetry import metrics

# Where whoever answers leaves the status.
STATUS: Final = "falcon.status"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Meter:
    """Of one event loop. Looks the figures of a route, method and status up once."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, int], tuple[metrics.Histogram, metrics.Counter]] = {}
        self._in_flight = 0
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


def _figures(route: str, method: str, hundreds: int) -> tuple[metrics.Histogram, metrics.Counter]:
    """Anybody can invent methods, and none may make a series."""
    method = method if method in _METHODS else "other"
    status = f"{hundreds}xx" if hundreds else "gone"
    metrics.http_requests.begin((route, method, "5xx"))
    return metrics.http_seconds.labels(route, method), metrics.http_requests.labels(route, method, status)
