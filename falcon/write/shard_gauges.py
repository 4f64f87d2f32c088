"""Shows the state of a shard: its gauges, and a row for each partition on the operators' page."""

from collections.abc import Iterable

from falcon.telemetry import metrics
from falcon.write.answers import KeyCounts
from falcon.write.owned import Owned, Serving, name_of, serving_of


class ShardGauges:
    """The gauges of one shard, set at each tick."""

    def __init__(self, shard: str, answers_bytes: int) -> None:
        metrics.keys_bytes_max.labels(shard).set(answers_bytes)
        self._aggregates = metrics.aggregates.labels(shard)
        self._owned = metrics.partitions_owned.labels(shard)
        self._assigned = metrics.partitions_assigned.labels(shard)
        self._in_flight = metrics.appends_in_flight.labels(shard)
        self._oldest = metrics.append_oldest.labels(shard)
        self._keys_bytes = metrics.keys_bytes.labels(shard)

    def measure(self, serving: Iterable[Serving], assigned: int, keys: KeyCounts, now: float) -> None:
        """``assigned``: how many partitions are. ``now``: CLOCK_MONOTONIC."""
        served = list(serving)
        in_flight = [append for each in served for append in each.in_flight]
        self._aggregates.set(sum(each.aggregates.in_memory for each in served))
        self._owned.set(len(served))
        self._assigned.set(assigned)
        self._in_flight.set(len(in_flight))
        self._oldest.set(max((now - append.since for append in in_flight), default=0.0))
        self._keys_bytes.set(keys.bytes)


def describe_partition(number: int, owned: Owned, now: float) -> dict[str, object]:
    """``oldest_append_seconds``: how long the oldest append has been under way. Another thread may ask."""
    serving = serving_of(owned)
    in_flight = [] if serving is None else list(serving.in_flight)
    aggregates = None if serving is None else serving.aggregates
    return {
        "partition": number,
        "state": name_of(owned),
        "epoch": None if aggregates is None else aggregates.epoch,
        "confirmed": None if aggregates is None else aggregates.confirmed,
        "aggregates": 0 if aggregates is None else aggregates.in_memory,
        "uncheckpointed": 0 if aggregates is None else aggregates.uncheckpointed,
        "appends_in_flight": len(in_flight),
        "oldest_append_seconds": round(now - in_flight[0].since, 6) if in_flight else 0.0,
    }
