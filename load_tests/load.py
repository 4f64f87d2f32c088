"""Falcon's load test: `make load SECONDS=60 SHAPE=step`, or `python -m load_tests.load`.

People, by locust, use a Falcon that is started for it, or the one at FALCON_URL with the token of an admin in
FALCON_ADMIN_TOKEN. What they met is held to load_tests/thresholds.toml, and reported in build/load/. The exit code is 0
when every threshold was held, 1 when one was broken, 2 when there was no run.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from load_tests.users.objectives import Objectives, WrongThresholds
from load_tests.users.options import Options
from load_tests.users.plans import SHAPES
from load_tests.users.target import NoTarget, target
from load_tests.users.world import NotReady
from tools.harness.generate import Past, WrongSizes
from tools.harness.processes import adopt_orphans, kill_everything

ROOT: Final = Path(__file__).resolve().parent.parent
THRESHOLDS: Final = Path(__file__).with_name("thresholds.toml")
NO_RUN: Final = 2
_PEOPLE_MAX: Final = 100_000


class _Parser(argparse.ArgumentParser):
    """Prints what is wrong with the arguments, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(NO_RUN, f"load: {message}\n")


def parse(arguments: list[str]) -> Options:
    """Ends the process if they are wrong, or if it is a worker's."""
    parser = _Parser(
        prog="python -m load_tests.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    env = os.environ.get
    parser.add_argument("--shape", default="step", help=f"one of {', '.join(SHAPES)}")
    parser.add_argument("--seconds", type=float, default=30, help="how long (30); of `limit`, at most (300)")
    parser.add_argument("--users", type=int, default=60, help="users at the most (60); of `limit`, to begin with")
    parser.add_argument("--workers", type=int, default=1, help="processes that the users are in (1)")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as fast as real people they are (1)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same plan")
    parser.add_argument("--accounts", type=int, default=200, help="of the chat that they find (200)")
    parser.add_argument("--rooms", type=int, default=400, help="likewise (400)")
    parser.add_argument("--messages", type=int, default=20_000, help="likewise (20,000)")
    parser.add_argument("--url", default=env("FALCON_URL", ""), metavar="URL[,URL..]", help="FALCON_URL")
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS, metavar="FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "load", metavar="FOLDER")
    parser.add_argument("--folder", type=Path, help="where the data of a Falcon that is started may lie (/var/tmp)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where workers from elsewhere join; none is started")
    parser.add_argument(
        "--join", metavar="HOST:PORT", help="be a worker of the leader that listens there, and nothing else"
    )
    parser.add_argument(
        "--wait", type=float, default=60, help="seconds for Falcon to be ready and workers to join (60)"
    )
    given = parser.parse_args(arguments)
    if given.join is not None:
        from load_tests.users import worker

        raise SystemExit(worker.main([given.join]))

    def check(holds: bool, text: str) -> None:
        if not holds:
            parser.error(text)

    urls = _several(given.url)
    check(given.shape in SHAPES, f"SHAPE={given.shape}: must be one of {', '.join(SHAPES)}")
    check(1 <= given.seconds <= 7 * 86_400, f"SECONDS={given.seconds:g}: must be 1 to 604800")
    check(1 <= given.users <= _PEOPLE_MAX, f"USERS={given.users}: must be 1 to {_PEOPLE_MAX}")
    check(1 <= given.workers <= 1_000, f"WORKERS={given.workers}: must be 1 to 1000")
    check(0.01 <= given.pace <= 100, f"--pace {given.pace:g}: must be 0.01 to 100")
    check(
        not urls or bool(env("FALCON_ADMIN_TOKEN")), "FALCON_URL needs FALCON_ADMIN_TOKEN, the token of an admin there"
    )
    try:
        past = _past(given)
    except WrongSizes as wrong:
        parser.error(str(wrong))
    return Options(
        shape=given.shape,
        seconds=given.seconds,
        people=given.users,
        workers=given.workers,
        pace=given.pace,
        past=past,
        seed=given.seed,
        urls=urls,
        token=env("FALCON_TOKEN") or None,
        admin_token=env("FALCON_ADMIN_TOKEN") or None,
        thresholds=given.thresholds,
        out=given.out,
        folder=given.folder,
        listen=given.listen,
        wait_seconds=given.wait,
    )


def _several(text: str) -> tuple[str, ...]:
    return tuple(each.strip().rstrip("/") for each in text.split(",") if each.strip())


def _past(given: argparse.Namespace) -> Past:
    """Under a name that says what is in it, so that each size is brought in once. Raises WrongSizes."""
    source = f"load-{given.accounts}-{given.rooms}-{given.messages}-{given.seed}"
    return Past(given.accounts, given.rooms, given.messages, given.seed, source)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        from load_tests.users.leader import RunFailed
        from load_tests.users.run import run
    except ModuleNotFoundError as missing:
        return _no_run(f"{missing.name} is not installed; `make load` installs what it needs")
    adopt_orphans()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        objectives = Objectives.read(options.thresholds, options.shape)
        with target(options) as falcon:
            return run(options, objectives, falcon)
    except KeyboardInterrupt:
        return _no_run("interrupted; there is no report")
    except (NoTarget, NotReady, RunFailed, WrongThresholds, OSError, ValueError) as fault:
        return _no_run(" ".join(str(fault).split()))
    finally:
        kill_everything()


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _no_run(why: str) -> int:
    print(f"load: {why}", file=sys.stderr)
    return NO_RUN


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
