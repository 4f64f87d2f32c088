"""The overload as a page with plots, a picture of the plots alone, and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import msgspec

from load_tests.people.objectives import Verdict
from load_tests.people.report import STYLE, table, verdict_table
from tools.bench.overloading.judge import LATENCY_TIMES, REFUSED_MS
from tools.bench.overloading.limit import Limit
from tools.bench.overloading.push import TALLY_SECONDS, Tally
from tools.bench.overloading.stages import Stage, stage
from tools.bench.watching import Look, rates
from tools.harness.panels import Line, Panel, Span, draw, save, svg

_SHOWN_SECONDS = 0.5


class Overload(msgspec.Struct, frozen=True):
    """``times``: of the limit; ``during``, ``after``: what was met meanwhile and when it was over; ``generator``: the
    share of its core that it took in the overload."""

    version: int
    began: str
    settings: dict[str, str]
    machine: dict[str, str]
    p99_max: float
    times: float
    limit: Limit
    seconds: float
    after_rate: float
    during: Stage
    after: Stage
    generator: float
    held: bool
    verdicts: list[Verdict]
    tallies: list[Tally]
    looks: list[Look]


def write(found: Overload, folder: Path, picture: Path | None) -> tuple[Path, Path]:
    """The page and the JSON; the picture where one is wanted. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    page, figures = folder / "report.html", folder / "report.json"
    figure = draw(panels(found), spans(found))
    page.write_text(_html(found, svg(figure)))
    figures.write_bytes(msgspec.json.encode(found) + b"\n")
    if picture is not None:
        save(figure, picture)
    return page, figures


def spans(found: Overload) -> list[Span]:
    return [Span(0.0, found.seconds, f"{found.times:g} × the limit")]


def panels(found: Overload) -> list[Panel]:
    width = round(_SHOWN_SECONDS / TALLY_SECONDS)
    stretches = [
        (begin * TALLY_SECONDS, stage(found.tallies[begin : begin + width]))
        for begin in range(0, len(found.tallies), width)
    ]

    def line(name: str, value: Callable[[Stage], float | None], *, dashed: bool = False) -> Line:
        return Line(name, [(at, value(each)) for at, each in stretches], dashed)

    def look(name: str, value: Callable[[Look], float]) -> Line:
        zero = found.looks[0].at if found.looks else 0.0
        return Line(name, [(each.at - zero, value(each)) for each in found.looks])

    cpu = [(at - found.looks[0].at, value) for at, value in rates(found.looks, "cpu")]
    return [
        Panel(
            "Sends a second",
            [
                line("offered", lambda each: each.offered, dashed=True),
                line("accepted", lambda each: each.accepted),
                line("refused", lambda each: each.refused),
            ],
            marks=[(found.limit.stage.accepted, "the limit")],
        ),
        Panel(
            "Accepted after, ms, from when it was meant to be sent",
            [line("p50", lambda each: each.p50), line("p99", lambda each: each.p99)],
            log=True,
            marks=[(LATENCY_TIMES * (found.limit.stage.p99 or 0.0), f"{LATENCY_TIMES:g} × p99 at the limit")],
        ),
        Panel(
            "Refused after, ms",
            [line("p50", lambda each: each.refused_p50), line("p99", lambda each: each.refused_p99)],
            log=True,
            marks=[(REFUSED_MS, f"{REFUSED_MS:g} ms")],
        ),
        Panel(
            "Not answered within 5 s, or on connections that broke, a second",
            [line("lost", lambda each: each.lost / each.seconds)],
            top=1.0,
        ),
        Panel("Mailbox, commands", [look("mailbox", lambda each: each.mailbox)]),
        Panel("Requests under way", [look("requests", lambda each: each.in_flight)]),
        Panel("Memory, MiB", [look("memory", lambda each: each.memory / 2**20)]),
        Panel("CPU of Falcon, cores", [Line("CPU", cpu)], top=1.0),
    ]


def _html(found: Overload, picture: str) -> str:
    limit = found.limit
    held = "It held." if found.held else "It did not hold in everything."
    at = "–" if limit.stage.p99 is None else f"{limit.stage.p99:,.0f} ms"
    told = (
        f"The limit is <b>{limit.stage.accepted:,.0f} sends a second</b> (p99 {at}, may be {found.p99_max:g} ms); "
        f"more was too much: {escape(limit.reason)}. Then {found.times:g} times as much was sent for "
        f"{found.seconds:g} s, whatever became of it, and {found.after_rate:,.0f} a second after that. "
        f"Began {escape(found.began)}."
    )
    parts = [
        f"<h1>Falcon under more than it can carry</h1><p>{told}</p>",
        f'<p class="{"held" if found.held else "broken"}">{held}</p>',
        verdict_table(found.verdicts),
        picture,
        "<h2>Figures</h2>"
        + _stages({"at the limit": limit.stage, "in the overload": found.during, "after": found.after}),
        "<h2>Machine</h2>" + table(("", ""), _escaped({**found.machine, **found.settings})),
    ]
    head = f'<meta charset="utf-8"><title>Falcon, overloaded</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _stages(stages: dict[str, Stage]) -> str:
    rows = [
        (
            escape(name),
            *(f"{value:,.0f}" for value in (each.offered, each.accepted, each.refused)),
            *(("–" if value is None else f"{value:,.1f}") for value in (each.p50, each.p99, each.refused_p99)),
            f"{each.lost:,}",
            f"{each.late:,.1f}",
        )
        for name, each in stages.items()
    ]
    heads = (
        "",
        "offered/s",
        "accepted/s",
        "refused/s",
        "p50, ms",
        "p99, ms",
        "refused p99, ms",
        "lost",
        "generator late, ms",
    )
    return table(heads, rows)


def _escaped(texts: dict[str, str]) -> Sequence[tuple[str, str]]:
    return [(escape(name), escape(text)) for name, text in texts.items()]
