"""``python -m tests.simulation``: schedules one after the other, each in a process of its own; see ``course``."""

import argparse
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator

import msgspec

from tests.simulation.course import SECONDS, Outcome, Plan, run
from tests.simulation.hunt import SCHEDULES_MAX, hunt

_SCHEDULE_SECONDS = 600.0  # real ones, after which a schedule does not end any more


def main() -> int:
    arguments = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # or the order of sets of texts would not be the seed's
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], _plain_environment())
    if arguments.mutants:
        return (
            1
            if hunt(arguments.mutant, arguments.seed, arguments.schedules or SCHEDULES_MAX, keep=arguments.keep)
            else 0
        )
    began = time.monotonic()
    schedules = violated = operations = 0
    for outcome in explore(arguments.seed, arguments.faults):
        schedules += 1
        violated += bool(outcome.violations)
        operations += outcome.counts.operations
        if outcome.violations:
            _show(outcome, arguments.faults)
        if arguments.show:
            print(f"seed {outcome.seed}: trace {outcome.trace}, {outcome.steps} steps; {'; '.join(outcome.faults)}")
        if schedules == arguments.schedules or (
            not arguments.schedules and time.monotonic() - began > arguments.seconds
        ):
            break
    print(
        f"{schedules} schedules, {violated} violations "
        f"(seeds from {arguments.seed}, {operations:,} operations, {time.monotonic() - began:.0f} s)"
    )
    return 1 if violated else 0


def explore(seed: int, seconds: float = SECONDS) -> Iterator[Outcome]:
    """The schedules of a seed and of all that follow it, for as long as they are wanted."""
    while True:
        yield _apart(seed, seconds)
        seed += 1


def _apart(seed: int, seconds: float) -> Outcome:
    """In a child that begins as this process is now, so that none inherits what another one has left."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _run_and_tell(seed, seconds, writing)
    os.close(writing)
    said = _all_of(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if said is None:
        return Outcome(seed, violations=[f"the schedule did not end within {_SCHEDULE_SECONDS:g} s"])
    return msgspec.json.decode(said, type=Outcome) if said else Outcome(seed, violations=["the process died"])


def _run_and_tell(seed: int, seconds: float, writing: int) -> None:
    if "--log" not in sys.argv:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # also what asyncio says of tasks whose process was killed
    try:
        outcome = run(seed, Plan(seconds))
    except BaseException:
        lines = traceback.format_exc().splitlines()
        outcome = Outcome(seed, violations=[f"the schedule failed: {lines[-1]}", *lines])
    with open(writing, "wb") as pipe:
        pipe.write(msgspec.json.encode(outcome))
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


def _show(outcome: Outcome, faults: float) -> None:
    arguments = f"SEED={outcome.seed} SCHEDULES=1 ARGS='--faults {faults:g}'"
    print(f"seed {outcome.seed}: run it again with make simulate {arguments}")
    for line in (*outcome.faults, *outcome.violations[:20]):
        print(f"  {line}", flush=True)


def _plain_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="real ones, after which no schedule is begun")
    parser.add_argument("--schedules", type=int, default=0, help="this many instead")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="of the first schedule")
    parser.add_argument("--faults", type=float, default=SECONDS, help="simulated seconds in which things fail")
    parser.add_argument("--show", action="store_true", help="every schedule, not only those with violations")
    parser.add_argument("--mutants", action="store_true", help="look for the mistakes of tests/simulation/mutants.py")
    parser.add_argument("--mutant", default="", help="those whose name has this in it")
    parser.add_argument("--keep", action="store_true", help="keep the seeds that find the mutants")
    parser.add_argument("--log", action="store_true", help="what the processes log")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
