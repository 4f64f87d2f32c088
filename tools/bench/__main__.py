"""``python -m tools.bench SUITE``, or ``make bench ARGS="--only send"``: measure Falcon, and write a page.

The exit code is 0 when everything was measured and nothing that must hold was broken, 1 when a section failed, 2 when
this cannot be run here.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tools.bench.bench import ROOT, Bench, Size, Suite
from tools.bench.figures import Figure, page, show
from tools.bench.wrk import LoadFailed
from tools.harness.calls import CallRefused
from tools.harness.machine import (
    MachineUnfit,
    choose_cores,
    describe,
    raise_open_files,
    require_wrk,
    work_folder_parent,
)
from tools.harness.processes import adopt_orphans, kill_everything
from tools.harness.progress import say
from tools.harness.servers import ServerFailed

# Each module has a SUITE. They are imported when they are chosen: what one needs need not be installed for another.
SUITES: Final = {
    "embedded": "tools.bench.embedded",
    "overload": "tools.bench.overloading.suite",
}
FAILURES: Final[tuple[type[Exception], ...]] = (
    *(ServerFailed, LoadFailed, CallRefused, OSError, http.client.HTTPException),
    *(msgspec.DecodeError, LookupError, ValueError),
)
_USUAL: Final = {"runs": Size(3, 1, "runs of which the median counts"), "seconds": Size(3, 1, "length of a run")}


def parse(name: str, suite: Suite, arguments: list[str]) -> argparse.Namespace:
    """``sizes``: by name. Ends the program with a line about wrong arguments."""
    sizes = _USUAL | dict(suite.sizes)
    parser = argparse.ArgumentParser(prog=f"python -m tools.bench {name}", description=suite.title)
    parser.add_argument("--only", metavar="NAME,..", type=lambda text: text.split(","), default=list(suite.sections))
    for option, size in sizes.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, help=f"{size.help} ({size.usual:,})")
    parser.add_argument("--before", type=Path, help="an older version, for the section of this name")
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    if unknown := set(given.only) - set(suite.sections):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(suite.sections)}")
    given.sizes = {}
    for option, size in sizes.items():
        value = getattr(given, option)
        given.sizes[option] = value if value is not None else size.short if given.quick else size.usual
    return given


def measure(suite: Suite, only: Sequence[str], bench: Bench) -> tuple[dict[str, Sequence[Figure]], dict[str, str]]:
    """The figures of the chosen sections, each shown at once, and why others failed."""
    found: dict[str, Sequence[Figure]] = {}
    failed: dict[str, str] = {}
    with suite.open(bench) as measures:
        for name in (name for name in suite.sections if name in only):
            say(f"== {name}")
            try:
                found[name] = measures[name]()
            except (*FAILURES, *suite.failures) as failure:
                failed[name] = f"{type(failure).__name__}: {failure}"
                say(f"{name} failed: {failed[name]}")
                continue
            show(name, found[name])
            if suite.must_hold and not all(figure.met for figure in found[name]):
                failed[name] = "an aim was missed"
    return found, failed


def run(name: str, suite: Suite, given: argparse.Namespace) -> int:
    """Returns the exit code."""
    require_wrk()
    cores = choose_cores()
    raise_open_files()
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix=f"falcon-{name}-", dir=work_folder_parent(given.folder)))
    folder.chmod(0o711)  # PostgreSQL's user has to pass through
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.generator})
    try:
        bench = Bench(cores, folder, given.sizes, given.before and given.before.resolve(), describe(folder, cores))
        found, failed = measure(suite, given.only, bench)
        out = ROOT / "build" / "bench" / f"{name}.md"
        out.parent.mkdir(parents=True, exist_ok=True)
        reasons = (f"`{section}`: {why.splitlines()[0]}" for section, why in failed.items())
        bench.facts["Sizes"] = ", ".join(f"{size} {count:,}" for size, count in given.sizes.items())
        out.write_text(page(suite.title, suite.method.read_text(), bench.facts, found, reasons))
        say(f"wrote {out}")
    finally:
        kill_everything()
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_setaffinity(0, before)
    if failed:
        print(f"make bench SUITE={name}: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in SUITES:
        print(f"usage: python -m tools.bench SUITE [--help]; SUITE is one of {', '.join(SUITES)}", file=sys.stderr)
        return 2
    name, *rest = arguments
    suite: Suite = importlib.import_module(SUITES[name]).SUITE
    given = parse(name, suite, rest)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return run(name, suite, given)
    except (MachineUnfit, *FAILURES, *suite.failures) as unfit:  # type: ignore[misc]
        print(f"make bench SUITE={name}: {unfit}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
