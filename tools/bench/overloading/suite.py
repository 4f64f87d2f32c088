"""Falcon at three times the load that it can carry.

Finds the largest rate of sends that an embedded Falcon on one core carries. Then it sends at three times that rate for
a minute, and looks at what happens.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from load_tests.users.target import settings
from tools.bench.bench import Bench, Measures, Size, Suite
from tools.bench.overloading import judge
from tools.bench.overloading.limit import Limit, NoLimit, find
from tools.bench.overloading.push import TALLY_SECONDS, Job, Pushed, Segment, Setup
from tools.bench.overloading.stages import Stage, between, stage
from tools.bench.report import Section, Table
from tools.harness.processes import spawn, terminate
from tools.harness.progress import say
from tools.harness.reports import figure
from tools.harness.running import running
from tools.harness.servers import FalconServer, ServerFailed
from tools.harness.watching import Watch

_ROOMS, _ACCOUNTS = 100, 20
_AFTER_SHARE: Final = 0.7  # of the limit
_AFTER_SECONDS: Final = 10.0
_LATE_MS: Final = 20.0


class Generator:
    """A process on a core of its own that sends requests on command."""

    def __init__(self, setup: Setup, core: int) -> None:
        command = [sys.executable, "-m", "tools.bench.overloading.push"]
        self._process = spawn(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tell(setup)

    def push(self, job: Job) -> Pushed:
        """Raises ServerFailed when it has ended."""
        self._tell(job)
        output = self._process.stdout
        assert output is not None
        line = output.readline()
        if not line:
            raise ServerFailed("the load generator has ended; what it said is above")
        return msgspec.json.decode(line, type=Pushed)

    def stop(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        terminate(self._process, 2)

    def _tell(self, what: Setup | Job) -> None:
        pipe: IO[bytes] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(msgspec.json.encode(what) + b"\n")
            pipe.flush()
        except BrokenPipeError as ended:
            raise ServerFailed("the load generator has ended; what it said is above") from ended


def _section(bench: Bench) -> Section:
    """Raises ServerFailed, NoLimit, CallRefused."""
    server = FalconServer("Falcon", bench.cores.server, bench.folder / "data", settings())
    bench.facts.update(settings())
    with running([server], bench.cores):
        say(f"{_ROOMS} rooms with {_ACCOUNTS} members each …")
        setup = Setup(
            server.address.host,
            server.address.port,
            server.fill(_ROOMS, _ACCOUNTS),
            bench.sizes["connections"],
            bench.sizes["connections_max"],
        )
        generator = Generator(setup, bench.cores.generator)
        try:
            with Watch([server.announcement.ops_url]) as watch:
                return _measured(bench, generator, watch)
        finally:
            generator.stop()


def _measured(bench: Bench, generator: Generator, watch: Watch) -> Section:
    p99, seconds, times = bench.sizes["p99"], bench.seconds, bench.sizes["times"]
    limit_seconds = bench.sizes["limit_seconds"]
    limit = _limit(bench.sizes["rate"], p99, limit_seconds, generator)
    at_limit = watch.between(limit.began, limit.began + limit_seconds)
    after_rate = limit.stage.accepted * _AFTER_SHARE
    over = Segment(limit.stage.accepted * times, seconds)
    say(f"{over.rate:,.0f}/s for {seconds} s, then {after_rate:,.0f}/s …")
    pushed = generator.push(Job([over, Segment(after_rate, _AFTER_SECONDS)]))
    during = between(pushed.tallies, 0.0, seconds)
    after = between(pushed.tallies, seconds, seconds + _AFTER_SECONDS)
    under = watch.between(pushed.began, pushed.began + seconds)
    found = {"at the limit": limit.stage, "in the overload": stage(during), "after": stage(after)}
    share = pushed.cpu / (len(pushed.tallies) * TALLY_SECONDS)
    notes = [
        f"More than the limit of {limit.stage.accepted:,.0f} sends a second was too much: {limit.reason}.",
        f"Then {times} times as much was sent for {seconds} s, and {after_rate:,.0f} a second after that. The load "
        f"generator took {share * 100:.0f} % of its core.",
    ]
    if (late := found["in the overload"].late) > _LATE_MS:
        notes.append(f"It was up to {late:.0f} ms late, so the times are in part its own.")
    targets = judge.verdicts(limit, during, after, p99, at_limit, under)
    return Section("overload", [_table(found)], targets, notes)


def _table(found: Mapping[str, Stage]) -> Table:
    rows = [
        (
            name,
            *(f"{value:,.0f}" for value in (each.offered, each.accepted, each.refused)),
            *map(figure, (each.p50, each.p99, each.refused_p99)),
            f"{each.lost:,}",
            f"{each.late:,.1f}",
        )
        for name, each in found.items()
    ]
    columns = (
        *("", "offered/s", "accepted/s", "refused/s", "p50, ms", "p99, ms", "refused p99, ms", "lost"),
        "generator late, ms",
    )
    return Table("What was met", columns, rows)


def _limit(rate: int, p99: int, seconds: int, generator: Generator) -> Limit:
    if not rate:
        return find(generator.push, p99, seconds, say)
    pushed = generator.push(Job([Segment(rate, seconds)]))
    found = stage(between(pushed.tallies, 1.0, seconds))
    return Limit(rate, found, "a larger rate was not tried", pushed.began)


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    yield {"overload": lambda: _section(bench)}


SUITE: Final = Suite(
    name="overload",
    title="Falcon under more than it can carry",
    method=Path(__file__).with_name("method.md"),
    sections=("overload",),
    sizes={
        "seconds": Size(60, 5, "of the overload"),
        "times": Size(round(judge.TIMES), round(judge.TIMES), "of the limit that is sent"),
        "p99": Size(250, 250, "ms, in which nearly all must be answered"),
        "limit_seconds": Size(30, 5, "for which the limit must hold"),
        "rate": Size(0, 0, "take this for the limit, a second, and look only whether it holds; 0: look for it", 0),
        "connections": Size(3_000, 3_000, "that are open from the beginning"),
        "connections_max": Size(12_000, 12_000, "that may be opened"),
    },
    open=_open,
    must_hold=True,
    failures=(NoLimit,),
)
