"""Taking over: a large partition after a start, and the gap that a client sees when its room's owner goes away."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise

from falcon.process import descendants
from tools.bench.cluster.metrics import scrape
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster, on_core, port_of
from tools.bench.report import Section, Table, Target, at_most, numbers
from tools.harness.calls import Address, Caller, CallRefused
from tools.harness.progress import say
from tools.harness.servers import ServerFailed
from tools.harness.waiting import until
from tools.servers.cluster import Cluster
from tools.servers.daemon import Daemon

PREFIX = "recovery."
_NUMBER = 5  # of the process that recovers the large partition
_CHUNK = 10  # messages of a room in a row
_PULSE_SECONDS = 0.01
_KILL_BOUND = 1.0
_FREEZE_BOUND = 3.0
_MOVE_BOUND = 0.3
_BROKER_BOUND = 2.0


def measure(running: RunningCluster, plan: Plan) -> Section:
    session = running.settings().session_seconds
    killed, frozen, moved, broken = _gaps(running, plan)
    recovered = _large_partition(running, plan)
    large = f"{plan.partition_messages:,} messages in {plan.partition_rooms:,} rooms"
    rows = [
        (f"start of `falcon write` alone → it serves a partition with {large}, s", numbers(recovered, "{:.2f}")),
        ("kill -9 of the owner, another one runs: gap, s", numbers(killed, "{:.2f}")),
        ("SIGSTOP to the owner, another one runs: gap, s", numbers(frozen, "{:.2f}")),
        ("SIGTERM to the owner, another one runs: gap, s", numbers(moved, "{:.2f}")),
        ("kill -9 of the broker that leads the partition: gap, s", numbers(broken, "{:.2f}")),
    ]
    note = (
        f"The gap is the longest time between two accepted messages of a client that sends one to the same room every "
        f"{_PULSE_SECONDS * 1000:.0f} ms and tries each again until it is accepted. Sessions last {session:g} s. The "
        f"large partition was filled {_CHUNK} messages of a room at a time and left with a tail behind its last "
        "checkpoint; each start came after a kill -9, at the same address. Python's own start is part of it."
    )
    targets: list[Target] = [
        at_most("gap at kill -9 of a partition's owner", killed, _KILL_BOUND, " s"),
        at_most("gap when a partition's owner freezes", frozen, _FREEZE_BOUND, " s"),
        at_most("gap at a planned move", moved, _MOVE_BOUND, " s"),
        at_most("gap at kill -9 of the broker that leads the partition", broken, _BROKER_BOUND, " s"),
    ]
    return Section("recovery", [Table("Losing and moving partitions", ("", "found"), rows, note)], targets)


# --- gaps -------------------------------------------------------------------------------------------------------------


class Pulse:
    """Sends to one room all the time, from a thread of its own."""

    def __init__(self, address: Address, token: str, room: int) -> None:
        self._caller = Caller(address, token)
        self._path = f"/v1/rooms/{room}/messages"
        self._ending = threading.Event()
        self._accepted: list[float] = []
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._ending.wait(_PULSE_SECONDS):
            number += 1
            try:
                self._caller.until_accepted("POST", self._path, {"text": f"pulse {number}"})
            except (CallRefused, OSError, http.client.HTTPException) as failure:
                self._failure = failure
                return
            self._accepted.append(time.perf_counter())

    def accepted_since(self, moment: float) -> int:
        if self._failure is not None:
            raise ServerFailed(f"the client that sends every 10 ms was refused: {self._failure}")
        return sum(each > moment for each in self._accepted)

    def end(self) -> list[float]:
        """When each was accepted."""
        self._ending.set()
        self._thread.join(70)
        self._caller.close()
        return self._accepted


def longest_gap(accepted: list[float], since: float) -> float:
    """Between two that follow one another, of which the second came after ``since``."""
    return max((b - a for a, b in pairwise(accepted) if b > since), default=0.0)


def _gaps(running: RunningCluster, plan: Plan) -> tuple[list[float], list[float], list[float], list[float]]:
    (room, token), *_ = running.fill(1, 1)
    running.scale_write(2)
    killed: list[float] = []
    frozen: list[float] = []
    moved: list[float] = []
    broken: list[float] = []
    try:
        for turn in range(plan.runs):
            killed.append(_owner_gap(running, room, token, Daemon.kill))
            frozen.append(_owner_gap(running, room, token, _freeze))
            moved.append(_owner_gap(running, room, token, Daemon.ask_to_end))
            broken.append(_broker_gap(running, room, token))
            say(
                f"{turn + 1}/{plan.runs} gap at kill -9 {killed[-1]:.2f} s, at SIGSTOP {frozen[-1]:.2f} s, "
                f"at a planned move {moved[-1]:.2f} s, at kill -9 of a broker {broken[-1]:.2f} s"
            )
    finally:
        running.write_with({})
    return killed, frozen, moved, broken


def _freeze(owner: Daemon) -> None:
    pid = owner.pid()
    if pid is not None:
        for each in (pid, *descendants(pid)):
            os.kill(each, signal.SIGSTOP)


def _owner_gap(running: RunningCluster, room: int, token: str, lose: Callable[[Daemon], None]) -> float:
    """Two run before and afterwards."""
    port = port_of(running.owners()[room % running.partitions])
    (owner,) = (each for each in running.cluster.processes("write") if each.port == port)
    gap = _gap(running, room, token, lambda: lose(owner))
    owner.kill()  # what is left of it
    running.scale_write(2)
    return gap


def _broker_gap(running: RunningCluster, room: int, token: str) -> float:
    """All brokers run, and have all of the log, before and afterwards."""
    kafka = running.cluster.kafka
    until(lambda: _all_in_sync(running), "every broker has all of the log")
    node = running.brokers()[room % running.partitions].leader
    gap = _gap(running, room, token, lambda: kafka.kill(node))
    with on_core(running.cores.generator):
        kafka.up(node)
    until(lambda: _all_in_sync(running), "the broker that was killed has caught up")
    return gap


def _all_in_sync(running: RunningCluster) -> bool:
    brokers = running.brokers()
    return len(brokers) == running.partitions and all(
        len(each.in_sync) == running.cluster.kafka.nodes for each in brokers.values()
    )


def _gap(running: RunningCluster, room: int, token: str, lose: Callable[[], None]) -> float:
    pulse = Pulse(running.address, token, room)
    try:
        begun = time.perf_counter()
        until(lambda: pulse.accepted_since(begun) > 50, "the client sends")
        lost = time.perf_counter()
        lose()
        # Served by the other one for a while: a planned move has its gap somewhat after the signal.
        until(lambda: time.perf_counter() - lost > 3 and pulse.accepted_since(lost) > 300, "it sends again")
    finally:
        accepted = pulse.end()
    return longest_gap(accepted, lost)


# --- a large partition ------------------------------------------------------------------------------------------------


def _large_partition(running: RunningCluster, plan: Plan) -> list[float]:
    cluster = running.apart(PREFIX, 1)
    running.stop("write")
    found: list[float] = []
    try:
        per_room = max(1, plan.partition_messages // plan.partition_rooms)
        options = (f"--note={plan.folder / 'large.json'}", f"--rooms={plan.partition_rooms}", f"--to={per_room}")
        filled = running.run("history", *options, f"--chunk={_CHUNK}", "--tail", cluster=cluster)
        say(f"large partition: {filled['events']:,} events in {filled['seconds']:.0f} s")
        for turn in range(plan.runs):
            found.append(_start(running, cluster))
            cluster.process("write", _NUMBER).kill()
            say(f"{turn + 1}/{plan.runs} start on the large partition: {found[-1]:.2f} s")
    finally:
        cluster.process("write", _NUMBER).kill()
        running.scale_write(1)
    return found


def _start(running: RunningCluster, cluster: Cluster) -> float:
    begun = time.perf_counter()
    with on_core(running.cores.server):
        process = cluster.start("write", _NUMBER)
    until(lambda: _recovered(cluster.ops_url(process)), "it recovered the partition", 120)
    return time.perf_counter() - begun


def _recovered(ops_url: str) -> bool:
    try:
        return scrape(ops_url).total("falcon_recoveries_total") >= 1
    except OSError:
        return False
