"""Falcon's benchmark: `python -m tools.bench.bench`, or `make bench ARGS="--only send,read"`.

Measures Falcon beside a bare route and a hand-written chat on PostgreSQL, prints tables and writes docs/benchmarks.md.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from tools.bench import (
    growth,
    journals,
    measuring,
    memory,
    pictures,
    readable,
    report,
    returning,
    start,
    streams,
    throughput,
    unwanted,
    walks,
)
from tools.bench.bench_options import SECTIONS, Options, parse
from tools.bench.calls import CallRefused
from tools.bench.figures import Recovery, RecoveryRun, Results
from tools.bench.peers.postgres import PostgresMissing
from tools.bench.running import running
from tools.bench.servers import BareServer, CrudServer, FalconServer, Server, ServerFailed
from tools.bench.targets import FALCON, FALCON_TCP
from tools.bench.wrk import LoadFailed
from tools.harness.machine import (
    Cores,
    MachineUnfit,
    choose_cores,
    describe,
    raise_open_files,
    require_wrk,
    work_folder_parent,
)
from tools.harness.processes import adopt_orphans, kill_everything
from tools.harness.progress import say

LISTED_ROOMS = 1_000
FAILURES = (
    ServerFailed,
    LoadFailed,
    CallRefused,
    OSError,
    http.client.HTTPException,
    msgspec.DecodeError,
    KeyError,
)


class Bench:
    """One invocation: its options, its cores, its folder of data, and what has been found so far."""

    def __init__(self, options: Options, cores: Cores, folder: Path, results: Results) -> None:
        self.options = options
        self.cores = cores
        self.folder = folder
        self.results = results
        self.open_files = raise_open_files()
        self.postgres_version: str | None = None
        self.failures: list[str] = []

    def run(self) -> None:
        """Every section that was chosen; one that fails is told of and the others go on."""
        only = set(self.options.only)
        if only & {"send", "read"}:
            self._section("sends and reads", self._throughput)
        if FALCON not in self.options.servers and FALCON_TCP not in self.options.servers:
            return
        sections: tuple[tuple[set[str], str, Callable[[], None]], ...] = (
            ({"measuring"}, "what measuring costs", self._measuring),
            ({"walks"}, "walks", self._walks),
            ({"streams"}, "streams", self._streams),
            ({"returning"}, "coming back", self._returning),
            ({"idle"}, "idle subscribers", self._idle),
            ({"readable"}, "accepted → readable", self._readable),
            ({"start"}, "start", self._start),
            ({"import"}, "import", self._import),
            ({"rebuild", "recovery"}, "large journals", self._journals),
            ({"growth"}, "growth", self._growth),
            ({"memory"}, "memory", self._memory),
        )
        for names, title, measure in sections:
            if only & names:
                self._section(title, measure)

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
        settings = {FALCON_TCP: {"FALCON_SYSTEM_BASE": "multiprocTCPBase"}}
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

    def _measuring(self) -> None:
        folders = (self.folder / "measuring-a", self.folder / "measuring-b")
        rounds = self.options.runs * 4  # each on each folder and in each place as often
        self.results.measuring = measuring.measure(folders, rounds, self.options.chat_rooms, self.cores)

    def _walks(self) -> None:
        servers: list[FalconServer | CrudServer] = [self._falcon(FALCON, self.folder / "walks")]
        if "crud" in self.options.servers:
            folder = self.folder / "walks-crud"
            folder.mkdir(mode=0o711)
            servers.append(CrudServer(self.cores.server, folder))
        self.results.walks = walks.measure(
            servers,
            self.options.walk_messages,
            LISTED_ROOMS,
            self.options.runs,
            self.options.seconds,
            self.cores,
            self.folder,
        )

    def _returning(self) -> None:
        server = self._falcon(FALCON, self.folder / "returning")
        count = min(returning.COUNT, self.options.subscribers)
        self.results.returned = returning.measure(server, count, self.options.runs, self.cores)

    def _idle(self) -> None:
        # One connection each on both sides, and what a server has open besides.
        count = min(self.options.subscribers, self.open_files - 500)
        if count < self.options.subscribers:
            say(f"{count:,} idle subscribers and not {self.options.subscribers:,}: ulimit -n is {self.open_files:,}")
        server = self._falcon(FALCON, self.folder / "idle")
        self.results.idle = streams.measure_idle(server, count, self.cores, self.folder)

    def _growth(self) -> None:
        servers = [
            (size, self._falcon(f"{FALCON}-{size.messages}-{size.rooms}", self.folder / f"growth-{number}"))
            for number, size in enumerate(growth.sizes(self.options.messages, self.options.growth_rooms))
        ]
        self.results.growth = growth.measure(
            servers, self.options.runs, max(1, self.options.seconds // 3), self.cores, self.folder
        )
        for _, server in servers:
            shutil.rmtree(server.data, ignore_errors=True)

    def _streams(self) -> None:
        server = self._falcon(FALCON, self.folder / "streams")
        self.results.streams = streams.measure(
            server, self.options.fewer_runs, self.options.seconds, self.cores, self.folder
        )
        self.results.unwanted = unwanted.measure(self.options.runs, self.cores, self.folder)

    def _readable(self) -> None:
        options = self.options
        self.results.readable = {
            name: readable.measure(
                self._falcon(name, self.folder / f"readable-{name}"),
                options.fewer_runs,
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
        runs = self.options.fewer_runs
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
                    self.results.rebuild = journals.measure_rebuild(server, filled.messages, options.fewer_runs)
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
    kept = options.kept
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
        drawn = pictures.draw(bench.results, bench.options.out.parent / "images")
        bench.options.out.write_text(report.markdown(bench.results, bench.options.runs, drawn))
        say(f"wrote {bench.options.out}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
