"""A term of the growth of costs: what is measured at several sizes, and how far it may grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tools.bench.report import Section, Table, Target

# By name, with the unit in the name.
Figures: TypeAlias = Mapping[str, float]
Measured: TypeAlias = Mapping[int, Figures]


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a figure may be, at every size or at one of them.

    ``is_counted``: it is the same in each run and on each machine, unlike CPU and memory.
    """

    figure: str
    most: float
    at: Literal["every", "smallest", "largest"] = "every"
    is_counted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``unit``: of the sizes. ``short``: the sizes of a smoke. ``measure``: the figures of one size, in a process that
    has measured nothing before."""

    name: str
    title: str
    unit: str
    sizes: Sequence[int]
    short: Sequence[int]
    measure: Callable[[int], Figures]
    bounds: Sequence[Bound]
    note: str

    def section(self, measured: Measured) -> Section:
        return Section(self.name, [self._table(measured)], judged(self, measured))

    def _table(self, measured: Measured) -> Table:
        names = list(dict.fromkeys(name for figures in measured.values() for name in figures))
        rows = [
            (f"{size:,} {self.unit}", *(number(figures[name]) if name in figures else "–" for name in names))
            for size, figures in measured.items()
        ]
        return Table(self.title, ("", *names), rows, self.note)


def judged(term: Term, measured: Measured) -> list[Target]:
    targets: list[Target] = []
    for bound in term.bounds:
        found = {size: figures[bound.figure] for size, figures in measured.items()}
        sizes = {"every": max(found, key=lambda size: found[size]), "smallest": min(found), "largest": max(found)}
        size = sizes[bound.at]
        what = f"{term.title}: {bound.figure} with {size:,} {term.unit}"
        targets.append(Target(what, f"≤ {number(bound.most)}", number(found[size]), found[size] <= bound.most))
    return targets


def number(value: float) -> str:
    """A figure with three digits that count, or more before the point."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
