"""Prints lists as tables for people, and as JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer

from falcon.cli.display import api_time, visible

if TYPE_CHECKING:
    from rich.text import Text

JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object a line, for programs.", show_default=False)
]
Cell: TypeAlias = str | tuple[str, str]  # a text, or a text and its style

_GAP: Final = 1  # after each column, in cells of the terminal
_REST_MIN: Final = 8  # columns for the last one, however narrow the terminal is


@dataclass(frozen=True)
class Column:
    """``width_max``: longer cells wrap. ``rest``: cells are cut to the width that the other columns leave."""

    title: str
    justify: Literal["left", "right"] = "left"
    width_max: int | None = None
    rest: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Fits the terminal. A column that is neither ``rest`` nor bounded is never cut, because half an id is useless."""
    from rich.console import Console
    from rich.table import Table

    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [_width(column, [row[n].cell_len for row in texts]) for n, column in enumerate(columns)]
    taken = sum(_GAP + (0 if column.rest else width) for column, width in zip(columns, widths, strict=True))
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, _GAP, 0, 0))
    for column, wanted in zip(columns, widths, strict=True):
        width = max(_REST_MIN, min(wanted, console.width - taken)) if column.rest else wanted
        overflow: Literal["ellipsis", "fold"] = "ellipsis" if column.rest else "fold"
        table.add_column(column.title, justify=column.justify, width=width, no_wrap=column.rest, overflow=overflow)
    for row in texts:
        table.add_row(*row)
    console.print(table)


def _width(column: Column, cells: Sequence[int]) -> int:
    """The width of the column, in cells of the terminal."""
    widest = max([len(column.title), *cells])
    return min(widest, column.width_max or widest)


def print_json(values: Iterable[Any]) -> None:
    """One object a line, as the API gives it."""
    import msgspec

    for value in values:
        built = msgspec.to_builtins(value, builtin_types=(datetime,))
        typer.echo(json.dumps(built, default=api_time, ensure_ascii=False, separators=(",", ":")))


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    return Text(visible(cell)) if isinstance(cell, str) else Text(visible(cell[0]), style=cell[1])
