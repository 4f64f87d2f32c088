"""Schedules of crashes, lost and repeated messages, zombies: the same ones each time, as many as there is time for."""

import os
import time

from tests.support.volume import volume
from tools.simulation.world import World

SECONDS = volume("FALCON_SIMULATION_SECONDS", 3)


def run(seed: int) -> None:
    world = World(seed)
    world.run(steps=250)
    world.heal()
    world.check()


def test_whatever_happens_every_acknowledged_message_is_there_once_and_in_order() -> None:
    seeds = [int(os.environ["FALCON_SIMULATION_SEED"])] if "FALCON_SIMULATION_SEED" in os.environ else None
    until = time.monotonic() + SECONDS
    schedules = 0
    for seed in seeds or range(1, 10_000_000):
        try:
            run(seed)
        except BaseException as error:
            error.add_note(f"run again with FALCON_SIMULATION_SEED={seed}")
            raise
        schedules += 1
        if time.monotonic() > until:
            break
    assert schedules
    print(f"{schedules} schedules in {SECONDS:g} s")  # noqa: T201
