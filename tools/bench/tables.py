"""Tables, as the terminal and a page of Markdown show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rich.box
import rich.table
from rich.console import Console

from tools.bench.figures import Spread


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def show_table(table: Table, console: Console) -> None:
    shown = rich.table.Table(
        title=table.title, box=rich.box.SIMPLE_HEAD, title_justify="left", caption=table.note or None
    )
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number < 1 else "right", no_wrap=number > 0)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def table_markdown(table: Table) -> str:
    """Its title as a heading, its rows, its note."""
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" + "---:|" * (len(table.columns) - 1)
    body = "\n".join("| " + " | ".join(row) + " |" for row in table.rows)
    return f"## {table.title}\n\n{head}\n{body}" + (f"\n\n{table.note}" if table.note else "")


def numbers(values: Iterable[float], form: str) -> str:
    """Their median, with the least and the most where there are several."""
    found = list(values)
    spread = Spread.of(found)
    text = form.format(spread.middle)
    return text if len(found) == 1 else f"{text} ({form.format(spread.least)}–{form.format(spread.most)})"
