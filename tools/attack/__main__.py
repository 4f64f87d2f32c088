"""``make attack``: attacks on a real Falcon from raw sockets, on loopback only, while others chat. It ends by itself,
and exits 1 where the others, or the server, were hurt."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tools.attack.catalogue import ATTACKS
from tools.attack.siege import lay_siege


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in all")
    parser.add_argument("--only", action="append", choices=sorted(ATTACKS), help="this attack; may come again")
    parser.add_argument("--without-timing", action="store_true", help="how long the others wait is not judged")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="falcon-attack-") as folder:
        report = asyncio.run(lay_siege(Path(folder), arguments.seconds, arguments.only or list(ATTACKS)))
    faults = report.faults(timed=not arguments.without_timing)
    print(report)
    for fault in faults:
        print(f"VIOLATION  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
