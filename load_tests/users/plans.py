"""How many users there are at each moment of a planned run.

``share``: of the time, 0 to 1. Returns a share of the users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_STEPS: Final = 4
_SPIKE_BASE: Final = 0.25
_RAMP_SHARE: Final = 0.1


def step(share: float) -> float:
    """Up in equal steps of equal length."""
    return (min(int(share * _STEPS), _STEPS - 1) + 1) / _STEPS


def spike(share: float) -> float:
    """A quarter of them; all of them at once for the middle fifth; a quarter again."""
    return 1.0 if 0.4 <= share < 0.6 else _SPIKE_BASE


def soak(share: float) -> float:
    """All of them nearly all the time, after a short ramp."""
    return min(1.0, 0.1 + 0.9 * share / _RAMP_SHARE)


Plan = Callable[[float], float]
PLANS: Final[dict[str, Plan]] = {"step": step, "spike": spike, "soak": soak}
LIMIT: Final = "limit"
SHAPES: Final = (*PLANS, LIMIT)
