"""Taking over: the gap that a client sees when its room's owner, or the broker that leads its partition, goes away."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.base.process import descendants
from tools.bench.bench import Bench
from tools.bench.cluster.running import RunningCluster, on_core, port_of
from tools.bench.figures import Figure, beside
from tools.harness.calls import Address, Caller, CallRefused
from tools.harness.progress import say
from tools.harness.servers import ServerFailed
from tools.harness.waiting import until
from tools.servers.daemon import Daemon

_PULSE_SECONDS = 0.01
_KILL_BOUND = 1.0
_FREEZE_BOUND = 3.0
_MOVE_BOUND = 0.3
_BROKER_BOUND = 2.0
_BARE_BOUND = 1.25


def measure(running: RunningCluster, bench: Bench) -> list[Figure]:
    """The gap is the longest time between two accepted messages of a client that sends one to the same room every
    10 ms and tries each again until it is accepted. The bare producer is aiokafka's alone, in the same runs."""
    gaps = _gaps(running, bench)
    return [
        Figure("gap at kill -9 of a partition's owner", gaps.killed, "s", most=_KILL_BOUND),
        Figure("gap when a partition's owner freezes", gaps.frozen, "s", most=_FREEZE_BOUND),
        Figure("gap at a planned move", gaps.moved, "s", most=_MOVE_BOUND),
        Figure("gap at kill -9 of the broker that leads the partition", gaps.broken, "s", most=_BROKER_BOUND),
        Figure("the same for a bare producer", gaps.bare, "s"),
        *beside("the gap of that of a bare producer", gaps.broken, gaps.bare, most=_BARE_BOUND),
    ]


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


class BarePulse:
    """Sends to one partition all the time with aiokafka alone, from a thread of its own."""

    def __init__(self, kafka: KafkaCluster, partition: int) -> None:
        self._kafka = kafka
        self._partition = partition
        self._ending = threading.Event()
        self._accepted: list[float] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=list(self._kafka.brokers), acks="all", enable_idempotence=True, linger_ms=0
        )
        await producer.start()
        try:
            while not self._ending.is_set():
                await producer.send_and_wait(self._kafka.journal, b"pulse", partition=self._partition)
                self._accepted.append(time.perf_counter())
                await asyncio.sleep(_PULSE_SECONDS)
        finally:
            await producer.stop()

    def accepted_since(self, moment: float) -> int:
        if not self._thread.is_alive():
            raise ServerFailed("the bare producer has failed")
        return sum(each > moment for each in self._accepted)

    def end(self) -> list[float]:
        """When each was accepted."""
        self._ending.set()
        self._thread.join(70)
        return self._accepted


class Gaps(NamedTuple):
    """In seconds, one a run. ``bare``: of a bare producer, beside ``broken``."""

    killed: list[float]
    frozen: list[float]
    moved: list[float]
    broken: list[float]
    bare: list[float]


def longest_gap(accepted: list[float], since: float) -> float:
    """Between two that follow one another, of which the second came after ``since``."""
    return max((b - a for a, b in pairwise(accepted) if b > since), default=0.0)


def _gaps(running: RunningCluster, bench: Bench) -> Gaps:
    (room, token), *_ = running.fill(1, 1)
    running.scale_write(2)
    bare = msgspec.structs.replace(running.kafka_cluster(), prefix="bare.")
    asyncio.run(topics.prepare(bare, running.settings().kafka_replicas))
    gaps = Gaps([], [], [], [], [])
    try:
        for turn in range(bench.runs):
            gaps.killed.append(_owner_gap(running, room, token, Daemon.kill))
            gaps.frozen.append(_owner_gap(running, room, token, _freeze))
            gaps.moved.append(_owner_gap(running, room, token, Daemon.ask_to_end))
            ours, theirs = _broker_gaps(running, room, token, bare)
            gaps.broken.append(ours)
            gaps.bare.append(theirs)
            say(
                f"{turn + 1}/{bench.runs} gap at kill -9 {gaps.killed[-1]:.2f} s, at SIGSTOP {gaps.frozen[-1]:.2f} s, "
                f"at a planned move {gaps.moved[-1]:.2f} s, at kill -9 of a broker {ours:.2f} s, "
                f"of a bare producer then {theirs:.2f} s"
            )
    finally:
        running.scale_write(1)
    return gaps


def _freeze(owner: Daemon) -> None:
    pid = owner.pid()
    if pid is not None:
        for each in (pid, *descendants(pid)):
            os.kill(each, signal.SIGSTOP)


def _owner_gap(running: RunningCluster, room: int, token: str, lose: Callable[[Daemon], None]) -> float:
    """Two run before and afterwards."""
    port = port_of(running.owners()[room % running.partitions])
    (owner,) = (each for each in running.cluster.processes("write") if each.port == port)
    [gap] = _gaps_at(lambda: lose(owner), [Pulse(running.address, token, room)])
    owner.kill()  # the rest of its processes
    running.scale_write(2)
    return gap


def _broker_gaps(running: RunningCluster, room: int, token: str, bare: KafkaCluster) -> tuple[float, float]:
    """Falcon's, and that of a bare producer. All brokers run, and have all of both logs, before and afterwards."""
    kafka = running.cluster.kafka
    until(lambda: _all_in_sync(running, None) and _all_in_sync(running, bare), "every broker has all of the logs")
    node = running.brokers()[room % running.partitions].leader
    partition = next(number for number, brokers in running.brokers(bare).items() if brokers.leader == node)
    ours, theirs = _gaps_at(lambda: kafka.kill(node), [Pulse(running.address, token, room), BarePulse(bare, partition)])
    with on_core(running.cores.generator):
        kafka.up(node)
    until(lambda: _all_in_sync(running, None) and _all_in_sync(running, bare), "the broker has caught up")
    return ours, theirs


def _all_in_sync(running: RunningCluster, log: KafkaCluster | None) -> bool:
    """``log``: another than Falcon's."""
    brokers = running.brokers(log)
    return len(brokers) == running.partitions and all(
        len(each.in_sync) == running.cluster.kafka.nodes for each in brokers.values()
    )


def _gaps_at(lose: Callable[[], None], pulses: Sequence[Pulse | BarePulse]) -> list[float]:
    """The longest gap of each after the loss."""
    accepted: list[list[float]] = []
    try:
        begun = time.perf_counter()
        until(lambda: all(each.accepted_since(begun) > 50 for each in pulses), "the clients send")
        lost = time.perf_counter()
        lose()
        # The other one serves the room for a while: a planned move has its gap somewhat after the signal.
        until(
            lambda: time.perf_counter() - lost > 3 and all(each.accepted_since(lost) > 300 for each in pulses),
            "they send again",
        )
    finally:
        accepted = [each.end() for each in pulses]
    return [longest_gap(each, lost) for each in accepted]
