"""What a section of the cluster's benchmark found, as values that can be kept in a file and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tools.bench.figures import Spread
from tools.bench.tables import Table

FALCON: Final = ("api", "write", "project")
SERVERS: Final = ("Kafka", "HBase")


class Target(msgspec.Struct, frozen=True):
    """What is wanted, and whether it was found."""

    what: str
    wanted: str
    found: str
    met: bool


class Section(msgspec.Struct, frozen=True):
    """``failure``: why it has no figures, or not all."""

    name: str
    date: str
    tables: list[Table] = []
    targets: list[Target] = []
    notes: list[str] = []
    failure: str = ""


class Work(msgspec.Struct, frozen=True):
    """CPU seconds by role, of whole process trees."""

    seconds: dict[str, float]

    def since(self, before: Work) -> Work:
        return Work({role: each - before.seconds.get(role, 0.0) for role, each in self.seconds.items()})

    @property
    def falcon(self) -> float:
        """Of Falcon's own processes together."""
        return sum(self.seconds.get(role, 0.0) for role in FALCON)

    def micros_each(self, messages: int) -> dict[str, float]:
        return {role: each / max(1, messages) * 1e6 for role, each in self.seconds.items()}


def at_most(what: str, found: Sequence[float], bound: float, unit: str, form: str = "{:.2f}") -> Target:
    """Judged by the median; the least and the most stand beside it."""
    return Target(what, f"≤ {bound:g}{unit}", _words(found, unit, form), Spread.of(found).middle <= bound)


def at_least(what: str, found: Sequence[float], bound: float, unit: str, form: str = "{:.2f}") -> Target:
    """Judged by the median; the least and the most stand beside it."""
    return Target(what, f"≥ {bound:,g}{unit}", _words(found, unit, form), Spread.of(found).middle >= bound)


def _words(found: Sequence[float], unit: str, form: str) -> str:
    spread = Spread.of(found)
    text = form.format(spread.middle) + unit
    if len(found) == 1:
        return text
    return f"{text} ({form.format(spread.least)}–{form.format(spread.most)})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Run by run, so that a machine that gets slower does so for both."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def medians(works: Sequence[Mapping[str, float]], role: str) -> str:
    """A role's µs each."""
    found = [work[role] for work in works if role in work]
    return f"{Spread.of(found).middle:,.0f}" if found else "–"
