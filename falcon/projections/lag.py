"""The projection lag: how many events a projection is behind the log, and the age of the oldest of them."""

import time
from collections.abc import Iterable, Sequence
from typing import Final

from falcon.domain.ids import Millis, Partition
from falcon.journal.envelope import Recorded
from falcon.telemetry import metrics, tracing

# The projection by which a message becomes readable.
TIMELINE: Final = "timeline"

# How long messages took to become readable.
READABLE: Final = metrics.message_seconds.labels("readable")


class Lag:
    """Measures one projection. The age grows by itself while nothing is applied, whatever the reason."""

    def __init__(self, projection: str) -> None:
        self._oldest: dict[Partition, Millis] = {}
        self._events = metrics.projection_lag.labels(projection)
        self._name = f"project {projection}"
        self._seconds = metrics.projection_seconds.labels(projection)
        self._shows_messages = projection == TIMELINE
        metrics.projection_lag_seconds.labels(projection).set_function(self._age)

    def read(self, events: Iterable[Recorded]) -> None:
        """Note that these events are to be applied now."""
        for recorded in events:
            self._oldest.setdefault(recorded.envelope.partition, recorded.envelope.at)

    def applied(self, events: Sequence[Recorded], partitions: Iterable[Partition], seconds: float) -> None:
        """Everything that was read of these partitions is in the tables. Writing it took ``seconds``."""
        for partition in partitions:
            self._oldest.pop(partition, None)
        if events:
            self._seconds.observe(seconds)
        tracing.done(self._name, (recorded.envelope.trace for recorded in events), seconds)
        if self._shows_messages:
            now = time.time() * 1000
            for recorded in events:
                READABLE.observe(max(0.0, (now - recorded.envelope.at) / 1000))

    def caught_up(self) -> None:
        """The projection has applied everything."""
        self._oldest.clear()

    def set_remaining(self, events: int) -> None:
        self._events.set(events)

    def _age(self) -> float:
        oldest = min(list(self._oldest.values()), default=None)
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000)
