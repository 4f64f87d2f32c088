"""The figures as plots where matplotlib is installed (`make load` installs it)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.figures import PAGE, SEND, SPREAD, FanOut, Growth, Results, Sample, Spread, Throughput
from tools.bench.targets import FALCON, FALCON_TCP, NAMES, cpu, p50, p99, rate

MISSING = "The plots were left out: matplotlib is not installed (it is in the dependency group load)."
_COLOURS = {
    "bare": "#9aa0a6",
    "crud": "#d9822b",
    FALCON: "#1a73e8",
    FALCON_TCP: "#7baaf7",
    "synapse": "#0f9d58",
    "prosody": "#a142f4",
    "prosody-sqlite": "#c58af9",
    "centrifugo": "#0f9d58",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """It lies in ``name``.png."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn, or why nothing was."""

    pictures: Sequence[Picture] = ()
    left_out: str = ""

    def markdown(self, names: Iterable[str]) -> list[str]:
        """Those of the pictures that were drawn, a paragraph each."""
        wanted = set(names)
        return [
            f"![{picture.title}](images/{picture.name}.png)\n\n{picture.title}."
            for picture in self.pictures
            if picture.name in wanted
        ]


Panel = tuple[str, str, Callable[[Sample], float]]  # the title, the unit, the figure


def draw(results: Results, folder: Path) -> Drawn:
    """What there are figures for, into ``folder``. Raises OSError."""
    jobs: list[tuple[Picture, Callable[[Any], None]]] = []
    throughput, growth, streams = results.throughput, results.growth, results.streams
    if throughput is not None and any(name.startswith("send") for name in throughput.workloads):
        picture = Picture(
            "bench-sends", "Sending: messages a second, and the time to the answer, by requests in flight"
        )
        jobs.append((picture, lambda figure: _sends(figure, throughput)))
    if growth is not None and growth.points:
        picture = Picture("bench-growth", "What a send and a page cost as messages and rooms grow")
        jobs.append((picture, lambda figure: _growth(figure, growth)))
    if streams:
        picture = Picture("bench-streams", "What a delivery to one of many subscribers costs")
        jobs.append((picture, lambda figure: _streams(figure, streams)))
    return render(jobs, folder)


def render(jobs: Sequence[tuple[Picture, Callable[[Any], None]]], folder: Path) -> Drawn:
    """Each picture is drawn on an empty matplotlib Figure by the function beside it. Raises OSError."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        return Drawn(left_out=MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"font.size": 9, "axes.spines.top": False}
    with matplotlib.rc_context({**settings, "axes.spines.right": False}):
        for picture, paint in jobs:
            figure = Figure(figsize=(10, 4), layout="constrained")
            paint(figure)
            figure.savefig(folder / f"{picture.name}.png", dpi=130)
    return Drawn(pictures=[picture for picture, _ in jobs])


def bars(
    axes: Any,
    groups: Sequence[str],
    series: Mapping[str, Sequence[Spread | None]],
    unit: str,
    names: Mapping[str, str] = NAMES,
) -> None:
    """A group of bars for each name, one of each server in it; the least and the most of it as a line."""
    width = 0.8 / max(1, len(series))
    for number, (name, spreads) in enumerate(series.items()):
        places = [at - 0.4 + (number + 0.5) * width for at, spread in enumerate(spreads) if spread is not None]
        known = [spread for spread in spreads if spread is not None]
        axes.bar(places, [spread.middle for spread in known], width, label=names.get(name, name), color=_colour(name))
        _whiskers(axes, places, known)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(unit)


def legend(figure: Any, axes: Any) -> None:
    """One for all of the figure, above it."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)


def name_of(server: str) -> str:
    return NAMES.get(server, server)


def _colour(server: str) -> str | None:
    return _COLOURS.get(server)


def _whiskers(axes: Any, places: Sequence[float], spreads: Sequence[Spread]) -> None:
    middles = [spread.middle for spread in spreads]
    below = [spread.middle - spread.least for spread in spreads]
    above = [spread.most - spread.middle for spread in spreads]
    axes.errorbar(places, middles, yerr=(below, above), fmt="none", ecolor="#3c4043", elinewidth=0.8, capsize=2)


def _line(axes: Any, server: str, points: Sequence[tuple[float, Sequence[float]]], **style: Any) -> None:
    """Medians, with the least and the most."""
    spreads = [(x, Spread.of(values)) for x, values in points if values]
    if not spreads:
        return
    style = {"label": name_of(server), "color": _colour(server), "marker": "o", "markersize": 4, **style}
    axes.plot([x for x, _ in spreads], [spread.middle for _, spread in spreads], **style)
    _whiskers(axes, [x for x, _ in spreads], [spread for _, spread in spreads])


def _sends(figure: Any, throughput: Throughput) -> None:
    left, right = figure.subplots(1, 2)
    flights = [int(name.split()[1]) for name in throughput.workloads if name.startswith("send")]
    for server, workloads in throughput.samples.items():
        found = [(flight, workloads.get(f"send, {flight} in flight", [])) for flight in flights]
        if not all(samples for _, samples in found):
            continue  # measured at one load only, for another comparison
        _line(left, server, [(flight, list(map(rate, samples))) for flight, samples in found])
        _line(right, server, [(flight, list(map(p50, samples))) for flight, samples in found])
        points = [(flight, list(map(p99, samples))) for flight, samples in found]
        _line(right, server, points, linestyle=":", label=None)
    for axes, unit in ((left, "messages a second"), (right, "ms: p50, and p99 dotted")):
        axes.set_xscale("log", base=4)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.minorticks_off()
        axes.set_xticks(flights, [str(flight) for flight in flights])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel(unit)
    legend(figure, left)


def _growth(figure: Any, growth: Growth) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    styles = {SEND: ("a send", "-"), PAGE: ("a page of 50", "--"), SPREAD: ("a send, each to another room", ":")}
    for axes, points, unit in (
        (left, [(each.messages, each) for each in growth.by_messages], f"messages in {growth.used_rooms} rooms"),
        (right, [(each.rooms, each) for each in growth.by_rooms], f"rooms, of which {growth.used_rooms} are used"),
    ):
        for workload, (label, stroke) in styles.items():
            found = [(size, list(map(cpu, point.samples.get(workload, [])))) for size, point in points]
            if axes is left and workload == SPREAD:
                continue
            _line(axes, FALCON, found, label=label, linestyle=stroke)
        axes.set_xscale("log")
        axes.set_xlabel(unit)
    left.set_ylim(bottom=0)  # behind both, which share it
    left.set_ylabel("CPU, µs each")
    right.legend(frameon=False)


def _streams(figure: Any, streams: dict[str, list[FanOut]]) -> None:
    left, right = figure.subplots(1, 2)
    groups = list(dict.fromkeys(name.partition("-")[2] for name in streams))
    servers = list(dict.fromkeys(name.partition("-")[0] for name in streams))
    for axes, unit, value in (
        (left, "CPU a delivery, µs", lambda run: run.cpu),
        (right, "p99 from the request to the arrival, ms", lambda run: run.p99),
    ):
        series = {
            server: [
                Spread.of(list(map(value, runs))) if (runs := streams.get(f"{server}-{group}")) else None
                for group in groups
            ]
            for server in servers
        }
        bars(axes, groups, series, unit)
    legend(figure, left)
