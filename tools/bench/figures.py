"""Figures, each found in several rounds, and the page and the terminal's table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tools.harness.reports import markdown_table, text_table

_COLUMNS: Final = ("", "median (least–most)", "aim", "met")


@dataclass(frozen=True, slots=True)
class Figure:
    """``found``: one a round. ``least``, ``most``: bounds for their median."""

    what: str
    found: Sequence[float]
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return not self._aim or (
            bool(self.found)
            and (self.least is None or median(self.found) >= self.least)
            and (self.most is None or median(self.found) <= self.most)
        )

    @property
    def _aim(self) -> str:
        bounds = (("≥", self.least), ("≤", self.most))
        return " and ".join(f"{sign} {_number(bound)}" for sign, bound in bounds if bound is not None)

    def row(self) -> tuple[str, ...]:
        return (
            self.what,
            f"{_spread(self.found)} {self.unit}".rstrip(),
            self._aim,
            self._aim and ("no", "yes")[self.met],
        )


def _spread(found: Sequence[float]) -> str:
    if not found:
        return "–"
    middle = _number(median(found))
    return middle if len(found) == 1 else f"{middle} ({_number(min(found))}–{_number(max(found))})"


def _number(value: float) -> str:
    return (
        f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    )


def ratios(ours: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """Round by round, so that a machine that gets slower does so for both."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def beside(
    what: str, ours: Iterable[float], theirs: Iterable[float], least: float | None = None, most: float | None = None
) -> list[Figure]:
    """Ours as a multiple of theirs; nothing if either was not measured."""
    times = ratios(ours, theirs)
    return [Figure(what, times, "×", least, most)] if times else []


def show(section: str, figures: Sequence[Figure]) -> None:
    print(f"\n{section}\n\n{text_table(_COLUMNS, [each.row() for each in figures])}", flush=True)


def page(
    title: str, method: str, facts: Mapping[str, str], sections: Mapping[str, Sequence[Figure]], failed: Iterable[str]
) -> str:
    """Markdown."""
    parts = [f"# {title}", method.rstrip(), "\n".join(f"- {name}: {text}" for name, text in facts.items())]
    parts += [f"Failed, and has no figures here: {words}" for words in failed]
    for name, figures in sections.items():
        parts.append(f"## {name}\n\n{markdown_table(_COLUMNS, [each.row() for each in figures])}")
    return "\n\n".join(parts) + "\n"
