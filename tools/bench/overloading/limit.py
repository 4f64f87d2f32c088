"""The largest rate that is carried: nothing refused or lost, and p99 within the objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tools.bench.overloading.push import Job, Pushed, Segment
from tools.bench.overloading.stages import Stage, between, broken, stage

_FIRST: Final = 1_000.0
_RAISED_BY: Final = 1.4
_HALVINGS: Final = 4
_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 1.0
_LOWERED_BY: Final = 0.95
_ATTEMPTS: Final = 8


class NoLimit(Exception):
    """None was found; the text says why."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``rate``: a second, as it was offered; ``stage``: what was met there; ``reason``: why it was not more."""

    rate: float
    stage: Stage
    reason: str
    began: float  # of the stage, by the machine's monotonic clock


def find(
    push: Callable[[Job], Pushed], p99_max: float, seconds: float, say: Callable[[str], None], first: float = _FIRST
) -> Limit:
    """Up in steps until it is too much, closer by halves, and then for ``seconds`` at what held. Raises NoLimit."""
    held, beyond, reason = 0.0, first, ""
    while not reason:
        reason = _tried(push, beyond, p99_max, say)
        if not reason:
            held, beyond = beyond, beyond * _RAISED_BY
    if not held:
        raise NoLimit(f"{first:,.0f}/s are too much already: {reason}")
    for _ in range(_HALVINGS):
        middle = (held + beyond) / 2
        if why := _tried(push, middle, p99_max, say):
            beyond, reason = middle, why
        else:
            held = middle
    for _ in range(_ATTEMPTS):
        pushed = push(Job([Segment(held, seconds)]))
        found = stage(between(pushed.tallies, _SETTLE_SECONDS, seconds))
        why = broken(found, p99_max) or ""
        say(_told(held, found, why))
        if not why:
            return Limit(held, found, reason, pushed.began)
        held, reason = held * _LOWERED_BY, why
    raise NoLimit(f"{held:,.0f}/s did not hold for {seconds:g} s: {reason}")


def _tried(push: Callable[[Job], Pushed], rate: float, p99_max: float, say: Callable[[str], None]) -> str:
    """Why it is too much; empty when it is not."""
    pushed = push(Job([Segment(rate, _SECONDS)]))
    found = stage(between(pushed.tallies, _SETTLE_SECONDS, _SECONDS))
    why = broken(found, p99_max) or ""
    say(_told(rate, found, why))
    return why


def _told(rate: float, found: Stage, why: str) -> str:
    p50, p99 = (("–" if value is None else f"{value:,.1f} ms") for value in (found.p50, found.p99))
    return f"{rate:,.0f}/s: p50 {p50}, p99 {p99}" + (f": too much, {why}" if why else "")
