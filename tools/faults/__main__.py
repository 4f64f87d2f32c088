"""``make faults``: random kills under load for as long as you like: of one process, and of several that share the
partitions. Exits 1 on a violation."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tools.faults.chaos import FAULTS, SETTINGS, errors, hurt
from tools.harness.falcon import Falcon


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in all, shared by these")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    violations = 0
    for base, settings in SETTINGS.items():
        with tempfile.TemporaryDirectory(prefix="falcon-faults-") as folder:
            falcon = Falcon(Path(folder), dict(settings)).start()
            try:
                seconds = arguments.seconds / len(SETTINGS)
                report = asyncio.run(hurt(falcon, Path(folder), FAULTS, seconds, arguments.seed))
            finally:
                falcon.stop()
            report.violations += errors(falcon)
            if left := falcon.left():
                report.violations.append(f"processes left behind: {left}")
        print(f"\n{base}, seed {arguments.seed}\n{report}", flush=True)
        violations += len(report.violations)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
