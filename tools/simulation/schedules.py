"""The kinds of schedules in which mutants are looked for: which faults there are, and who looks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tools.simulation import course, faults, owners
from tools.simulation.course import Fault, Plan


@dataclass(frozen=True)
class Schedules:
    """``plan``, or ``kind``: of schedules of the whole cluster. ``run``: of others; it gives what went wrong."""

    name: str
    plan: Plan | None = None
    kind: str = "short"
    run: Callable[[int], list[str]] | None = None

    def __str__(self) -> str:
        return self.name


def _while(
    name: str,
    *chosen: Fault,
    visitors: str = "",
    times: int = 1,
    served_seconds: float = 45.0,
    begin_seconds: float = float("inf"),
) -> Schedules:
    plan = Plan(
        seconds=60.0,
        times=times,
        longest=10.0,
        together=0.0,
        quiet=(0.0, 0.3),
        pace=0.3,
        faults=chosen,
        served_seconds=served_seconds,
        begin_seconds=begin_seconds,
        visitors=tuple(visitors.split()),
    )
    return Schedules(name, plan)


CALM: Final = _while("chat", faults.wait, visitors="reader pedant")
PERSONNEL: Final = _while("people come, change and go", faults.wait, visitors="personnel", times=3)
BEHIND: Final = _while(
    "tables are behind", faults.slow_the_tables, visitors="newcomer hasty reader lister traveller follower"
)
MENTIONS: Final = _while("tables are behind, and people count", faults.slow_the_tables, visitors="bookkeeper", times=2)
STANDSTILL: Final = _while(
    "tables stand still", faults.stop_the_projectors, visitors="follower reader", begin_seconds=3.0
)
FLAPPING: Final = _while("tables come and go", faults.lose_the_gateways_again_and_again, visitors="doubter", times=2)
TROUBLED: Final = _while(
    "tables in trouble",
    course.trouble_hbase,
    course.kill_a_projector,
    faults.slow_the_tables,
    visitors="lister",
    times=3,
)
MOVES: Final = _while(
    "partitions move",
    course.kill_an_owner,
    course.stop_a_process,
    course.cut_a_process_off_from_brokers,
    course.lose_answers_of_brokers,
    visitors="doubter hasty",
    times=2,
)
SILENCE: Final = _while("all owners are silent", faults.stop_all_owners, visitors="hasty")
NO_OWNERS: Final = _while("there is no owner", faults.lose_all_owners_for_long, visitors="doubter", times=2)
# An owner refuses a sender for a minute whose time of day it has taken for an hour behind.
HOURS: Final = _while("clocks are wrong", faults.start_an_owner_in_another_hour, visitors="reader", served_seconds=80.0)
LOSS: Final = _while("an owner has gone", faults.lose_an_owner_for_long, visitors="reader", served_seconds=4.0)
BROKEN: Final = _while("connections break", course.trouble_http, visitors="hasty", times=2)
EDGES: Final = _while(
    "edges come and go", course.kill_an_edge, course.trouble_http, visitors="traveller follower", times=2
)
ENDINGS: Final = _while("edges end in order", faults.end_edges_in_order, visitors="follower", times=3)
ELECTIONS: Final = _while("leaders change", faults.change_leaders, visitors="follower traveller", times=4)
ACTS: Final = Schedules("an operator acts", kind="acts")
RESTORES: Final = Schedules("servers are restored", kind="restores")
LIVES: Final = Schedules("lives of one machine", kind="lives")
REVOCATIONS: Final = Schedules("tokens are revoked", kind="revocations")
OWNERS: Final = Schedules("owners alone", run=owners.run)
NIGHTS: Final = Schedules("owners alone, night after night", run=owners.run_for_nights)
TWICE: Final = Schedules("owners alone, some batches are written twice", run=owners.run_with_batches_twice)
