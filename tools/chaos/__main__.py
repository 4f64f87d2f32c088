"""``make chaos``: faults on a cluster of real servers, under load, for as long as you like. Exits 1 on a violation."""

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from tools.chaos.faults import FAULTS
from tools.chaos.report import Report
from tools.chaos.run import check, run
from tools.servers.daemon import ServerFault
from tools.servers.jars import ToolMissing


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument(
        "--only", action="append", default=[], choices=[fault.name for fault in FAULTS], help="these faults"
    )
    parser.add_argument("--recheck", type=Path, metavar="HISTORY", help="hold an old history against it, start nothing")
    arguments = parser.parse_args()
    if arguments.recheck:
        report = Report(arguments.seed)
        check(arguments.recheck, report)
        _say(report)
        return 1 if report.violations else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all that runs is ended then, too
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    _say(f"seed {arguments.seed}")
    try:
        report = asyncio.run(run(arguments.seconds, arguments.seed, arguments.only, _say))
    except (ServerFault, ToolMissing) as fault:
        _say(f"chaos: {fault}")
        return 1
    except KeyboardInterrupt:
        _say(f"interrupted; seed {arguments.seed}")
        return 130
    _say(f"\n{report}")
    return 1 if report.violations else 0


def _say(line: object) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
