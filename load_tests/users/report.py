"""The report of a run: a self-contained page with plots, and the figures as JSON.

`python -m load_tests.users.report report.json` makes the page again from the figures, into report.html beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import msgspec

from load_tests.users.figures import Falcon, Kind, Moment
from load_tests.users.limit import Limit
from load_tests.users.objectives import Verdict
from tools.harness.panels import Line, Panel, draw, svg
from tools.harness.reports import figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } td, th { padding: .2rem .8rem; border-bottom: 1px solid #d9dde5 }
td { text-align: right; font-variant-numeric: tabular-nums } td:first-child, th:first-child { text-align: left }
.broken { color: #b3261e; font-weight: 600 } .held { color: #14866d } svg { max-width: 100%; height: auto }
code, pre { background: #f3f5f9; padding: .1rem .3rem }
"""  # noqa: E501


class RunPlan(msgspec.Struct, frozen=True):
    """What the run was to do."""

    shape: str
    seconds: float
    people: int
    workers: int
    pace: float
    seed: int
    accounts: int
    rooms: int
    messages: int
    urls: list[str]
    own: bool  # a Falcon that was started for it


class Run(msgspec.Struct, frozen=True):
    """All that is said of a run. ``began``: RFC 3339; ``seconds``: how long it was; ``held``: every threshold was."""

    version: int
    began: str
    plan: RunPlan
    seconds: float
    machine: dict[str, str]
    held: bool
    verdicts: list[Verdict]
    limit: Limit | None
    acts: Kind
    kinds: dict[str, Kind]
    violations: dict[str, int]
    failures: dict[str, int]
    faults: dict[str, int]
    falcon: Falcon
    generator_late_ms: float
    timeline: list[Moment]


def write(run: Run, folder: Path) -> tuple[Path, Path]:
    """The page and the JSON. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    page, figures = folder / "report.html", folder / "report.json"
    page.write_text(html(run))
    figures.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    return page, figures


def plots(run: Run) -> list[Panel]:
    def line(name: str, field: str, *, dashed: bool = False) -> Line:
        return Line(name, [(moment.at, getattr(moment, field)) for moment in run.timeline], dashed)

    return [
        Panel("People", [line("people", "people")]),
        Panel("Acts a second", [line("acts", "acts")]),
        Panel(
            "Answered after, ms, from when it was meant to be asked",
            [line("p50", "p50"), line("p95", "p95"), line("p99", "p99")],
            log=True,
        ),
        Panel("Failed, a second", [line("failed", "failed")], top=1.0),
        Panel(
            "Pushed after (p99), ms, from when it was meant to be sent",
            [line("pushed", "pushed_p99")],
        ),
        Panel("Lag of the read tables, s", [line("lag", "lag")], top=0.1),
        Panel("CPU, cores", [line("Falcon", "cpu"), line("the load generator", "generator_cpu", dashed=True)], top=1.0),
        Panel(
            "Mailboxes, commands", [line("mailbox", "mailbox"), line("requests under way", "in_flight", dashed=True)]
        ),
        Panel("Memory of Falcon, MiB", [line("memory", "memory")]),
        Panel("Listeners, and events pushed a second", [line("listeners", "streams"), line("pushed", "delivered")]),
        Panel(
            "An event loop was late by, ms (Falcon's: the most of a minute)",
            [line("Falcon's", "loop_delay"), line("the load generator's", "generator_late", dashed=True)],
        ),
    ]


def html(run: Run) -> str:
    plan = run.plan
    whose = "a Falcon that was started for it" if plan.own else ", ".join(plan.urls)
    workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
    told = (
        f"Shape <b>{escape(plan.shape)}</b>, {run.seconds:.0f} s, up to {plan.people} people by {workers}, at "
        f"{escape(whose)}; {plan.accounts:,} accounts, {plan.rooms:,} rooms and {plan.messages:,} messages to begin "
        f"with. Began {escape(run.began)}."
    )
    held = "Every threshold was held." if run.held else "A threshold was broken."
    parts = [
        f"<h1>Falcon under load</h1><p>{told}</p>",
        f'<p class="{"held" if run.held else "broken"}">{held}</p>',
        _limit(run.limit),
        "<h2>Thresholds</h2>" + verdict_table(run.verdicts),
        "<h2>Over time</h2>" + svg(draw(plots(run))),
        "<h2>By kind of act</h2>" + _kinds({"all acts": run.acts, **run.kinds}),
        "<h2>Falcon</h2>" + _falcon(run.falcon, run.generator_late_ms),
        _texts("Broken promises", run.violations),
        _texts("Failures", run.failures),
        _texts("Faults of the load test itself", run.faults),
        "<h2>Machine</h2>" + table(("", ""), [(escape(name), escape(text)) for name, text in run.machine.items()]),
    ]
    head = f'<meta charset="utf-8"><title>Falcon under load: {escape(plan.shape)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return ""
    told = f"{limit.rate:,.0f} acts a second by {limit.people} people held"
    return f"<h2>The limit</h2><p><b>{told}</b>; then {escape(limit.reason)}.</p>"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (
            escape(verdict.what),
            escape(verdict.wanted),
            escape(verdict.found),
            '<span class="held">held</span>' if verdict.held else '<span class="broken">broken</span>',
        )
        for verdict in verdicts
    ]
    return table(("of", "wanted", "found", ""), rows)


def _kinds(kinds: Mapping[str, Kind]) -> str:
    rows = [
        (
            escape(name),
            f"{kind.count:,}",
            f"{kind.rate:,.1f}",
            f"{kind.failed:,}",
            *map(figure, (kind.p50, kind.p95, kind.p99, kind.longest)),
        )
        for name, kind in kinds.items()
    ]
    return table(("", "count", "a second", "failed", "p50, ms", "p95, ms", "p99, ms", "longest, ms"), rows)


def _falcon(falcon: Falcon, generator_late: float) -> str:
    rows = [("the load generator was late, at most", f"{generator_late:.0f} ms")]
    if falcon.looks:
        rows += [
            ("CPU, mean and most", f"{falcon.cpu_mean:.2f} and {falcon.cpu_max:.2f} cores"),
            ("largest mailbox", f"{falcon.mailbox_max:,.0f} commands, {falcon.mailbox_refused:,.0f} refused"),
            ("longest lag of the read tables", f"{falcon.lag_max:.2f} s"),
            ("most memory", f"{falcon.memory_max:,.0f} MiB"),
            ("most listeners", f"{falcon.streams_max:,.0f}"),
        ]
    if falcon.missed or not falcon.looks:
        rows.append(("looks at the operations port that failed", f"{falcon.missed}: {escape(falcon.problem)}"))
    return table(("", ""), rows)


def _texts(title: str, texts: Mapping[str, int]) -> str:
    if not texts:
        return ""
    rows = [(escape(text), f"{times:,}") for text, times in sorted(texts.items(), key=lambda item: -item[1])]
    return f"<h2>{title}</h2>" + table(("", "times"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def main(arguments: list[str]) -> int:
    try:
        file = Path(arguments[0])
        run = msgspec.json.decode(file.read_bytes(), type=Run)
    except (IndexError, OSError, msgspec.DecodeError) as fault:
        print(f"usage: python -m load_tests.users.report report.json ({fault})", file=sys.stderr)
        return 2
    page = file.with_suffix(".html")
    page.write_text(html(run))
    print(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
