"""The tables of docs/benchmarks.md, one function for each part that is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from tools.bench.figures import PAGE, SEND, SPREAD, ProcessMemory, Results, Sample, Throughput, ratios, total_pss
from tools.bench.tables import Table, numbers
from tools.bench.targets import FALCON, NAMES, cpu, p50, p99, rate, verdicts


def tables(results: Results) -> list[Table]:
    """Those for which there are figures, the targets first."""
    found = [_targets(results)]
    if results.throughput is not None:
        found += _throughput(results.throughput)
    found += [
        _walks(results),
        _streams(results),
        _returned(results),
        _readable(results),
        _growth(results),
        _journals(results),
    ]
    found += [_start(results), *_memory(results), _each(results)]
    return [table for table in found if table is not None and table.rows]


def cells(throughput: Throughput) -> Iterable[tuple[str, str, list[Sample]]]:
    """(server, workload, samples), of what was measured."""
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
                    spread(samples, rate, "{:,.0f}"),
                    spread(samples, p50, "{:.2f}"),
                    spread(samples, p99, "{:.2f}"),
                    spread(samples, lambda sample: cpu(sample) / 1000, "{:.3f}"),
                )
                if is_send:
                    flushes = [sample.per_flush for sample in samples if sample.per_flush is not None]
                    row = (*row, f"{median(flushes):.1f}" if flushes else "–")
                rows.append(row)
        columns: tuple[str, ...] = ("", "a second", "p50, ms", "p99, ms", "CPU, s a 1,000")
        if is_send:
            columns = (*columns, "a flush")
        if rows:
            found.append(Table(title, columns, rows, _doubts(throughput, names)))
    return found


def _doubts(throughput: Throughput, workloads: list[str]) -> str:
    """What a reader must know before trusting the cells: failures, and a load generator at its limit."""
    failures: list[str] = []
    limits: list[str] = []
    for server, workload, samples in cells(throughput):
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


def spread(samples: list[Sample], figure: Callable[[Sample], float], form: str) -> str:
    return numbers(map(figure, samples), form)


def _walks(results: Results) -> Table | None:
    walks = results.walks
    if walks is None:
        return None
    rows = [
        (
            f"{name}, {NAMES.get(server, server)}",
            numbers((walks.pages(name) / sample.rate * 1000 for sample in samples), "{:,.0f}"),
            spread(samples, p50, "{:.2f}"),
            spread(samples, p99, "{:.2f}"),
            spread(samples, cpu, "{:.0f}"),
        )
        for name in walks.names
        for server, each in walks.samples.items()
        if (samples := each.get(name))
    ]
    refused = sum(s.refused + s.broken for each in walks.samples.values() for samples in each.values() for s in samples)
    note = (
        f"One request at a time, {walks.page} messages or rooms each; every room with what is unread in it and its "
        "newest message. Falcon counts unread mentions as well, the CRUD chat does not. The pages of messages were not "
        f"in Falcon's memory. Failed requests: {refused or 'none'}."
    )
    columns = ("", "all of it, ms", "a page: p50, ms", "p99, ms", "CPU, µs a page")
    return Table("Reading everything", columns, rows, note)


def _streams(results: Results) -> Table | None:
    if not results.streams:
        return None
    rows = [
        (
            name,
            numbers((run.cpu for run in runs), "{:.1f}"),
            numbers((run.lone_cpu for run in runs), "{:.0f}"),
            numbers((run.further_cpu for run in runs), "{:.1f}"),
            numbers((run.p50 for run in runs), "{:.1f}"),
            numbers((run.p99 for run in runs), "{:.1f}"),
            f"{sum(run.lost for run in runs):,}",
        )
        for name, runs in sorted(results.streams.items(), key=lambda item: item[0].rpartition(", ")[2])
    ]
    columns = (
        "20,000 deliveries a second, and who listens",
        "CPU a delivery, µs",
        "of a message with one listener",
        "of each further delivery",
        "p50, ms",
        "p99, ms",
        "lost",
    )
    return Table(
        "Fan-out of one room",
        columns,
        rows,
        "From the request that sends a message to its arrival. Falcon's CPU is that of taking the messages in, making "
        "them durable and reading them from the log, too; Centrifugo keeps none. So a message that only one listens "
        "to, as many of them a second, is measured as well: what is left for each of the others is fan-out alone."
        + _unwanted(results),
    )


def _unwanted(results: Results) -> str:
    if not results.unwanted:
        return ""
    micros = numbers(results.unwanted, "{:.1f}")
    return f" An event of a room that nobody here listens to takes {micros} µs of CPU to be read and passed over."


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


def _growth(results: Results) -> Table | None:
    growth = results.growth
    if growth is None or not growth.points:
        return None
    first = growth.points[0]
    workloads = (SEND, PAGE, SPREAD)
    rows: list[tuple[str, ...]] = []
    for point in growth.points:
        row = [f"{point.messages:,} messages, {point.rooms:,} rooms"]
        for workload in workloads:
            samples = point.samples.get(workload, [])
            row.append(spread(samples, cpu, "{:.0f}") if samples else "–")
        for workload in (SEND, PAGE):
            times = ratios(*(list(map(cpu, each.samples.get(workload, []))) for each in (point, first)))
            row.append(f"{median(times):.2f}×" if times else "–")
        rows.append(tuple(row))
    columns = (
        *("CPU, µs each", "a send", "a page", "a send, each to another room"),
        *("a send, of the smallest's", "a page, of the smallest's"),
    )
    note = (
        f"64 in flight. The messages are in {growth.used_rooms} rooms, to which the sends go; pages of 50 are read "
        "from anywhere in them, each another one, so that none is kept in memory. The other rooms are idle. *Each to "
        "another room* goes through the idle ones instead: each has to be brought into memory first. A Falcon of each "
        "size ran at the same time; the sends of the measurement add some thousand messages to each."
    )
    return Table("Growth", columns, rows, note)


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
                f"{total_pss(total):,.0f}",
                f"{sum(memory.rss for memory in in_use):,.0f}",
                f"{total_pss(in_use):,.0f}",
            )
        )
    columns = ("MiB", "after a start, RSS", "PSS", f"{results.memory.used:,} in use, RSS", "PSS")
    note = f"The rooms, of two members, were made through the import in {results.memory.fill_seconds:,.0f} s. "
    note += "Those in use got two messages each, with keys, whose answers are kept for retries and count here."
    return [Table(f"Memory with {results.memory.rooms:,} rooms", columns, rows, note)]


def _mebibytes(memory: ProcessMemory | None) -> tuple[str, str]:
    return (f"{memory.rss:,.0f}", f"{memory.pss:,.0f}") if memory else ("–", "–")


def _returned(results: Results) -> Table | None:
    runs = results.returned
    if not runs:
        return None
    columns = ("seconds", "the first", "half of them", "99 of 100", "all")
    row = (
        numbers((run.first for run in runs), "{:.2f}"),
        numbers((run.p50 for run in runs), "{:.2f}"),
        numbers((run.p99 for run in runs), "{:.2f}"),
        numbers((run.last for run in runs), "{:.2f}"),
    )
    note = (
        "From `kill -9` of the process that serves; it is started again within that time. Each goes on from the last "
    )
    note += "event that it was shown, and tries again every 25 to 75 ms."
    return Table("Coming back", columns, [(f"{runs[0].clients:,} who listened", *row)], note)


def _each(results: Results) -> Table | None:
    """What one room, and one who listens, take."""
    rows: list[tuple[str, ...]] = []
    memory = results.memory
    if memory is not None and FALCON in memory.in_use:
        rest, used = total_pss(memory.at_rest[FALCON]), total_pss(memory.in_use[FALCON])
        if FALCON in memory.empty:
            idle = (rest - total_pss(memory.empty[FALCON])) / memory.rooms * 1024
            shown = f"{max(0.0, idle):.2f}"  # less than the start differs from one to the next
            rows.append((f"Falcon: a room that nobody uses, of {memory.rooms:,}", shown, "–"))
        each = (used - rest) / memory.used * 1024
        rows.append(
            (f"Falcon: a room in use, of {memory.used:,}, two answers kept for retries in it", f"{each:.1f}", "–")
        )
    for kind, found in (results.idle or {}).items():
        server, _, way = kind.partition("-")
        name = f"{NAMES.get(server, server)}: a subscriber by {way} who hears nothing, of {found.subscribers:,}"
        rows.append((name, f"{found.kib_each:.1f}", f"{found.share * 100:.1f} %"))
    note = (
        "From the PSS of all of a server's processes, with them and without. The kernel's own memory for connections "
    )
    note += "does not count."
    columns = ("", "KiB each", "CPU of all of them, of a core")
    return Table("What one of them takes in memory", columns, rows, note)
