"""The simulated HBase when something is wrong, and the read tables on it."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from falcon.adapters.hbase.connection import HBaseFault
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.schema import TableSpec
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.hbase.thrift import BatchMutation, GatewayError, Mutation
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.journal.envelope import Position
from falcon.read.hbase import Cell
from falcon.read.store import ReadStoreUnavailable, StaleProjector
from falcon.read.write import Write
from tools.simulation.hbase.lines import Road, SimulatedGateways
from tools.simulation.hbase.servers import Later, Servers
from tools.simulation.threads import Simulation

pytestmark = pytest.mark.simulated

ROOM = 64
COLUMN = b"d:v"


@pytest.fixture
def road() -> Iterator[Road]:
    servers = Servers()
    later = Later()
    yield Road(servers, later, servers.random)
    later.close()


@pytest.fixture
def gateways(road: Road) -> Gateways:
    gateways = SimulatedGateways(road)
    gateways.within(10).create(TableSpec("t", 1, ()))
    return gateways


def values(gateways: Gateways) -> dict[bytes, bytes]:
    return {key: row[COLUMN] for key, row in gateways.within(60, 60).scan("t", b"", b"", 1_000)}


def cells(value: bytes) -> list[Cell]:
    return [Cell(bytes([row]), COLUMN, value) for row in range(0, 250, 10)]


def test_a_batch_that_is_cut_is_written_in_part_and_whole_once_it_is_repeated(road: Road, gateways: Gateways) -> None:
    batches = [BatchMutation(cell.row, [Mutation(column=cell.column, value=cell.value)]) for cell in cells(b"1")]
    with pytest.raises(GatewayError, match="RetriesExhausted"):
        road.servers.put("t", batches, 1, cut=True)
    assert 0 < len(values(gateways)) < 25
    road.cut = 0.7
    gateways.within(60).put("t", cells(b"1"), 1)
    assert values(gateways) == {cell.row: b"1" for cell in cells(b"1")}


def test_a_late_batch_undoes_no_later_one(road: Road, gateways: Gateways) -> None:
    road.late = 1.0
    with pytest.raises(ReadStoreUnavailable):
        gateways.within(1, 1).put("t", cells(b"old"), 1)
    assert values_when_quick(road, gateways) == {}
    gateways.within(5).put("t", cells(b"new")[:10], 2)
    time.sleep(60)
    assert set(values(gateways).values()) == {b"old", b"new"}
    assert [values(gateways)[cell.row] for cell in cells(b"")[:10]] == [b"new"] * 10


def values_when_quick(road: Road, gateways: Gateways) -> dict[bytes, bytes]:
    road.heal()
    return values(gateways)


def test_a_position_is_stamped_no_earlier_though_the_servers_clock_goes_back(road: Road, gateways: Gateways) -> None:
    calls = gateways.within(60)
    assert calls.check_and_put("t", b"k", COLUMN, None, b"1")
    road.servers.skews = [-3_600.0] * 4
    assert calls.check_and_put("t", b"k", COLUMN, b"1", b"2")
    assert not calls.check_and_put("t", b"k", COLUMN, b"1", b"3")
    assert calls.row("t", b"k") == {COLUMN: b"2"}


def test_a_region_that_is_away_holds_up_its_rows_and_no_others(road: Road, gateways: Gateways) -> None:
    road.servers.go_away(0, 20)
    gateways.within(1).row("t", b"\xff")
    with pytest.raises(ReadStoreUnavailable):
        gateways.within(5).row("t", b"\x00")
    gateways.within(60, 30).row("t", b"\x00")


def test_a_batch_with_a_wrong_row_is_written_but_for_that(road: Road, gateways: Gateways) -> None:
    with pytest.raises(HBaseFault):
        gateways.within(1).put("t", [*cells(b"1"), Cell(b"\xff", b"strange:a", b"")], 1)
    assert len(values(gateways)) == 25


def test_what_a_server_loses_it_had_acknowledged(road: Road, gateways: Gateways) -> None:
    calls = gateways.within(60)
    calls.put("t", cells(b"1"), 1)
    time.sleep(10)
    calls.put("t", cells(b"2"), 2)
    lost = road.servers.lose(5, 0.5)
    assert 0 < lost < 25
    assert sorted(values(gateways).values()).count(b"1") == lost


def test_whatever_hbase_does_with_calls_a_projector_that_keeps_at_it_shows_the_log() -> None:
    for seed in range(20):
        assert Simulation(seed).run(lambda seed=seed: projected(seed)) == 40  # type: ignore[misc]


def projected(seed: int) -> int:
    """Two projectors write a room's forty messages, each edited, by turns and against each other; gives how many
    messages are shown as they were left."""
    servers = Servers(seed)
    later = Later()
    road = Road(servers, later, servers.random)
    prepare(SimulatedGateways(road), "falcon", "a log", 1, through_gateway(SimulatedGateways(road)))
    road.delay_max, road.refused, road.unanswered, road.late, road.cut, road.twice = 0.1, 0.05, 0.05, 0.03, 0.1, 0.1
    rivals = [HBaseTables(each, "falcon", 1, through_gateway(each)) for each in (SimulatedGateways(road),) * 2]
    while True:
        tables = servers.random.choice(rivals)
        try:
            at = tables.cursor("timeline")[0]
            if at.offset == 80:
                break
            seq = at.offset // 2 + 1
            edited = at.offset % 2 == 1
            writes: list[Write] = [UpsertMessage(ROOM, seq, b"edited" if edited else b"")]
            if edited:
                writes.append(SetRevision(ROOM, seq))
            tables.apply("timeline", {0: at}, {0: Position(at.offset + 1, 1, at.offset + 1)}, writes)
        except (ReadStoreUnavailable, StaleProjector):
            time.sleep(servers.random.uniform(0, 5))
        if servers.random.random() < 0.05:
            servers.go_away(servers.random.randrange(4), servers.random.uniform(0, 20))
    time.sleep(60)
    road.heal()
    reads = HBaseReadStore(SimulatedGateways(road), "falcon", threads=2, seconds=10)
    page = asyncio.run(reads.page(ROOM, 1, 40)).messages
    reads.close()
    for tables in rivals:
        tables.close()
    later.close()
    return sum(message == b"edited" for message in page)
