"""The findings of a section, stored in a file, and shown on the terminal and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

import msgspec

from tools.bench.samples import (
    CRUD,
    FALCON,
    NAMES,
    Sample,
    Samples,
    Spread,
    behind,
    compared,
    cpu,
    p50,
    p99,
    rate,
    workloads,
)
from tools.harness.reports import markdown_table, text_table

_GENERATOR_LIMIT = 0.9  # of its core


class Table(msgspec.Struct, frozen=True):
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


class Target(msgspec.Struct, frozen=True):
    """A target, and True if it was met."""

    what: str
    wanted: str
    found: str
    met: bool


class Picture(msgspec.Struct, frozen=True):
    """It lies in images/``name``.png beside the page."""

    name: str
    title: str


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


class Section(msgspec.Struct, frozen=True):
    """``slower``: the comparisons in which Falcon is slower, in words. ``failure``: why it has no figures."""

    name: str
    tables: Sequence[Table] = ()
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    slower: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    failure: str = ""
    date: str = msgspec.field(default_factory=today)


class Page(msgspec.Struct):
    """Everything that is known so far, by section. ``facts``: of the machine and of what was measured."""

    facts: dict[str, str] = {}
    sections: dict[str, Section] = {}


# --- values in words --------------------------------------------------------------------------------------------------


def numbers(values: Iterable[float], form: str) -> str:
    """Their median, with the least and the most if there are several."""
    found = list(values)
    if not found:
        return "–"
    spread = Spread.of(found)
    text = form.format(spread.middle)
    return text if len(found) == 1 else f"{text} ({form.format(spread.least)}–{form.format(spread.most)})"


def at_most(what: str, found: Sequence[float], bound: float, unit: str, form: str = "{:.2f}") -> Target:
    """Judged by the median; the least and the most stand beside it."""
    return Target(what, f"≤ {bound:,g}{unit}", _words(found, unit, form), median(found) <= bound)


def at_least(what: str, found: Sequence[float], bound: float, unit: str, form: str = "{:.2f}") -> Target:
    """Judged by the median; the least and the most stand beside it."""
    return Target(what, f"≥ {bound:,g}{unit}", _words(found, unit, form), median(found) >= bound)


def _words(found: Sequence[float], unit: str, form: str) -> str:
    middle, _, rest = numbers(found, form).partition(" ")
    return f"{middle}{unit} {rest}".rstrip()


def asked(title: str, samples: Samples) -> Table:
    """Each workload at each server, and Falcon's rate and CPU as multiples of that server's."""
    rows: list[tuple[str, ...]] = []
    for workload in workloads(samples):
        for server, each in samples.items():
            found = each.get(workload, ())
            if not found:
                continue
            ours = samples.get(FALCON, {}).get(workload, ())
            flushes = [sample.per_flush for sample in found if sample.per_flush is not None]
            rows.append(
                (
                    f"{workload}, {NAMES.get(server, server)}",
                    numbers(map(rate, found), "{:,.0f}"),
                    _times(compared(ours, found, rate)),
                    numbers(map(p50, found), "{:.2f}"),
                    numbers(map(p99, found), "{:.2f}"),
                    numbers((cpu(sample) / 1000 for sample in found), "{:.3f}"),
                    _times(compared(ours, found, cpu)),
                    f"{median(flushes):.1f}" if flushes else "–",
                )
            )
    columns = ("", "a second", "Falcon's of it", "p50, ms", "p99, ms", "CPU, s a 1,000", "Falcon's of it", "a flush")
    return Table(title, columns, rows, doubts(samples))


def behind_the_chat(samples: Samples) -> list[str]:
    """What Falcon does worse than the hand-written chat, in a sentence; nothing if it does all better."""
    words = behind(samples, CRUD)
    return [f"Beside the {NAMES[CRUD]} Falcon is behind in: {'; '.join(words)}."] if words else []


def _times(values: Sequence[float]) -> str:
    return f"{median(values):.2f}×" if values else "–"


def doubts(samples: Samples) -> str:
    """Notes for a reader who wants to trust the figures: failures, and a load generator at its limit."""
    failures: list[str] = []
    limits: list[str] = []
    for server, each in samples.items():
        for workload, found in each.items():
            cell = f"{NAMES.get(server, server)} ({workload})"
            refused, broken = sum(s.refused for s in found), sum(s.broken for s in found)
            if refused or broken:
                failures.append(f"{cell}: {refused:,} refused, {broken:,} broken connections or time-outs")
            busiest = max((sample.generator for sample in found), default=0.0)
            if busiest > _GENERATOR_LIMIT:
                limits.append(f"{cell}: {busiest * 100:.0f} %")
    text = "Failed requests: " + ("; ".join(failures) if failures else "none") + "."
    if limits:
        text += f" The load generator was at the limit of its own core, so these may be too low: {'; '.join(limits)}."
    return text


def drift(samples: Samples) -> str:
    """How steady the machine was."""
    found: list[Sample] = [sample for each in samples.values() for some in each.values() for sample in some]
    speeds, others = [sample.speed for sample in found], [sample.others for sample in found]
    return (
        f"Meanwhile the server's core did between {min(speeds):.1f} and {max(speeds):.1f} million steps a second of a "
        f"fixed loop, median {median(speeds):.1f}: so much of the spread is the machine's. Whatever else ran on that "
        f"core, kernel threads included, took up to {max(others) * 100:.0f} % of it, {median(others) * 100:.0f} % at "
        "the median."
    )


# --- on the terminal --------------------------------------------------------------------------------------------------


def show(section: Section) -> None:
    for table in (*section.tables, *_targets([section])):
        print(f"\n{table.title}\n\n{text_table(table.columns, table.rows)}")
        if table.note:
            print(table.note)
    for text in (*section.notes, *section.slower):
        print(text)


def _targets(sections: Iterable[Section]) -> list[Table]:
    """None if there is no target."""
    targets = [target for section in sections for target in section.targets]
    if not targets:
        return []
    rows = [(target.what, target.wanted, target.found, "yes" if target.met else "no") for target in targets]
    return [Table("Targets", ("", "target", "found", "met"), rows)]


# --- the page ---------------------------------------------------------------------------------------------------------


def markdown(title: str, command: str, method: str, page: Page) -> str:
    """``command``: what writes it; ``method``: a list in Markdown of how it is measured."""
    sections = list(page.sections.values())
    parts = [
        f"# {title}",
        f"Written by `{command}`; every figure below was measured by it, none was entered by hand. Run it yourself: "
        "the ratios carry over to other machines better than the figures do.",
        f"## Method\n\n{method.rstrip()}",
        "## Machine\n\n" + "\n".join(f"- {name}: {text}" for name, text in page.facts.items()),
    ]
    failed = [f"- `{each.name}` failed and has no figures here: {each.failure}" for each in sections if each.failure]
    if failed:
        parts.append("## What could not be measured\n\n" + "\n".join(failed))
    parts += map(_table, _targets(sections))
    for section in sections:
        parts += map(_table, section.tables)
        parts += [f"![{each.title}](images/{each.name}.png)\n\n{each.title}." for each in section.pictures]
        parts += section.notes
    slower = [text for section in sections for text in section.slower]
    missed = [target for section in sections for target in section.targets if not target.met]
    if missed:
        words = (f"{target.what}: {target.found}, wanted {target.wanted}" for target in missed)
        slower.append(f"Targets missed: {'; '.join(words)}.")
    parts += ["## Where Falcon is slower", *(slower or ["In nothing that was measured here."])]
    parts.append("Measured: " + ", ".join(f"{each.name} {each.date}" for each in sections if not each.failure) + ".")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    """Its title as a heading, its rows, its note."""
    shown = f"## {table.title}\n\n{markdown_table(table.columns, table.rows)}"
    return f"{shown}\n\n{table.note}" if table.note else shown


def named(values: Mapping[str, str]) -> str:
    """Several servers in one line."""
    return ", ".join(f"{NAMES.get(server, server)} {text}" for server, text in values.items())
