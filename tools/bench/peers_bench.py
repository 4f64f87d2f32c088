"""Falcon beside chats that people run: `python -m tools.bench.peers_bench`, or `make bench-peers ARGS="--only send"`.

Installs Synapse and Prosody into the user's cache folder, asks each of the same, and writes docs/benchmarks-peers.md.
One that cannot be had is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from tools.bench import peers_report
from tools.bench.bench_options import ROOT, kept_beside
from tools.bench.calls import CallRefused
from tools.bench.memory import memory_of
from tools.bench.peers.asking import Act, Plan, asking, fill, first_message, prove
from tools.bench.peers.clients import Refused, Seat
from tools.bench.peers.installing import PeerMissing
from tools.bench.peers.ours import FalconPeer
from tools.bench.peers.peer import Peer
from tools.bench.peers.postgres import PostgresMissing
from tools.bench.peers.prosody import ProsodyServer
from tools.bench.peers.synapse import SynapseServer
from tools.bench.peers_report import FLIGHTS, PeerResults
from tools.bench.running import running, wait_until_quiet
from tools.bench.servers import ServerFailed
from tools.bench.targets import FALCON
from tools.bench.throughput import in_turn, in_words, measure_once
from tools.bench.wrk import LoadFailed
from tools.harness.machine import Cores, MachineUnfit, choose_cores, describe, raise_open_files, work_folder_parent
from tools.harness.processes import adopt_orphans, kill_everything
from tools.harness.progress import say

PAGE: Final = ROOT / "docs" / "benchmarks-peers.md"
SECTIONS: Final = ("send", "read", "start")
PEERS: Final = (FALCON, "synapse", "prosody", "prosody-sqlite")
FAILURES: Final = (ServerFailed, LoadFailed, CallRefused, Refused, OSError)
_ACTS: Final[tuple[tuple[Act, str], ...]] = (("send", "send"), ("latest", "read"))  # and the section of each
_FIRST_SECONDS: Final = 60.0
_MESSAGES: Final = 60  # in each room that is read: more than a page


@dataclass(frozen=True, slots=True)
class Options:
    only: tuple[str, ...]
    peers: tuple[str, ...]
    runs: int
    seconds: int
    folder: Path | None
    out: Path | None
    quick: bool


def parse(arguments: list[str]) -> Options:
    """Ends the program with a line that says what is wrong with the arguments, where something is."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.peers_bench", description="Falcon beside its peers.")
    parser.add_argument("--only", metavar="NAME,..", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--peers", metavar="NAME,..", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--runs", type=int, help="runs of which the median counts (3)")
    parser.add_argument("--seconds", type=int, help="length of a run (4)")
    parser.add_argument("--folder", type=Path, help="where the servers' data may lie (/var/tmp); must be on a disk")
    parser.add_argument("--out", type=Path, help="the page to write (docs/benchmarks-peers.md; with --quick none)")
    parser.add_argument("--quick", action="store_true", help="a short smoke of everything; the figures mean little")
    given = parser.parse_args(arguments)
    quick: bool = given.quick

    def names(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(",") if name.strip())
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            parser.error(f"{option}: {', '.join(unknown) or 'nothing'} is not one of {', '.join(known)}")
        return tuple(name for name in known if name in chosen)

    def number(value: int | None, usual: int, option: str) -> int:
        chosen = value if value is not None else (1 if quick else usual)
        if chosen < 1:
            parser.error(f"{option}: must be at least 1")
        return chosen

    return Options(
        only=names(given.only, SECTIONS, "--only"),
        peers=names(given.peers, PEERS, "--peers"),
        runs=number(given.runs, 3, "--runs"),
        seconds=number(given.seconds, 4, "--seconds"),
        folder=given.folder,
        out=given.out or (None if quick else PAGE),
        quick=quick,
    )


class Bench:
    """One invocation: the peers that could be had, where each listens, and what has been found."""

    def __init__(self, options: Options, cores: Cores, folder: Path, results: PeerResults) -> None:
        self.options = options
        self.cores = cores
        self.folder = folder
        self.results = results
        self.peers: list[Peer] = []
        self.seats: dict[str, Sequence[Seat]] = {}

    def prepare(self) -> None:
        """Start each once: accounts, rooms and messages are made, and it proves that it keeps what it accepts."""
        makers: dict[str, Callable[[], Peer]] = {
            FALCON: lambda: FalconPeer(FALCON, self.cores.server, self.folder / FALCON),
            "synapse": lambda: SynapseServer(self.cores.server, self.folder),
            "prosody": lambda: ProsodyServer("prosody", self.cores.server, self.folder, "internal"),
            "prosody-sqlite": lambda: ProsodyServer("prosody-sqlite", self.cores.server, self.folder, "sql"),
        }
        for name in self.options.peers:
            self.results.left_out.pop(name, None)
            try:
                peer = makers[name]()
                self._fill(peer)
            except (PeerMissing, PostgresMissing, *FAILURES) as missing:
                kill_everything()
                words = str(missing).strip().splitlines() or [type(missing).__name__]
                say(f"without {name}: {missing}")
                self.results.left_out[name] = words[0]
            else:
                self.peers.append(peer)
                self.results.versions[name] = peer.version

    def _fill(self, peer: Peer) -> None:
        with running([peer], self.cores):
            seats = self.seats[peer.name] = peer.seats(2 * max(FLIGHTS))
            read = seats[max(FLIGHTS) :]
            asyncio.run(fill(peer.kind, peer.address.port, read, _MESSAGES))
            size = asyncio.run(prove(peer.kind, peer.address.port, read[0], "this was accepted"))
            self.results.page_bytes[peer.name] = size
        say(f"{peer.name}: {peer.version}, {len(seats)} rooms, a page of {size:,} bytes")

    def run(self) -> None:
        """Raises what one of the servers fails with: ratios of a part of them would mean little."""
        acts: list[Act] = [act for act, name in _ACTS if name in self.options.only]
        if acts:
            self._ask(acts)
        if "start" in self.options.only:
            self._start()

    def _ask(self, acts: Sequence[Act]) -> None:
        for act in acts:
            for flight in FLIGHTS:
                for peer in self.peers:
                    self.results.samples.setdefault(peer.name, {})[f"{act}, {flight}"] = []
        for turn in range(self.options.runs):
            with running(self.peers, self.cores):
                for act in acts:
                    for number, flight in enumerate(FLIGHTS):
                        for peer in in_turn(self.peers, turn + number):
                            self._ask_once(peer, act, flight, turn)
                for peer in self.peers:
                    wait_until_quiet(peer)
                    self.results.in_use[peer.name] = memory_of(peer.tree)
        self._date("sends and reads")

    def _ask_once(self, peer: Peer, act: Act, flight: int, turn: int) -> None:
        # What is read grows by no sends, so that each round reads the same.
        first = 0 if act == "send" else max(FLIGHTS)
        plan = Plan(peer.kind, peer.address.port, act, list(self.seats[peer.name][first : first + flight]))
        with asking(plan, self.cores.generator) as process:
            sample = measure_once(peer, process.ask, self.options.seconds, self.cores, self.folder, sends=act == "send")
        self.results.samples[peer.name][f"{act}, {flight}"].append(sample)
        say(f"{turn + 1}/{self.options.runs} {act}, {flight} in flight, {peer.name}: {in_words(sample)}")

    def _start(self) -> None:
        """Each alone, on what it has, and what it takes in memory when it has done nothing else yet."""
        for peer in self.peers:
            self.results.starts[peer.name] = []
        for turn in range(self.options.runs):
            for peer in self.peers:
                with running([peer], self.cores):
                    seat = self.seats[peer.name][0]
                    asyncio.run(first_message(peer.kind, peer.address.port, seat, _FIRST_SECONDS))
                    seconds = time.perf_counter() - peer.started_at
                    self.results.starts[peer.name].append(seconds)
                    wait_until_quiet(peer)
                    self.results.at_rest[peer.name] = memory_of(peer.tree)
                say(f"{turn + 1}/{self.options.runs} start of {peer.name}: {seconds:.2f} s")
        self._date("start")

    def _date(self, section: str) -> None:
        self.results.dates[section] = datetime.now(UTC).strftime("%Y-%m-%d")


def _earlier(file: Path, options: Options) -> PeerResults:
    """What earlier runs found, when this one measures a part anew; a complete run begins with nothing."""
    if options.quick or set(options.only) == set(SECTIONS) or not file.exists():
        return PeerResults()
    try:
        return msgspec.json.decode(file.read_bytes(), type=PeerResults)
    except msgspec.DecodeError:
        return PeerResults()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 when a server failed while it was measured, 2 when this cannot be run here."""
    options = parse(arguments)
    kept = kept_beside(options.out, PAGE, ROOT / "build" / "bench" / "peers.json")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder: Path | None = None
    try:
        cores = choose_cores()
        parent = work_folder_parent(options.folder)
        adopt_orphans()
        raise_open_files()
        folder = Path(tempfile.mkdtemp(prefix="falcon-peers-", dir=parent))
        folder.chmod(0o711)  # PostgreSQL's user has to pass through
        os.sched_setaffinity(0, {cores.generator})
        bench = Bench(options, cores, folder, _earlier(kept, options))
        bench.prepare()
        if FALCON not in bench.seats:
            raise MachineUnfit("Falcon itself could not be started; what it said stands above")
        bench.run()
        bench.results.machine = describe(folder, cores, None)
        _tell(bench, kept)
    except MachineUnfit as unfit:
        print(f"make bench-peers: {unfit}", file=sys.stderr)
        return 2
    except FAILURES as failure:
        print(f"make bench-peers: {type(failure).__name__}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        kill_everything()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _tell(bench: Bench, kept: Path) -> None:
    """Print the tables; keep the figures and write the page, unless this was only a smoke."""
    peers_report.show(bench.results, Console(width=None if sys.stdout.isatty() else 160))
    if not bench.options.quick:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(bench.results), indent=1))
    out = bench.options.out
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        drawn = peers_report.draw(bench.results, out.parent / "images")
        out.write_text(peers_report.markdown(bench.results, drawn))
        say(f"wrote {out}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
