"""``python -m tools.capacity``: prints docs/capacity.md. With arguments it prints it for other assumptions.

``--write`` writes the page, which a test holds to what this prints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from tools.capacity.figures import Figures, measured
from tools.capacity.pages import NoFigure
from tools.capacity.site import ASSUMED, Assumptions, Load, Need, needed
from tools.harness.reports import markdown_table

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "capacity.md"
_TEXT: Final = Path(__file__).with_name("page.md")
_IN_FLIGHT: Final = (1, 16, 64, 256)  # that the benchmark of a cluster has rows for
_LOADS: Final = [
    Load(messages, online) for messages in (1_000, 10_000, 100_000) for online in (10_000, 100_000, 1_000_000)
]


def page(figures: Figures, assumed: Assumptions) -> str:
    """The page as Markdown."""
    needs = {load: needed(load, figures, assumed) for load in _LOADS}
    parts = {
        "assumptions": _assumptions(assumed),
        "figures": _figures(figures),
        "needs": _needs(needs),
        "shares": _shares(needs),
        "partitions": str(assumed.partitions),
    }
    return _TEXT.read_text().format(**parts)


def _assumptions(assumed: Assumptions) -> str:
    rows = [(what, f"{getattr(assumed, name):,g}", f"`--{name.replace('_', '-')}`") for name, what in ASSUMED.items()]
    return markdown_table(("", "assumed", "argument"), rows)


def _figures(figures: Figures) -> str:
    rows = [
        (each.what, f"{_digits(each.value)} {each.unit}".strip(), f"[{each.source}]({each.source})") for each in figures
    ]
    return markdown_table(("", "measured", "by"), rows)


def _needs(needs: dict[Load, Need]) -> str:
    rows = [
        (
            f"{load.messages:,} a second, {load.online:,} online",
            _count(need.api.processes),
            _count(need.routed.processes),
            f"{need.api.memory / 2**20:,.0f} MiB",
            f"{need.write:,} ({need.write_bound})",
            f"{need.project:,}",
            f"{need.brokers:,} ({need.broker_bound})",
            f"{need.region_servers:,} ({need.region_bound})",
        )
        for load, need in needs.items()
    ]
    columns = ("", "`api`", "`api` with routers", "memory of each", "`write`", "`project`", "brokers", "region servers")
    return markdown_table(columns, rows)


def _count(processes: int | None) -> str:
    return "none suffices" if processes is None else f"{processes:,}"


def _shares(needs: dict[Load, Need]) -> str:
    causes = list(next(iter(needs.values())).api.shares)
    rows = [
        (f"{load.messages:,} a second, {load.online:,} online", *(f"{need.api.shares[each]:.0%}" for each in causes))
        for load, need in needs.items()
    ]
    return markdown_table(("", *causes), rows)


def _digits(value: float) -> str:
    """Three digits that count, or more before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.capacity", description=(__doc__ or "").splitlines()[0])
    usual = Assumptions()
    for name, what in ASSUMED.items():
        value = getattr(usual, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, metavar="N", help=f"{what} ({value:,g})")
    parser.add_argument("--in-flight", type=int, choices=_IN_FLIGHT, default=64, help="row of the measured sends (64)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}")
    given = parser.parse_args(arguments)
    try:
        found = page(
            measured(DOCS, given.in_flight, given.rooms),
            Assumptions(**{name: getattr(given, name) for name in ASSUMED}),
        )
    except NoFigure as error:
        print(f"python -m tools.capacity: {error}", file=sys.stderr)
        return 1
    if given.write:
        PAGE.write_text(found)
    else:
        print(found, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
