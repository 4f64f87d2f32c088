"""The overload as plots and a table."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tools.bench.overloading.judge import LATENCY_TIMES, REFUSED_MS
from tools.bench.overloading.limit import Limit
from tools.bench.overloading.push import TALLY_SECONDS, Tally
from tools.bench.overloading.stages import Stage, stage
from tools.bench.report import Table, Target
from tools.harness.panels import Line, Panel, Span
from tools.harness.reports import figure
from tools.harness.watching import Look, rates

_SHOWN_SECONDS = 0.5


class Overload(msgspec.Struct, frozen=True):
    """``times``: of the limit; ``during``, ``after``: what was met meanwhile and when it was over; ``generator``: the
    share of its core that it took in the overload."""

    times: int
    limit: Limit
    seconds: int
    after_rate: float
    during: Stage
    after: Stage
    generator: float
    verdicts: list[Target]
    tallies: list[Tally]
    looks: list[Look]


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


def stages(found: Overload) -> Table:
    met = {"at the limit": found.limit.stage, "in the overload": found.during, "after": found.after}
    rows = [
        (
            name,
            *(f"{value:,.0f}" for value in (each.offered, each.accepted, each.refused)),
            *map(figure, (each.p50, each.p99, each.refused_p99)),
            f"{each.lost:,}",
            f"{each.late:,.1f}",
        )
        for name, each in met.items()
    ]
    columns = (
        *("", "offered/s", "accepted/s", "refused/s", "p50, ms", "p99, ms", "refused p99, ms", "lost"),
        "generator late, ms",
    )
    return Table("What was met", columns, rows)
