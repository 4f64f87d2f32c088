"""Falcon at three times the load that it can carry.

Finds the largest rate of sends that an embedded Falcon on one core carries. Then it sends at three times that rate for
a minute, and looks at what happens.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from load_tests.users.target import settings
from tools.bench.bench import Bench, Measures, Size, Suite
from tools.bench.figures import Figure
from tools.bench.overloading.push import TALLY_SECONDS, Job, Pushed, Segment, Setup, Tally
from tools.harness.processes import spawn, terminate
from tools.harness.progress import say
from tools.harness.reports import percentile
from tools.harness.running import running
from tools.harness.scraped import scrape
from tools.harness.servers import FalconServer, ServerFailed

_ROOMS, _ACCOUNTS = 100, 20
_CONNECTIONS, _CONNECTIONS_MAX = 3_000, 12_000  # open from the beginning, and that may be opened
P99_MS: Final = 250.0  # in which nearly all must be answered
_TIMES: Final = 3
_AFTER_SHARE: Final = 0.7  # of the limit
_AFTER_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 1.0  # in which queues fill
_WELL_WINDOW: Final = 0.5
# Beyond what as many accepted messages cost at the limit: what waits in mailboxes and connections.
_MEMORY_MIB: Final = 192.0
_FIRST: Final = 1_000.0
_RAISED_BY: Final = 1.4
_HALVINGS: Final = 4
_TRIED_SECONDS: Final = 5.0
_REACHED: Final = 0.98  # of what was offered: in time
_LOWERED_BY: Final = 0.95
_ATTEMPTS: Final = 8


class NoLimit(Exception):
    """None was found; the text says why."""


class Look(NamedTuple):
    """Falcon's memory at a time, in bytes and seconds since 1970."""

    at: float
    memory: float


class MemoryWatch:
    """Looks once a second, from a thread of its own."""

    def __init__(self, ops_url: str) -> None:
        self._ops_url = ops_url
        self._looks: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> list[Look]:
        return [look for look in self._looks if begin <= look.at < end]

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            with suppress(OSError):  # under load it may not answer in time
                self._looks.append(Look(time.time(), scrape(self._ops_url).total("falcon_process_pss_bytes")))


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


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time at one rate. Rates a second, times in ms; ``lost``: given up, or on connections that broke, or
    answered with another status; ``bare``: refusals without Retry-After; ``late``: the generator itself, at most."""

    accepted: float
    refused: float
    p99: float
    refused_p99: float
    bare: int
    lost: int
    late: float


def stage(tallies: Sequence[Tally]) -> Stage:
    accepted, refused = (
        [time for each in found for time in each]
        for found in zip(*((t.accepted, t.refused) for t in tallies), strict=True)
    )
    seconds = len(tallies) * TALLY_SECONDS
    return Stage(
        accepted=len(accepted) / seconds,
        refused=len(refused) / seconds,
        p99=percentile(accepted, 0.99) * 1000 if accepted else math.inf,
        refused_p99=percentile(refused, 0.99) * 1000 if refused else 0.0,
        bare=sum(tally.bare for tally in tallies),
        lost=sum(tally.unanswered + tally.broken + sum(tally.others.values()) for tally in tallies),
        late=max(tally.late for tally in tallies) * 1000,
    )


def between(tallies: Sequence[Tally], begin: float, end: float) -> Sequence[Tally]:
    """From ``begin`` to ``end``, in s."""
    return tallies[round(begin / TALLY_SECONDS) : round(end / TALLY_SECONDS)]


def is_well(found: Stage) -> bool:
    return not found.refused and not found.lost and found.p99 <= P99_MS


def carries(push: Callable[[Job], Pushed], rate: float, seconds: float) -> tuple[Stage, Pushed] | None:
    """What was met at a rate; None if it is too much."""
    pushed = push(Job([Segment(rate, seconds)]))
    found = stage(between(pushed.tallies, _SETTLE_SECONDS, seconds))
    is_held = is_well(found) and found.accepted >= rate * _REACHED
    say(f"{rate:,.0f}/s: p99 {found.p99:,.1f} ms{'' if is_held else ': too much'}")
    return (found, pushed) if is_held else None


def limit(push: Callable[[Job], Pushed], seconds: float) -> tuple[float, Stage, Pushed]:
    """The largest rate that is carried: up in steps until it is too much, closer by halves, and then for ``seconds`` at
    what held. Raises NoLimit."""
    held, beyond = 0.0, _FIRST
    while carries(push, beyond, _TRIED_SECONDS):
        held, beyond = beyond, beyond * _RAISED_BY
    for _ in range(_HALVINGS if held else 0):
        middle = (held + beyond) / 2
        if carries(push, middle, _TRIED_SECONDS):
            held = middle
        else:
            beyond = middle
    for _ in range(_ATTEMPTS if held else 0):
        if met := carries(push, held, seconds):
            return held, *met
        held *= _LOWERED_BY
    raise NoLimit(f"no rate from {_FIRST:,.0f}/s on held for {seconds:g} s")


def well_after(after: Sequence[Tally]) -> float:
    """Seconds until nothing was refused or lost any more and p99 was as it should be, up to the end."""
    width = round(_WELL_WINDOW / TALLY_SECONDS)
    ill = [
        begin for begin in range(0, len(after) - width + 1, width) if not is_well(stage(after[begin : begin + width]))
    ]
    return ill[-1] * TALLY_SECONDS + _WELL_WINDOW if ill else 0.0


def memory_beyond(at_limit: Sequence[Look], under: Sequence[Look]) -> float:
    """MiB. Messages themselves cost memory for a while, their keys and answers do, so it is compared with what they
    cost at the limit; what is more than that must be bounded by what may wait."""
    calm = (at_limit[-1].memory - at_limit[0].memory) / max(1.0, at_limit[-1].at - at_limit[0].at)
    grown = max(look.memory for look in under) - under[0].memory
    return (grown - max(0.0, calm) * (under[-1].at - under[0].at)) / 2**20


def _measure(bench: Bench) -> list[Figure]:
    """Raises ServerFailed, NoLimit, CallRefused."""
    server = FalconServer("Falcon", bench.cores.server, bench.folder / "data", settings())
    bench.facts.update(settings())
    with running([server], bench.cores):
        say(f"{_ROOMS} rooms with {_ACCOUNTS} members each …")
        targets = server.fill(_ROOMS, _ACCOUNTS)
        setup = Setup(server.address.host, server.address.port, targets, _CONNECTIONS, _CONNECTIONS_MAX)
        generator = Generator(setup, bench.cores.generator)
        try:
            with MemoryWatch(server.announcement.ops_url) as watch:
                return _figures(bench, generator, watch)
        finally:
            generator.stop()


def _figures(bench: Bench, generator: Generator, watch: MemoryWatch) -> list[Figure]:
    seconds, limit_seconds = bench.seconds, bench.sizes["limit_seconds"]
    rate, calm, met = limit(generator.push, limit_seconds)
    at_limit = watch.between(met.began, met.began + limit_seconds)
    over = Segment(rate * _TIMES, seconds)
    say(f"{over.rate:,.0f}/s for {seconds} s, then {rate * _AFTER_SHARE:,.0f}/s …")
    pushed = generator.push(Job([over, Segment(rate * _AFTER_SHARE, _AFTER_SECONDS)]))
    under = watch.between(pushed.began, pushed.began + seconds)
    found = stage(between(pushed.tallies, _SETTLE_SECONDS, seconds))
    after = between(pushed.tallies, seconds, seconds + _AFTER_SECONDS)
    share = pushed.cpu / (len(pushed.tallies) * TALLY_SECONDS)
    return [
        Figure("sends that Falcon carries", [calm.accepted], "a second"),
        Figure("p99 at this limit", [calm.p99], "ms", most=P99_MS),
        Figure(
            f"accepted while {_TIMES:g} times as many are sent", [found.accepted], "a second", least=0.9 * calm.accepted
        ),
        Figure("p99 of these", [found.p99], "ms", most=3 * calm.p99),
        Figure("refused", [found.refused], "a second", least=1),
        Figure("p99 of a refusal", [found.refused_p99], "ms", most=50),
        Figure("refusals without Retry-After", [found.bare], most=0),
        Figure("not answered, or with something else", [found.lost], most=0),
        Figure(
            "memory beyond that of as many messages at the limit",
            [memory_beyond(at_limit, under)],
            "MiB",
            most=_MEMORY_MIB,
        ),
        Figure("well again after", [well_after(after)], "s", most=2),
        Figure("the load generator was late by", [found.late], "ms"),
        Figure("the load generator's share of its core", [share], most=1),
    ]


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    yield {"overload": lambda: _measure(bench)}


SUITE: Final = Suite(
    title="Falcon under more than it can carry",
    method=Path(__file__).with_name("method.md"),
    sections=("overload",),
    sizes={
        "seconds": Size(60, 5, "of the overload"),
        "limit_seconds": Size(30, 5, "for which the limit must hold"),
    },
    open=_open,
    must_hold=True,
    failures=(NoLimit,),
)
