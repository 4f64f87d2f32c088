"""Falcon beside chats that people run. Synapse and Prosody are installed into the user's cache folder; one that cannot
be had is left out, and the page says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from tools.bench import plots
from tools.bench.bench import Bench, Measures, Suite
from tools.bench.memory import memory_of
from tools.bench.peers.asking import Act, AskingPlan, asking, fill, first_message, prove
from tools.bench.peers.clients import Refused, Seat
from tools.bench.peers.installing import PeerMissing
from tools.bench.peers.ours import FalconPeer
from tools.bench.peers.peer import Peer
from tools.bench.peers.postgres import PostgresMissing
from tools.bench.peers.prosody import ProsodyServer
from tools.bench.peers.synapse import SynapseServer
from tools.bench.report import Section, Table, asked, named, numbers
from tools.bench.samples import FALCON, NAMES, Sample, Samples, behind, p50, rate, total_pss, workloads
from tools.bench.throughput import in_turn, in_words, measure_once
from tools.harness.processes import kill_everything
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import ServerFailed

FLIGHTS: Final = (1, 16)
_ACTS: Final[dict[str, tuple[Act, str]]] = {
    "send": ("send", "Sending a message"),
    "read": ("latest", "Reading the newest 50 messages"),
}
_FIRST_SECONDS: Final = 60.0
_MESSAGES: Final = 60  # in each room that is read: more than a page


class Peers:
    """The peers that could be installed, and the seats of each client."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seats: dict[str, Sequence[Seat]] = {}
        self.page_bytes: dict[str, int] = {}
        self.peers: list[Peer] = []

    def prepare(self) -> None:
        """Start each once: accounts, rooms and messages are made, and it proves that it keeps what it accepts. Raises
        ServerFailed without Falcon itself."""
        core, folder = self.bench.cores.server, self.bench.folder
        makers: dict[str, Callable[[], Peer]] = {
            FALCON: lambda: FalconPeer(FALCON, core, folder / FALCON),
            "synapse": lambda: SynapseServer(core, folder),
            "prosody": lambda: ProsodyServer("prosody", core, folder, "internal"),
            "prosody-sqlite": lambda: ProsodyServer("prosody-sqlite", core, folder, "sql"),
        }
        left_out: dict[str, str] = {}
        for name in self.bench.servers:
            try:
                peer = makers[name]()
                self._fill(peer)
            except (PeerMissing, PostgresMissing, ServerFailed, Refused, OSError) as missing:
                kill_everything()
                say(f"without {name}: {missing}")
                left_out[name] = (str(missing).strip().splitlines() or [type(missing).__name__])[0]
            else:
                self.peers.append(peer)
        if FALCON not in self.seats:
            raise ServerFailed("Falcon itself could not be started; what it said stands above")
        self.bench.facts["Peers"] = ", ".join(dict.fromkeys(peer.version for peer in self.peers))
        self.bench.facts["Left out"] = named(left_out) or "none"

    def _fill(self, peer: Peer) -> None:
        with running([peer], self.bench.cores):
            seats = self.seats[peer.name] = peer.seats(2 * max(FLIGHTS))
            read = seats[max(FLIGHTS) :]
            asyncio.run(fill(peer.kind, peer.address.port, read, _MESSAGES))
            size = asyncio.run(prove(peer.kind, peer.address.port, read[0], "this was accepted"))
            self.page_bytes[peer.name] = size
        say(f"{peer.name}: {peer.version}, {len(seats)} rooms, a page of {size:,} bytes")

    def ask(self, section: str) -> Section:
        """Raises what one of the servers fails with: ratios of a part of them would mean little."""
        act, title = _ACTS[section]
        samples: dict[str, dict[str, list[Sample]]] = {peer.name: {} for peer in self.peers}
        memory: dict[str, str] = {}
        for turn in range(self.bench.runs):
            with running(self.peers, self.bench.cores):
                for number, flight in enumerate(FLIGHTS):
                    for peer in in_turn(self.peers, turn + number):
                        workload = f"{section}, {flight} in flight"
                        sample = self._ask_once(peer, act, flight)
                        samples[peer.name].setdefault(workload, []).append(sample)
                        say(f"{turn + 1}/{self.bench.runs} {workload}, {peer.name}: {in_words(sample)}")
                for peer in self.peers:
                    wait_until_quiet(peer)
                    memory[peer.name] = f"{total_pss(memory_of(peer.tree)):,.0f} MiB"
        sizes = named({name: f"{size:,} bytes" for name, size in self.page_bytes.items()})
        notes = [f"Memory after all runs: {named(memory)}. A page of 50: {sizes}."]
        name, words = f"bench-peers-{section}", f"{title}: what one core does, and how soon it answers"
        pictures = self.bench.draw(name, words, lambda figure: _paint(figure, samples))
        return Section(section, [asked(title, samples)], (), notes, slower(samples), pictures)

    def _ask_once(self, peer: Peer, act: Act, flight: int) -> Sample:
        # No sends change what is read, so each round reads the same.
        first = 0 if act == "send" else max(FLIGHTS)
        plan = AskingPlan(peer.kind, peer.address.port, act, list(self.seats[peer.name][first : first + flight]))
        bench = self.bench
        with asking(plan, bench.cores.generator) as process:
            return measure_once(peer, process.ask, bench.seconds, bench.cores, bench.folder, sends=act == "send")

    def start(self) -> Section:
        """Each alone, on what it has, and what it takes in memory when it has done nothing else yet."""
        starts: dict[str, list[float]] = {peer.name: [] for peer in self.peers}
        memory: dict[str, float] = {}
        for turn in range(self.bench.runs):
            for peer in self.peers:
                with running([peer], self.bench.cores):
                    seat = self.seats[peer.name][0]
                    asyncio.run(first_message(peer.kind, peer.address.port, seat, _FIRST_SECONDS))
                    starts[peer.name].append(time.perf_counter() - peer.started_at)
                    wait_until_quiet(peer)
                    memory[peer.name] = total_pss(memory_of(peer.tree))
                say(f"{turn + 1}/{self.bench.runs} start of {peer.name}: {starts[peer.name][-1]:.2f} s")
        rows = [(NAMES[name], numbers(starts[name], "{:.2f}"), f"{memory[name]:,.0f}") for name in starts]
        columns = ("", "cold start → first message, s", "memory after it, MiB")
        note = "PSS of all processes, Synapse's PostgreSQL included."
        table = Table("Cold start and memory", columns, rows, note)
        return Section("start", [table], slower=start_slower(starts, memory))


def slower(samples: Samples) -> list[str]:
    found: list[str] = []
    for peer in samples:
        words = behind(samples, peer) if peer != FALCON else []
        if words:
            found.append(f"Beside {NAMES[peer]} Falcon is behind in: {'; '.join(words)}.")
    if any(NAMES["prosody"] in words for words in found):
        found.append(
            "Prosody's files are appended to and not flushed, so that a message there costs no wait for the disk; "
            "Falcon's are durable before they are answered."
        )
    return found


def start_slower(starts: dict[str, list[float]], memory: dict[str, float]) -> list[str]:
    found: list[str] = []
    seconds = {name: median(values) for name, values in starts.items()}
    for what, each in (("cold start", seconds), ("memory after a start", memory)):
        found += [
            f"{what}: {each[FALCON] / value:.2f}× that of {NAMES[peer]}"
            for peer, value in each.items()
            if each[FALCON] > value
        ]
    return [f"Falcon takes more for: {'; '.join(found)}."] if found else []


def _paint(figure: Any, samples: Samples) -> None:
    left, right = figure.subplots(1, 2)
    groups = workloads(samples)
    for axes, unit, value in ((left, "a second", rate), (right, "p50, ms", p50)):
        series = {peer: [list(map(value, each.get(group, ()))) for group in groups] for peer, each in samples.items()}
        plots.bars(axes, groups, series, unit)
        axes.set_yscale("log")
    plots.legend(figure, left)


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    peers = Peers(bench)
    peers.prepare()
    yield {"send": lambda: peers.ask("send"), "read": lambda: peers.ask("read"), "start": peers.start}


SUITE: Final = Suite(
    name="peers",
    title="Benchmarks beside other chats",
    method=Path(__file__).with_name("method.md"),
    sections=("send", "read", "start"),
    servers=(FALCON, "synapse", "prosody", "prosody-sqlite"),
    sizes={},
    open=_open,
    failures=(Refused, PeerMissing, PostgresMissing),
)
