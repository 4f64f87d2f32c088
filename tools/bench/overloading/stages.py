"""The tallies of a stretch of time at one rate, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tools.bench.overloading.push import TALLY_SECONDS, Tally
from tools.harness.histogram import Histogram

REACHED: Final = 0.98  # of what was offered


class Stage(msgspec.Struct, frozen=True):
    """Rates a second, times in ms. ``late``: of the generator itself, at most."""

    seconds: float
    offered: float
    accepted: float
    refused: float
    p50: float | None
    p99: float | None
    refused_p50: float | None
    refused_p99: float | None
    refused_longest: float
    bare: int
    lost: int
    others: dict[str, int]
    late: float
    waiting: int


def stage(tallies: Sequence[Tally]) -> Stage:
    """``lost``: given up, or on connections that broke; ``bare``: refusals without Retry-After."""
    accepted, refused = Histogram(), Histogram()
    others: dict[str, int] = {}
    for tally in tallies:
        accepted.merge(tally.accepted.histogram())
        refused.merge(tally.refused.histogram())
        for status, times in tally.others.items():
            others[status] = others.get(status, 0) + times
    seconds = max(1, len(tallies)) * TALLY_SECONDS
    return Stage(
        seconds=seconds,
        offered=sum(tally.offered for tally in tallies) / seconds,
        accepted=accepted.count / seconds,
        refused=refused.count / seconds,
        p50=accepted.quantile_ms(0.50),
        p99=accepted.quantile_ms(0.99),
        refused_p50=refused.quantile_ms(0.50),
        refused_p99=refused.quantile_ms(0.99),
        refused_longest=refused.longest * 1000,
        bare=sum(tally.bare for tally in tallies),
        lost=sum(tally.unanswered + tally.broken for tally in tallies),
        others=others,
        late=max((tally.late for tally in tallies), default=0.0) * 1000,
        waiting=max((tally.waiting for tally in tallies), default=0),
    )


def between(tallies: Sequence[Tally], begin: float, end: float) -> Sequence[Tally]:
    """From ``begin`` to ``end``, in s."""
    return tallies[round(begin / TALLY_SECONDS) : round(end / TALLY_SECONDS)]


def broken(found: Stage, p99_max: float) -> str | None:
    """The reason for which Falcon cannot carry this rate; None if it can."""
    if found.others:
        return f"answers with {', '.join(sorted(found.others))}"
    if found.lost:
        return f"{found.lost} requests were not answered"
    if found.refused:
        return f"{found.refused:,.0f}/s were refused"
    if found.p99 is None:
        return "nothing was accepted"
    if found.p99 > p99_max:
        return f"p99 was {found.p99:,.0f} ms"
    if found.accepted < found.offered * REACHED:
        return f"of {found.offered:,.0f}/s only {found.accepted:,.0f}/s were accepted in time"
    return None
