"""``python -m tools.simulation``: schedules one after the other, see ``course`` and ``origins``."""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tools.harness.reports import shortened
from tools.simulation import growth
from tools.simulation.course import Outcome
from tools.simulation.hunt import SCHEDULES_MAX, acquit, hunt
from tools.simulation.origins import KINDS, explore, quiet


def main() -> int:
    arguments = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # or the order of sets of texts would not be the seed's
        os.execve(sys.executable, [sys.executable, "-m", "tools.simulation", *sys.argv[1:]], _plain_environment())
    if arguments.innocent:
        return 1 if acquit(arguments.mutant) else 0
    if arguments.growth:
        return _grow(arguments)
    if arguments.mutants:
        return (
            1
            if hunt(arguments.mutant, arguments.seed, arguments.schedules or SCHEDULES_MAX, keep=arguments.keep)
            else 0
        )
    began = time.monotonic()
    schedules = violated = operations = 0
    for outcome in explore(arguments.seed, arguments.kind, log=arguments.log):
        schedules += 1
        violated += bool(outcome.violations)
        operations += outcome.operations
        if outcome.violations:
            _show(outcome, arguments.kind)
        if arguments.show:
            print(
                f"seed {outcome.seed}, {outcome.kind}: trace {outcome.trace}, {outcome.steps} steps, "
                f"{outcome.operations} operations; {'; '.join(outcome.faults)}"
            )
        if schedules == arguments.schedules or (
            not arguments.schedules and time.monotonic() - began > arguments.seconds
        ):
            break
    print(
        f"{schedules} schedules, {violated} violations "
        f"(seeds from {arguments.seed}, {operations:,} operations, {time.monotonic() - began:.0f} s)"
    )
    return 1 if violated else 0


def _grow(arguments: argparse.Namespace) -> int:
    """Days in one simulation; 1 where something grows, or a promise is broken."""
    outcome, began = Outcome(arguments.seed, "growth"), time.process_time()
    quiet(arguments.log)
    with tempfile.TemporaryDirectory() as folder:
        counted = growth.run(outcome, Path(folder), arguments.growth, arguments.hour)
    for kind in sorted({kind for day in counted for kind in day}) if arguments.show else ():
        print(f"{kind}: {', '.join(str(day.get(kind, 0)) for day in counted)}")
    for line in outcome.violations:
        print(f"  {line}")
    print(
        f"{len(counted)} days, {len(outcome.violations)} violations (seed {outcome.seed}, "
        f"{outcome.counts.operations:,} operations, {time.process_time() - began:.0f} s of CPU)"
    )
    return 1 if outcome.violations else 0


def _show(outcome: Outcome, kind: str) -> None:
    arguments = f" ARGS='--kind {kind}'" if kind else ""
    print(f"seed {outcome.seed}: run it again with make simulate SEED={outcome.seed} SCHEDULES=1{arguments}")
    for line in (*outcome.faults, *shortened(outcome.violations)):
        print(f"  {line}", flush=True)


def _plain_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="real ones, after which no schedule is begun")
    parser.add_argument("--schedules", type=int, default=0, help="this many instead")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="of the first schedule")
    parser.add_argument("--kind", choices=KINDS, default="", help="of all schedules, instead of a mixture")
    parser.add_argument("--show", action="store_true", help="every schedule, not only those with violations")
    parser.add_argument("--mutants", action="store_true", help="look for the mistakes of tools/simulation/mutants")
    parser.add_argument("--mutant", default="", help="those whose name has this in it")
    parser.add_argument("--innocent", action="store_true", help="run the kept seeds of mutants without any mistake")
    parser.add_argument("--keep", action="store_true", help="keep the seeds that find the mutants")
    parser.add_argument("--growth", type=int, default=0, metavar="DAYS", help="nothing grows over so many days")
    parser.add_argument("--hour", type=float, default=growth.HOUR, help="of --growth, in seconds")
    parser.add_argument("--log", action="store_true", help="what the processes log")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
