"""Stands in for a connection to a gateway: calls take their time, are lost, hang, or are carried out too late."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from thriftpy2.transport import TTransportException

from falcon.adapters.hbase.connection import ThriftConnection
from falcon.adapters.hbase.gateways import Gateways
from tools.simulation.hbase.servers import Later, Servers, hbase_says

# After which a gateway gives up on a region's server.
_OPERATION_SECONDS: Final = 8.0

T = TypeVar("T")


@dataclass
class Road:
    """Between the processes and HBase, through the gateways. Without faults every call is carried out at once.

    ``delay_max``: seconds, each way. Shares of the calls: ``refused``, that are not carried out; ``unanswered``, that
    are, and the connection breaks; ``late``, that are carried out up to ``late_seconds`` after all who asked have gone;
    ``cut``, batches of which some rows are written; ``twice``, batches that are written again later. What is written to
    tables with ``slow`` in their names takes up to ``slow_seconds`` more.
    """

    servers: Servers
    later: Later
    random: random.Random
    delay_max: float = 0.0
    refused: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    late_seconds: float = 15.0
    cut: float = 0.0
    twice: float = 0.0
    slow: str = ""
    slow_seconds: float = 0.0
    down: bool = False

    def heal(self) -> None:
        self.delay_max = self.refused = self.unanswered = self.late = self.cut = self.twice = 0.0
        self.down = False
        self.slow = ""

    def happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def ways(self) -> tuple[float, float]:
        """Seconds there and back; one of them takes no time."""
        seconds = self.random.uniform(0, 2 * self.delay_max) if self.delay_max else 0.0
        return (seconds, 0.0) if self.random.random() < 0.5 else (0.0, seconds)


class SimulatedLine(ThriftConnection):
    """For one thread at a time."""

    def __init__(self, road: Road) -> None:
        self.until = 0.0
        self.idle_since = 0.0
        self._road = road
        self._calls = _Client(self)

    @property
    def client(self) -> Any:
        """A client for one call, which ends by ``until``. Raises TimeoutError, TTransportException."""
        if time.monotonic() >= self.until:
            raise TimeoutError("no time left")
        if self._road.down:
            raise TTransportException(message="connection refused")
        return self._calls

    def together(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        return [getattr(self.client, name)(*args) for name, args in calls]

    def close(self) -> None:
        """Does nothing: there is nothing to close."""

    def ask(self, rows: Sequence[bytes], carry_out: Callable[[], T], *, again: bool = False) -> T:
        """Raises TimeoutError, TTransportException, and what is carried out raises. ``again``: it may happen twice."""
        road = self._road
        if road.happens(road.refused):
            raise TTransportException(message="connection closed")
        if road.happens(road.late):
            road.later.at(self.until + road.random.uniform(0, road.late_seconds), lambda: _quietly(carry_out))
            self._take(self.until - time.monotonic() + 1)
        there, back = road.ways()
        self._take(there)
        self._wait_for_regions(rows)
        answer = carry_out()
        if again and road.happens(road.twice):
            when = time.monotonic() + road.random.uniform(0, road.late_seconds)
            road.later.at(when, lambda: _quietly(carry_out))
        self._take(back)
        if road.happens(road.unanswered) or road.down:
            raise TTransportException(message="connection closed")
        return answer

    def gone(self) -> None:
        """About many rows of a dropped table HBase says nothing for long, and then not why."""
        self._take(_OPERATION_SECONDS)
        raise hbase_says("client.RetriesExhaustedException", "no region")

    def _wait_for_regions(self, rows: Sequence[bytes]) -> None:
        if not self._road.servers.away(rows):
            return
        began = time.monotonic()
        while (left := self._road.servers.away(rows) - time.monotonic()) > 0:
            self._take(min(left, began + _OPERATION_SECONDS - time.monotonic()))
            if time.monotonic() >= began + _OPERATION_SECONDS:
                raise hbase_says("client.RetriesExhaustedException", "the region's server does not answer")

    def _take(self, seconds: float) -> None:
        if seconds > 0:
            left = self.until - time.monotonic()
            time.sleep(max(0.0, min(seconds, left)))
            if seconds > left:
                raise TimeoutError("timed out")


class _Client:
    """The calls that Falcon makes of a gateway, as thriftpy2's client has them."""

    def __init__(self, line: SimulatedLine) -> None:
        self._line = line
        self._servers = line._road.servers

    def getRowWithColumns(self, table: str, row: bytes, columns: Sequence[bytes] | None, attributes: object) -> Any:
        return self._line.ask([row], lambda: self._servers.get(table, [row], columns))

    def getRowsWithColumns(
        self, table: str, rows: Sequence[bytes], columns: Sequence[bytes] | None, attributes: object
    ) -> Any:
        if not self._servers.has(table):
            self._line.gone()
        return self._line.ask(rows, lambda: self._servers.get(table, rows, columns))

    def mutateRowsTs(self, table: str, batches: Sequence[Any], stamp: int, attributes: object) -> None:
        road = self._line._road
        if road.slow and road.slow in table:
            self._line._take(road.random.uniform(0, road.slow_seconds))
        if not self._servers.has(table):
            self._line.gone()
        cut = self._line._road.happens(self._line._road.cut)
        rows = [batch.row for batch in batches]
        self._line.ask(rows, lambda: self._servers.put(table, batches, stamp, cut=cut), again=True)

    def checkAndPut(
        self, table: str, row: bytes, column: bytes, expected: bytes | None, mutation: Any, attributes: object
    ) -> bool:
        return self._line.ask([row], lambda: self._servers.check_and_put(table, row, column, expected, mutation.value))

    def scannerOpenWithScan(self, table: str, scan: Any, attributes: object) -> int:
        start, stop = scan.startRow or b"", scan.stopRow or b""
        return self._line.ask([start], lambda: self._servers.open_scanner(table, start, stop, scan.filterString))

    def scannerGetList(self, number: int, count: int) -> Any:
        return self._line.ask([self._servers.scanned_row(number)], lambda: self._servers.scan(number, count))

    def scannerClose(self, number: int) -> None:
        self._line.ask([], lambda: self._servers.close_scanner(number))

    def getTableNames(self) -> list[bytes]:
        return self._line.ask([], lambda: [name.encode() for name in self._servers.tables])

    def getColumnDescriptors(self, table: str) -> Any:
        return self._line.ask([], lambda: self._servers.families(table))

    def createTable(self, table: str, families: Sequence[Any]) -> None:
        self._line.ask([], lambda: self._servers.create(table, families))

    def disableTable(self, table: str) -> None:
        self._line.ask([], lambda: self._servers.disable(table))

    def deleteTable(self, table: str) -> None:
        self._line.ask([], lambda: self._servers.delete(table))


class SimulatedGateways(Gateways):
    """Two gateways over one road. ``road``: of the process."""

    def __init__(self, road: Road, connections: int = 64) -> None:
        super().__init__(["simulated:1", "simulated:2"], connections, connect=lambda host, port: SimulatedLine(road))


def _quietly(do: Callable[[], object]) -> None:
    """Ignore errors: no caller waits for it any more."""
    try:
        do()
    except Exception:
        return
