"""``python -m load_tests.profile``: where a message's time goes in each of Falcon's processes, at the limit.

py-spy looks at the processes a hundred times a second while wrk sends, or reads, as fast as it is answered; each look
counts for the part of the program that is innermost in its stack. The tables are written to docs/profile.md. With
``--before FOLDER``, an older version of the repository, both are asked in turn and compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from falcon.telemetry.profile import NoProfile, record
from load_tests import wrk
from load_tests.cluster.site import Site, free_ports
from load_tests.figures import Sample
from load_tests.machine import Cores, MachineUnfit, choose_cores, work_folder_parent
from load_tests.processes import Proc, adopt_orphans, descendants, kill_everything, scan
from load_tests.progress import say
from load_tests.running import running
from load_tests.servers import FalconServer, ServerFailed
from load_tests.throughput import in_turn, in_words, measure_once

ROOT: Final = Path(__file__).parents[1]
_ROOMS, _ACCOUNTS, _IN_FLIGHT = 200, 20, 64
_ROUNDS, _ROUND_SECONDS = 5, 3
_PORT: Final = 23_000
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
    """Of one process under one load. ``micros``: CPU for each request that was answered."""

    load: str
    process: str
    rate: float
    micros: float
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Load:
    name: str
    ask: Callable[[int, wrk.Address, Path, int, int], wrk.Load]
    in_flight: int

    def runs(self, cores: Cores, address: wrk.Address, targets: Path) -> Callable[[int], wrk.Load]:
        return lambda seconds: self.ask(cores.generator, address, targets, self.in_flight, seconds)


LOADS: Final = (
    Load(f"send, {_IN_FLIGHT} in flight", wrk.send, _IN_FLIGHT),
    Load("send, 1 in flight", wrk.send, 1),
    Load(f"latest 50, {_IN_FLIGHT} in flight", wrk.read, _IN_FLIGHT),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of a load: what two versions took, round by round."""

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
    """Of each process below ``roots`` that has something to do under the load."""
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
    site = Site(folder / "cluster", cores, 16, free_ports(_PORT))
    found: list[Profile] = []
    try:
        site.start()
        targets = wrk.write_targets(folder / "cluster.targets", site.fill(_ROOMS, _ACCOUNTS))
        roots = [
            pid for role in ("api", "write", "project") for each in site.cluster.processes(role) if (pid := each.pid())
        ]
        for load in LOADS:
            say(f"cluster: {load.name}")
            found += profiles(f"cluster, {load.name}", roots, seconds, load.runs(cores, site.address, targets))
            site.settle()
    finally:
        site.end()
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


def compared(comparisons: Sequence[Comparison]) -> list[str]:
    """Markdown: medians, and the median of the rounds' ratios with the least and the most."""
    lines = [
        "| Load | CPU before, µs | now, µs | now of before | answers/s, now of before |",
        "|---|---:|---:|---:|---:|",
    ]
    for each in comparisons:
        cpu = [now.cpu / before.cpu for before, now in zip(each.before, each.now, strict=True)]
        rate = [now.rate / before.rate for before, now in zip(each.before, each.now, strict=True)]
        before, now = (median(sample.cpu for sample in samples) for samples in (each.before, each.now))
        lines.append(f"| {each.load} | {before:.0f} | {now:.0f} | {_spread(cpu)} | {_spread(rate)} |")
    return lines


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f}× ({min(ratios):.2f}×–{max(ratios):.2f}×)"


def document(found: Sequence[Profile], comparisons: Sequence[Comparison], most: int = 8) -> str:
    """Markdown: for each process and load the largest parts, and what has changed."""
    lines = [
        "# Where the time goes",
        "",
        "Made by `python -m load_tests.profile`: py-spy looks at each process a hundred times a second while wrk keeps",
        f"requests in flight ({_ROOMS} rooms, {_ACCOUNTS} members each), all of Falcon on one core. Each look counts",
        "for the part that is innermost in its stack, which includes what it has libraries do in C. CPU is that of the",
        "whole process for each request that was answered; py-spy's looks make it more than in the benchmarks.",
    ]
    if comparisons:
        lines += ["", "## Before and after", ""]
        lines += [f"Both at once on one core, asked in turn, {_ROUNDS} rounds of {_ROUND_SECONDS} s.", ""]
        lines += compared(comparisons)
    for profile in found:
        lines += ["", f"## {profile.load}: {profile.process}", ""]
        lines += [f"{profile.rate:,.0f} requests/s, {profile.micros:.0f} µs of CPU each.", ""]
        lines += ["| Part | Share | µs a request | Most often at |", "|---|---:|---:|---|"]
        lines += [
            f"| {part.name} | {part.share:.0%} | {part.share * profile.micros:.0f} | `{part.innermost}` |"
            for part in profile.parts[:most]
            if part.share >= 0.01
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.profile", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each profile")
    parser.add_argument("--only", choices=("embedded", "cluster"), help="one of the two")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="an older version to compare with")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "profile.md")
    chosen = parser.parse_args()
    adopt_orphans()
    found: list[Profile] = []
    comparisons: list[Comparison] = []
    try:
        cores = choose_cores()
        with tempfile.TemporaryDirectory(prefix="falcon-profiled-", dir=work_folder_parent(None)) as folder:
            if chosen.before is not None:
                comparisons = compare(cores, Path(folder), chosen.before.resolve(strict=True))
            if chosen.only != "cluster":
                found += embedded(cores, Path(folder), chosen.seconds)
            if chosen.only != "embedded":
                found += cluster(cores, Path(folder), chosen.seconds)
    except (MachineUnfit, ServerFailed, wrk.LoadFailed, OSError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    finally:
        kill_everything()
    chosen.out.write_text(document(found, comparisons))
    say(f"written to {chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
