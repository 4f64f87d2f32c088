"""The figures as plots, where matplotlib is installed (`make load` installs it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.samples import CRUD, FALCON, NAMES, Spread
from tools.harness.progress import say

_COLOURS = {
    "bare": "#9aa0a6",
    CRUD: "#d9822b",
    FALCON: "#1a73e8",
    "centrifugo": "#0f9d58",
}


def draw(file: Path, paint: Callable[[Any], None]) -> bool:
    """``paint`` draws on an empty matplotlib Figure. Gives False without matplotlib. Raises OSError."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        say(f"{file.name} was not drawn: matplotlib is not installed (it is in the dependency group load)")
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4), layout="constrained")
        paint(figure)
        figure.savefig(file, dpi=130)
    return True


def bars(axes: Any, groups: Sequence[str], series: Mapping[str, Sequence[Sequence[float]]], unit: str) -> None:
    """A group of bars for each name, one of each server in it: medians, with the least and the most as a line."""
    width = 0.8 / max(1, len(series))
    for number, (server, values) in enumerate(series.items()):
        places = [at - 0.4 + (number + 0.5) * width for at, each in enumerate(values) if each]
        spreads = [Spread.of(each) for each in values if each]
        heights = [spread.middle for spread in spreads]
        axes.bar(places, heights, width, label=NAMES.get(server, server), color=_COLOURS.get(server))
        _whiskers(axes, places, spreads)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)


def line(axes: Any, server: str, points: Sequence[tuple[float, Sequence[float]]], **style: Any) -> None:
    """Medians, with the least and the most."""
    spreads = [(x, Spread.of(values)) for x, values in points if values]
    if not spreads:
        return
    label = NAMES.get(server, server)
    style = {"label": label, "color": _COLOURS.get(server), "marker": "o", "markersize": 4, **style}
    axes.plot([x for x, _ in spreads], [spread.middle for _, spread in spreads], **style)
    _whiskers(axes, [x for x, _ in spreads], [spread for _, spread in spreads])


def legend(figure: Any, axes: Any) -> None:
    """One for all of the figure, above it."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)


def _whiskers(axes: Any, places: Sequence[float], spreads: Sequence[Spread]) -> None:
    middles = [spread.middle for spread in spreads]
    below = [spread.middle - spread.least for spread in spreads]
    above = [spread.most - spread.middle for spread in spreads]
    axes.errorbar(places, middles, yerr=(below, above), fmt="none", ecolor="#3c4043", elinewidth=0.8, capsize=2)
