"""Faults of the cluster, and an operator's acts. Each ends with everything running again, and takes its luck from the
seed."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeAlias, TypeVar

from tools.chaos import operators
from tools.chaos.cluster import PARTITIONS, ChaosCluster
from tools.harness.waiting import holds_within

F = TypeVar("F")  # the target of a fault
# Gives the moment (monotonic seconds) since when things could continue, where that is not when the fault began.
ActOn: TypeAlias = Callable[[F, Random], Awaitable[float | None]]
Act: TypeAlias = ActOn[ChaosCluster]

_OUTAGE_SECONDS: Final = 8.0
_ZOMBIE_SECONDS: Final = 9.0  # longer than the session of a member of a group
_DOWN_SECONDS: Final = (0.5, 4.0)
_PAUSE_SECONDS: Final = (3.0, 12.0)


@dataclass(frozen=True)
class Fault(Generic[F]):
    """``hurts``: faults that hurt the same may not come together. ``seconds``: about how long it takes.

    ``apart``, ``small_disk``: what it needs of the machine.
    """

    name: str
    hurts: str
    seconds: float
    act: ActOn[F]
    apart: bool = False
    small_disk: bool = False


# --- brokers ----------------------------------------------------------------------------------------------------------


async def kill_leader(cluster: ChaosCluster, chance: Random) -> None:
    node = await cluster.leader(chance.randrange(PARTITIONS))
    cluster.kafka.kill(node)
    await asyncio.sleep(chance.uniform(*_DOWN_SECONDS))
    await asyncio.to_thread(cluster.kafka.up, node)
    await cluster.in_sync()


async def pause_leader(cluster: ChaosCluster, chance: Random) -> None:
    node = await cluster.leader(chance.randrange(PARTITIONS))
    cluster.kafka.pause(node)
    try:
        await asyncio.sleep(chance.uniform(*_PAUSE_SECONDS))
    finally:
        cluster.kafka.resume(node)
    await cluster.in_sync()


async def pause_two_brokers(cluster: ChaosCluster, chance: Random) -> float:
    nodes = chance.sample(range(1, cluster.kafka.nodes + 1), 2)
    for node in nodes:
        cluster.kafka.pause(node)
    try:
        await asyncio.sleep(_OUTAGE_SECONDS)
    finally:
        for node in nodes:
            cluster.kafka.resume(node)
    since = time.monotonic()
    await cluster.in_sync()
    return since


async def kill_two_brokers(cluster: ChaosCluster, chance: Random) -> float:
    nodes = chance.sample(range(1, cluster.kafka.nodes + 1), 2)
    for node in nodes:
        cluster.kafka.kill(node)
    await asyncio.sleep(_OUTAGE_SECONDS)
    for node in nodes:
        cluster.kafka.up(node, wait=False)
    for node in nodes:
        await asyncio.to_thread(cluster.kafka.up, node)
    since = time.monotonic()
    await cluster.in_sync()
    return since


async def fill_disk(cluster: ChaosCluster, chance: Random) -> None:
    await cluster.fill_disk(chance.uniform(3, 8))
    await cluster.in_sync()


# --- HBase ------------------------------------------------------------------------------------------------------------


def kill_hbase(*roles: str) -> Act:
    """Kill one of these roles. A region server is never paused: awake again it could write to regions of another."""

    async def act(cluster: ChaosCluster, chance: Random) -> None:
        await _kill_hbase(cluster, [chance.choice(roles)], chance.uniform(*_DOWN_SECONDS))

    return act


async def kill_gateways(cluster: ChaosCluster, chance: Random) -> float:
    await _kill_hbase(cluster, ["thrift1", "thrift2"], chance.uniform(*_DOWN_SECONDS), serves=False)
    since = time.monotonic()
    await asyncio.to_thread(cluster.hbase.wait)
    return since


async def _kill_hbase(cluster: ChaosCluster, roles: list[str], seconds: float, *, serves: bool = True) -> None:
    for role in roles:
        cluster.hbase.kill(role)
    await asyncio.sleep(seconds)
    for role in roles:
        cluster.hbase.up(role, wait=False)
    for role in roles:
        await asyncio.to_thread(cluster.hbase.up, role)
    if serves:
        await asyncio.to_thread(cluster.hbase.wait)


async def pause_gateway(cluster: ChaosCluster, chance: Random) -> None:
    role = chance.choice(["thrift1", "thrift2"])
    cluster.hbase.pause(role)
    try:
        await asyncio.sleep(5)
    finally:
        cluster.hbase.resume(role)


# --- pods -------------------------------------------------------------------------------------------------------------


def kill_serving(role: str) -> Act:
    async def act(cluster: ChaosCluster, chance: Random) -> None:
        await cluster.kill_serving(role, chance.randint(1, cluster.counts[role]))

    return act


def kill_pod(role: str) -> Act:
    """Kill the launcher of a pod and all below it, then start the pod again."""

    async def act(cluster: ChaosCluster, chance: Random) -> None:
        number = chance.randint(1, cluster.counts[role])
        cluster.kill_pod(role, number)
        await asyncio.sleep(chance.uniform(*_DOWN_SECONDS))
        await cluster.start_and_wait(role, number)

    return act


async def zombie_writer(cluster: ChaosCluster, chance: Random) -> None:
    """Stop it until others have taken over its partitions. Then it continues as if nothing had happened."""
    await cluster.pause_serving("write", chance.randint(1, cluster.counts["write"]), _ZOMBIE_SECONDS)


def cut_off(role: str) -> Act:
    """Cut one pod off from all brokers. It reaches all other processes, and they reach it."""

    async def act(cluster: ChaosCluster, chance: Random) -> None:
        cluster.apart[role].shut()
        try:
            await asyncio.sleep(_OUTAGE_SECONDS)
        finally:
            cluster.apart[role].open()

    return act


def scale(role: str) -> Act:
    async def act(cluster: ChaosCluster, chance: Random) -> None:
        for count in (3, 1, 2):
            await cluster.scale_and_wait(role, count)
            await asyncio.sleep(chance.uniform(1, 3))

    return act


# --- everything -------------------------------------------------------------------------------------------------------


async def kill_opensearch(cluster: ChaosCluster, chance: Random) -> None:
    """Only searches wait for it."""
    assert cluster.opensearch is not None
    cluster.opensearch.kill()
    await asyncio.sleep(chance.uniform(*_DOWN_SECONDS))
    await asyncio.to_thread(cluster.opensearch.start)


async def rolling_restart(cluster: ChaosCluster, chance: Random) -> None:
    """Each process in turn, in order: the next one when the last one serves again."""
    for role in cluster.roles:
        for number in range(1, cluster.counts[role] + 1):
            await asyncio.to_thread(cluster.process(role, number).end)
            await cluster.start_and_wait(role, number)
    for node in range(1, cluster.kafka.nodes + 1):
        await asyncio.to_thread(_end_broker, cluster, node)
        await asyncio.to_thread(cluster.kafka.up, node)
        await cluster.in_sync()
    for role in ("rs1", "rs2", "thrift1", "thrift2"):
        await asyncio.to_thread(cluster.hbase.restart, role)
        await asyncio.to_thread(cluster.hbase.wait)


def _end_broker(cluster: ChaosCluster, node: int) -> None:
    """End a broker as a service manager would: ask first, then kill."""
    pid = cluster.kafka.pid(node)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    holds_within(lambda: not cluster.kafka.running(node), 30, every=0.05)
    cluster.kafka.kill(node)


FAULTS: Final[tuple[Fault[ChaosCluster], ...]] = (
    Fault("kill leading broker", "kafka", 15, kill_leader),
    Fault("pause leading broker", "kafka", 15, pause_leader),
    Fault("pause two brokers", "kafka", 20, pause_two_brokers),
    Fault("kill two brokers", "kafka", 30, kill_two_brokers),
    Fault("fill a broker's disk", "kafka", 25, fill_disk, small_disk=True),
    Fault("kill region server", "hbase", 25, kill_hbase("rs1", "rs2")),
    Fault("kill HBase master", "hbase", 15, kill_hbase("master")),
    Fault("kill gateway", "hbase", 10, kill_hbase("thrift1", "thrift2")),
    Fault("kill both gateways", "hbase", 12, kill_gateways),
    Fault("pause gateway", "hbase", 6, pause_gateway),
    Fault("kill write", "write", 5, kill_serving("write")),
    Fault("kill write pod", "write", 10, kill_pod("write")),
    Fault("zombie writer", "write", 10, zombie_writer),
    Fault("scale write", "write", 30, scale("write")),
    Fault("cut off write", "write", 9, cut_off("write"), apart=True),
    Fault("kill project", "project", 5, kill_serving("project")),
    Fault("kill project pod", "project", 10, kill_pod("project")),
    Fault("scale project", "project", 30, scale("project")),
    Fault("cut off project", "project", 9, cut_off("project"), apart=True),
    Fault("kill api", "api", 5, kill_serving("api")),
    Fault("kill api pod", "api", 10, kill_pod("api")),
    Fault("scale api", "api", 30, scale("api")),
    Fault("cut off api", "api", 9, cut_off("api"), apart=True),
    Fault("kill forward", "forward", 5, kill_serving("forward")),
    Fault("kill OpenSearch", "opensearch", 12, kill_opensearch),
    Fault("export", "operator", 15, operators.export),
    Fault("verify", "operator", 15, operators.verify),
    Fault("rebuild", "operator", 20, operators.rebuild),
    Fault("prepare", "operator", 10, operators.prepare),
    Fault("skip", "project", 30, operators.skip),
    Fault("rolling restart", "everything", 150, rolling_restart),
)


def go_together(one: Fault[F], other: Fault[F]) -> bool:
    """False if both hurt the same, or if one restarts everything."""
    return one.hurts != other.hurts and "everything" not in (one.hurts, other.hurts)
