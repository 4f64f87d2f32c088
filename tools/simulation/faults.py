"""Faults that are seldom met by chance, and that some mistakes need."""

import asyncio
import random
from functools import partial

from tools.simulation.cluster import SimulatedFalcon


async def slow_the_tables(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """The projections get different positions, and all of them lag."""
    if chance.random() < 0.5:
        falcon.road.delay_max = chance.choice([0.1, 0.3, 0.6])
    else:
        falcon.road.slow = chance.choice(["timeline", "rooms", "member", "mentions", "accounts"])
        falcon.road.slow_seconds = chance.choice([0.5, 1.5])
    await asyncio.sleep(chance.uniform(2, 8))


async def stop_the_projectors(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """The tables can be read, and stand still."""
    for name in falcon.projectors:
        falcon.stop(name)
    await asyncio.sleep(chance.uniform(4, 10))


async def stop_all_owners(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """Commands to them wait in their sockets meanwhile."""
    for name in falcon.writers:
        falcon.stop(name)
    await asyncio.sleep(chance.uniform(6, 25))


async def lose_the_gateways_again_and_again(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """For longer each time than an edge waits for the tables."""
    for _ in range(chance.randint(2, 5)):
        falcon.road.down = True
        await asyncio.sleep(chance.uniform(2.5, 3.5))
        falcon.road.down = False
        await asyncio.sleep(chance.uniform(0.5, 1.5))


async def lose_all_owners_for_long(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """Longer than a command waits."""
    await asyncio.sleep(chance.uniform(0, 2))
    falcon.supervised = False
    for name in falcon.writers:
        falcon.kill(name)
    falcon.supervised = True
    await asyncio.sleep(chance.uniform(5, 7))
    for name in falcon.writers:
        falcon._relaunch(falcon.processes[name])


async def start_an_owner_in_another_hour(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """Its machine's clock is set right after a while."""
    name = chance.choice(falcon.writers)
    falcon.processes[name].skew = chance.choice([-3_600.0, 3_600.0])
    falcon.kill(name)
    await asyncio.sleep(chance.uniform(4, 8))
    falcon.processes[name].skew = 0.0
    await asyncio.sleep(chance.uniform(0, 6))


async def lose_an_owner_for_long(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """As if its machine were gone: nothing is started there for a while. It is neither the last owner, nor one that the
    others have not heard yet."""
    await asyncio.sleep(chance.uniform(2, 4))
    if any(falcon.processes[name].dead for name in falcon.writers):
        return
    name = chance.choice(falcon.writers)
    process = falcon.processes[name]
    falcon.supervised = False
    falcon.kill(name)
    falcon.supervised = True
    falcon.http.later(chance.uniform(12, 20), partial(falcon._relaunch, process))


async def end_edges_in_order(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """As for an upgrade, while slow tables keep streams from beginning."""
    falcon.road.delay_max = chance.choice([0.1, 0.3, 0.6])
    await asyncio.sleep(chance.uniform(0.5, 3))
    for name in chance.sample(falcon.edges, chance.randint(1, len(falcon.edges))):
        falcon.terminate(name)
    await asyncio.sleep(chance.uniform(0, 4))


async def change_leaders(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """One broker after another ends in order, and the new leaders hear late of what is committed."""
    brokers = falcon.brokers
    brokers._replication_max = chance.choice([0.2, 1.0])
    for _ in range(chance.randint(1, 3)):
        node = chance.choice(brokers.nodes)
        brokers.loop.call_soon_threadsafe(brokers.shut_down, node)
        await asyncio.sleep(chance.uniform(0.5, 3))
        brokers.loop.call_soon_threadsafe(brokers.start, node)
    brokers._replication_max = 0.01


async def wait(falcon: SimulatedFalcon, chance: random.Random) -> None:
    """Nothing fails."""
    await asyncio.sleep(chance.uniform(1, 4))
