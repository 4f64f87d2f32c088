"""The cluster's benchmark: `python -m tools.bench.cluster_bench`, or `make bench-cluster ARGS="--only send,read"`.

Starts a cluster of its own, measures it beside bare clients and embedded Falcon, prints tables and writes
docs/benchmarks-cluster.md.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from falcon.journal.ports import JournalUnavailable
from tools.bench.calls import CallRefused
from tools.bench.cluster import projecting, reading, recovering, returning, scaling, sending, visible
from tools.bench.cluster.figures import Section
from tools.bench.cluster.past import Past
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.site import ROOT, Site, free_ports
from tools.bench.servers import ServerFailed
from tools.bench.tables import Table, show_table, table_markdown
from tools.bench.wrk import LoadFailed
from tools.harness.machine import Cores, MachineUnfit, choose_cores, describe, require_wrk
from tools.harness.processes import adopt_orphans, kill_everything
from tools.harness.progress import say
from tools.servers.daemon import ServerFault
from tools.servers.hbase import VERSION as HBASE_VERSION
from tools.servers.jars import ToolMissing
from tools.servers.kafka import VERSION as KAFKA_VERSION

SECTIONS: Final = ("send", "read", "project", "readable", "return", "recovery", "scale")
FAILURES: Final = (
    ServerFailed,
    ServerFault,
    LoadFailed,
    CallRefused,
    JournalUnavailable,
    OSError,
    http.client.HTTPException,
    msgspec.DecodeError,
    LookupError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Options:
    only: tuple[str, ...]
    partitions: int
    port: int
    plan: Plan
    folder: Path
    out: Path | None
    quick: bool


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.cluster_bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME,..", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--runs", type=int, help="runs of which the median counts (3)")
    parser.add_argument("--seconds", type=int, help="length of a run (4)")
    parser.add_argument("--warm-seconds", type=int, help="the most that the servers are given to warm up (180)")
    parser.add_argument("--partitions", type=int, default=8, help="of the log (8)")
    parser.add_argument("--chat-rooms", type=int, help="rooms that sends are spread over (100)")
    parser.add_argument("--history-rooms", type=int, help="rooms that are read (4,000), of 204 messages each")
    parser.add_argument("--messages", type=int, help="in the partition that is recovered (1,000,000)")
    parser.add_argument("--message-rooms", type=int, help="that these messages are in (10,000)")
    parser.add_argument("--port", type=int, default=27_500, help="where to look for free ports (27500)")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-cluster", help="for data; is deleted")
    parser.add_argument("--out", type=Path, help="the page to write (docs/benchmarks-cluster.md; with --quick none)")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    quick: bool = given.quick
    only = tuple(name.strip() for name in given.only.split(",") if name.strip())
    unknown = [name for name in only if name not in SECTIONS]
    if unknown or not only:
        parser.error(f"--only: {', '.join(unknown) or 'nothing'} is not one of {', '.join(SECTIONS)}")

    def number(name: str, usual: int, short: int) -> int:
        value: int | None = getattr(given, name)
        chosen = value if value is not None else (short if quick else usual)
        if chosen < 1:
            parser.error(f"--{name.replace('_', '-')}: must be at least 1")
        return chosen

    if given.partitions < 3:
        parser.error("--partitions: must be at least 3, one for each falcon write")
    folder: Path = given.folder.resolve()
    return Options(
        only=tuple(name for name in SECTIONS if name in only),
        partitions=given.partitions,
        port=given.port,
        plan=Plan(
            runs=number("runs", 3, 1),
            seconds=number("seconds", 4, 1),
            warm_seconds=number("warm_seconds", 180, 2),
            rooms=number("chat_rooms", 100, 20),
            history_rooms=number("history_rooms", 4_000, 200),
            history_messages=204,
            partition_messages=number("messages", 1_000_000, 10_000),
            partition_rooms=number("message_rooms", 10_000, 100),
            folder=folder / "work",
        ),
        folder=folder / "cluster",
        out=given.out or (None if quick else ROOT / "docs" / "benchmarks-cluster.md"),
        quick=quick,
    )


class Page(msgspec.Struct):
    """Everything that is known so far, by section."""

    machine: dict[str, str] = {}
    method: dict[str, int] = {}
    sections: dict[str, Section] = {}


class Bench:
    """One invocation: the cluster, and what has been found."""

    def __init__(self, options: Options, cores: Cores, page: Page) -> None:
        self.options = options
        self.page = page
        self.site = Site(options.folder, cores, options.partitions, free_ports(options.port))
        self.failures: list[str] = []
        self._console = Console(width=None if sys.stdout.isatty() else 180)

    def run(self) -> None:
        """Every section that was chosen, its tables as soon as they are there; one that fails is told of."""
        site, plan = self.site, self.options.plan
        past = Past(site, plan)
        measures: dict[str, Callable[[], Section]] = {
            "send": lambda: sending.measure(site, plan),
            "readable": lambda: visible.measure(site, plan),
            "return": lambda: returning.measure(site, plan),
            "scale": lambda: scaling.measure(site, plan),
            # The backlog is what is read afterwards.
            "project": lambda: projecting.measure(site, plan, past),
            "read": lambda: reading.measure(site, plan, past),
            "recovery": lambda: recovering.measure(site, plan),
        }
        for name, measure in measures.items():
            if name in self.options.only:
                self._section(name, measure)

    def _section(self, name: str, measure: Callable[[], Section]) -> None:
        say(f"== {name}")
        try:
            section = measure()
        except FAILURES as failure:
            words = f"{type(failure).__name__}: {failure}"
            say(f"{name} failed: {words}")
            self.failures.append(name)
            section = Section(name, self.options.plan.date, failure=words.splitlines()[0][:300])
            self._mend()
        self.page.sections[name] = section
        for table in section.tables:
            show_table(table, self._console)
        if targets := targets_table({name: section}):
            show_table(targets, self._console)

    def _mend(self) -> None:
        try:
            self.site.mend()
        except FAILURES as failure:
            say(f"the cluster could not be mended, so what follows may fail too: {failure}")


def targets_table(sections: dict[str, Section]) -> Table | None:
    rows = [
        (target.what, target.wanted, target.found, "yes" if target.met else "no")
        for name in SECTIONS
        if name in sections
        for target in sections[name].targets
    ]
    return Table("Targets", ("", "target", "found", "met"), rows) if rows else None


def markdown(page: Page) -> str:
    """The whole of docs/benchmarks-cluster.md."""
    sections = [page.sections[name] for name in SECTIONS if name in page.sections]
    method = (Path(__file__).parent / "cluster" / "method.md").read_text().rstrip()
    sizes = ", ".join(f"{count:,} {name}" for name, count in page.method.items())
    parts = [
        "# Benchmarks of a cluster",
        "Written by `make bench-cluster`; every figure below was measured by it, none was entered by hand. The ratios "
        "carry over to other machines better than the figures do.",
        f"## Method\n\n{method}\n- **Size**: {sizes}.",
        "## Machine\n\n" + "\n".join(f"- {name}: {text}" for name, text in page.machine.items()),
    ]
    failed = [f"- `{each.name}` failed and has no figures here: {each.failure}" for each in sections if each.failure]
    if failed:
        parts.append("## What could not be measured\n\n" + "\n".join(failed))
    targets = targets_table(page.sections)
    if targets is not None:
        parts.append(table_markdown(targets))
    for section in sections:
        parts += [table_markdown(table) for table in section.tables]
        if section.notes:
            parts.append("\n\n".join(section.notes))
    parts.append("Measured: " + ", ".join(f"{each.name} {each.date}" for each in sections if not each.failure) + ".")
    return "\n\n".join(parts) + "\n"


def _earlier(kept: Path, options: Options) -> Page:
    """What earlier runs found, when this one measures a part anew; a complete run begins with nothing."""
    if options.quick or set(options.only) == set(SECTIONS) or not kept.exists():
        return Page()
    try:
        return msgspec.json.decode(kept.read_bytes(), type=Page)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Page()


def _describe(options: Options, cores: Cores) -> dict[str, str]:
    machine = describe(options.plan.folder, cores, None)
    return {**machine, "Servers": f"Kafka {KAFKA_VERSION}, HBase {HBASE_VERSION}"}


def _sizes(options: Options) -> dict[str, int]:
    plan = options.plan
    return {
        "runs of each": plan.runs,
        "seconds a run": plan.seconds,
        "partitions": options.partitions,
        "rooms sent to": plan.rooms,
        "members in each": sending.ACCOUNTS,
    }


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 when a section failed, 2 when the benchmark cannot be run here."""
    options = parse(arguments)
    kept = ROOT / "build" / "bench-cluster.json"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    for name in [name for name in os.environ if name.startswith("FALCON_")] + ["PYTHONDONTWRITEBYTECODE"]:
        os.environ.pop(name, None)  # what would make this cluster another one, or each start slower
    bench: Bench | None = None
    try:
        require_wrk()
        cores = choose_cores()
        adopt_orphans()
        options.plan.folder.mkdir(parents=True, exist_ok=True)
        os.sched_setaffinity(0, {cores.generator})
        bench = Bench(options, cores, _earlier(kept, options))
        bench.site.start()
        bench.run()
        bench.page.machine = _describe(options, cores)
        bench.page.method = _sizes(options)
        _keep(bench, kept)
    except (MachineUnfit, ToolMissing, ServerFault, ServerFailed) as unfit:
        print(f"make bench-cluster: {unfit}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        _clear(bench, options)
    if bench.failures:
        print(f"make bench-cluster: failed: {', '.join(bench.failures)}", file=sys.stderr)
        return 1
    return 0


def _keep(bench: Bench, kept: Path) -> None:
    """Keep the figures and write the page, unless this was only a smoke."""
    if not bench.options.quick:
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(bench.page), indent=1))
    if bench.options.out is not None:
        bench.options.out.write_text(markdown(bench.page))
        say(f"wrote {bench.options.out} at {datetime.now(UTC):%H:%M} UTC")


def _clear(bench: Bench | None, options: Options) -> None:
    if bench is not None:
        bench.site.end()
    kill_everything()
    for file in sorted(options.plan.folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
