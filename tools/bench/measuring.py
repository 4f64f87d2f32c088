"""The cost of measuring: sends and reads of a Falcon, and of one with FALCON_TELEMETRY=off.

They take turns of a second each, so that a machine that gets slower does so for both. Between rounds both are
restarted, each on the other's data and in the other's place: one of two equal servers may be some per cent faster for
its whole life, by the place of its memory or its files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from tools.bench import wrk
from tools.bench.bench import Bench, in_turn
from tools.bench.figures import Figure
from tools.bench.throughput import ACCOUNTS
from tools.harness.calls import Address
from tools.harness.machine import Cores
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer

IN_FLIGHT: Final = 64
SENDS, PAGES = "sends/s", "pages/s"
_ON, _OFF = "measured", "unmeasured"
_PAIRS: Final = 4
_BOUND: Final = 0.98
_ASK: Final[dict[str, Callable[[int, Address, Path, int, int], wrk.Load]]] = {SENDS: wrk.send, PAGES: wrk.read}


def section(bench: Bench) -> list[Figure]:
    """Each of the two Falcons is on each folder and in each place as often. Raises ServerFailed, LoadFailed."""
    folders = (bench.folder / "measuring-a", bench.folder / "measuring-b")
    found = _measure(folders, bench.runs * 4, bench.sizes["chat_rooms"], bench.cores)
    name = "64 in flight, of its own with FALCON_TELEMETRY=off"
    return [
        Figure(f"{what}, {name}", [median(each) for each in rounds], "×", least=_BOUND)
        for what, rounds in found.items()
    ]


def _measure(folders: tuple[Path, Path], rounds: int, rooms: int, cores: Cores) -> dict[str, list[list[float]]]:
    """By figure, for each round and pair: the measuring server's share of the other's."""
    found: dict[str, list[list[float]]] = {what: [] for what in _ASK}
    for turn in range(rounds):
        servers = [_server(data, cores, is_on=(number + turn) % 2 == 0) for number, data in enumerate(folders)]
        with running(in_turn(servers, turn // 2), cores):
            for server in servers:
                if turn == 0:
                    wrk.write_targets(_targets(server), server.fill(rooms, ACCOUNTS))
                wrk.send(cores.generator, server.address, _targets(server), IN_FLIGHT, 1)
            for what, ask in _ASK.items():
                rates: dict[str, list[float]] = {server.name: [] for server in servers}
                for number in range(_PAIRS):
                    for server in in_turn(servers, turn + number):
                        load = ask(cores.generator, server.address, _targets(server), IN_FLIGHT, 1)
                        rates[server.name].append(load.rate)
                shares = [on / off for on, off in zip(rates[_ON], rates[_OFF], strict=True)]
                found[what].append(shares)
                say(f"{turn + 1}/{rounds} {what}, of those with telemetry off: {median(shares) * 100:.1f} %")
    return found


def _server(data: Path, cores: Cores, *, is_on: bool) -> FalconServer:
    return FalconServer(_ON if is_on else _OFF, cores.server, data, {"FALCON_TELEMETRY": "on" if is_on else "off"})


def _targets(server: FalconServer) -> Path:
    return server.data.with_suffix(".targets")
