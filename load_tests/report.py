"""The figures as tables, on the terminal and in docs/benchmarks.md, and in words where Falcon is the slower one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import rich.box
import rich.table
from rich.console import Console

from load_tests.figures import ProcessMemory, Results, Sample, Spread, Throughput
from load_tests.targets import FALCON, FALCON_TCP, NAMES, cpu, p50, p99, rate, ratio, verdicts


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables(results: Results) -> list[Table]:
    """Those for which there are figures, the targets first."""
    found = [_targets(results)]
    if results.throughput is not None:
        found += _throughput(results.throughput)
    found += [_streams(results), _readable(results), _journals(results), _start(results), *_memory(results)]
    return [table for table in found if table is not None and table.rows]


def show(results: Results, console: Console) -> None:
    for table in tables(results):
        show_table(table, console)
    for line in slower(results) if verdicts(results) else ():
        console.print(f"- {line}", highlight=False)


def show_table(table: Table, console: Console) -> None:
    shown = rich.table.Table(
        title=table.title, box=rich.box.SIMPLE_HEAD, title_justify="left", caption=table.note or None
    )
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number < 1 else "right", no_wrap=number > 0)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def table_markdown(table: Table) -> str:
    """Its title as a heading, its rows, its note."""
    head = "| " + " | ".join(table.columns) + " |\n|" + "---|" + "---:|" * (len(table.columns) - 1)
    body = "\n".join("| " + " | ".join(row) + " |" for row in table.rows)
    return f"## {table.title}\n\n{head}\n{body}" + (f"\n\n{table.note}" if table.note else "")


def markdown(results: Results, runs: int) -> str:
    """The whole of docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        "Written by `make bench`; every figure below was measured by it, none was entered by hand. "
        "Run it yourself: the ratios carry over to other machines better than the figures do.",
        _method(results, runs),
        "## Machine\n\n" + "\n".join(f"- {name}: {text}" for name, text in results.machine.items()),
    ]
    drift = _drift(results)
    if drift:
        parts.append(drift)
    parts += [table_markdown(table) for table in tables(results)]
    if verdicts(results):
        parts.append("## Where Falcon is slower\n\n" + "\n".join(f"- {line}" for line in slower(results)))
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
        f"- **Rounds.** Runs of {throughput.seconds} s, {rounds} of each; the tables show medians, with the least and",
        "  the most in brackets. Within a round all servers run and are asked in turn, each workload at one server",
        "  after the other, so that a machine that gets faster or slower does so for all. Ratios are formed within a",
        "  round.",
        f"- **Size.** {throughput.rooms} rooms, {throughput.accounts} members in each,",
        f"  {throughput.text_bytes} bytes of text. A page of 50: {sizes}.",
        f"- **Idle**, of a core, while nobody asks: {idle}.",
    ]
    return "\n".join([text, *lines])


def _runs_of(throughput: Throughput, otherwise: int) -> int:
    return max((len(samples) for _, _, samples in _cells(throughput)), default=otherwise)


def _drift(results: Results) -> str:
    if results.throughput is None:
        return ""
    speeds = [sample.speed for _, _, samples in _cells(results.throughput) for sample in samples]
    if not speeds:
        return ""
    others = [sample.others for _, _, samples in _cells(results.throughput) for sample in samples]
    return (
        f"While the sends and reads ran, the server's core did between {min(speeds):.1f} and {max(speeds):.1f} million "
        f"steps a second of a fixed loop, median {median(speeds):.1f}: so much of the spread is the machine's. "
        f"Whatever else ran on that core, kernel threads included, took up to {max(others) * 100:.0f} % of it, "
        f"{median(others) * 100:.0f} % at the median."
    )


def _cells(throughput: Throughput) -> Iterable[tuple[str, str, list[Sample]]]:
    for server, workloads in throughput.samples.items():
        for workload, samples in workloads.items():
            if samples:
                yield server, workload, samples


def _targets(results: Results) -> Table | None:
    rows = [
        (verdict.what, verdict.wanted, verdict.found, "yes" if verdict.met else "no", verdict.over_tcp)
        for verdict in verdicts(results)
    ]
    return Table("Targets", ("", "target", "Falcon", "met", "actors over TCP"), rows) if rows else None


def _throughput(throughput: Throughput) -> list[Table]:
    found: list[Table] = []
    for title, is_send in (
        ("Sending a message, durable when answered", True),
        ("Reading the newest 50 messages", False),
    ):
        names = [name for name in throughput.workloads if name.startswith("send") == is_send]
        rows: list[tuple[str, ...]] = []
        for workload in names:
            for server, workloads in throughput.samples.items():
                samples = workloads.get(workload, [])
                if not samples:
                    continue
                row: tuple[str, ...] = (
                    f"{workload.partition(', ')[2]}, {NAMES.get(server, server)}",
                    _spread(samples, rate, "{:,.0f}"),
                    _spread(samples, p50, "{:.2f}"),
                    _spread(samples, p99, "{:.2f}"),
                    _spread(samples, cpu, "{:.0f}"),
                )
                if is_send:
                    flushes = [sample.per_flush for sample in samples if sample.per_flush is not None]
                    row = (*row, f"{median(flushes):.1f}" if flushes else "–")
                rows.append(row)
        columns: tuple[str, ...] = ("", "a second", "p50, ms", "p99, ms", "CPU, µs each")
        if is_send:
            columns = (*columns, "a flush")
        if rows:
            found.append(Table(title, columns, rows, _doubts(throughput, names)))
    return found


def _doubts(throughput: Throughput, workloads: list[str]) -> str:
    """What a reader must know before trusting the cells: failures, and a load generator at its limit."""
    failures: list[str] = []
    limits: list[str] = []
    for server, workload, samples in _cells(throughput):
        if workload not in workloads:
            continue
        cell = f"{NAMES.get(server, server)} ({workload})"
        refused, broken = sum(s.refused for s in samples), sum(s.broken for s in samples)
        if refused or broken:
            failures.append(f"{cell}: {refused:,} refused, {broken:,} broken connections or time-outs")
        busiest = max(sample.generator for sample in samples)
        if busiest > 0.9:
            limits.append(f"{cell}: {busiest * 100:.0f} %")
    text = "Failed requests: " + ("; ".join(failures) if failures else "none") + "."
    if limits:
        text += f" The load generator was at the limit of its own core, so these may be too low: {'; '.join(limits)}."
    return text


def _spread(samples: list[Sample], figure: Callable[[Sample], float], form: str) -> str:
    spread = Spread.of([figure(sample) for sample in samples])
    text = form.format(spread.middle)
    if len(samples) > 1:
        text += f" ({form.format(spread.least)}–{form.format(spread.most)})"
    return text


def numbers(values: Iterable[float], form: str) -> str:
    """Their median, with the least and the most where there are several."""
    found = list(values)
    spread = Spread.of(found)
    text = form.format(spread.middle)
    return text if len(found) == 1 else f"{text} ({form.format(spread.least)}–{form.format(spread.most)})"


def _streams(results: Results) -> Table | None:
    if not results.streams:
        return None
    rows = [
        (
            name,
            numbers((run.cpu for run in runs), "{:.1f}"),
            numbers((run.p50 for run in runs), "{:.1f}"),
            numbers((run.p99 for run in runs), "{:.1f}"),
            f"{sum(run.lost for run in runs):,}",
        )
        for name, runs in sorted(results.streams.items(), key=lambda item: item[0].rpartition(", ")[2])
    ]
    columns = ("20,000 deliveries a second, and who listens", "CPU a delivery, µs", "p50, ms", "p99, ms", "lost")
    return Table(
        "Fan-out of one room",
        columns,
        rows,
        "From the request that sends a message to its arrival. Falcon's CPU is that of taking the messages in, making "
        "them durable and reading them from the log, too; Centrifugo keeps none.",
    )


def _readable(results: Results) -> Table | None:
    rows: list[tuple[str, ...]] = []
    unseen = 0
    for server, runs in (results.readable or {}).items():
        unseen += sum(run.unseen for run in runs)
        load = f"{median(run.half_rate for run in runs):,.0f}/s of {median(run.full_rate for run in runs):,.0f}/s"
        name = NAMES.get(server, server)
        rows += [
            (
                f"{name}, read until it is there",
                load,
                numbers((run.polled_p50 for run in runs), "{:.2f}"),
                numbers((run.polled_p99 for run in runs), "{:.2f}"),
            ),
            (
                f"{name}, one read with its position",
                load,
                numbers((run.positioned_p50 for run in runs), "{:.2f}"),
                numbers((run.positioned_p99 for run in runs), "{:.2f}"),
            ),
            (
                f"{name}, the answer to the sends beside it",
                load,
                numbers((run.accepted_p50 for run in runs), "{:.2f}"),
                numbers((run.accepted_p99 for run in runs), "{:.2f}"),
            ),
        ]
    note = "From the answer of a send to the answer of the read that shows it, so a read's round trip is part of each. "
    note += f"Reads with a position that did not show its message: {unseen}."
    return Table("Accepted → readable at half load", ("", "load", "p50, ms", "p99, ms"), rows, note) if rows else None


def _journals(results: Results) -> Table | None:
    rows: list[tuple[str, ...]] = []
    if results.imported is not None:
        name = f"`falcon import`, {results.imported.messages:,} messages in {results.imported.rooms:,} rooms"
        rows.append((name, numbers(results.imported.rates, "{:,.0f}") + "/s"))
    if results.rebuild is not None:
        name = f"`falcon rebuild timeline`, {results.rebuild.messages:,} messages"
        rows.append((name, numbers(results.rebuild.rates, "{:,.0f}") + "/s"))
    if results.recovery is not None:
        for size, runs in sorted(results.recovery.runs.items()):
            what = f"{size:,} messages in {results.recovery.rooms:,} rooms"
            rows += [
                (
                    f"kill -9 under load → first command accepted, {what}",
                    numbers((run.accepted for run in runs), "{:.2f}") + " s",
                ),
                (
                    f"kill -9 under load → accepted in every partition, {what}",
                    numbers((run.everywhere for run in runs), "{:.2f}") + " s",
                ),
            ]
    note = "The times count from the start of the process and so include Python's own start."
    return Table("Large journals", ("", "found"), rows, note) if rows else None


def _start(results: Results) -> Table | None:
    if results.start is None:
        return None
    rows = [
        (NAMES.get(server, server), numbers(values, "{:.2f}"), numbers(results.start.again[server], "{:.2f}"))
        for server, values in results.start.fresh.items()
    ]
    note = "`falcon up` to the first accepted message, a room made before it; files in the page cache."
    return Table("Cold start", ("", "on no data, s", "on data of before, s"), rows, note)


def _memory(results: Results) -> list[Table]:
    if results.memory is None:
        return []
    rows: list[tuple[str, ...]] = []
    for server, in_use in results.memory.in_use.items():
        name = NAMES.get(server, server)
        rest = {memory.title: memory for memory in results.memory.at_rest.get(server, [])}
        for memory in in_use:
            before = rest.get(memory.title)
            rows.append((f"{name}: `{memory.title}`", *_mebibytes(before), *_mebibytes(memory)))
        total = results.memory.at_rest.get(server, [])
        rows.append(
            (
                f"{name}: all of its processes",
                f"{sum(memory.rss for memory in total):,.0f}",
                f"{sum(memory.pss for memory in total):,.0f}",
                f"{sum(memory.rss for memory in in_use):,.0f}",
                f"{sum(memory.pss for memory in in_use):,.0f}",
            )
        )
    columns = ("MiB", "after a start, RSS", "PSS", f"{results.memory.used:,} in use, RSS", "PSS")
    note = f"The rooms, of two members, were made through the import in {results.memory.fill_seconds:,.0f} s. "
    note += "Those in use got two messages each, with keys, whose answers are kept for retries and count here."
    return [Table(f"Memory with {results.memory.rooms:,} rooms", columns, rows, note)]


def _mebibytes(memory: ProcessMemory | None) -> tuple[str, str]:
    return (f"{memory.rss:,.0f}", f"{memory.pss:,.0f}") if memory else ("–", "–")


def slower(results: Results) -> list[str]:
    """Sentences that follow from the figures alone."""
    lines: list[str] = []
    if results.throughput is not None:
        workloads = results.throughput.workloads
        for workload in workloads:
            lines += _slower_than_crud(results, workload)
        lines += _beside_the_ceiling(results)
        for workload in workloads:
            share = ratio(results, workload, FALCON_TCP, FALCON, rate)
            if share is not None and workload.startswith("send") and share.middle < 0.95:
                lines.append(
                    f"With actors as processes over TCP ({workload}): {share.middle:.2f}× the rate of actors in "
                    "process. Every batch crosses to another process and back."
                )
    missed = [verdict for verdict in verdicts(results) if not verdict.met]
    lines += [f"Target missed: {v.what}: {v.found}, wanted {v.wanted}." for v in missed]
    return lines or ["In nothing that was measured here."]


def _slower_than_crud(results: Results, workload: str) -> list[str]:
    throughput = results.throughput
    if throughput is None:
        return []
    lines: list[str] = []
    checks: tuple[tuple[str, Callable[[Sample], float], bool, str], ...] = (
        ("answers a second", rate, True, "{:,.0f}"),
        ("ms at the median", p50, False, "{:.2f}"),
        ("ms at the 99th percentile", p99, False, "{:.2f}"),
        ("µs of CPU each", cpu, False, "{:.0f}"),
    )
    for server in (FALCON, FALCON_TCP):
        for unit, figure, more_is_better, form in checks:
            times = ratio(results, workload, server, "crud", figure)
            if times is None or (times.middle >= 1 if more_is_better else times.middle <= 1):
                continue
            ours = median(figure(sample) for sample in throughput.samples[server][workload])
            theirs = median(figure(sample) for sample in throughput.samples["crud"][workload])
            lines.append(
                f"Slower than the CRUD chat ({workload}): {NAMES[server]} {form.format(ours)} {unit}, "
                f"the CRUD chat {form.format(theirs)}; {times.middle:.2f}×."
            )
    return lines


def _beside_the_ceiling(results: Results) -> list[str]:
    lines: list[str] = []
    sends = ratio(results, "send, 64 in flight", FALCON, "bare", rate)
    if sends is not None:
        lines.append(
            f"Sends with 64 in flight reach {sends.middle * 100:.0f} % of the bare route's rate. The rest is the "
            "price of authorising, deciding and storing a message, and of waiting for the disk."
        )
    reads = ratio(results, "latest 50, 64 in flight", FALCON, "bare", rate)
    if reads is not None:
        lines.append(
            f"Pages with 64 in flight reach {reads.middle * 100:.0f} % of the bare route's rate. The rest is the "
            "price of looking up the account, the membership and the rows."
        )
    return lines
