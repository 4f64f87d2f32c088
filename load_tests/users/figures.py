"""The figures of a run, for the report and its JSON. Times in ms, rates a second, sizes in MiB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from load_tests.users.recorder import AUDIT, COUNTED, PUSHED, Second, Sum, Timeline
from tools.harness.histogram import Histogram
from tools.harness.watching import Look, rates

_POINTS_MAX: Final = 300


class Kind(msgspec.Struct, frozen=True):
    """One kind of act over the whole run."""

    count: int
    failed: int
    rate: float
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float


class Moment(msgspec.Struct, frozen=True):
    """A stretch of the run that begins ``at`` s after its begin. ``acts`` and ``failed`` a second. Falcon's part is of
    the same time: ``cpu`` and ``generator_cpu`` in cores, the largest mailbox, the longest lag (s)."""

    at: float
    people: float
    acts: float
    failed: float
    p50: float | None
    p95: float | None
    p99: float | None
    pushed_p99: float | None
    generator_late: float
    generator_cpu: float
    cpu: float | None = None
    mailbox: float | None = None
    mailbox_bound: float | None = None
    mailbox_oldest: float | None = None
    in_flight: float | None = None
    lag: float | None = None
    loop_delay: float | None = None
    memory: float | None = None
    streams: float | None = None
    delivered: float | None = None


class Falcon(msgspec.Struct, frozen=True):
    """Falcon's figures over the run."""

    looks: int
    missed: int
    problem: str
    cpu_mean: float
    cpu_max: float
    mailbox_max: float
    mailbox_refused: float
    lag_max: float
    memory_max: float
    streams_max: float


def kinds(timeline: Timeline, begin: float, end: float) -> dict[str, Kind]:
    """The kinds that occurred, the most frequent first. The audit comes after the end."""
    sums = timeline.over(begin, end)
    audit = timeline.over(begin, math.inf).get(AUDIT)
    if audit is not None:
        sums[AUDIT] = audit
    return {name: kind(sums[name], end - begin) for name in sorted(sums, key=lambda name: -sums[name].times.count)}


def counted(timeline: Timeline, begin: float, end: float) -> Kind:
    """All acts together."""
    return kind(_together(timeline.over(begin, end)), end - begin)


def kind(of: Sum, seconds: float) -> Kind:
    times = of.times
    return Kind(
        count=times.count,
        failed=of.failed,
        rate=times.count / seconds if seconds else 0.0,
        p50=times.quantile_ms(0.50),
        p95=times.quantile_ms(0.95),
        p99=times.quantile_ms(0.99),
        longest=times.longest * 1000,
    )


def moments(timeline: Timeline, looks: Sequence[Look], begin: float, end: float) -> list[Moment]:
    """Stretches of equal length, a second or more."""
    width = max(1, math.ceil((end - begin) / _POINTS_MAX))
    falcon = _Falcons(looks)
    return [
        _moment(timeline, falcon, at, min(at + width, math.ceil(end)), begin)
        for at in range(math.floor(begin), math.ceil(end), width)
    ]


def falcon(looks: Sequence[Look], missed: int, problem: str) -> Falcon:
    cpu = [value for _, value in rates(looks, "cpu")]
    return Falcon(
        looks=len(looks),
        missed=missed,
        problem=problem,
        cpu_mean=sum(cpu) / len(cpu) if cpu else 0.0,
        cpu_max=max(cpu, default=0.0),
        mailbox_max=max((look.mailbox for look in looks), default=0.0),
        mailbox_refused=looks[-1].mailbox_refused - looks[0].mailbox_refused if looks else 0.0,
        lag_max=max((look.lag for look in looks), default=0.0),
        memory_max=max((look.memory for look in looks), default=0.0) / 2**20,
        streams_max=max((look.streams for look in looks), default=0.0),
    )


class _Falcons:
    """Looks, and the rates between them, by when they were."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = looks
        self._cpu = rates(looks, "cpu")
        self._delivered = rates(looks, "delivered")

    def between(self, begin: float, end: float) -> Mapping[str, float]:
        """Empty if there were no looks."""
        looks = [look for look in self._looks if begin <= look.at < end]
        if not looks:
            return {}
        found = {
            "mailbox": max(look.mailbox for look in looks),
            "mailbox_bound": looks[-1].mailbox_bound,
            "mailbox_oldest": max(look.mailbox_oldest for look in looks),
            "in_flight": max(look.in_flight for look in looks),
            "lag": max(look.lag for look in looks),
            "loop_delay": max(look.loop_delay for look in looks) * 1000,
            "memory": max(look.memory for look in looks) / 2**20,
            "streams": looks[-1].streams,
        }
        for name, series in (("cpu", self._cpu), ("delivered", self._delivered)):
            values = [value for at, value in series if begin <= at < end]
            if values:
                found[name] = sum(values) / len(values)
        return found


def _moment(timeline: Timeline, falcon: _Falcons, begin: int, end: int, zero: float) -> Moment:
    seconds = [timeline.seconds.get(at, Second({})) for at in range(begin, end)]
    sums = timeline.over(begin, end)
    acts = _together(sums)
    pushed = sums[PUSHED].times if PUSHED in sums else Histogram()
    length = end - begin
    return Moment(
        at=begin - zero,
        people=max(second.people for second in seconds),
        acts=acts.times.count / length,
        failed=sum(each.failed for each in sums.values()) / length,
        p50=acts.times.quantile_ms(0.50),
        p95=acts.times.quantile_ms(0.95),
        p99=acts.times.quantile_ms(0.99),
        pushed_p99=pushed.quantile_ms(0.99),
        generator_late=max(second.loop_delay for second in seconds) * 1000,
        generator_cpu=sum(second.cpu for second in seconds) / length,
        **falcon.between(begin, end),
    )


def _together(sums: Mapping[str, Sum]) -> Sum:
    found = Sum()
    for name, each in sums.items():
        if name in COUNTED:
            found.times.merge(each.times)
            found.failed += each.failed
    return found
