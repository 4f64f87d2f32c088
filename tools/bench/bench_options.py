"""What `make bench` measures, how often and how much of it: as the command line says."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tools.bench.targets import FALCON, FALCON_TCP

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS = (
    *("send", "read", "measuring", "walks", "streams", "returning", "idle", "readable", "start"),
    *("import", "rebuild", "recovery", "growth", "memory"),
)
SERVERS = ("bare", "crud", FALCON, FALCON_TCP)


@dataclass(frozen=True, slots=True)
class Options:
    only: tuple[str, ...]
    servers: tuple[str, ...]
    runs: int
    seconds: int
    chat_rooms: int
    walk_messages: int
    subscribers: int
    messages: int
    journal_rooms: int
    growth_rooms: int
    rooms: int
    used_rooms: int
    folder: Path | None
    out: Path | None
    quick: bool

    @property
    def fewer_runs(self) -> int:
        """Of what takes long and differs little."""
        return max(1, self.runs * 2 // 3)

    @property
    def kept(self) -> Path:
        """Where the figures are kept, for when a part is measured anew: those of a page elsewhere lie beside it."""
        return kept_beside(self.out, PAGE, ROOT / "build" / "bench" / "results.json")


def kept_beside(out: Path | None, page: Path, usual: Path) -> Path:
    return usual if out is None or out == page else out.with_suffix(".json")


def parse(arguments: list[str]) -> Options:
    """Ends the program with a line that says what is wrong with the arguments, where something is."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.bench", description="Falcon's benchmark.")
    parser.add_argument("--only", metavar="NAME,..", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--servers", metavar="NAME,..", default=",".join(SERVERS), help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--runs", type=int, help="runs of which the median counts (3)")
    parser.add_argument("--seconds", type=int, help="length of a run (3)")
    parser.add_argument("--chat-rooms", type=int, default=100, help="rooms that sends and reads are spread over (100)")
    parser.add_argument("--walk-messages", type=int, help="in a room that is read back to its first (10,000)")
    parser.add_argument("--subscribers", type=int, help="idle ones, of which the memory is measured (10,000)")
    parser.add_argument("--messages", type=int, help="in the largest journal (1,000,000); others have a tenth or less")
    parser.add_argument("--journal-rooms", type=int, help="that these messages are in (10,000)")
    parser.add_argument("--growth-rooms", type=int, help="the most rooms while growing (100,000)")
    parser.add_argument("--rooms", type=int, help="of the memory measurement (100,000)")
    parser.add_argument("--used-rooms", type=int, help="of these, how many are in use (5,000)")
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--out", type=Path, help="the page to write (docs/benchmarks.md; with --quick none)")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    quick: bool = given.quick

    def names(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(",") if name.strip())
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            parser.error(f"{option}: {', '.join(unknown) or 'nothing'} is not one of {', '.join(known)}")
        return tuple(name for name in known if name in chosen)

    def number(name: str, usual: int, short: int, least: int = 1) -> int:
        value: int | None = getattr(given, name)
        chosen = value if value is not None else (short if quick else usual)
        if chosen < least:
            parser.error(f"--{name.replace('_', '-')}: must be at least {least:,}")
        return chosen

    return Options(
        only=names(given.only, SECTIONS, "--only"),
        servers=names(given.servers, SERVERS, "--servers"),
        runs=number("runs", 3, 1),
        seconds=number("seconds", 3, 1),
        chat_rooms=number("chat_rooms", 100, 100),
        walk_messages=number("walk_messages", 10_000, 500),
        subscribers=number("subscribers", 10_000, 500),
        messages=number("messages", 1_000_000, 20_000, least=1_000),
        journal_rooms=number("journal_rooms", 10_000, 200),
        growth_rooms=number("growth_rooms", 100_000, 1_000, least=1_000),
        rooms=number("rooms", 100_000, 20_000),
        used_rooms=number("used_rooms", 5_000, 500),
        folder=given.folder,
        out=given.out or (None if quick else PAGE),
        quick=quick,
    )
