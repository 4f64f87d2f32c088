"""What reports share: figures in words, and tables for pages and for terminals."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH: Final = 1_000  # the terminal wraps what is too wide for it; nothing is cut
_SHOWN_MAX: Final = 25


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of the values does not exceed."""
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def figure(value: float | None, form: str = "{:,.1f}") -> str:
    """A dash if there is no value."""
    return "–" if value is None else form.format(value)


def counts_in_words(counts: Mapping[str, int]) -> str:
    """The counts in one line, by name."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def shortened(texts: Sequence[str]) -> list[str]:
    """The first ones, and how many more there are."""
    more = len(texts) - _SHOWN_MAX
    return [*texts[:_SHOWN_MAX], *([f"... and {more:,} more"] if more > 0 else [])]


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """``words``: the number of columns that hold words; those behind them hold figures, which stand to the right."""
    rule = "|" + "---|" * words + "---:|" * (len(columns) - words)
    return "\n".join([_line(columns), rule, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """The same for a terminal."""
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number < words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    out = io.StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip())
