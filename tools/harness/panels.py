"""Plots over time, one below the other, as a picture that stands in a page by itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK: Final = "#1f2430"
_GRID: Final = "#d9dde5"
_COLORS: Final = ("#2563c9", "#d9730d", "#14866d", "#b3261e", "#7a4fc0", "#6b7280")
_WIDTH, _HEIGHT = 9.5, 1.75  # inches, of each panel


@dataclass(frozen=True, slots=True)
class Line:
    """``points``: moment in s and value; None is a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """``marks``: values with a line across, and what they are. ``top``: how far the axis reaches at least."""

    title: str
    lines: Sequence[Line]
    log: bool = False
    marks: Sequence[tuple[float, str]] = ()
    top: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is shaded in all panels, and its name."""

    begin: float
    end: float
    name: str


def draw(panels: Sequence[Panel], spans: Sequence[Span] = ()) -> Figure:
    """Needs matplotlib, which `make load` installs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        _fill(axis, panel, spans)
    axes[-1].set_xlabel("seconds", fontsize=8, color=_INK)
    for span in spans:
        middle = (span.begin + span.end) / 2
        axes[0].annotate(
            span.name, (middle, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=7
        )
    return figure


def _fill(axis: Any, panel: Panel, spans: Sequence[Span]) -> None:
    for span in spans:
        axis.axvspan(span.begin, span.end, color="#eef2fa", lw=0)
    for number, line in enumerate(panel.lines):
        xs = [x for x, _ in line.points]
        ys = [float("nan") if y is None else y for _, y in line.points]
        style = "--" if line.dashed else "-"
        axis.plot(xs, ys, style, lw=1.1, color=_COLORS[number % len(_COLORS)], label=line.name)
    for value, name in panel.marks:
        axis.axhline(value, color="#b3261e", lw=0.8, ls=":")
        axis.annotate(name, (1.0, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=6.5)
    axis.set_title(panel.title, loc="left", fontsize=8.5, color=_INK)
    if panel.log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
        if panel.top is not None:
            axis.set_ylim(top=max(panel.top, axis.get_ylim()[1]))
    axis.grid(True, color=_GRID, lw=0.5)
    axis.tick_params(labelsize=7, colors=_INK)
    axis.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1 and any(line.points for line in panel.lines):
        axis.legend(fontsize=7, frameon=False, ncols=len(panel.lines), loc="upper left")


def svg(figure: Figure) -> str:
    """To stand in a page: without the header of a file."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2]


def save(figure: Figure, file: Path) -> None:
    """Save as PNG or SVG, depending on the file's name."""
    figure.savefig(file, dpi=110)
