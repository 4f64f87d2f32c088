"""The tables of the pages that benchmarks write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

_HEADING: Final = re.compile(r"^## (.+)$")
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")

# A table's cells, by its rows' first cell and by column.
Rows: TypeAlias = Mapping[str, Mapping[str, str]]


class NoFigure(LookupError):
    """A page does not have a figure. The message says which."""


class BenchmarkPage:
    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._tables: dict[str, dict[str, dict[str, str]]] = {}
        title, columns = "", list[str]()
        for line in path.read_text().splitlines():
            if heading := _HEADING.match(line):
                title, columns = heading[1], []
            elif line.startswith("|") and not line.startswith("|---"):
                first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
                if columns:
                    self._tables[title][first] = dict(zip(columns, cells, strict=True))
                else:
                    columns = cells
                    self._tables[title] = {}

    def number(self, table: str, row: str, column: str) -> float:
        """The first number of the cell, which is the median. Raises NoFigure."""
        cell = self.rows(table).get(row, {}).get(column, "")
        found = _NUMBER.search(cell)
        if found is None:
            raise NoFigure(f"{self._name} has no number in the table {table!r}, row {row!r}, column {column!r}")
        return float(found[0].replace(",", ""))

    def rows(self, table: str) -> Rows:
        """Raises NoFigure."""
        if table not in self._tables:
            raise NoFigure(f"{self._name} has no table {table!r}")
        return self._tables[table]
