"""One run: the chat is made ready, workers are started, people come and go as the shape says, and it is judged."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from locust.html import get_html_report

from load_tests.users.leader import Leader, quiet
from load_tests.users.limit import Limit, Search
from load_tests.users.locust_users import acts_each_second
from load_tests.users.objectives import QUANTILES, Objectives, Verdict
from load_tests.users.options import Options
from load_tests.users.plans import LIMIT, PLANS
from load_tests.users.recorder import FAULT, Met
from load_tests.users.shapes import FindLimit, Planned
from load_tests.users.stage import World
from load_tests.users.target import Target
from load_tests.users.worker import address
from load_tests.users.world import NotReady, look, make
from tools.harness.ports import free_port
from tools.harness.processes import register, terminate
from tools.harness.progress import say
from tools.harness.reports import shortened, text_table

HELD, BROKEN = 0, 1
_TIMES_MORE: Final = 1_000  # people than to begin with, when the limit is looked for


def run(options: Options, objectives: Objectives, target: Target) -> int:
    """The exit code. Raises RunFailed, NotReady, OSError, ValueError for an address that is none."""
    quiet()
    world = asyncio.run(_prepared(options, target))
    search = _search(options, objectives) if options.shape == LIMIT else None
    with ExitStack() as stack:
        host, port = address(options.listen or f"127.0.0.1:{free_port()}")
        leader = Leader(host, port)
        alive = stack.enter_context(_workers(options, host, port))
        say(f"{options.shape}: up to {options.people} people, {options.workers} workers …")
        shape = FindLimit(search) if search else Planned(PLANS[options.shape], options.people, options.seconds)
        leader.run(world, shape, options.workers, lambda: target.ended() or alive(), options.wait_seconds)
    limit = search.limit if search else None
    met = leader.met()
    verdicts = objectives.judge(met) if limit is None else objectives.judge_limit(limit.rate, met)
    faults = met[FAULT].failed if FAULT in met else 0
    verdicts.append(Verdict("faults of the load test itself", "0", f"{faults:,}", faults == 0))
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / "report.html"
    page.write_text(get_html_report(leader.environment, show_download_link=False))
    (options.out / "report.json").write_bytes(_figures(verdicts, limit, met))
    _tell(verdicts, limit, leader.failures(), page)
    return HELD if all(verdict.held for verdict in verdicts) else BROKEN


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


def _search(options: Options, objectives: Objectives) -> Search:
    acts = acts_each_second() * options.pace
    return Search(objectives, acts, options.people, options.people * _TIMES_MORE, options.seconds)


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


def _figures(verdicts: Sequence[Verdict], limit: Limit | None, met: Mapping[str, Met]) -> bytes:
    """For programs: what was wanted and found, and each kind of act with its times in ms."""
    acts = {
        kind: {"count": each.count, "failed": each.failed, **{name: each.quantile(q) for name, q in QUANTILES}}
        for kind, each in sorted(met.items())
    }
    held = all(verdict.held for verdict in verdicts)
    return msgspec.json.format(msgspec.json.encode({"held": held, "verdicts": verdicts, "limit": limit, "acts": acts}))


def _tell(verdicts: Sequence[Verdict], limit: Limit | None, failures: Mapping[str, int], page: Path) -> None:
    if limit is not None:
        print(f"Limit: {limit.rate:,.0f} acts/s by {limit.people} people held; then {limit.reason}.")
    rows = [("ok" if verdict.held else "BROKEN", verdict.what, verdict.found, verdict.wanted) for verdict in verdicts]
    print(text_table(("", "of", "found", "wanted"), rows, words=2))
    for line in shortened([f"{times:,} × {text}" for text, times in failures.items()]):
        print(f"  {line}")
    print(f"Report: {page}")
