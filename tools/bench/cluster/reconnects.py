"""How soon the clients of one of two ``falcon api`` are live again at the other, when all reconnect at once."""

from __future__ import annotations

from tools.bench import reconnects
from tools.bench.cluster.figures import FALCON, SERVERS, Work, medians
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster, on_core
from tools.bench.reconnects import Returned
from tools.bench.report import Section, Table, at_most, numbers
from tools.harness.progress import say

_ACCOUNTS = 500  # with two clients each
_LIVE_BOUND = 3.0


def measure(running: RunningCluster, plan: Plan) -> Section:
    """Leaves one ``falcon api``, as it was."""
    _, tokens = running.members(1, _ACCOUNTS)
    runs: list[Returned] = []
    works: list[dict[str, float]] = []
    try:
        for turn in range(plan.runs):
            returned, micros = _measure_once(running, tokens)
            runs.append(returned)
            works.append(micros)
            say(
                f"{turn + 1}/{plan.runs} {returned.clients:,} come back: p50 {returned.p50:.2f} s, all "
                f"{returned.last:.2f} s, {returned.refused} refused"
            )
    finally:
        with on_core(running.cores.server):
            running.cluster.start("api", 1)
            running.cluster.await_ready(running.cluster.process("api", 1))
        running.cluster.process("api", 2).kill()
    rows = [
        ("the first of them, s", numbers((each.first for each in runs), "{:.2f}")),
        ("half of them, s", numbers((each.p50 for each in runs), "{:.2f}")),
        ("all of them, s", numbers((each.last for each in runs), "{:.2f}")),
        ("refused", numbers((each.refused for each in runs), "{:,.0f}")),
        *((f"CPU of {role}, ms in all", medians(works, role)) for role in (*FALCON, *SERVERS)),
    ]
    note = (
        f"{reconnects.COUNT:,} clients of {_ACCOUNTS} accounts listen to one `falcon api`; another one runs without "
        "listeners. kill -9 ends the first one with all its processes, and each client goes on from its last event "
        "at the other one, after a pause of 25 to 75 ms. The clock runs from the kill to the answer's head."
    )
    targets = [
        at_most("all who listened are live again", [each.last for each in runs], _LIVE_BOUND, " s"),
        at_most("refused of these", [float(each.refused) for each in runs], 0.0, "", "{:,.0f}"),
    ]
    table = Table("Coming back, all at once", ("", "found"), rows, note)
    return Section("return", [table], targets)


def _measure_once(running: RunningCluster, tokens: list[str]) -> tuple[Returned, dict[str, float]]:
    """With CPU by role in ms, from the kill until all are live."""
    cluster = running.cluster
    with on_core(running.cores.server):
        for number in (1, 2):
            cluster.start("api", number)
            cluster.await_ready(cluster.process("api", number))
    listened, other = cluster.process("api", 1), cluster.process("api", 2)
    plan = reconnects.ReconnectPlan((listened.port, other.port), tuple(tokens), reconnects.COUNT)
    works: list[Work] = []

    def kill() -> None:
        listened.kill()
        works.append(running.work())

    returned = reconnects.come_back(plan, running.cores, kill)
    work = running.work().since(works[0])
    return returned, {role: seconds * 1000 for role, seconds in work.seconds.items()}
