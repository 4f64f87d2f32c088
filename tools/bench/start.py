"""From the start of the process to the first accepted message."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tools.bench.calls import Caller
from tools.bench.figures import Start
from tools.bench.running import running
from tools.bench.servers import FalconServer
from tools.harness.machine import Cores
from tools.harness.progress import say

MakeServer = Callable[[Path], FalconServer]


def measure(makers: dict[str, MakeServer], runs: int, cores: Cores, folder: Path) -> Start:
    """Start each server on no data and again on what that left, in turns. Raises ServerFailed, CallRefused."""
    fresh: dict[str, list[float]] = {name: [] for name in makers}
    again: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(runs):
        for name, make in makers.items():
            server = make(folder / f"start-{name}-{turn}")
            with running([server], cores):
                fresh[name].append(_first_message(server))
            with running([server], cores):
                again[name].append(_first_message(server))
            say(f"{turn + 1}/{runs} start of {name}: {fresh[name][-1]:.2f} s on no data, {again[name][-1]:.2f} s again")
    return Start(fresh=fresh, again=again)


def _first_message(server: FalconServer) -> float:
    caller = Caller(server.address, server.announcement.token)
    room = caller.must("POST", "/v1/rooms", {"name": "first"}).json()["room_id"]
    caller.must("POST", f"/v1/rooms/{room}/messages", {"text": "first"})
    seconds = time.perf_counter() - server.started_at
    caller.close()
    return seconds
