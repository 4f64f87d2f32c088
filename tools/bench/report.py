"""The figures on the terminal and in docs/benchmarks.md, and in words where Falcon is the slower one."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from rich.console import Console

from tools.bench import slower
from tools.bench.chapters import cells, tables
from tools.bench.figures import Results, Throughput
from tools.bench.pictures import Drawn
from tools.bench.tables import show_table, table_markdown
from tools.bench.targets import NAMES

# After which table a picture stands.
_PLACES = {
    "Sending a message, durable when answered": "bench-sends",
    "Fan-out of one room": "bench-streams",
    "Growth": "bench-growth",
}
_ELSEWHERE = (
    "**Elsewhere.** The same Falcon on Kafka and HBase, beside bare clients of these, is in "
    "[benchmarks-cluster.md](benchmarks-cluster.md) (`make bench-cluster`); Falcon beside Synapse and Prosody is in "
    "[benchmarks-peers.md](benchmarks-peers.md) (`make bench-peers`)."
)


def show(results: Results, console: Console) -> None:
    found = tables(results)
    for table in found:
        show_table(table, console)
    for text in slower.paragraphs(results) if found else ():
        console.print(text, highlight=False)


def markdown(results: Results, runs: int, drawn: Drawn) -> str:
    """The whole of docs/benchmarks.md."""
    found = tables(results)
    parts = [
        "# Benchmarks",
        "Written by `make bench`; every figure below was measured by it, none was entered by hand. "
        "Run it yourself: the ratios carry over to other machines better than the figures do.",
        _ELSEWHERE,
        _method(results, runs),
        "## Machine\n\n" + "\n".join(f"- {name}: {text}" for name, text in results.machine.items()),
    ]
    drift = _drift(results)
    if drift:
        parts.append(drift)
    if drawn.left_out:
        parts.append(drawn.left_out)
    for table in found:
        parts.append(table_markdown(table))
        parts += drawn.markdown([_PLACES[table.title]] if table.title in _PLACES else [])
    if found:
        parts.append("## Where Falcon is slower")
        parts += slower.paragraphs(results)
    if results.dates:
        measured = ", ".join(f"{name} {date}" for name, date in results.dates.items())
        parts.append(f"Measured: {measured}.")
    return "\n\n".join(parts) + "\n"


def _method(results: Results, runs: int) -> str:
    text = "## Method\n\n" + (Path(__file__).parent / "method.md").read_text().rstrip()
    throughput = results.throughput
    if throughput is None:
        return text
    sizes = ", ".join(f"{NAMES.get(name, name)} {size:,} bytes" for name, size in throughput.page_bytes.items())
    idle = ", ".join(f"{NAMES.get(name, name)} {share * 100:.1f} %" for name, share in throughput.idle.items())
    rounds = _runs_of(throughput, runs)
    lines = [
        f"- **Rounds.** Runs of {throughput.seconds} s, twice as long with 256 in flight, {rounds} of each, fewer of",
        "  what takes long; the tables show medians, with the least and the most in brackets. Within a round all",
        "  servers run and are asked in turn, each workload at one server after the other, so that a machine that gets",
        "  faster or slower does so for all. Ratios are formed within a round.",
        f"- **Size.** {throughput.rooms} rooms, {throughput.accounts} members in each,",
        f"  {throughput.text_bytes} bytes of text. A page of 50: {sizes}.",
        f"- **Idle**, of a core, while nobody asks: {idle}.",
    ]
    return "\n".join([text, *lines])


def _runs_of(throughput: Throughput, otherwise: int) -> int:
    return max((len(samples) for _, _, samples in cells(throughput)), default=otherwise)


def _drift(results: Results) -> str:
    if results.throughput is None:
        return ""
    samples = [sample for _, _, each in cells(results.throughput) for sample in each]
    if not samples:
        return ""
    speeds, others = [sample.speed for sample in samples], [sample.others for sample in samples]
    return (
        f"While the sends and reads ran, the server's core did between {min(speeds):.1f} and {max(speeds):.1f} million "
        f"steps a second of a fixed loop, median {median(speeds):.1f}: so much of the spread is the machine's. "
        f"Whatever else ran on that core, kernel threads included, took up to {max(others) * 100:.0f} % of it, "
        f"{median(others) * 100:.0f} % at the median."
    )
