"""The search for mutants: the kept seed of each, and then seed after seed, until one shows that it is not innocent."""

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Final

from tests.simulation.mutants import MUTANTS, SEEDS
from tests.simulation.mutants.mutant import Mutant

SCHEDULES_MAX: Final = 5_000  # within which each must be found
_SCHEDULE_SECONDS: Final = 600.0  # real ones, after which a schedule does not end any more


def hunt(name: str, seed: int | None, schedules: int, *, keep: bool) -> int:
    """Those with ``name`` in theirs; gives how many were not found. ``keep``: the seeds that found them."""
    kept: dict[str, int] = json.loads(SEEDS.read_text()) if SEEDS.exists() else {}
    chosen = [each for each in MUTANTS if name in each.name]
    missed = 0
    for mutant in chosen:
        began, first = time.monotonic(), random.randrange(10**6) if seed is None else seed
        candidates = [kept[mutant.name]] if mutant.name in kept else []
        tried, found, wrong = _search(mutant, (*candidates, *range(first, first + schedules - len(candidates))))
        missed += found is None
        said = f"seed {found}" if found is not None else "NOT FOUND"
        seconds = time.monotonic() - began
        print(
            f"{said}: {mutant.name} ({mutant.schedules}), {tried} schedules, {seconds:.0f} s {wrong[:160]}", flush=True
        )
        if keep and found is not None:
            kept[mutant.name] = found
            SEEDS.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    print(f"{len(chosen)} mutants, {missed} not found")
    return missed


def _search(mutant: Mutant, seeds: Iterable[int]) -> tuple[int, int | None, str]:
    """How many schedules it took, the seed that found it, and the first thing that went wrong there."""
    tried = 0
    for tried, seed in enumerate(seeds, 1):
        wrong = apart(lambda seed=seed: _run(mutant, seed))  # type: ignore[misc]
        if wrong:
            return tried, seed, wrong[0]
    return tried, None, ""


def _run(mutant: Mutant, seed: int) -> list[str]:
    with mutant.made():
        return mutant.schedules.run(seed)


def apart(run: Callable[[], list[str]]) -> list[str]:
    """What went wrong in a child that begins as this process is now, so that none inherits what another has left."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _run_and_tell(run, writing)
    os.close(writing)
    said = _all_of(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if said is None:
        return [f"the schedule did not end within {_SCHEDULE_SECONDS:g} s"]
    return list(json.loads(said)) if said else ["the process died"]


def _run_and_tell(run: Callable[[], list[str]], writing: int) -> None:
    if "--log" not in sys.argv:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # also what asyncio says of tasks whose process was killed
    try:
        wrong = run()
    except BaseException:
        lines = traceback.format_exc().splitlines()
        wrong = [f"the schedule failed: {lines[-1]}", *lines]
    with open(writing, "wb") as pipe:
        pipe.write(json.dumps(wrong).encode())
    os._exit(0)


def _all_of(reading: int) -> bytes | None:
    """None where it takes too long."""
    said, until = b"", time.monotonic() + _SCHEDULE_SECONDS
    with open(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            part = pipe.read(1 << 16)
            if not part:
                return said
            said += part
