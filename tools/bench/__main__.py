"""``python -m tools.bench SUITE``, or ``make bench ARGS="--only send"``: measure Falcon, and write a page.

The sections of a suite that were not chosen keep what an earlier run found. The exit code is 0 when everything was
measured and nothing that must hold was broken, 1 when a section failed, 2 when this cannot be run here.
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
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tools.bench.bench import IMAGES, ROOT, RUNS, SECONDS, Bench, Suite
from tools.bench.report import Page, Section, markdown, show
from tools.bench.wrk import LoadFailed
from tools.harness.calls import CallRefused
from tools.harness.machine import (
    MachineUnfit,
    choose_cores,
    describe,
    only_core,
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
    "cluster": "tools.bench.cluster.suite",
    "overload": "tools.bench.overloading.suite",
    "profile": "tools.bench.profile",
}
BUILD: Final = ROOT / "build" / "bench"
FAILURES: Final[tuple[type[Exception], ...]] = (
    *(ServerFailed, LoadFailed, CallRefused, OSError, http.client.HTTPException),
    *(msgspec.DecodeError, LookupError, ValueError),
)


class Options(NamedTuple):
    """``page``: to be written; None in a smoke. ``kept``: where the figures are kept, for when a part is measured
    again."""

    only: tuple[str, ...]
    servers: tuple[str, ...]
    sizes: dict[str, int]
    before: Path | None
    folder: Path | None
    page: Path | None
    kept: Path
    is_quick: bool


def parse(suite: Suite, arguments: list[str]) -> Options:
    """Ends the program with a line about wrong arguments."""
    sizes = {"runs": RUNS, "seconds": SECONDS, **suite.sizes}
    parser = argparse.ArgumentParser(prog=f"python -m tools.bench {suite.name}", description=suite.title)
    parser.add_argument("--only", metavar="NAME,..", help=f"of {', '.join(suite.sections)}")
    if suite.servers:
        parser.add_argument("--servers", metavar="NAME,..", help=f"of {', '.join(suite.servers)}")
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"{size.help} ({size.usual:,})")
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="an older version to compare with (suite profile)"
    )
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--out", type=Path, help="the page to write; with --quick none")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)

    def names(text: str | None, known: tuple[str, ...], option: str) -> tuple[str, ...]:
        chosen = [name.strip() for name in text.split(",")] if text is not None else known
        unknown = [name for name in chosen if name not in known]
        if unknown:
            parser.error(f"{option}: {', '.join(unknown)} is not one of {', '.join(known)}")
        return tuple(name for name in known if name in chosen)

    def number(name: str) -> int:
        size, value = sizes[name], getattr(given, name)
        chosen: int = value if value is not None else (size.short if given.quick else size.usual)
        if chosen < size.least:
            parser.error(f"--{name.replace('_', '-')}: must be at least {size.least:,}")
        return chosen

    usual = BUILD / f"{suite.name}.md"
    page = given.out or (None if given.quick else usual)
    return Options(
        only=names(given.only, tuple(suite.sections), "--only"),
        servers=names(given.servers, tuple(suite.servers), "--servers") if suite.servers else (),
        sizes={name: number(name) for name in sizes},
        before=given.before.resolve() if given.before is not None else None,
        folder=given.folder,
        page=page,
        kept=BUILD / f"{suite.name}.json" if page in (None, usual) else page.with_suffix(".json"),
        is_quick=given.quick,
    )


def earlier(suite: Suite, options: Options) -> Page:
    """The findings of earlier runs, if this run measures only a part. A complete run begins with none."""
    if options.page is None or set(options.only) == set(suite.sections) or not options.kept.exists():
        return Page()
    try:
        return msgspec.json.decode(options.kept.read_bytes(), type=Page)
    except msgspec.DecodeError:
        return Page()


def measure(suite: Suite, options: Options, bench: Bench, page: Page) -> list[str]:
    """Each section that was chosen, its tables as soon as they are there. One that fails is named in the answer, and
    the others continue."""
    failed: list[str] = []
    with suite.open(bench) as measures:
        for name, each in measures.items():
            if name not in options.only:
                continue
            say(f"== {name}")
            try:
                page.sections[name] = each()
            except (*FAILURES, *suite.failures) as failure:
                words = f"{type(failure).__name__}: {failure}"
                say(f"{name} failed: {words}")
                page.sections[name] = Section(name, failure=words.splitlines()[0][:300])
                failed.append(name)
            if suite.must_hold and not all(target.met for target in page.sections[name].targets):
                failed.append(name)
            show(page.sections[name])
    return failed


def write(suite: Suite, options: Options, page: Page) -> None:
    """Keep the figures and write the page, unless this was only a smoke."""
    if options.page is None:
        return
    page = suite.ordered(page)
    for file in (options.kept, options.page):
        file.parent.mkdir(parents=True, exist_ok=True)
    options.kept.write_bytes(msgspec.json.format(msgspec.json.encode(page), indent=1))
    options.page.write_text(markdown(suite.title, f"make bench SUITE={suite.name}", suite.method.read_text(), page))
    say(f"wrote {options.page}")


def run(suite: Suite, options: Options) -> int:
    """Returns the exit code."""
    if suite.needs_wrk:
        require_wrk()
    cores = choose_cores() if suite.needs_wrk else only_core()
    raise_open_files()
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix=f"falcon-{suite.name}-", dir=work_folder_parent(options.folder)))
    folder.chmod(0o711)  # PostgreSQL's user has to pass through
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.generator})
    try:
        images = options.page.parent / IMAGES if options.page else None
        bench = Bench(cores, folder, options.sizes, options.servers, options.before, images, is_quick=options.is_quick)
        bench.facts.update(describe(folder, cores))
        page = earlier(suite, options)
        failed = measure(suite, options, bench, page)
        page.facts |= bench.facts
        write(suite, options, page)
    finally:
        kill_everything()
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_setaffinity(0, before)
    if failed:
        print(f"make bench SUITE={suite.name}: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in SUITES:
        print(f"usage: python -m tools.bench SUITE [--help]; SUITE is one of {', '.join(SUITES)}", file=sys.stderr)
        return 2
    suite: Suite = importlib.import_module(SUITES[arguments[0]]).SUITE
    options = parse(suite, arguments[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return run(suite, options)
    except (MachineUnfit, *FAILURES, *suite.failures) as unfit:  # type: ignore[misc]
        print(f"make bench SUITE={suite.name}: {unfit}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
