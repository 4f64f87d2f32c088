"""``make fuzz``: millions of inputs for every parser of requests and of the log. Prints how many
were taken and refused; exits 1 at the first that was neither, and prints it."""

import argparse
import random
import sys
import time

from tools.fuzz.run import Surprise, fuzz
from tools.harness.reports import text_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5_000_000, help="of inputs, shared by the parsers")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    began = time.monotonic()
    rows: list[tuple[str, str, str]] = []
    try:
        for name, taken, refused in fuzz(arguments.count, arguments.seed):
            rows.append((name, f"{taken:,}", f"{refused:,}"))
    except Surprise as surprise:
        print(f"seed {arguments.seed}: {surprise}")
        return 1
    finally:
        print(text_table(("parser", "taken", "refused"), rows))
    print(f"{arguments.count:,} inputs, seed {arguments.seed}, {time.monotonic() - began:,.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
