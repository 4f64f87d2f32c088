"""One run: the chat is made ready, workers are started, people come and go as the shape says, and it is judged."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from locust import LoadTestShape

from load_tests.users import figures, report
from load_tests.users.leader import Leader, quiet
from load_tests.users.limit import Limit, Search
from load_tests.users.locust_users import acts_each_second
from load_tests.users.objectives import Objectives, Verdict
from load_tests.users.options import Options
from load_tests.users.plans import LIMIT, PLANS
from load_tests.users.progress import Progress
from load_tests.users.recorder import Timeline
from load_tests.users.shapes import FindLimit, Planned
from load_tests.users.stage import World
from load_tests.users.target import Target, machine
from load_tests.users.worker import address
from load_tests.users.world import NotReady, look, make
from tools.harness.ports import free_port
from tools.harness.processes import register, terminate
from tools.harness.progress import say
from tools.harness.reports import figure, shortened, text_table
from tools.harness.watching import Watch

HELD, BROKEN = 0, 1
_TIMES_MORE: Final = 1_000  # people than to begin with, when the limit is looked for
_GENERATOR_LATE_MS: Final = 100.0  # past which times are in part the load generator's own


def run(options: Options, objectives: Objectives, target: Target) -> int:
    """The exit code. Raises RunFailed, NotReady, OSError, ValueError for an address that is none."""
    quiet()
    world = asyncio.run(_prepared(options, target))
    timeline = Timeline()
    search = _search(options, objectives, timeline) if options.shape == LIMIT else None
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(target.ops_urls)) if target.ops_urls else None
        progress = Progress(timeline, watch)
        stack.callback(progress.end)
        host, port = address(options.listen or f"127.0.0.1:{free_port()}")
        leader = Leader(host, port, timeline)
        alive = stack.enter_context(_workers(options, host, port))
        say(f"{options.shape}: up to {options.people} people, {options.workers} workers …")
        shape = _shape(options, search)
        leader.run(world, shape, options.workers, progress, lambda: target.ended() or alive(), options.wait_seconds)
    found = _judged(options, objectives, target, timeline, watch, leader, search.limit if search else None)
    page, numbers = report.write(found, options.out)
    _tell(found, page, numbers)
    if options.print_json:
        print(msgspec.json.encode(found).decode())
    return HELD if found.held else BROKEN


# --- before -----------------------------------------------------------------------------------------------------------


async def _prepared(options: Options, target: Target) -> World:
    """Raises NotReady."""
    await _ready(options, target)
    past = options.past
    say(f"bringing in {past.accounts:,} accounts, {past.rooms:,} rooms and {past.messages:,} messages …")
    return await make(target.urls, target.admin_token, past, options.seed, options.pace)


async def _ready(options: Options, target: Target) -> None:
    """If workers come from elsewhere Falcon may do so, too, and gets its time. Raises NotReady."""
    deadline = time.monotonic() + (options.wait_seconds if options.listen else 0.0)
    while True:
        try:
            return await look(target.urls, target.admin_token, target.token)
        except NotReady:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(1.0)


def _search(options: Options, objectives: Objectives, timeline: Timeline) -> Search:
    most = options.people * _TIMES_MORE
    acts = acts_each_second() * options.pace
    return Search(timeline, objectives, acts, options.people, most, options.seconds)


def _shape(options: Options, search: Search | None) -> LoadTestShape:
    if search is not None:
        return FindLimit(search)
    return Planned(PLANS[options.shape], options.people, options.seconds)


@contextmanager
def _workers(options: Options, host: str, port: int) -> Iterator[Callable[[], str | None]]:
    """Started here, unless they come from elsewhere; gives what says which of them has ended."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(0 if options.listen else options.workers):
            command = [sys.executable, "-m", "load_tests.users.worker", f"{host}:{port}"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            register(process.pid)
            started.append(process)
        yield lambda: next((f"a worker has ended, with {each.returncode}" for each in started if each.poll()), None)
    finally:
        for process in started:
            terminate(process, 5)


# --- after ------------------------------------------------------------------------------------------------------------


def _judged(
    options: Options,
    objectives: Objectives,
    target: Target,
    timeline: Timeline,
    watch: Watch | None,
    leader: Leader,
    limit: Limit | None,
) -> report.Run:
    begin, end = math.floor(leader.begun), math.ceil(leader.ended)
    past = options.past
    if limit is None:
        verdicts = objectives.judge(timeline.over(begin, end), timeline.violated)
    else:
        verdicts = objectives.judge_limit(limit.rate, timeline.violated)
    faults = sum(timeline.faults.values())
    verdicts.append(Verdict("faults of the load test itself", "0", f"{faults:,}", faults == 0))
    looks = [] if watch is None else watch.between(begin, end)
    missed, problem = (0, "FALCON_OPS_URL is not set") if watch is None else (watch.missed, watch.problem)
    return report.Run(
        version=1,
        began=datetime.fromtimestamp(begin, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        plan=report.RunPlan(
            shape=options.shape,
            seconds=options.seconds,
            people=max((second.people for second in timeline.seconds.values()), default=0),
            workers=options.workers,
            pace=options.pace,
            seed=options.seed,
            accounts=past.accounts,
            rooms=past.rooms,
            messages=past.messages,
            urls=list(target.urls),
            own=target.own,
        ),
        seconds=end - begin,
        machine=machine(),
        held=all(verdict.held for verdict in verdicts),
        verdicts=verdicts,
        limit=limit,
        acts=figures.counted(timeline, begin, end),
        kinds=figures.kinds(timeline, begin, end),
        violations=timeline.violations,
        failures=timeline.failures,
        faults=timeline.faults,
        falcon=figures.falcon(looks, missed, problem),
        generator_late_ms=timeline.loop_delay(begin, end) * 1000,
        timeline=figures.moments(timeline, looks, begin, end),
    )


def _tell(found: report.Run, page: Path, numbers: Path) -> None:
    acts = found.acts
    print(
        f"{acts.count:,} acts in {found.seconds:.0f} s ({acts.rate:,.0f}/s), {acts.failed:,} failed; "
        f"p50 {figure(acts.p50)}, p95 {figure(acts.p95)}, p99 {figure(acts.p99)} ms"
    )
    if found.limit is not None:
        print(f"Limit: {found.limit.rate:,.0f} acts/s by {found.limit.people} people held; then {found.limit.reason}.")
    verdicts = [
        ("ok" if verdict.held else "BROKEN", verdict.what, verdict.found, verdict.wanted) for verdict in found.verdicts
    ]
    print(text_table(("", "of", "found", "wanted"), verdicts, words=2))
    met = [*found.violations.items(), *found.failures.items(), *found.faults.items()]
    for line in shortened([f"{times:,} × {text}" for text, times in met]):
        print(f"  {line}")
    if found.generator_late_ms > _GENERATOR_LATE_MS:
        late = f"The load generator was up to {found.generator_late_ms:.0f} ms late"
        print(f"{late}, so the longest times are in part its own: give it more workers, on cores of their own.")
    print(f"Report: {page}, figures: {numbers}")
