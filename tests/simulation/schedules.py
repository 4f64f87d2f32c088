"""The kinds of schedules there are, by name: each gives for a seed what went wrong in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation import course, faults, owners
from tests.simulation.course import Fault, Plan
from tests.simulation.world import World

_STEPS: Final = 250


@dataclass(frozen=True)
class Schedules:
    """``plan``: of schedules of the whole cluster. ``run``: of others, gives what went wrong with a seed."""

    name: str
    plan: Plan = Plan()
    run: Callable[[int], list[str]] | None = None

    def __str__(self) -> str:
        return self.name


def _chat(name: str, seconds: float, *chosen: Fault, **bounds: Any) -> Schedules:
    return Schedules(name, Plan(seconds, faults=chosen, pace=0.3, **bounds))


def _alone(name: str, seconds: float, chosen: Fault, **bounds: Any) -> Schedules:
    return _chat(name, seconds, chosen, together=0.0, **bounds)


def _world(seed: int) -> list[str]:
    world = World(seed)
    try:
        world.run(_STEPS)
        world.heal()
        world.check()
    except Exception as error:  # whatever it is: the world does not go on as it must
        return [repr(error)]
    return []


CHAT: Final = _chat("chat", 8)
BEHIND: Final = _chat("chat while tables are behind", 5, faults.slow_the_tables)
STANDSTILL: Final = _alone("chat while tables stand still", 5, faults.stop_the_projectors, begin_seconds=3.0)
MOVES: Final = _chat(
    "chat while partitions move",
    8,
    course.kill_an_owner,
    course.stop_a_process,
    course.cut_a_process_off_from_brokers,
    course.lose_answers_of_brokers,
)
SILENCE: Final = _chat("chat while all owners are silent", 5, faults.stop_all_owners)
# An owner refuses a sender for a minute whose time of day it has taken for an hour behind.
HOURS: Final = _alone("chat with clocks that are wrong", 5, faults.start_an_owner_in_another_hour, served_seconds=80.0)
LOSS: Final = _alone("chat after an owner has gone", 5, faults.lose_an_owner_for_long, served_seconds=4.0)
HBASE: Final = _chat(
    "chat on tables in trouble", 6, course.trouble_hbase, course.kill_a_projector, faults.slow_the_tables
)
FLAPPING: Final = _alone("chat while tables come and go", 5, faults.lose_the_gateways_again_and_again)
NO_OWNERS: Final = _alone("chat while there is no owner", 5, faults.lose_all_owners_for_long)
CUT_OFF: Final = _alone("chat with one that is deposed", 5, faults.cut_an_owner_and_an_edge_off_from_brokers)
BROKEN: Final = _alone("chat over connections that break", 6, course.trouble_http)
EDGES: Final = _chat("chat on edges in trouble", 6, course.kill_an_edge, course.trouble_http)
ONE_SHARD: Final = Schedules("one shard in memory", run=_world)
OWNERS: Final = Schedules("owners alone", run=owners.run)
