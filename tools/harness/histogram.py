"""Times in buckets 2 % wide, which add up over people, workers and seconds as no percentile does."""

from __future__ import annotations

import math
from collections.abc import Iterable

_PER_DECADE = 116  # 10 ** (1 / 116) is 1.02
_SHORTEST = 1e-6


class Histogram:
    """A histogram of times in seconds."""

    __slots__ = ("buckets", "count", "longest")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        bucket = round(_PER_DECADE * math.log10(max(seconds, _SHORTEST)))
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.longest = max(self.longest, seconds)

    def merge(self, other: Histogram) -> None:
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.longest = max(self.longest, other.longest)

    def quantile(self, share: float) -> float | None:
        """The time that this share (0 to 1) does not exceed, within 1 %; None where there is none."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                return min(math.pow(10.0, bucket / _PER_DECADE), self.longest)
        return None

    def quantile_ms(self, share: float) -> float | None:
        seconds = self.quantile(share)
        return None if seconds is None else seconds * 1000

    def packed(self) -> tuple[float, list[int]]:
        """The longest; then bucket, count, bucket, count and so on."""
        return self.longest, [number for pair in sorted(self.buckets.items()) for number in pair]

    @classmethod
    def unpacked(cls, longest: float, numbers: Iterable[int]) -> Histogram:
        found = cls()
        rest = iter(numbers)
        found.buckets = dict(zip(rest, rest, strict=True))
        found.count = sum(found.buckets.values())
        found.longest = longest
        return found
