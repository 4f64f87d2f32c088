"""``python -m tools.bench``, or ``make bench ARGS="--only send"``: measure Falcon beside a bare route and
hand-written chats on PostgreSQL and in Go, and write a page.

The exit code is 0 when everything was measured and nothing that must hold was broken, 1 when a section failed, 2 when
this cannot be run here.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tools.bench import growth, journals, overload, readable, streams, throughput
from tools.bench.bench import ROOT, Bench, Size
from tools.bench.figures import Figure, page, show
from tools.bench.peers.postgres import PostgresMissing
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

SECTIONS: Final[Mapping[str, Callable[[Bench], Sequence[Figure]]]] = {
    "send": throughput.sends,
    "read": throughput.reads,
    "before": throughput.before_and_now,
    "streams": streams.section,
    "readable": readable.section,
    "overload": overload.section,
    "start": journals.starts,
    "import": journals.imports,
    "journals": journals.journals,
    "growth": growth.section,
}
SIZES: Final = {
    "runs": Size(3, 1, "runs of which the median counts"),
    "seconds": Size(3, 1, "length of a run"),
    "chat_rooms": Size(100, 100, "rooms that sends and reads are spread over"),
    "messages": Size(1_000_000, 20_000, "in the largest journal; others have a tenth or less"),
    "journal_rooms": Size(10_000, 200, "that these messages are in"),
    "growth_rooms": Size(100_000, 1_000, "the most rooms while growing"),
}
_TITLE: Final = "Benchmarks of one machine"
_PAGE: Final = ROOT / "build" / "bench" / "embedded.md"
FAILURES: Final[tuple[type[Exception], ...]] = (
    *(ServerFailed, LoadFailed, CallRefused, OSError, http.client.HTTPException),
    *(PostgresMissing, msgspec.DecodeError, LookupError, ValueError),
)


def parse(arguments: list[str]) -> argparse.Namespace:
    """``sizes``: by name. Ends the program with a line about wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=_TITLE)
    parser.add_argument("--only", metavar="NAME,..", type=lambda text: text.split(","), default=list(SECTIONS))
    for option, size in SIZES.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, help=f"{size.help} ({size.usual:,})")
    parser.add_argument("--before", type=Path, help="an older version, for the section of this name")
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    if unknown := set(given.only) - set(SECTIONS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(SECTIONS)}")
    given.sizes = {}
    for option, size in SIZES.items():
        value = getattr(given, option)
        given.sizes[option] = value if value is not None else size.short if given.quick else size.usual
    return given


def measure(only: Sequence[str], bench: Bench) -> tuple[dict[str, Sequence[Figure]], dict[str, str]]:
    """The figures of the chosen sections, each shown at once, and why others failed."""
    found: dict[str, Sequence[Figure]] = {}
    failed: dict[str, str] = {}
    for name in (name for name in SECTIONS if name in only):
        say(f"== {name}")
        try:
            found[name] = SECTIONS[name](bench)
        except FAILURES as failure:
            failed[name] = f"{type(failure).__name__}: {failure}"
            say(f"{name} failed: {failed[name]}")
            kill_everything()  # the next section begins with nothing that runs
        else:
            show(name, found[name])
    return found, failed


def run(given: argparse.Namespace) -> int:
    """Returns the exit code."""
    require_wrk()
    cores = choose_cores()
    raise_open_files()
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="falcon-bench-", dir=work_folder_parent(given.folder)))
    folder.chmod(0o711)  # PostgreSQL's user has to pass through
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.generator})
    try:
        bench = Bench(cores, folder, given.sizes, given.before and given.before.resolve(), describe(folder, cores))
        found, failed = measure(given.only, bench)
        _PAGE.parent.mkdir(parents=True, exist_ok=True)
        reasons = (f"`{section}`: {why.splitlines()[0]}" for section, why in failed.items())
        bench.facts["Sizes"] = ", ".join(f"{size} {count:,}" for size, count in given.sizes.items())
        method = Path(__file__).with_name("method.md").read_text()
        _PAGE.write_text(page(_TITLE, method, bench.facts, found, reasons))
        say(f"wrote {_PAGE}")
    finally:
        kill_everything()
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_setaffinity(0, before)
    if failed:
        print(f"make bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    given = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return run(given)
    except (MachineUnfit, *FAILURES) as unfit:  # type: ignore[misc]
        print(f"make bench: {unfit}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
