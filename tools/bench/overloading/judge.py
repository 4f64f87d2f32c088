"""Judges whether Falcon held under overload."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tools.bench.overloading.limit import Limit
from tools.bench.overloading.push import TALLY_SECONDS, Tally
from tools.bench.overloading.stages import Stage, between, stage
from tools.bench.report import Target
from tools.harness.watching import Look

TIMES: Final = 3.0
GOODPUT_MIN: Final = 0.9  # of the limit
REFUSED_MS: Final = 50.0
LATENCY_TIMES: Final = 3.0  # of that at the limit
WELL_SECONDS: Final = 2.0
_WELL_WINDOW: Final = 0.5
_SETTLE_SECONDS: Final = 2.0  # of the overload, in which the queues fill
# Beyond what as many accepted messages cost at the limit: what waits in mailboxes and connections.
MEMORY_MIB: Final = 192.0


def verdicts(
    limit: Limit,
    during: Sequence[Tally],
    after: Sequence[Tally],
    p99_max: float,
    at_limit: Sequence[Look],
    under: Sequence[Look],
) -> list[Target]:
    """``during``, ``after``: of the overload and of what followed it without a break; ``at_limit``, ``under``: looks at
    Falcon at the limit and in the overload."""
    found = stage(between(during, _SETTLE_SECONDS, len(during) * TALLY_SECONDS))
    return [
        _goodput(limit, found),
        *_refusals(found),
        _lost(found),
        _latency(limit.stage.p99, found.p99),
        memory(at_limit, under),
        _well(after, p99_max),
    ]


def _goodput(limit: Limit, found: Stage) -> Target:
    share = found.accepted / limit.stage.accepted
    wanted = f"≥ {GOODPUT_MIN * 100:g} % of {limit.stage.accepted:,.0f}/s"
    return Target("goodput", wanted, f"{found.accepted:,.0f}/s, {share * 100:.0f} %", share >= GOODPUT_MIN)


def _refusals(found: Stage) -> list[Target]:
    p99 = found.refused_p99
    shown = "nothing was refused" if p99 is None else f"{p99:,.1f} ms"
    without = Target("refusals without Retry-After", "0", f"{found.bare:,}", found.bare == 0)
    return [Target("refusals, p99", f"< {REFUSED_MS:g} ms", shown, p99 is not None and p99 < REFUSED_MS), without]


def _lost(found: Stage) -> Target:
    others = sum(found.others.values())
    shown = f"{found.lost + others:,}" + (f" (statuses {', '.join(sorted(found.others))})" if others else "")
    return Target("not answered, or with something else", "0", shown, found.lost + others == 0)


def _latency(at_limit: float | None, found: float | None) -> Target:
    """The latency at the quantile by which the limit was found. The report tells the median as well."""
    if at_limit is None or found is None:
        return Target("accepted, p99", f"≤ {LATENCY_TIMES:g} × that at the limit", "nothing measured", False)
    wanted = f"≤ {LATENCY_TIMES:g} × {at_limit:,.1f} ms"
    shown = f"{found:,.1f} ms, {found / at_limit:.1f} ×"
    return Target("accepted, p99", wanted, shown, found <= LATENCY_TIMES * at_limit)


def memory(at_limit: Sequence[Look], under: Sequence[Look]) -> Target:
    """Messages themselves cost memory for a while, their keys and answers do, so it is compared with what they cost at
    the limit; what is more than that must be bounded by what may wait."""
    wanted = f"≤ {MEMORY_MIB:g} MiB more than as many messages take at the limit"
    if len(at_limit) < 2 or len(under) < 2:
        return Target("memory", wanted, "nobody could look", False)
    calm = (at_limit[-1].memory - at_limit[0].memory) / max(1.0, at_limit[-1].at - at_limit[0].at)
    grown = max(look.memory for look in under) - under[0].memory
    more = (grown - max(0.0, calm) * (under[-1].at - under[0].at)) / 2**20
    largest = max(look.memory for look in under) / 2**20
    return Target("memory", wanted, f"{more:+,.0f} MiB, {largest:,.0f} MiB at most", more <= MEMORY_MIB)


def well_after(after: Sequence[Tally], p99_max: float) -> float | None:
    """Seconds until nothing was refused or lost any more and p99 was as it should be, up to the end. None if that was
    never so."""
    width = round(_WELL_WINDOW / TALLY_SECONDS)
    windows = [after[begin : begin + width] for begin in range(0, len(after) - width + 1, width)]
    ill = [number for number, window in enumerate(windows) if not _is_well(stage(window), p99_max)]
    if not windows or (ill and ill[-1] == len(windows) - 1):
        return None
    return (ill[-1] + 1) * _WELL_WINDOW if ill else 0.0


def _is_well(found: Stage, p99_max: float) -> bool:
    """In half a second as many are answered as were sent only by chance, so that is not asked for."""
    return not found.refused and not found.lost and not found.others and (found.p99 or math.inf) <= p99_max


def _well(after: Sequence[Tally], p99_max: float) -> Target:
    seconds = well_after(after, p99_max)
    shown = "not at all" if seconds is None else f"{seconds:.1f} s"
    held = seconds is not None and seconds <= WELL_SECONDS
    return Target("well again after", f"≤ {WELL_SECONDS:g} s", shown, held)
