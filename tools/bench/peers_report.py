"""docs/benchmarks-peers.md: tables, plots, and in words where Falcon is the slower one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
from rich.console import Console

from tools.bench.figures import ProcessMemory, Sample, Spread, ratios, total_pss
from tools.bench.pictures import Drawn, Picture, bars, legend, render
from tools.bench.tables import Table, numbers, show_table, table_markdown
from tools.bench.targets import FALCON, cpu, p50, p99, rate

FLIGHTS: Final = (1, 16)
NAMES: Final = {
    FALCON: "Falcon",
    "synapse": "Synapse",
    "prosody": "Prosody, archive in files",
    "prosody-sqlite": "Prosody, archive in SQLite",
}
# What is compared, and whether more of it is better.
_CHECKS: Final[tuple[tuple[str, Callable[[Sample], float], bool], ...]] = (
    ("the rate", rate, True),
    ("the p50", p50, False),
    ("the CPU", cpu, False),
)
_PICTURE: Final = Picture("bench-peers", "Falcon, Synapse and Prosody: what one core does, and how soon it answers")


class PeerResults(msgspec.Struct):
    """Everything that is known so far, by peer; a part that was not measured is empty."""

    machine: dict[str, str] = {}
    dates: dict[str, str] = {}
    versions: dict[str, str] = {}
    left_out: dict[str, str] = {}  # why
    page_bytes: dict[str, int] = {}
    samples: dict[str, dict[str, list[Sample]]] = {}  # then by "send, 16" or "latest, 16"
    starts: dict[str, list[float]] = {}  # s
    at_rest: dict[str, list[ProcessMemory]] = {}
    in_use: dict[str, list[ProcessMemory]] = {}

    @property
    def workloads(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.samples.values() for name, found in each.items() if found))


def times(results: PeerResults, workload: str, peer: str, figure: Callable[[Sample], float]) -> list[float]:
    """Falcon's figure as a multiple of the peer's, round by round."""
    ours, theirs = (results.samples.get(name, {}).get(workload, []) for name in (FALCON, peer))
    return ratios(list(map(figure, ours)), list(map(figure, theirs)))


def tables(results: PeerResults) -> list[Table]:
    found = [
        _asked(results, "send", "Sending a message"),
        _asked(results, "latest", "Reading the newest 50 messages"),
        _start_and_memory(results),
    ]
    return [table for table in found if table.rows]


def _asked(results: PeerResults, act: str, title: str) -> Table:
    rows: list[tuple[str, ...]] = []
    for workload in results.workloads:
        if not workload.startswith(act):
            continue
        for peer, workloads in results.samples.items():
            samples = workloads.get(workload, [])
            if not samples:
                continue
            flushes = [sample.per_flush for sample in samples if sample.per_flush is not None]
            rows.append(
                (
                    f"{workload.partition(', ')[2]} in flight, {NAMES[peer]}",
                    numbers(map(rate, samples), "{:,.0f}"),
                    _ratio(times(results, workload, peer, rate)),
                    numbers(map(p50, samples), "{:.2f}"),
                    numbers(map(p99, samples), "{:.2f}"),
                    numbers((cpu(sample) / 1000 for sample in samples), "{:.3f}"),
                    _ratio(times(results, workload, peer, cpu)),
                    *((f"{median(flushes):.1f}" if flushes else "none",) if act == "send" else ()),
                )
            )
    columns: tuple[str, ...] = (
        *("", "a second", "Falcon's of it", "p50, ms", "p99, ms", "CPU, s a 1,000", "Falcon's of it"),
        *(("a flush",) if act == "send" else ()),
    )
    failed = sum(s.refused + s.broken for each in results.samples.values() for found in each.values() for s in found)
    return Table(title, columns, rows, f"Requests that failed, of all here: {failed or 'none'}.")


def _ratio(values: list[float]) -> str:
    return f"{median(values):.2f}×" if values else "–"


def _start_and_memory(results: PeerResults) -> Table:
    rows = [
        (
            NAMES[peer],
            numbers(results.starts[peer], "{:.2f}") if results.starts.get(peer) else "–",
            _mebibytes(results.at_rest, peer),
            _mebibytes(results.in_use, peer),
        )
        for peer in results.versions
        if peer in results.starts or peer in results.in_use
    ]
    columns = ("", "cold start → first message, s", "memory after it, MiB", "after all runs, MiB")
    return Table("Cold start and memory", columns, rows, "PSS of all processes, Synapse's PostgreSQL included.")


def _mebibytes(memory: Mapping[str, list[ProcessMemory]], peer: str) -> str:
    return f"{total_pss(memory[peer]):,.0f}" if memory.get(peer) else "–"


def slower(results: PeerResults) -> str:
    """A paragraph that follows from the figures."""
    behind: list[str] = []
    for workload in results.workloads:
        act, _, flight = workload.partition(", ")
        what = f"{'sends' if act == 'send' else 'pages'} with {flight} in flight"
        for peer in results.samples:
            if peer == FALCON:
                continue
            for unit, figure, more_is_better in _CHECKS:
                found = times(results, workload, peer, figure)
                if found and (median(found) < 1 if more_is_better else median(found) > 1):
                    behind.append(f"{what}: {median(found):.2f}× {unit} of {NAMES[peer]}")
    for what, each in (("cold start", results.starts), ("memory after a start", _totals(results.at_rest))):
        for peer, values in each.items():
            if peer != FALCON and each.get(FALCON) and median(each[FALCON]) > median(values):
                behind.append(f"{what}: {median(each[FALCON]) / median(values):.2f}× that of {NAMES[peer]}")
    if not behind:
        return "In nothing that was measured here."
    text = f"Falcon is behind in: {'; '.join(behind)}."
    if any("Prosody, archive in files" in words for words in behind):
        text += (
            " Prosody's files are appended to and not flushed, so that a message there costs no wait for the disk; "
            "Falcon's are durable before they are answered."
        )
    return text


def _totals(memory: Mapping[str, list[ProcessMemory]]) -> dict[str, list[float]]:
    return {peer: [total_pss(each)] for peer, each in memory.items()}


def show(results: PeerResults, console: Console) -> None:
    for table in tables(results):
        show_table(table, console)
    console.print(slower(results), highlight=False)
    for peer, why in results.left_out.items():
        console.print(f"Left out: {NAMES[peer]}: {why}", highlight=False)


def draw(results: PeerResults, folder: Path) -> Drawn:
    return render([(_PICTURE, lambda figure: _bars(figure, results))] if results.workloads else [], folder)


def _bars(figure: Any, results: PeerResults) -> None:
    left, right = figure.subplots(1, 2)
    groups = [f"{name.replace('latest', 'newest 50')} in flight" for name in results.workloads]
    for axes, unit, value in ((left, "a second", rate), (right, "p50, ms", p50)):
        series: dict[str, list[Spread | None]] = {
            peer: [
                Spread.of(list(map(value, samples))) if (samples := each.get(workload)) else None
                for workload in results.workloads
            ]
            for peer, each in results.samples.items()
        }
        bars(axes, groups, series, unit, NAMES)
        axes.set_yscale("log")
        axes.tick_params(axis="x", labelsize=7)
    legend(figure, left)


def markdown(results: PeerResults, drawn: Drawn) -> str:
    """The whole of docs/benchmarks-peers.md."""
    method = (Path(__file__).parent / "peers" / "method.md").read_text().rstrip()
    sizes = ", ".join(f"{NAMES[peer]} {size:,} bytes" for peer, size in results.page_bytes.items())
    machine = {**results.machine, "Peers": ", ".join(dict.fromkeys(results.versions.values()))}
    parts = [
        "# Benchmarks beside other chats",
        "Written by `make bench-peers`; every figure below was measured by it, none was entered by hand. "
        "[benchmarks.md](benchmarks.md) has Falcon beside a bare route and a hand-written chat.",
        f"## Method\n\n{method}\n- **A page of 50**: {sizes}.",
        "## Machine\n\n" + "\n".join(f"- {name}: {text}" for name, text in machine.items()),
    ]
    parts += [f"**Left out**: {NAMES[peer]}: {why}" for peer, why in results.left_out.items()]
    parts += [drawn.left_out] if drawn.left_out else drawn.markdown([_PICTURE.name])
    parts += [table_markdown(table) for table in tables(results)]
    parts.append(f"## Where Falcon is slower\n\n{slower(results)}")
    if results.dates:
        parts.append("Measured: " + ", ".join(f"{name} {date}" for name, date in results.dates.items()) + ".")
    return "\n\n".join(parts) + "\n"
