"""The change between two scrapes of an address."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from falcon.cli.top.scraping import Labels, Scrape
from falcon.telemetry.buckets import maximum_name

Key: TypeAlias = tuple[str, ...]
Together: TypeAlias = Callable[[Iterable[float]], float]

_MAXIMUM_OF_SECONDS: Final = 60.0


class Distribution(msgspec.Struct, frozen=True):
    """The growth of a histogram. ``buckets``: how many values a second were at most as large as the bound.

    ``maximum``: of the last minute. ``covered``: True if that minute covers the growth, so no value was larger.
    """

    buckets: Mapping[float, float]
    maximum: float
    covered: bool = True

    @property
    def per_second(self) -> float:
        return self.buckets.get(math.inf, 0.0)

    def __add__(self, other: "Distribution") -> "Distribution":
        buckets = dict(self.buckets)
        for bound, count in other.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count
        return Distribution(buckets, max(self.maximum, other.maximum), self.covered and other.covered)

    def quantile(self, share: float) -> float | None:
        """An estimate from the buckets; None if nothing happened."""
        rank = share * self.per_second
        lower = below = 0.0
        for bound, count in sorted(self.buckets.items()):
            if count > below and count >= rank:
                value = _between(lower, bound, (rank - below) / (count - below))
                return min(value, self.maximum) if self.covered and self.maximum > 0 else value
            lower, below = bound, count
        return None


def _between(lower: float, upper: float, share: float) -> float:
    """Interpolates by ratio, because the bounds are powers of two. The last bucket has no upper bound."""
    if math.isinf(upper):
        return lower
    if lower <= 0:
        return upper * share
    return float(lower * (upper / lower) ** share)


class Change:
    """From ``before`` to ``after``. Without ``before`` only gauges are known.

    ``by``: the labels that separate values. Values that differ in other labels are added up.
    """

    def __init__(self, before: Scrape | None, after: Scrape) -> None:
        self._before = before
        self._after = after
        self.seconds = 0.0 if before is None else after.at - before.at

    def now(self, name: str, *by: str, together: Together = sum) -> dict[Key, float]:
        """The values of gauges at the end."""
        return _grouped(self._after.samples.get(name, {}), by, together)

    def rates(self, name: str, *by: str) -> dict[Key, float]:
        """The growth of a counter per second. ``name`` without ``_total``."""
        name = f"{name}_total"
        grown = {labels: self._grown(name, labels, value) for labels, value in self._of(self._after, name).items()}
        return _grouped({labels: self._per_second(growth) for labels, growth in grown.items()}, by, sum)

    def distributions(self, name: str, *by: str) -> dict[Key, Distribution]:
        maxima = self.now(maximum_name(name), *by, together=max)
        before = {} if self._before is None else _histograms(self._before, name)
        found: dict[Key, Distribution] = {}
        for labels, counts in _histograms(self._after, name).items():
            key = _key(labels, by)
            buckets = {
                bound: self._per_second(count) for bound, count in _increase(before.get(labels, {}), counts).items()
            }
            one = Distribution(buckets, maxima.get(key, 0.0), self.seconds <= _MAXIMUM_OF_SECONDS)
            found[key] = found[key] + one if key in found else one
        return found

    def _grown(self, name: str, labels: Labels, value: float) -> float:
        """A value that has fallen restarted at 0, so all of it is growth."""
        earlier = self._of(self._before, name).get(labels, 0.0)
        return value - earlier if value >= earlier else value

    def _per_second(self, growth: float) -> float:
        return growth / self.seconds if self.seconds > 0 else 0.0

    @staticmethod
    def _of(scrape: Scrape | None, name: str) -> Mapping[Labels, float]:
        return {} if scrape is None else scrape.samples.get(name, {})


def _histograms(scrape: Scrape, name: str) -> dict[Labels, dict[float, float]]:
    """Cumulative counts by bound, for each label set."""
    found: dict[Labels, dict[float, float]] = {}
    for labels, count in scrape.samples.get(f"{name}_bucket", {}).items():
        rest = tuple(label for label in labels if label[0] != "le")
        found.setdefault(rest, {})[float(dict(labels)["le"])] = count
    return found


def _increase(before: Mapping[float, float], after: Mapping[float, float]) -> dict[float, float]:
    """If one bucket has fallen, all of them restarted at 0."""
    if any(after.get(bound, 0.0) < count for bound, count in before.items()):
        before = {}
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def _grouped(values: Mapping[Labels, float], by: Key, together: Together) -> dict[Key, float]:
    groups: dict[Key, list[float]] = {}
    for labels, value in values.items():
        groups.setdefault(_key(labels, by), []).append(value)
    return {key: together(group) for key, group in groups.items()}


def _key(labels: Labels, by: Key) -> Key:
    values = dict(labels)
    return tuple(values.get(name, "") for name in by)
