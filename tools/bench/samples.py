"""Single runs, their spread over several, and how one server compares with another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec

FALCON = "falcon"
CRUD = "crud"
NAMES = {
    "bare": "bare route",
    CRUD: "CRUD chat",
    FALCON: "Falcon",
    "centrifugo": "Centrifugo",
}


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, with the least and the most."""

    middle: float
    least: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(median(values), min(values), max(values))


class Sample(msgspec.Struct, frozen=True):
    """One run of one workload against one server."""

    rate: float  # answers a second
    p50: float  # ms
    p99: float  # ms
    cpu: float  # µs of all the server's processes, per answer
    per_flush: float | None  # answers per flush of the disk's cache; None where nothing was flushed
    refused: int  # answers that were no success
    broken: int  # connections and time-outs that failed
    generator: float  # share of its core that the load generator used
    others: float  # share of the server's core that went to anything but the server
    speed: float  # of the server's core just before, million steps of a fixed loop a second


# By server, then by workload, in the order of the rounds.
Samples = Mapping[str, Mapping[str, Sequence[Sample]]]
Figure = Callable[[Sample], float]


def rate(sample: Sample) -> float:
    return sample.rate


def cpu(sample: Sample) -> float:
    return sample.cpu


def p50(sample: Sample) -> float:
    return sample.p50


def p99(sample: Sample) -> float:
    return sample.p99


# For each figure: its unit, its value, whether more is better, and its format.
_CHECKS: tuple[tuple[str, Figure, bool, str], ...] = (
    ("a second", rate, True, "{:,.0f}"),
    ("ms at the median", p50, False, "{:.2f}"),
    ("ms at the 99th percentile", p99, False, "{:.2f}"),
    ("µs of CPU each", cpu, False, "{:.0f}"),
)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that a machine that gets slower does so for both."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def compared(ours: Sequence[Sample], theirs: Sequence[Sample], figure: Figure) -> list[float]:
    """A figure of ours as a multiple of theirs, round by round."""
    return ratios(list(map(figure, ours)), list(map(figure, theirs)))


def against(samples: Samples, workload: str, other: str, figure: Figure, server: str = FALCON) -> list[float]:
    """The same for two servers at one workload; nothing if either was not measured."""
    return compared(samples.get(server, {}).get(workload, ()), samples.get(other, {}).get(workload, ()), figure)


def workloads(samples: Samples) -> list[str]:
    """The workloads for which a server has samples, in the order of their measurement."""
    return list(dict.fromkeys(name for each in samples.values() for name, found in each.items() if found))


def behind(samples: Samples, other: str) -> list[str]:
    """The figures in which Falcon is worse than another server, with both values."""
    found: list[str] = []
    for workload in workloads(samples):
        ours, theirs = (samples.get(server, {}).get(workload, ()) for server in (FALCON, other))
        for unit, figure, more_is_better, form in _CHECKS:
            times = against(samples, workload, other, figure)
            if times and (median(times) < 1 if more_is_better else median(times) > 1):
                shown = [form.format(median(map(figure, each))) for each in (ours, theirs)]
                found.append(f"{workload}: {shown[0]} {unit} to {shown[1]}, {median(times):.2f}×")
    return found
