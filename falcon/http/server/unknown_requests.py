"""Requests that no client of Falcon makes. Each is counted; they are logged once a minute, without their content."""

import asyncio
import logging
from collections import Counter
from typing import Final

from starlette.types import Scope

from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

LOG_SECONDS: Final = 60.0  # a flood of them is one line a minute
KEY: Final = "falcon.unknown_requests"  # in scope["state"]


class UnknownRequests:
    """One instance for each event loop. The first request is logged at once, those of the next minute at its end."""

    def __init__(self, seconds: float = LOG_SECONDS) -> None:
        self._seconds = seconds
        self._since: Counter[str] = Counter()
        self._next: asyncio.TimerHandle | None = None
        metrics.http_junk.begin(*((kind,) for kind in metrics.JUNK))

    def count(self, kind: str) -> None:
        """``kind``: one of metrics.JUNK."""
        metrics.http_junk.labels(kind).inc()
        self._since[kind] += 1
        if self._next is None:
            self._log()

    def _log(self) -> None:
        if not self._since:
            self._next = None
            return
        counted = ", ".join(f"{kind} {count}" for kind, count in sorted(self._since.items()))
        log.warning("requests that are none of Falcon's clients': %s", counted)
        self._since.clear()
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._log)


def count_request(scope: Scope, kind: str) -> None:
    """Count the request if it came to one of Falcon's own servers; tests may use another one."""
    requests = scope.get("state", {}).get(KEY)
    if requests is not None:
        requests.count(kind)
