"""What Falcon does when three times as much is sent as it can carry: `make overload`, `python -m tools.bench.overload`.

Finds the largest rate of sends that an embedded Falcon on one core carries, then sends at three times that rate for a
minute, whatever becomes of it, and looks at what becomes of it. The report is in build/overload/. The exit code is 0
when everything held, 1 when something did not, 2 when there was no run.
"""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import msgspec

from load_tests.people.target import machine, settings
from tools.bench.calls import CallRefused
from tools.bench.overloading import judge
from tools.bench.overloading.limit import Limit, NoLimit, find
from tools.bench.overloading.push import TALLY_SECONDS, Job, Pushed, Segment, Setup
from tools.bench.overloading.report import Overload, write
from tools.bench.overloading.stages import between, stage
from tools.bench.servers import FalconServer, ServerFailed
from tools.bench.watching import Watch
from tools.harness.machine import MachineUnfit, choose_cores, work_folder_parent
from tools.harness.processes import adopt_orphans, kill_everything, spawn, terminate
from tools.harness.progress import say

ROOT: Final = Path(__file__).resolve().parents[2]
HELD, BROKEN, NO_RUN = 0, 1, 2
_ROOMS, _ACCOUNTS = 100, 20
_AFTER_SHARE: Final = 0.7  # of the limit
_AFTER_SECONDS: Final = 10.0
_LATE_MS: Final = 20.0


class NoRun(Exception):
    """It could not be made; the text says why."""


class Generator:
    """A process on a core of its own that sends what it is told to."""

    def __init__(self, setup: Setup, core: int) -> None:
        command = [sys.executable, "-m", "tools.bench.overloading.push"]
        self._process = spawn(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tell(setup)

    def push(self, job: Job) -> Pushed:
        """Raises NoRun when it has ended."""
        self._tell(job)
        output = self._process.stdout
        assert output is not None
        line = output.readline()
        if not line:
            raise NoRun("the load generator has ended; what it said is above")
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
            raise NoRun("the load generator has ended; what it said is above") from ended


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of the overload (60)")
    parser.add_argument("--times", type=float, default=judge.TIMES, help="of the limit that is sent (3)")
    parser.add_argument("--p99", type=float, default=250, help="ms, in which nearly all must be answered (250)")
    parser.add_argument("--limit-seconds", type=float, default=30, help="for which the limit must hold (30)")
    parser.add_argument("--rate", type=float, help="take this for the limit, a second, and look only whether it holds")
    parser.add_argument("--connections", type=int, default=3_000, help="that are open from the beginning (3,000)")
    parser.add_argument("--connections-max", type=int, default=12_000, help="that may be opened (12,000)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "overload", metavar="FOLDER")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the plots there too, as PNG or SVG")
    parser.add_argument("--folder", type=Path, help="where Falcon's data may lie (/var/tmp); must be on a disk")
    given = parser.parse_args(arguments)
    for name in ("seconds", "times", "p99", "limit_seconds", "connections", "connections_max"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(given, name):g}: must be at least 1")
    return given


def main(arguments: list[str]) -> int:
    given = parse(arguments)
    adopt_orphans()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return _overload(given)
    except KeyboardInterrupt:
        return _no_run("interrupted; there is no report")
    except (NoRun, NoLimit, ServerFailed, MachineUnfit, CallRefused, OSError) as fault:
        return _no_run(" ".join(str(fault).split()))
    finally:
        kill_everything()


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _no_run(why: str) -> int:
    print(f"overload: {why}", file=sys.stderr)
    return NO_RUN


def _overload(given: argparse.Namespace) -> int:
    cores = choose_cores()
    with _falcon(cores.server, given.folder) as server:
        say(f"{_ROOMS} rooms with {_ACCOUNTS} members each …")
        setup = Setup(
            server.address.host,
            server.address.port,
            server.fill(_ROOMS, _ACCOUNTS),
            given.connections,
            given.connections_max,
        )
        generator = Generator(setup, cores.generator)
        try:
            with Watch([server.announcement.ops_url]) as watch:
                found = _measured(given, generator, watch)
        finally:
            generator.stop()
    page, figures = write(found, given.out, given.picture)
    _tell(found, page, figures)
    return HELD if found.held else BROKEN


@contextmanager
def _falcon(core: int, chosen: Path | None) -> Iterator[FalconServer]:
    """Raises ServerFailed, MachineUnfit."""
    folder = Path(tempfile.mkdtemp(prefix="falcon-overload-", dir=work_folder_parent(chosen)))
    server = FalconServer("Falcon", core, folder / "data", settings())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _measured(given: argparse.Namespace, generator: Generator, watch: Watch) -> Overload:
    """Raises NoRun, NoLimit."""
    p99, seconds, times = given.p99, given.seconds, given.times
    limit = _limit(given, generator)
    at_limit = watch.between(limit.began, limit.began + given.limit_seconds)
    after_rate = limit.stage.accepted * _AFTER_SHARE
    over = Segment(limit.stage.accepted * times, seconds)
    say(f"{over.rate:,.0f}/s for {seconds:g} s, then {after_rate:,.0f}/s …")
    pushed = generator.push(Job([over, Segment(after_rate, _AFTER_SECONDS)]))
    end = seconds + _AFTER_SECONDS
    during, after = between(pushed.tallies, 0.0, seconds), between(pushed.tallies, seconds, end)
    under = watch.between(pushed.began, pushed.began + seconds)
    verdicts = judge.verdicts(limit, during, after, p99, at_limit, under)
    return Overload(
        version=1,
        began=datetime.fromtimestamp(pushed.began, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        settings=settings(),
        machine=machine(),
        p99_max=p99,
        times=times,
        limit=limit,
        seconds=seconds,
        after_rate=after_rate,
        during=stage(during),
        after=stage(after),
        generator=pushed.cpu / (len(pushed.tallies) * TALLY_SECONDS),
        held=all(verdict.held for verdict in verdicts),
        verdicts=verdicts,
        tallies=pushed.tallies,
        looks=watch.between(math.floor(pushed.began), pushed.began + len(pushed.tallies) * TALLY_SECONDS),
    )


def _limit(given: argparse.Namespace, generator: Generator) -> Limit:
    if given.rate is None:
        return find(generator.push, given.p99, given.limit_seconds, say)
    pushed = generator.push(Job([Segment(given.rate, given.limit_seconds)]))
    found = stage(between(pushed.tallies, 1.0, given.limit_seconds))
    return Limit(given.rate, found, "a larger rate was not tried", pushed.began)


def _tell(found: Overload, page: Path, figures: Path) -> None:
    limit = found.limit
    print(f"Limit: {limit.stage.accepted:,.0f} sends a second; more was too much: {limit.reason}.")
    for verdict in found.verdicts:
        sign = "ok    " if verdict.held else "BROKEN"
        print(f"  {sign}  {verdict.what}: {verdict.found} (wanted {verdict.wanted})")
    print(f"The load generator took {found.generator * 100:.0f} % of its core.")
    if found.during.late > _LATE_MS:
        print(f"It was up to {found.during.late:.0f} ms late, so the times are in part its own.")
    print(f"Report: {page}, figures: {figures}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
