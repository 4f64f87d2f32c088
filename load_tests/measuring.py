"""What measuring costs: sends and reads of a Falcon, and of one with FALCON_TELEMETRY=off.

They take turns of a second each, so that a machine that gets slower does so for both. Between rounds both start anew: a
process is some per cent faster or slower than its like for its whole life, by where its memory happens to lie, and only
many of them tell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from load_tests import wrk
from load_tests.machine import Cores
from load_tests.progress import say
from load_tests.running import running
from load_tests.servers import FalconServer
from load_tests.throughput import ACCOUNTS, in_turn

IN_FLIGHT: Final = 64
SENDS, PAGES = "sends/s", "pages/s"
_PAIRS: Final = 4
_ASK: Final[dict[str, Callable[[int, wrk.Address, Path, int, int], wrk.Load]]] = {SENDS: wrk.send, PAGES: wrk.read}


def measure(
    measured: FalconServer, unmeasured: FalconServer, rounds: int, rooms: int, cores: Cores, folder: Path
) -> dict[str, list[list[float]]]:
    """By what is counted: round by round, what the first did of the second, pair by pair. Raises ServerFailed,
    LoadFailed."""
    servers = (measured, unmeasured)
    targets = {server.name: folder / f"measuring-{server.name}.targets" for server in servers}
    found: dict[str, list[list[float]]] = {what: [] for what in _ASK}
    for turn in range(rounds):
        with running(servers, cores):
            for server in servers:
                if turn == 0:
                    wrk.write_targets(targets[server.name], server.fill(rooms, ACCOUNTS))
                wrk.send(cores.generator, server.address, targets[server.name], IN_FLIGHT, 1)
            for what, ask in _ASK.items():
                rates: dict[str, list[float]] = {server.name: [] for server in servers}
                for number in range(_PAIRS):
                    for server in in_turn(servers, turn + number):
                        load = ask(cores.generator, server.address, targets[server.name], IN_FLIGHT, 1)
                        rates[server.name].append(load.rate)
                shares = [a / b for a, b in zip(rates[measured.name], rates[unmeasured.name], strict=True)]
                found[what].append(shares)
                say(f"{turn + 1}/{rounds} {what}, of those with telemetry off: {median(shares) * 100:.1f} %")
    return found
