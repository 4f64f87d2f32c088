"""Falcon's benchmark: `python -m load_tests.bench`, or `make bench ARGS="--only send,read"`.

Measures Falcon beside a bare route and a hand-written chat on PostgreSQL, prints tables and writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from load_tests import journals, memory, readable, report, start, streams, throughput
from load_tests.calls import CallRefused
from load_tests.figures import Recovery, RecoveryRun, Results
from load_tests.machine import Cores, MachineUnfit, choose_cores, describe, require_wrk, work_folder_parent
from load_tests.peers.postgres import PostgresMissing
from load_tests.processes import adopt_orphans, kill_everything
from load_tests.progress import say
from load_tests.running import running
from load_tests.servers import BareServer, CrudServer, FalconServer, Server, ServerFailed
from load_tests.targets import FALCON, FALCON_TCP, FALCON_UNMEASURED
from load_tests.wrk import LoadFailed

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = ("send", "read", "streams", "readable", "import", "rebuild", "recovery", "memory", "start")
SERVERS = ("bare", "crud", FALCON, FALCON_TCP, FALCON_UNMEASURED)
FAILURES = (
    ServerFailed,
    LoadFailed,
    CallRefused,
    OSError,
    http.client.HTTPException,
    msgspec.DecodeError,
    KeyError,
)


@dataclass(frozen=True, slots=True)
class Options:
    only: tuple[str, ...]
    servers: tuple[str, ...]
    runs: int
    seconds: int
    chat_rooms: int
    messages: int
    journal_rooms: int
    rooms: int
    used_rooms: int
    folder: Path | None
    out: Path | None
    quick: bool


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME,..", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--servers", metavar="NAME,..", default=",".join(SERVERS), help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--runs", type=int, help="runs of which the median counts (5)")
    parser.add_argument("--seconds", type=int, help="length of a run (6)")
    parser.add_argument("--chat-rooms", type=int, default=100, help="rooms that sends and reads are spread over (100)")
    parser.add_argument("--messages", type=int, help="in the large journal (1,000,000); the small one has a tenth")
    parser.add_argument("--journal-rooms", type=int, help="that these messages are in (10,000)")
    parser.add_argument("--rooms", type=int, help="of the memory measurement (1,000,000)")
    parser.add_argument("--used-rooms", type=int, help="of these, how many are in use (10,000)")
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--out", type=Path, help="the page to write (docs/benchmarks.md; with --quick none)")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    quick: bool = given.quick

    def names(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(",") if name.strip())
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            parser.error(f"{option}: {', '.join(unknown) or 'nothing'} is not one of {', '.join(known)}")
        return tuple(name for name in known if name in chosen)

    def number(value: int | None, usual: int, short: int, option: str) -> int:
        chosen = value if value is not None else (short if quick else usual)
        if chosen < 1:
            parser.error(f"{option}: must be at least 1")
        return chosen

    return Options(
        only=names(given.only, SECTIONS, "--only"),
        servers=names(given.servers, SERVERS, "--servers"),
        runs=number(given.runs, 5, 1, "--runs"),
        seconds=number(given.seconds, 6, 2, "--seconds"),
        chat_rooms=number(given.chat_rooms, 100, 100, "--chat-rooms"),
        messages=number(given.messages, 1_000_000, 20_000, "--messages"),
        journal_rooms=number(given.journal_rooms, 10_000, 200, "--journal-rooms"),
        rooms=number(given.rooms, 1_000_000, 20_000, "--rooms"),
        used_rooms=number(given.used_rooms, 10_000, 500, "--used-rooms"),
        folder=given.folder,
        out=given.out or (None if quick else ROOT / "docs" / "benchmarks.md"),
        quick=quick,
    )


class Bench:
    """One invocation: its options, its cores, its folder of data, and what has been found so far."""

    def __init__(self, options: Options, cores: Cores, folder: Path, results: Results) -> None:
        self.options = options
        self.cores = cores
        self.folder = folder
        self.results = results
        self.postgres_version: str | None = None
        self.failures: list[str] = []

    def run(self) -> None:
        """Every section that was chosen; one that fails is told of and the others go on."""
        only = set(self.options.only)
        if only & {"send", "read"}:
            self._section("sends and reads", self._throughput)
        if FALCON not in self.options.servers and FALCON_TCP not in self.options.servers:
            return
        if "streams" in only:
            self._section("streams", self._streams)
        if "readable" in only:
            self._section("accepted → readable", self._readable)
        if "start" in only:
            self._section("start", self._start)
        if "import" in only:
            self._section("import", self._import)
        if only & {"rebuild", "recovery"}:
            self._section("large journals", self._journals)
        if "memory" in only:
            self._section("memory", self._memory)

    def _section(self, name: str, measure: Callable[[], None]) -> None:
        say(f"== {name}")
        try:
            measure()
        except FAILURES as failure:
            kill_everything()
            say(f"{name} failed: {type(failure).__name__}: {failure}")
            self.failures.append(name)
        else:
            self.results.dates[name] = datetime.now(UTC).strftime("%Y-%m-%d")

    def _falcon(self, name: str, data: Path) -> FalconServer:
        settings = {
            FALCON_TCP: {"FALCON_SYSTEM_BASE": "multiprocTCPBase"},
            FALCON_UNMEASURED: {"FALCON_TELEMETRY": "off"},
        }
        return FalconServer(name, self.cores.server, data, settings.get(name))

    def _falcons(self) -> list[str]:
        return [name for name in self.options.servers if name in (FALCON, FALCON_TCP)]

    def _throughput(self) -> None:
        servers: list[Server] = []
        for name in self.options.servers:
            if name == "bare":
                servers.append(BareServer(self.cores.server, self.folder))
            elif name == "crud":
                crud = CrudServer(self.cores.server, self.folder)
                self.postgres_version = crud.postgres_version
                servers.append(crud)
            else:
                servers.append(self._falcon(name, self.folder / f"throughput-{name}"))
        workloads = [
            *(throughput.SENDS if "send" in self.options.only else ()),
            *(throughput.READS if "read" in self.options.only else ()),
        ]
        plan = throughput.Plan(workloads, self.options.runs, self.options.seconds, self.options.chat_rooms)
        found = throughput.measure(servers, plan, self.cores, self.folder)
        earlier = self.results.throughput
        self.results.throughput = found.with_earlier(earlier) if earlier is not None else found

    def _streams(self) -> None:
        server = self._falcon(FALCON, self.folder / "streams")
        self.results.streams = streams.measure(
            server, min(self.options.runs, 3), self.options.seconds, self.cores, self.folder
        )

    def _readable(self) -> None:
        options = self.options
        self.results.readable = {
            name: readable.measure(
                self._falcon(name, self.folder / f"readable-{name}"),
                options.runs,
                options.seconds,
                options.chat_rooms,
                self.cores,
                self.folder,
            )
            for name in self._falcons()
        }

    def _start(self) -> None:
        def maker(name: str) -> start.MakeServer:
            return lambda data: self._falcon(name, data)

        makers = {name: maker(name) for name in self._falcons()}
        self.results.start = start.measure(makers, self.options.runs, self.cores, self.folder)

    def _import(self) -> None:
        server = self._falcon(FALCON, self.folder / "import")
        messages = max(self.options.messages // 5, 1)
        rooms = max(1, min(self.options.journal_rooms // 10, messages))
        runs = min(self.options.runs, 3)
        self.results.imported = journals.measure_import(server, rooms, messages, runs, self.cores, self.folder)

    def _journals(self) -> None:
        options = self.options
        runs: dict[int, list[RecoveryRun]] = {}
        for messages in (options.messages // 10, options.messages):
            is_large = messages == options.messages
            if not is_large and "recovery" not in options.only:
                continue
            server = self._falcon(FALCON, self.folder / f"journal-{messages}")
            with running([server], self.cores):
                filled = journals.fill(server, min(options.journal_rooms, messages), messages)
                say(f"{filled.messages:,} messages imported in {filled.seconds:.0f} s")
                if "recovery" in options.only:
                    runs[filled.messages] = journals.measure_recovery(
                        server, filled, options.runs, self.cores, self.folder
                    )
                if is_large and "rebuild" in options.only:
                    self.results.rebuild = journals.measure_rebuild(server, filled.messages, min(options.runs, 3))
            shutil.rmtree(server.data, ignore_errors=True)
        if runs:
            self.results.recovery = Recovery(rooms=options.journal_rooms, runs=runs)

    def _memory(self) -> None:
        data = self.folder / "memory"
        servers = [self._falcon(name, data) for name in self._falcons()]
        self.results.memory = memory.measure(servers, self.options.rooms, self.options.used_rooms, self.cores)


def _earlier(file: Path, options: Options) -> Results:
    """What earlier runs found, when this one measures a part anew; a complete run begins with nothing."""
    if options.quick or set(options.only) == set(SECTIONS) or not file.exists():
        return Results()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Results)
    except msgspec.DecodeError:
        return Results()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    kept = ROOT / "build" / "bench" / "results.json"
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    folder: Path | None = None
    try:
        require_wrk()
        cores = choose_cores()
        parent = work_folder_parent(options.folder)
        adopt_orphans()
        folder = Path(tempfile.mkdtemp(prefix="falcon-bench-", dir=parent))
        folder.chmod(0o711)  # PostgreSQL's user has to pass through
        os.sched_setaffinity(0, {cores.generator})
        bench = Bench(options, cores, folder, _earlier(kept, options))
        bench.run()
        bench.results.machine = describe(folder, cores, bench.postgres_version)
        _tell(bench, kept)
    except (MachineUnfit, PostgresMissing) as unfit:
        print(f"make bench: {unfit}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        kill_everything()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    if bench.failures:
        print(f"make bench: failed: {', '.join(bench.failures)}", file=sys.stderr)
        return 1
    return 0


def _tell(bench: Bench, kept: Path) -> None:
    """Print the tables; keep the figures and write the page, unless this was only a smoke."""
    report.show(bench.results, Console(width=None if sys.stdout.isatty() else 160))
    if not bench.options.quick:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(bench.results), indent=1))
    if bench.options.out is not None and bench.failures:
        say(f"did not write {bench.options.out}: {', '.join(bench.failures)} failed")
    elif bench.options.out is not None:
        bench.options.out.parent.mkdir(parents=True, exist_ok=True)
        bench.options.out.write_text(report.markdown(bench.results, bench.options.runs))
        say(f"wrote {bench.options.out}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
