"""Tables, and what calls do to them: rows change one by one, the later timestamp counts, nothing else is promised."""

import bisect
import copy
import heapq
import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from thriftpy2.thrift import TApplicationException

from falcon.adapters.hbase.thrift import AlreadyExists, GatewayError, IllegalArgument, TCell, TRowResult

_REGIONS: Final = 4
_FILTER: Final = re.compile(r"SingleColumnValueFilter\('(\w+)', '(\w+)', =, 'binary:(\w+)', true, true\)")
_PACKAGE: Final = "org.apache.hadoop.hbase"
_CELL_BYTES_MAX: Final = 10 << 20
_COMPRESSIONS: Final = frozenset({"NONE", "GZ", "SNAPPY"})  # as a real one of version 2.6 has them


class Cell(NamedTuple):
    value: bytes
    stamp: int


@dataclass(eq=False)
class Table:
    families: dict[bytes, Any]
    enabled: bool = True
    rows: dict[bytes, dict[bytes, Cell]] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)  # in order

    def copy(self) -> "Table":
        rows = {key: dict(cells) for key, cells in self.rows.items()}
        return Table(dict(self.families), self.enabled, rows, list(self.keys))

    def put(self, row: bytes, column: bytes, cell: Cell) -> Cell | None:
        """The cell of now stays where it has a later timestamp; of two with the same one the later call's counts.
        Gives what was there."""
        cells = self.rows.get(row)
        if cells is None:
            cells = self.rows[row] = {}
            bisect.insort(self.keys, row)
        before = cells.get(column)
        if before is None or before.stamp <= cell.stamp:
            cells[column] = cell
        return before


class _Scanner(NamedTuple):
    table: str
    next: list[bytes]  # the key to continue from
    stop: bytes
    filter: tuple[bytes, bytes] | None  # a column and the value that it must have


class _Written(NamedTuple):
    """One cell that was put, to be lost again with a server that had acknowledged it."""

    at: float
    table: str
    row: bytes
    column: bytes
    cell: Cell
    before: Cell | None


class Lost(NamedTuple):
    """A cell that a server has lost. ``left``: what stands there instead."""

    table: str
    row: bytes
    column: bytes
    cell: Cell
    left: Cell | None


class Servers:
    """For any thread. ``skews``: seconds that the clock of each region's server is ahead, by region.

    A region holds a share of the keys, by their first byte. One that is ``away`` answers no request until it is back.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.tables: dict[str, Table] = {}
        self.skews = [0.0] * _REGIONS
        self.refused: set[bytes] = set()  # what is in no value that is taken
        self._away_until = [0.0] * _REGIONS
        self._scanners: dict[int, _Scanner] = {}
        self._numbers = itertools.count(1)
        self._written: list[_Written] = []
        self._lock = threading.RLock()

    # --- faults -------------------------------------------------------------------------------------------------------

    def go_away(self, region: int, seconds: float) -> None:
        self._away_until[region] = time.monotonic() + seconds

    def lose(self, seconds: float, share: float = 0.5) -> int:
        """Some of the cells that were written and acknowledged within the last so many seconds; says how many.

        As a server does that was stopped and wakes after others have taken its regions over.
        """
        since = time.monotonic() - seconds
        lost = 0
        with self._lock:
            for each in [each for each in reversed(self._written) if each.at >= since]:
                table = self.tables.get(each.table)
                if table is None or self.random.random() >= share:
                    continue
                if table.rows.get(each.row, {}).get(each.column) == each.cell:
                    lost += 1
                    if each.before is None:
                        del table.rows[each.row][each.column]
                    else:
                        table.rows[each.row][each.column] = each.before
        return lost

    def copy(self) -> dict[str, Table]:
        """All tables as they are at this moment."""
        with self._lock:
            return {name: table.copy() for name, table in self.tables.items()}

    def put_back(self, tables: Mapping[str, Table]) -> None:
        """Put these tables in place of the present ones; a scan of one of those fails."""
        with self._lock:
            self.tables = {name: table.copy() for name, table in tables.items()}
            self._written.clear()
            self._scanners.clear()

    def lose_some(self, loses: Callable[[str, bytes, Mapping[bytes, Cell]], bool], share: float) -> "list[Lost]":
        """Lose the last write of those cells that ``loses`` names, by table, key and cells. A cell gets its value from
        before, or is gone if that was its first write. If both had the same value, nothing was lost."""
        lost: list[Lost] = []
        places: set[tuple[str, bytes, bytes]] = set()  # a write that was repeated is lost once
        with self._lock:
            for each in reversed(self._written):
                table = self.tables.get(each.table)
                cells = {} if table is None else table.rows.get(each.row, {})
                if cells.get(each.column) != each.cell or not loses(each.table, each.row, cells):
                    continue
                place = each.table, each.row, each.column
                changed = each.before is None or each.before.value != each.cell.value
                if self.random.random() < share and changed and place not in places:
                    places.add(place)
                    lost.append(Lost(each.table, each.row, each.column, each.cell, each.before))
            for one in lost:
                if one.left is None:
                    del self.tables[one.table].rows[one.row][one.column]
                else:
                    self.tables[one.table].rows[one.row][one.column] = one.left
        return lost

    def still_lost(self, lost: "Iterable[Lost]") -> "list[Lost]":
        """Lost cells that were not written since."""
        with self._lock:
            return [each for each in lost if self.tables[each.table].rows[each.row].get(each.column) == each.left]

    def away(self, rows: Iterable[bytes]) -> float:
        """The time (monotonic) until which some of these rows are away."""
        if not any(self._away_until):
            return 0.0
        return max((self._away_until[_region(row)] for row in rows), default=0.0)

    # --- what a gateway asks ------------------------------------------------------------------------------------------

    def get(self, table: str, rows: Sequence[bytes], columns: Sequence[bytes] | None) -> list[Any]:
        """The rows that exist, each with the requested columns that exist."""
        with self._lock:
            there = self._table(table)
            self._check_columns(there, columns or ())
            found: list[Any] = []
            for key in rows:
                kept = there.rows.get(key)
                if not kept:
                    continue
                wanted = kept if columns is None else [column for column in kept if _asked_for(column, columns)]
                cells = {
                    column: TCell(value=kept[column].value, timestamp=kept[column].stamp) for column in sorted(wanted)
                }
                if cells:
                    found.append(TRowResult(row=key, columns=cells))
            return found

    def put(self, table: str, batches: Sequence[Any], stamp: int, *, cut: bool = False) -> None:
        """Each row is changed at once, and the batch is not: ``cut`` ends it after some of its rows, with an error."""
        with self._lock:
            there = self._table(table)
            batches = list(batches)
            if cut:
                self.random.shuffle(batches)  # servers do not wait for one another
                batches = batches[: self.random.randrange(len(batches) + 1)]
            wrong: Exception | None = None
            for batch in batches:
                try:
                    self._check_columns(there, [each.column for each in batch.mutations])
                    if any(self._refuses(each.value) for each in batch.mutations):
                        raise IllegalArgument(message=b"KeyValue size too large")
                except (GatewayError, IllegalArgument) as error:
                    wrong = error
                    continue
                for each in batch.mutations:
                    self._put(table, batch.row, each.column, Cell(each.value, stamp))
        if wrong is not None:
            raise wrong
        if cut:
            raise hbase_says("client.RetriesExhaustedWithDetailsException", table)

    def check_and_put(self, table: str, row: bytes, column: bytes, expected: bytes | None, value: bytes) -> bool:
        """Stamped with the server's clock, and never before what is there."""
        with self._lock:
            there = self._table(table)
            self._check_columns(there, [column])
            cell = there.rows.get(row, {}).get(column)
            if (None if cell is None else cell.value) != (expected or None):
                return False
            now = round((time.time() + self.skews[_region(row)]) * 1000)
            self._put(table, row, column, Cell(value, now if cell is None else max(now, cell.stamp)))
            return True

    def open_scanner(self, table: str, start: bytes, stop: bytes, filter: str | None = None) -> int:
        """``filter``: the one kind that is known here."""
        found = _FILTER.fullmatch(filter) if filter else None
        if filter and found is None:
            raise TApplicationException(message=f"no such filter here: {filter}")
        with self._lock:
            self._table(table)
            number = next(self._numbers)
            stop = start + b"\0" if start and start == stop else stop  # HBase takes that for the row itself
            wanted = None if found is None else (f"{found[1]}:{found[2]}".encode(), found[3].encode())
            self._scanners[number] = _Scanner(table, [start], stop, wanted)
            return number

    def scan(self, number: int, count: int) -> list[Any]:
        """The next rows as they are now: what is written meanwhile may be seen or not."""
        with self._lock:
            scanner = self._scanners.get(number)
            if scanner is None:
                raise IllegalArgument(message=b"scanner ID is invalid")
            table = self._table(scanner.table)
            first = bisect.bisect_left(table.keys, scanner.next[0])
            keys: list[bytes] = []
            for key in table.keys[first:]:
                if len(keys) == count or (scanner.stop and key >= scanner.stop):
                    break
                if table.rows[key] and _passes(table.rows[key], scanner.filter):
                    keys.append(key)
            if keys:
                scanner.next[0] = keys[-1] + b"\0"
            return self.get(scanner.table, keys, None)

    def close_scanner(self, number: int) -> None:
        """Raises IllegalArgument for one that is not open."""
        if self._scanners.pop(number, None) is None:
            raise IllegalArgument(message=b"scanner ID is invalid")

    def scanned_row(self, number: int) -> bytes:
        """The scanner's next row, which tells the region."""
        scanner = self._scanners.get(number)
        return b"" if scanner is None else scanner.next[0]

    # --- tables -------------------------------------------------------------------------------------------------------

    def create(self, name: str, families: Sequence[Any]) -> None:
        """Raises AlreadyExists, and GatewayError for a compression that HBase does not have."""
        with self._lock:
            if name in self.tables:
                raise AlreadyExists(message=b"table name already in use")
            if missing := [each.compression for each in families if each.compression not in _COMPRESSIONS]:
                raise hbase_says("DoNotRetryIOException", f"{missing[0]}: set hbase.table.sanity.checks to false")
            self.tables[name] = Table({each.name: _as_told(each) for each in families})

    def disable(self, name: str) -> None:
        with self._lock:
            table = self.tables.get(name)
            if table is None:
                raise hbase_says("TableNotFoundException", name)
            if not table.enabled:
                raise hbase_says("TableNotEnabledException", name)
            table.enabled = False

    def delete(self, name: str) -> None:
        with self._lock:
            table = self.tables.get(name)
            if table is None:
                raise GatewayError(message=b"table does not exist")
            if table.enabled:
                raise hbase_says("TableNotDisabledException", name)
            del self.tables[name]

    def families(self, name: str) -> Mapping[bytes, Any]:
        with self._lock:
            if name not in self.tables:
                raise hbase_says("TableNotFoundException", name)
            return dict(self.tables[name].families)

    def has(self, name: str) -> bool:
        table = self.tables.get(name)
        return table is not None and table.enabled

    def _table(self, name: str) -> Table:
        table = self.tables.get(name)
        if table is None:
            raise hbase_says("TableNotFoundException", name)
        if not table.enabled:
            raise hbase_says("TableNotEnabledException", name)
        return table

    def _check_columns(self, table: Table, columns: Sequence[bytes]) -> None:
        for column in columns:
            if column.partition(b":")[0] + b":" not in table.families:
                raise hbase_says("regionserver.NoSuchColumnFamilyException", column.decode(errors="replace"))

    def _refuses(self, value: bytes) -> bool:
        return len(value) > _CELL_BYTES_MAX or any(words in value for words in self.refused)

    def _put(self, name: str, row: bytes, column: bytes, cell: Cell) -> None:
        before = self.tables[name].put(row, column, cell)
        self._written.append(_Written(time.monotonic(), name, row, column, cell, before))
        if len(self._written) > 20_000:
            del self._written[:10_000]


class Later:
    """Does things at their time, on a thread of its own, even if the caller has gone."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="late", daemon=True)
        self._thread.start()

    def at(self, when: float, do: Callable[[], object]) -> None:
        with self._changed:
            heapq.heappush(self._due, (when, next(self._numbers), do))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._ended:
                    return
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                do = heapq.heappop(self._due)[2]
            do()


def _as_told(family: Any) -> Any:
    """A gateway tells texts as bytes."""
    told = copy.copy(family)
    told.compression = family.compression.encode()
    return told


def hbase_says(name: str, words: str) -> Exception:
    error: Exception = GatewayError(message=f"{_PACKAGE}.{name}: {words}\n\tat somewhere".encode())
    return error


def _region(row: bytes) -> int:
    return row[0] * _REGIONS // 256 if row else 0


def _passes(cells: Mapping[bytes, Cell], filter: tuple[bytes, bytes] | None) -> bool:
    """A row without the column does not."""
    return filter is None or (filter[0] in cells and cells[filter[0]].value == filter[1])


def _asked_for(column: bytes, columns: Sequence[bytes]) -> bool:
    """The columns by name, or by family without a colon. With a colon it is the column with an empty name."""
    return column in columns or column.partition(b":")[0] in columns
