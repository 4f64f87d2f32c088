"""Turns a histogram's cells into Prometheus' buckets."""

import math
from itertools import pairwise

import msgspec

from falcon.telemetry.instruments import BUCKETS_AT, PER_DOUBLING, Range

_CLASSIC_MAX = 17


def maximum_name(name: str) -> str:
    return f"{name.removesuffix('_seconds')}_max_seconds" if name.endswith("_seconds") else f"{name}_max"


def classic_buckets(range_: Range, cells: list[float]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound: the native buckets of each doubling together."""
    counts = cells[BUCKETS_AT:]
    reached = 1 + (range_.classic - range_.low) * PER_DOUBLING
    total = sum(counts[:reached])
    buckets = [(_bound(range_.classic), total)]
    for exponent in range(range_.classic + 1, min(range_.high + 1, range_.classic + _CLASSIC_MAX)):
        total += sum(counts[reached : reached + PER_DOUBLING])
        reached += PER_DOUBLING
        buckets.append((_bound(exponent), total))
    buckets.append(("+Inf", total + sum(counts[reached:])))
    return buckets


def _bound(exponent: int) -> str:
    return repr(math.ldexp(1.0, exponent))


class NativeBuckets(msgspec.Struct, frozen=True):
    """``spans``: pairs of how many buckets to skip (in the first pair: where it begins) and how many follow.

    ``deltas``: each bucket's count minus the count of the one before, as Prometheus' format has them.
    """

    count: int
    sum: float
    zero_threshold: float
    zero_count: int
    spans: list[tuple[int, int]]
    deltas: list[int]


def native_buckets(range_: Range, cells: list[float]) -> NativeBuckets:
    counts = [round(count) for count in cells[BUCKETS_AT:]]
    first = range_.low * PER_DOUBLING
    filled = [(first + i, count) for i, count in enumerate(counts) if i > 0 and count > 0]
    spans: list[tuple[int, int]] = []
    end = 0
    for index, _ in filled:
        if spans and index == end:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((index - end, 1))
        end = index + 1
    sizes = [count for _, count in filled]
    deltas = sizes[:1] + [after - before for before, after in pairwise(sizes)]
    return NativeBuckets(sum(counts), cells[0], 2.0**range_.low, counts[0], spans, deltas)
