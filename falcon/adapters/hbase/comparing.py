"""Compares the cells of a projection's tables with the log, and finds cells that are missing, wrong or unexplained.

A cell is judged once the comparison has passed its timestamp. By then its last write has been seen, since a batch's
cells bear the offset after the batch. Cells that were written after the comparison began are not judged.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import Final

from falcon.adapters.hbase.cells import by_partition, fold
from falcon.adapters.hbase.client import HBase, Stamped
from falcon.adapters.hbase.connection import TableMissing
from falcon.adapters.hbase.schema import table_name
from falcon.domain.ids import Partition, partition_of
from falcon.journal.envelope import Cursor
from falcon.read.catalogue import READ_MODELS
from falcon.read.hbase import Cell
from falcon.read.store import Comparison, ReadStoreUnavailable
from falcon.read.write import Write

_ROWS: Final = 1_000  # in a call; two such parts are in memory
_BITS_AN_EVENT: Final = 32  # with three rows for each event, one key in a hundred is taken for another
_BITS_MIN, _BITS_MAX = 1 << 16, 1 << 29  # 8 KiB to 64 MiB: if events are more than fit, a wrong row may be missed
_ATTEMPT_SECONDS: Final = 5.0  # a gateway that has hung by then is given up for the next one


class HBaseComparing:
    """Serves one thread. ``ends``: up to where the projection had been applied when the comparison began. ``repair``:
    write cells that are missing or wrong."""

    def __init__(
        self,
        hbase: HBase,
        prefix: str,
        projection: str,
        generation: int,
        ends: Cursor,
        *,
        repair: bool,
        seconds: float,
    ) -> None:
        self._hbase = hbase
        self._model = READ_MODELS[projection].hbase
        self._names = {table: table_name(prefix, table, generation) for table in self._model.tables}
        self._projection = projection
        self._ends = ends
        self._repair = repair
        self._seconds = seconds
        self._written = _Keys(sum(end.offset for end in ends.values()) * _BITS_AN_EVENT)
        self._waiting: dict[tuple[Partition, str], _Pending] = {}

    def compare(self, partition: Partition, through: int, writes: Sequence[Write]) -> Comparison:
        if strangers := by_partition(self._model, writes, len(self._ends)).keys() - {partition}:
            raise ValueError(f"writes of partitions {sorted(strangers)}, not of {partition}")
        written: dict[str, list[Cell]] = {table: [] for table in self._names}
        for table, cells in fold(self._model, writes):
            written[table] += cells
        total = Comparison()
        for table, cells in written.items():
            total = total.plus(self._compare(partition, table, through, cells))
        return total

    def rest(self) -> Iterator[Comparison]:
        """Compare the cells that no write was compared with, some rows a call. Call it last."""
        for table, name in self._names.items():
            start = b""
            while rows := self._next_rows(name, start):
                unexplained = 0
                for key, row in rows.items():
                    values = {column: cell.value for column, cell in row.items()}
                    identity = self._model.identity_of_row(table, key, values)
                    end = self._ends[partition_of(identity, len(self._ends))].offset
                    unexplained += sum(
                        cell.stamp <= end and not self._written.has(_key(table, key, column))
                        for column, cell in row.items()
                    )
                yield Comparison(unexplained=unexplained)
                start = max(rows) + b"\0"

    def _compare(self, partition: Partition, table: str, through: int, cells: Sequence[Cell]) -> Comparison:
        waiting = self._waiting.setdefault((partition, table), _Pending())
        for cell in cells:
            self._written.add(_key(table, cell.row, cell.column))
        due = waiting.due(through, cells)
        found = self._stamped(table, {cell.row for cell in due})
        missing: list[Cell] = []
        wrong: list[Cell] = []
        judged = 0
        for cell in due:
            there = found.get(cell.row, {}).get(cell.column)
            if there is None:
                missing.append(cell)
            elif there.stamp > self._ends[partition].offset:  # written since the comparison began
                continue
            elif there.stamp > through:
                waiting.add(cell, there.stamp)
                continue
            elif there.value != cell.value:
                wrong.append(cell)
            judged += 1
        if self._repair and (missing or wrong):
            self._hbase.within(self._seconds, _ATTEMPT_SECONDS).put(self._names[table], missing + wrong, through)
        return Comparison(judged, len(missing), len(wrong))

    def _stamped(self, table: str, rows: set[bytes]) -> dict[bytes, dict[bytes, Stamped]]:
        try:
            return self._hbase.within(self._seconds, _ATTEMPT_SECONDS).stamped(self._names[table], rows)
        except TableMissing as error:
            raise self._replaced() from error

    def _next_rows(self, name: str, start: bytes) -> dict[bytes, dict[bytes, Stamped]]:
        try:
            return self._hbase.within(self._seconds, _ATTEMPT_SECONDS).stamped_scan(name, start, _ROWS)
        except TableMissing as error:
            raise self._replaced() from error

    def _replaced(self) -> ReadStoreUnavailable:
        return ReadStoreUnavailable(f"the tables of {self._projection} have just been replaced: compare again")


class _Pending:
    """Cells whose stamp is later than what has been read, with the values that they should have so far."""

    def __init__(self) -> None:
        self._cells: dict[tuple[bytes, bytes], tuple[Cell, int]] = {}
        self._by_stamp: list[tuple[int, bytes, bytes]] = []

    def add(self, cell: Cell, stamp: int) -> None:
        self._cells[cell.row, cell.column] = cell, stamp
        heapq.heappush(self._by_stamp, (stamp, cell.row, cell.column))

    def due(self, through: int, written: Sequence[Cell]) -> list[Cell]:
        """Removes and returns what can be judged now: what was written or stamped below ``through``."""
        due = {(cell.row, cell.column): cell for cell in written}
        for place in due:
            self._cells.pop(place, None)
        while self._by_stamp and self._by_stamp[0][0] <= through:
            stamp, row, column = heapq.heappop(self._by_stamp)
            cell, stamped = self._cells.get((row, column), (None, 0))
            if cell is not None and stamped == stamp:
                due[row, column] = cell
                del self._cells[row, column]
        return list(due.values())


class _Keys:
    """A Bloom filter: it never denies a key that it was given, and takes some others for one."""

    def __init__(self, bits: int) -> None:
        self._bits = min(max(bits, _BITS_MIN), _BITS_MAX)
        self._set = bytearray(self._bits // 8)

    def add(self, key: bytes) -> None:
        for bit in self._places(key):
            self._set[bit >> 3] |= 1 << (bit & 7)

    def has(self, key: bytes) -> bool:
        return all(self._set[bit >> 3] & 1 << (bit & 7) for bit in self._places(key))

    def _places(self, key: bytes) -> list[int]:
        digest = hashlib.blake2b(key, digest_size=32).digest()
        return [int.from_bytes(digest[at : at + 8]) % self._bits for at in range(0, 32, 8)]


def _key(table: str, row: bytes, column: bytes) -> bytes:
    return b"%b/%b/%b" % (table.encode(), row, column)
