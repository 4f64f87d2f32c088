"""``python -m tools.servers.tables --hbase FOLDER``: make the read tables of the HBase that was started in a folder.

Reads lines of ``NAME FAMILY REGIONS ATTRIBUTE=VALUE …`` from standard input. Exit code 0, or 1 and one line that says
what is in the way.
"""

import argparse
import sys
from pathlib import Path

from tools.servers.daemon import ServerFault
from tools.servers.hbase import HBase, default_folder


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.servers.tables", description=(__doc__ or "").partition(": ")[2]
    )
    parser.add_argument("--hbase", type=Path, default=default_folder(), metavar="FOLDER", help="default: %(default)s")
    folder = parser.parse_args(arguments).hbase
    try:
        for line in HBase.open(folder).create_tables(sys.stdin):
            print(line)
    except ServerFault as fault:
        print(f"tables: {str(fault).partition(chr(10))[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
