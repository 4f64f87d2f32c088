"""Shows in which parts each Falcon process spends a message's time at the limit, and what a change has moved.

py-spy samples the processes a hundred times a second while wrk sends, or reads, as fast as it is answered. Each sample
counts for the innermost part of the program in its stack.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from falcon.telemetry.profile import NoProfile, record
from tools.bench import wrk
from tools.bench.bench import Bench, Measures, Size, Suite
from tools.bench.cluster.running import RunningCluster
from tools.bench.report import Section, Table, numbers
from tools.bench.samples import Sample, compared, cpu, rate
from tools.bench.throughput import in_turn, in_words, measure_once
from tools.harness.calls import Address
from tools.harness.machine import Cores
from tools.harness.processes import Proc, descendants, scan
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer
from tools.servers.cluster import free_ports
from tools.servers.daemon import ServerFault
from tools.servers.jars import ToolMissing

_ROOMS, _ACCOUNTS, _IN_FLIGHT = 200, 20, 64
_ROUNDS, _ROUND_SECONDS = 5, 3
_PORTS: Final = range(23_000, 31_000, 600)
_WORTH_A_LOOK: Final = 0.03  # of a core; the rest of the tree sleeps

# The part of a frame by what stands in its file's path; the first that fits, innermost frame first.
_PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("falcon/adapters/sqlite/journal", "journal: SQLite, insert and commit"),
    ("falcon/adapters/sqlite/tables", "read tables: SQLite, writes"),
    ("falcon/adapters/sqlite/tail", "streams: reading the log"),
    ("falcon/adapters/sqlite", "read store: SQLite, reads"),
    ("falcon/adapters/hbase", "read tables: HBase"),
    ("falcon/adapters/kafka", "journal: Kafka"),
    ("falcon/adapters/http", "edge to owner, over HTTP"),
    ("falcon/adapters/thespian", "actor: the shell around a shard"),
    ("falcon/adapters", "other adapters"),
    ("/rules.py", "rules: deciding"),
    ("/log.py", "events to bytes and back"),
    ("/api.py", "edge: routes, tokens, answers"),
    ("falcon/features", "read models: queries, what to write"),
    ("falcon/read", "read models: queries, what to write"),
    ("falcon/http", "edge: routes, tokens, answers"),
    ("falcon/write", "shard: partitions, replies, batches"),
    ("falcon/domain", "aggregate: deciding"),
    ("falcon/journal", "events to bytes and back"),
    ("falcon/projections", "projections: what to write"),
    ("falcon/streams", "streams: delivery"),
    ("falcon/telemetry", "measuring"),
    ("thespian/", "Thespian: messages between actors"),
    ("uvicorn/", "uvicorn: HTTP"),
    ("starlette/", "Starlette: routing"),
    ("aiohttp/", "aiohttp: HTTP between pods"),
    ("aiokafka/", "aiokafka"),
    ("thriftpy2/", "thriftpy2"),
    ("happybase/", "happybase"),
    ("uvloop/", "uvloop: sockets and timers"),
    ("asyncio/", "asyncio"),
    ("threading.py", "threads and locks"),
    ("concurrent/", "threads and locks"),
    ("queue.py", "threads and locks"),
)
_REST: Final = "the rest"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    share: float
    innermost: str  # the line that was seen most often


@dataclass(frozen=True, slots=True)
class Profile:
    """One process under one load. ``micros``: CPU for each answered request."""

    load: str
    process: str
    rate: float
    micros: float
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class ProfiledLoad:
    name: str
    ask: Callable[[int, Address, Path, int, int], wrk.Load]
    in_flight: int

    def runs(self, cores: Cores, address: Address, targets: Path) -> Callable[[int], wrk.Load]:
        return lambda seconds: self.ask(cores.generator, address, targets, self.in_flight, seconds)


LOADS: Final = (
    ProfiledLoad(f"send, {_IN_FLIGHT} in flight", wrk.send, _IN_FLIGHT),
    ProfiledLoad("send, 1 in flight", wrk.send, 1),
    ProfiledLoad(f"latest 50, {_IN_FLIGHT} in flight", wrk.read, _IN_FLIGHT),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load: two versions' figures, round by round."""

    load: str
    before: list[Sample]
    now: list[Sample]


def part_of(stack: Sequence[str]) -> str:
    """``stack``: frames as py-spy writes them, outermost first."""
    for frame in reversed(stack):
        for path, name in _PARTS:
            if path in frame:
                return name
    return _REST


def parts(raw: str) -> list[Part]:
    """The largest first. ``raw``: a line a stack, its frames separated by semicolons, with how often it was seen."""
    counts: Counter[str] = Counter()
    innermost: dict[str, Counter[str]] = {}
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        stack = frames.split(";")
        name = part_of(stack)
        counts[name] += int(count)
        innermost.setdefault(name, Counter())[stack[-1]] += int(count)
    seen = sum(counts.values()) or 1
    return [Part(name, count / seen, innermost[name].most_common(1)[0][0]) for name, count in counts.most_common()]


def profiles(load: str, roots: Sequence[int], seconds: int, run: Callable[[int], wrk.Load]) -> Iterator[Profile]:
    """Profiles of each process below ``roots`` that is busy under the load."""
    run(2)
    looked: dict[int, str] = {}
    before = scan()
    loading: list[wrk.Load] = []
    thread = threading.Thread(target=lambda: loading.append(run(seconds + 4)))
    thread.start()
    time.sleep(1.0)
    now = scan()
    busy = [pid for pid in descendants(roots, now) if now[pid].ticks - _ticks(before, pid) > _WORTH_A_LOOK * 100]
    watching = [threading.Thread(target=_look, args=(pid, seconds, looked)) for pid in busy]
    for each in watching:
        each.start()
    for each in (*watching, thread):
        each.join()
    if not loading:
        raise wrk.LoadFailed(f"{load}: wrk gave no result")
    after = scan()
    for pid in busy:
        if pid in looked and pid in after:
            micros = (after[pid].ticks - _ticks(before, pid)) / 100 / max(1, loading[0].requests) * 1e6
            yield Profile(load, _title(pid), loading[0].rate, micros, parts(looked[pid]))


def _ticks(processes: Mapping[int, Proc], pid: int) -> int:
    return processes[pid].ticks if pid in processes else 0


def _look(pid: int, seconds: int, looked: dict[int, str]) -> None:
    try:
        looked[pid] = record(pid, seconds, format="raw", idle=False).decode()
    except NoProfile as error:
        say(f"no profile of {pid}: {error}")


def _title(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return str(pid)
    return words.removeprefix("falcon:").strip() if words.startswith("falcon:") else "launcher"


def embedded(cores: Cores, folder: Path, seconds: int) -> list[Profile]:
    server = FalconServer("falcon", cores.server, folder / "falcon", {"FALCON_LOG_LEVEL": "warning"})
    found: list[Profile] = []
    with running([server], cores):
        targets = wrk.write_targets(folder / "embedded.targets", server.fill(_ROOMS, _ACCOUNTS))
        for load in LOADS:
            say(f"embedded: {load.name}")
            run = load.runs(cores, server.address, targets)
            found += profiles(f"embedded, {load.name}", sorted(server.tree.pids()), seconds, run)
    return found


def cluster(cores: Cores, folder: Path, seconds: int) -> list[Profile]:
    running_cluster = RunningCluster(folder / "cluster", cores, 16, free_ports(_PORTS))
    found: list[Profile] = []
    try:
        running_cluster.start()
        targets = wrk.write_targets(folder / "cluster.targets", running_cluster.fill(_ROOMS, _ACCOUNTS))
        roots = [
            pid
            for role in ("api", "write", "project")
            for each in running_cluster.cluster.processes(role)
            if (pid := each.pid())
        ]
        for load in LOADS:
            say(f"cluster: {load.name}")
            found += profiles(
                f"cluster, {load.name}", roots, seconds, load.runs(cores, running_cluster.address, targets)
            )
            running_cluster.settle()
    finally:
        running_cluster.end()
    return found


def compare(cores: Cores, folder: Path, before: Path) -> list[Comparison]:
    """The same work for ``before`` and for what stands here, in turn, in one run."""
    settings = {"FALCON_LOG_LEVEL": "warning"}
    servers = (
        FalconServer("before", cores.server, folder / "before", {**settings, "PYTHONPATH": str(before)}),
        FalconServer("now", cores.server, folder / "now", settings),
    )
    comparisons = [Comparison(load.name, [], []) for load in LOADS]
    with running(servers, cores):
        targets = {
            server.name: wrk.write_targets(folder / f"{server.name}.targets", server.fill(_ROOMS, _ACCOUNTS))
            for server in servers
        }
        for turn in range(_ROUNDS):
            for load, comparison in zip(LOADS, comparisons, strict=True):
                for server in in_turn(servers, turn):
                    ask = load.runs(cores, server.address, targets[server.name])
                    sample = measure_once(server, ask, _ROUND_SECONDS, cores, folder, sends=False)
                    (comparison.before if server.name == "before" else comparison.now).append(sample)
                    say(f"{turn + 1}/{_ROUNDS} {load.name}, {server.name}: {in_words(sample)}")
    return comparisons


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Medians, and the median of the rounds' ratios with the least and the most."""
    rows = [
        (
            each.load,
            *(numbers([median(map(cpu, samples))], "{:.0f}") for samples in (each.before, each.now)),
            numbers(compared(each.now, each.before, cpu), "{:.2f}×"),
            numbers(compared(each.now, each.before, rate), "{:.2f}×"),
        )
        for each in comparisons
    ]
    columns = ("", "CPU before, µs", "now, µs", "now of before", "answers/s, now of before")
    note = f"Both at once on one core, asked in turn, {_ROUNDS} rounds of {_ROUND_SECONDS} s."
    return Table("Before and after", columns, rows, note)


def profile_table(profile: Profile, most: int = 8) -> Table:
    """The largest parts of a process under a load."""
    rows = [
        (part.name, f"{part.share:.0%}", f"{part.share * profile.micros:.0f}", f"`{part.innermost}`")
        for part in profile.parts[:most]
        if part.share >= 0.01
    ]
    note = f"{profile.rate:,.0f} requests/s, {profile.micros:.0f} µs of CPU each."
    return Table(f"{profile.load}: {profile.process}", ("part", "share", "µs a request", "most often at"), rows, note)


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    cores, folder, seconds = bench.cores, bench.folder, bench.seconds

    def profiled(name: str, look: Callable[[Cores, Path, int], list[Profile]]) -> Callable[[], Section]:
        return lambda: Section(name, [profile_table(each) for each in look(cores, folder, seconds)])

    measures = {"embedded": profiled("embedded", embedded), "cluster": profiled("cluster", cluster)}
    older = bench.before
    if older is not None:
        measures["before"] = lambda: Section("before", [comparison_table(compare(cores, folder, older))])
    yield measures


SUITE: Final = Suite(
    name="profile",
    title="Where the time goes",
    method=Path(__file__).with_name("profile.md"),
    sections=("before", "embedded", "cluster"),
    sizes={"seconds": Size(10, 2, "of each profile")},
    open=_open,
    failures=(ServerFault, ToolMissing),
)
