"""The time from the start of the process to the first accepted message."""

from __future__ import annotations

import time

from tools.bench.bench import Bench
from tools.bench.report import Section, Table, at_most, numbers
from tools.bench.samples import FALCON, NAMES
from tools.harness.calls import Caller
from tools.harness.progress import say
from tools.harness.running import running
from tools.harness.servers import FalconServer

_BOUND = 1.5  # s


def section(bench: Bench) -> Section:
    """Start each server on no data and again on what that left, in turns. Raises ServerFailed, CallRefused."""
    fresh: dict[str, list[float]] = {name: [] for name in bench.falcons}
    again: dict[str, list[float]] = {name: [] for name in bench.falcons}
    for turn in range(bench.runs):
        for name in bench.falcons:
            server = bench.falcon(f"start-{name}-{turn}", name)
            for times in (fresh[name], again[name]):
                with running([server], bench.cores):
                    times.append(_first_message(server))
            words = f"{fresh[name][-1]:.2f} s on no data, {again[name][-1]:.2f} s again"
            say(f"{turn + 1}/{bench.runs} start of {name}: {words}")
    rows = [(NAMES[name], numbers(fresh[name], "{:.2f}"), numbers(again[name], "{:.2f}")) for name in fresh]
    note = "`falcon up` to the first accepted message, a room made before it; files in the page cache."
    table = Table("Cold start", ("", "on no data, s", "on data of before, s"), rows, note)
    what = "cold start → first accepted message"
    return Section("start", [table], [at_most(what, fresh[FALCON], _BOUND, " s")] if FALCON in fresh else [])


def _first_message(server: FalconServer) -> float:
    caller = Caller(server.address, server.announcement.token)
    room = caller.must("POST", "/v1/rooms", {"name": "first"}).json()["room_id"]
    caller.must("POST", f"/v1/rooms/{room}/messages", {"text": "first"})
    seconds = time.perf_counter() - server.started_at
    caller.close()
    return seconds
