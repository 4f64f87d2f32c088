"""``python -m tools.monitoring.generate``: write the files that are made from code.

``--check`` writes none, and names the ones that are not as the code would have them; exit code 1 if there is one.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from tools.monitoring import kubernetes, metric_docs, rules
from tools.monitoring.thresholds import Thresholds

ROOT: Final = Path(__file__).parents[2]


def files() -> dict[str, str]:
    """The contents of the files, by path from the project's folder."""
    thresholds = Thresholds()
    return {
        "deploy/monitoring/rules.yaml": rules.text(thresholds),
        **kubernetes.files(thresholds),
        **metric_docs.files(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.monitoring.generate", description=(__doc__ or "").partition(": ")[2].partition("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs, and name it")
    check = parser.parse_args(arguments).check
    differing = 0
    for name, text in files().items():
        path = ROOT / name
        if path.is_file() and path.read_text() == text:
            continue
        differing += 1
        if check:
            print(f"{name} is not what the code makes; run python -m tools.monitoring.generate", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(name)
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
