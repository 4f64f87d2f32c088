"""The search for mutants: the kept seed of each, and then seed after seed, until one shows that it is not innocent."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Final

from tools.simulation.mutants import MUTANTS, SEEDS
from tools.simulation.mutants.mutant import Mutant
from tools.simulation.origins import explore, failure, quiet

SCHEDULES_MAX: Final = 5_000  # within which each must be found
_SCHEDULE_SECONDS: Final = 120.0  # real ones


def hunt(name: str, seed: int, schedules: int, *, keep: bool) -> int:
    """Hunt the mutants with ``name`` in their names. Returns how many were not found. ``keep``: write the seeds that
    found them."""
    kept: dict[str, int] = json.loads(SEEDS.read_text()) if SEEDS.exists() else {}
    chosen = [each for each in MUTANTS if name in each.name]
    missed = 0
    for mutant in chosen:
        began = time.monotonic()
        tried, found, wrong = search(mutant, kept.get(mutant.name), seed, schedules)
        missed += found is None
        said = "NOT FOUND" if found is None else f"found with seed {found}"
        seconds = time.monotonic() - began
        print(
            f"{mutant.name}: {said}, {tried} schedules ({mutant.schedules}), {seconds:.0f} s; {wrong[:160]}", flush=True
        )
        if keep and found is not None:
            kept[mutant.name] = found
            SEEDS.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    print(f"{len(chosen)} mutants, {missed} not found")
    return missed


def acquit(name: str) -> int:
    """Falcon as it is, at the seeds that were kept for mutants with ``name`` in theirs; gives how many were wrong."""
    kept: dict[str, int] = json.loads(SEEDS.read_text())
    wronged = 0
    chosen = [each for each in MUTANTS if name in each.name and each.name in kept]
    for mutant in chosen:
        seed = kept[mutant.name]
        [(_, wrong)] = islice(outcomes(Mutant("none", (), mutant.schedules), seed), 1)
        wronged += bool(wrong)
        print(f"seed {seed} ({mutant.schedules}): {wrong[0][:300] if wrong else 'innocent'}", flush=True)
    print(f"{len(chosen)} schedules, {wronged} violations")
    return wronged


def search(mutant: Mutant, kept: int | None, seed: int, schedules: int) -> tuple[int, int | None, str]:
    """The number of schedules that it took, the seed that found it, and the first violation.

    ``kept``: is tried first; then ``seed`` and those behind it.
    """
    tried = 0
    for first, most in ((kept, 1), (seed, schedules)):
        if first is None or tried == schedules:
            continue
        for found, wrong in islice(outcomes(mutant, first), most):
            tried += 1
            if wrong:
                return tried, found, wrong[0]
    return tried, None, ""


def outcomes(mutant: Mutant, seed: int) -> Iterator[tuple[int, list[str]]]:
    """The violations of this seed, and of those behind it."""
    if mutant.schedules.run is None:
        for outcome in explore(seed, mutant.schedules.kind, mutant.made, plan=mutant.schedules.plan):
            yield outcome.seed, outcome.violations
    else:
        with mutant.made():
            while True:
                yield seed, apart(mutant.schedules.run, seed)
                seed += 1


def apart(run: Callable[[int], list[str]], seed: int) -> list[str]:
    """In a child that begins as this process is now, so that none inherits what another has left."""
    reading, writing = Pipe(duplex=False)
    child = get_context("fork").Process(target=_tell, args=(run, seed, writing))
    child.start()
    writing.close()
    try:
        return list(reading.recv()) if reading.poll(_SCHEDULE_SECONDS) else ["the schedule did not end"]
    except EOFError:
        return ["the process died"]
    finally:
        child.kill()
        child.join()


def _tell(run: Callable[[int], list[str]], seed: int, writing: Connection) -> None:
    quiet()
    try:
        wrong = run(seed)
    except BaseException:
        wrong = failure()
    writing.send(wrong)
