"""Random histories have the same outcomes on the simulated HBase and on a real one."""

import random
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from falcon.adapters.hbase.client import HBase
from falcon.adapters.hbase.connection import HBaseFault
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.schema import TableSpec
from falcon.read.hbase import Cell
from falcon.read.store import ReadStoreUnavailable
from tools.simulation.hbase.lines import Road, SimulatedGateways
from tools.simulation.hbase.servers import Later, Servers
from tools.simulation.threads import Simulation

pytestmark = pytest.mark.processes

SECONDS: Final = 8.0
STEPS: Final = 150
KEYS: Final = (*(bytes([i * 50, i]) for i in range(6)), b"\xff", b"a", b"ab", b"a\0")
COLUMNS: Final = (b"d:a", b"d:b", b"d:i", b"d:\x00", b"d:")
FILTER: Final = "SingleColumnValueFilter('d', 'i', =, 'binary:1', true, true)"


def follow(hbase: HBase, table: str, seed: int) -> list[Any]:
    """The outcome of each of the seed's steps."""
    chance = random.Random(seed)
    calls = hbase.within(60)
    calls.create(TableSpec(table, 1, ()))
    outcomes: list[Any] = []
    steps: list[Callable[..., Any]] = [_put] * 4 + [_check_and_put] * 3 + [_row, _rows, _stamped, _scan, _scan, _family]
    try:
        for _ in range(STEPS):
            step = chance.choice(steps)
            where = table if chance.random() > 0.02 else f"{table}-there-is-none"
            try:
                outcomes.append((step.__name__, step(hbase, where, chance)))
            except (HBaseFault, ReadStoreUnavailable) as error:
                outcomes.append((step.__name__, type(error).__name__))
    finally:
        hbase.within(60).drop(table)
    return outcomes


def _cell(chance: random.Random) -> Cell:
    column = chance.choice(COLUMNS) if chance.random() > 0.02 else b"strange:a"
    return Cell(chance.choice(KEYS), column, chance.choice([b"0", b"1", b"", b"x" * 20]))


def _put(hbase: HBase, table: str, chance: random.Random) -> None:
    cells = {cell[:2]: cell for cell in (_cell(chance) for _ in range(chance.randint(1, 8)))}
    hbase.within(2, 1).put(table, list(cells.values()), chance.randint(0, 30))


def _check_and_put(hbase: HBase, table: str, chance: random.Random) -> bool:
    """In columns of its own, as Falcon does: a cell is stamped either by the caller or by the server."""
    row, expected = chance.choice(KEYS), chance.choice([None, b"0", b"1"])
    return hbase.within(2, 1).check_and_put(table, row, b"d:c", expected, chance.choice([b"0", b"1"]))


def _row(hbase: HBase, table: str, chance: random.Random) -> Any:
    columns = chance.sample(COLUMNS, chance.randint(0, 3))
    return sorted(hbase.within(2, 1).row(table, chance.choice(KEYS), columns).items())


def _rows(hbase: HBase, table: str, chance: random.Random) -> Any:
    keys, columns = chance.sample(KEYS, chance.randint(1, 6)), chance.sample(COLUMNS, chance.randint(0, 3))
    return sorted((key, sorted(row.items())) for key, row in hbase.within(2, 1).rows(table, keys, columns).items())


def _stamped(hbase: HBase, table: str, chance: random.Random) -> Any:
    """But for what the servers' clocks say."""
    found = hbase.within(2, 1).stamped(table, KEYS)
    return sorted(
        (key, column, cell.value, cell.stamp if column != b"d:c" else None)
        for key, row in found.items()
        for column, cell in row.items()
    )


def _scan(hbase: HBase, table: str, chance: random.Random) -> Any:
    start, stop = sorted([chance.choice((b"", *KEYS)), chance.choice(KEYS)])
    found = hbase.within(2, 1).scan(table, start, stop, chance.randint(1, 12), chance.choice(["", FILTER]))
    return [(key, sorted(row.items())) for key, row in found]


def _family(hbase: HBase, table: str, chance: random.Random) -> Any:
    return hbase.within(2, 1).family(table)


def simulated(table: str, seed: int) -> list[Any]:
    def run() -> list[Any]:
        servers = Servers(seed)
        later = Later()
        try:
            return follow(SimulatedGateways(Road(servers, later, servers.random)), table, seed)
        finally:
            later.close()

    return Simulation(seed).run(run)


def test_a_history_has_the_same_outcomes_on_both(hbase_gateway: str) -> None:
    gateways = Gateways(hbase_gateway.split(","))
    seed, until, histories = 1, time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        table = f"beside_{secrets.token_hex(4)}"
        real = follow(gateways, table, seed)
        for step, (ours, theirs) in enumerate(zip(simulated(table, seed), real, strict=True)):
            assert ours == theirs, f"step {step} of {seed}, behind {real[:step]}"
        histories, seed = histories + 1, seed + 1
    gateways.close()
    assert histories
    print(f"{histories} histories of {STEPS} steps")  # noqa: T201
