"""An HBase in memory, behind the calls of its Thrift gateway. It counts calls and rows.

It keeps what the adapter relies on: rows in the order of their keys; one version of a cell, of which the higher
timestamp wins, and the later write where they are equal; a row is written whole; the server stamps the cells that
``checkAndPut`` puts. It has no regions, no delays and no faults of its own.
"""

import itertools
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.connection import TableMissing
from falcon.adapters.hbase.thrift import AlreadyExists, ColumnDescriptor, TCell, TRowResult

T = TypeVar("T")
_Row = dict[bytes, TCell]

_FILTER = "SingleColumnValueFilter('d', 'i', =, 'binary:1', true, true)"


class FakeHBase:
    """``asked``: every call for cells in turn, its name and the table's. ``given``: the rows in the answers, by
    table. ``before`` is called with name and table before each call, and may raise, as a gateway that goes away does.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, _Row]] = {}
        self.lock = threading.Lock()
        self.clock = itertools.count(1_000_000_000_000)
        self.asked: list[tuple[str, str]] = []
        self.given: Counter[str] = Counter()
        self.before: Callable[[str, str], None] = lambda name, table: None
        self.client = _Client(self)

    def beside(self) -> "FakeHBase":
        """The same tables, with counts of their own."""
        other = FakeHBase()
        other.rows, other.lock, other.clock = self.rows, self.lock, self.clock
        return other

    def within(self, seconds: float, attempt_seconds: float | None = None) -> HBaseClient:
        return HBaseClient(self, seconds, attempt_seconds or seconds)

    def call(self, ask: Callable[[Any], T], until: float, attempt_seconds: float) -> T:
        """``ask`` finds the gateway's client on this object as it would on a connection."""
        return ask(self)

    def table(self, name: str) -> dict[bytes, _Row]:
        if name not in self.rows:
            raise TableMissing(name)
        return self.rows[name]


class _Client:
    def __init__(self, hbase: FakeHBase) -> None:
        self._hbase = hbase
        self._scanners: dict[int, tuple[str, list[TRowResult]]] = {}
        self._sorted: dict[str, tuple[object, list[bytes]]] = {}  # a table's rows, and their keys as of the last scan

    def getRowWithColumns(self, table: str, row: bytes, columns: Sequence[bytes] | None, attributes: object) -> Any:
        return self._rows("getRow", table, [row], columns)

    def getRowsWithColumns(
        self, table: str, rows: Sequence[bytes], columns: Sequence[bytes] | None, attributes: object
    ) -> Any:
        return self._rows("getRows", table, rows, columns)

    def mutateRowsTs(self, table: str, batches: Sequence[Any], timestamp: int, attributes: object) -> None:
        self._asked("mutateRows", table)
        with self._hbase.lock:
            for batch in batches:
                for mutation in batch.mutations:
                    self._put(table, batch.row, mutation.column, mutation.value, timestamp)

    def checkAndPut(
        self, table: str, row: bytes, column: bytes, value: bytes | None, mput: Any, attributes: object
    ) -> bool:
        self._asked("checkAndPut", table)
        with self._hbase.lock:
            cell = self._hbase.table(table).get(row, {}).get(column)
            if (None if cell is None else cell.value) != value:
                return False
            self._put(table, row, mput.column, mput.value, next(self._hbase.clock))
            return True

    def scannerOpenWithScan(self, table: str, scan: Any, attributes: object) -> int:
        self._asked("scan", table)
        assert scan.filterString in (None, _FILTER), "this HBase knows one filter"
        with self._hbase.lock:
            rows = self._hbase.table(table)
            scanned, keys = self._sorted.get(table, (None, []))
            if scanned is not rows or len(keys) != len(rows):  # a row is never deleted
                keys = sorted(rows)
                self._sorted[table] = (rows, keys)
            between = keys[bisect_left(keys, scan.startRow) : bisect_left(keys, scan.stopRow)]
            found = ((key, rows[key]) for key in between)
            results = [
                _result(key, row, None)
                for key, row in found
                if scan.filterString is None or (b"d:i" in row and row[b"d:i"].value == b"1")
            ]
            self._scanners[id(scan)] = table, results
        return id(scan)

    def scannerGetList(self, scanner: int, rows: int) -> list[TRowResult]:
        table, left = self._scanners[scanner]
        self._scanners[scanner] = table, left[rows:]
        self._hbase.given[table] += len(left[:rows])
        return left[:rows]

    def scannerClose(self, scanner: int) -> None:
        del self._scanners[scanner]

    def getTableNames(self) -> list[bytes]:
        return [name.encode() for name in self._hbase.rows]

    def getColumnDescriptors(self, table: str) -> dict[bytes, Any]:
        self._hbase.table(table)
        return {b"d:": ColumnDescriptor(name=b"d:", maxVersions=1, timeToLive=-1)}

    def createTable(self, table: str, families: Sequence[Any]) -> None:
        if table in self._hbase.rows:
            raise AlreadyExists
        self._hbase.rows[table] = {}

    def disableTable(self, table: str) -> None:
        self._hbase.table(table)

    def deleteTable(self, table: str) -> None:
        self._hbase.table(table)
        del self._hbase.rows[table]

    def _rows(self, name: str, table: str, keys: Sequence[bytes], columns: Sequence[bytes] | None) -> list[TRowResult]:
        self._asked(name, table)
        with self._hbase.lock:
            rows = self._hbase.table(table)
            found = [_result(key, rows[key], columns) for key in keys if key in rows]
        found = [result for result in found if result.columns]
        self._hbase.given[table] += len(found)
        return found

    def _put(self, table: str, row: bytes, column: bytes, value: bytes, stamp: int) -> None:
        cells = self._hbase.table(table).setdefault(row, {})
        if column not in cells or cells[column].timestamp <= stamp:
            cells[column] = TCell(value=value, timestamp=stamp)

    def _asked(self, name: str, table: str) -> None:
        self._hbase.before(name, table)
        self._hbase.asked.append((name, table))


def _result(key: bytes, row: _Row, columns: Sequence[bytes] | None) -> TRowResult:
    return TRowResult(row=key, columns={name: cell for name, cell in row.items() if columns is None or name in columns})
