"""The calls that Falcon makes to HBase. Each may be repeated without harm."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from falcon.adapters.hbase.connection import TableMissing, ThriftConnection
from falcon.adapters.hbase.schema import COMPRESSION, FAMILY, TableSpec
from falcon.adapters.hbase.thrift import AlreadyExists, BatchMutation, ColumnDescriptor, Mutation, TScan
from falcon.read.hbase import BEHIND_ALL, Cell, Row

_PUT_CELLS: Final = 500  # a call that fails is made again as a whole, so it stays far below a gateway's time-out
_PUT_BYTES: Final = 1 << 20  # with large texts: Thrift refuses messages of many megabytes
_ROWS: Final = 1_000  # in a call: some 1 MB of messages of 1 KB, which a gateway holds in memory
_ADMIN_SECONDS: Final = 60.0  # HBase answers once all regions of a table are open or closed
_FOR_EVER: Final = (-1, 2**31 - 1)  # a gateway's ways to say that cells do not expire

T = TypeVar("T")


class Stamped(NamedTuple):
    value: bytes
    stamp: int


class Family(NamedTuple):
    """``expires``: the family's cells vanish with time."""

    versions: int
    expires: bool


class CallMaker(Protocol):
    """Makes a call, as ``Gateways`` does."""

    def call(self, ask: Callable[[ThriftConnection], T], until: float, attempt_seconds: float) -> T: ...


class HBase(Protocol):
    """Gives clients for operations."""

    def within(self, seconds: float, attempt_seconds: float | None = None) -> "HBaseClient": ...


class HBaseClient:
    """Calls that share one deadline. Each may raise ReadStoreUnavailable, or HBaseFault if waiting is no use."""

    def __init__(self, calls: CallMaker, until: float, attempt_seconds: float) -> None:
        self._calls = calls
        self._until = until
        self._attempt_seconds = attempt_seconds

    def row(self, table: str, key: bytes, columns: Collection[bytes] = ()) -> Row:
        """Empty if the row does not exist. ``columns``: only these; all if none are given."""
        found = self._call(lambda line: line.client.getRowWithColumns(table, key, list(columns) or None, {}))
        return {column: cell.value for column, cell in found[0].columns.items()} if found else {}

    def rows(
        self, table: str, keys: Iterable[bytes], columns: Collection[bytes] = (), at_once: int = _ROWS
    ) -> dict[bytes, Row]:
        """The rows that exist, by key; so many with each call."""
        return {
            key: {column: cell.value for column, cell in cells.items()}
            for key, cells in self._rows(table, keys, columns, at_once)
        }

    def rows_at_once(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[tuple[int, dict[bytes, Row]]]:
        """The existing ones of some rows in each of several tables, in one wait, and the newest stamp in the first of
        each; 0 if that does not exist."""

        def ask(line: ThriftConnection) -> list[tuple[int, dict[bytes, Row]]]:
            answers = line.together([_get_call(table, keys) for table, keys in wanted])
            return [_rows_of(answer, keys[0]) for answer, (_, keys) in zip(answers, wanted, strict=True)]

        return self._call(_probing([table for table, keys in wanted if len(keys) > 1], ask))

    def stamped(self, table: str, keys: Iterable[bytes]) -> dict[bytes, dict[bytes, Stamped]]:
        """Rows with the timestamps of their cells."""
        return {
            key: {column: Stamped(cell.value, cell.timestamp) for column, cell in cells.items()}
            for key, cells in self._rows(table, keys, (), _ROWS)
        }

    def scan(self, table: str, start: bytes, stop: bytes, limit: int, filter: str = "") -> list[tuple[bytes, Row]]:
        """The rows from ``start`` to ``stop`` (excluded), in the order of their keys; at most ``limit``."""

        def ask(line: ThriftConnection) -> list[tuple[bytes, Row]]:
            scan = TScan(startRow=start, stopRow=stop, caching=min(limit, _ROWS), filterString=filter or None)
            scanner = line.client.scannerOpenWithScan(table, scan, {})
            if limit <= _ROWS:  # one wait less
                got, _ = line.together([("scannerGetList", (scanner, limit)), ("scannerClose", (scanner,))])
                return [_cells(each) for each in got]
            found: list[tuple[bytes, Row]] = []
            while len(found) < limit:
                wanted = min(limit - len(found), _ROWS)
                got = line.client.scannerGetList(scanner, wanted)
                found += [_cells(each) for each in got]
                if len(got) < wanted:
                    break
            line.client.scannerClose(scanner)
            return found

        return self._call(ask)

    def stamped_scan(self, table: str, start: bytes, limit: int) -> dict[bytes, dict[bytes, Stamped]]:
        """The rows from ``start`` on, in the order of their keys, with their cells' timestamps; at most ``limit``."""

        def ask(line: ThriftConnection) -> dict[bytes, dict[bytes, Stamped]]:
            scanner = line.client.scannerOpenWithScan(
                table, TScan(startRow=start, stopRow=BEHIND_ALL, caching=limit), {}
            )
            got, _ = line.together([("scannerGetList", (scanner, limit)), ("scannerClose", (scanner,))])
            return {r.row: {c: Stamped(cell.value, cell.timestamp) for c, cell in r.columns.items()} for r in got}

        return self._call(ask)

    def put(self, table: str, cells: Iterable[Cell], stamp: int) -> None:
        """Put all cells with this timestamp, in calls of bounded size that divide no row."""
        for mutations in _parts(cells):
            self._call(_put(table, mutations, stamp))

    def check_and_put(self, table: str, row: bytes, column: bytes, expected: bytes | None, value: bytes) -> bool:
        """Put ``value`` if the cell is as ``expected`` (None: it does not exist). Returns False if it is not."""
        attempts = 0

        def ask(line: ThriftConnection) -> bool:
            nonlocal attempts
            attempts += 1
            done = line.client.checkAndPut(table, row, column, expected, Mutation(column=column, value=value), {})
            # The last attempt may have been carried out although its answer was lost.
            return bool(done) or (attempts > 1 and _value(line, table, row, column) == value)

        return self._call(ask)

    # --- tables -------------------------------------------------------------------------------------------------------

    def tables(self) -> set[str]:
        return {name.decode() for name in self._call(lambda line: line.client.getTableNames())}

    def family(self, table: str) -> Family | None:
        """None if the table has no family of Falcon's."""
        found = self._call(lambda line: line.client.getColumnDescriptors(table))
        ours = found.get(FAMILY + b":")
        return None if ours is None else Family(ours.maxVersions, ours.timeToLive not in _FOR_EVER)

    def create(self, spec: TableSpec) -> None:
        """Create the table in one region and without FAST_DIFF, since a gateway can do no better. An existing table is
        left alone."""
        family = ColumnDescriptor(
            name=FAMILY + b":",
            maxVersions=1,
            bloomFilterType="ROW",
            blockCacheEnabled=True,
            timeToLive=-1,
            compression=dict(spec.attributes).get(COMPRESSION, "NONE"),
        )

        def ask(line: ThriftConnection) -> None:
            with suppress(AlreadyExists):
                line.client.createTable(spec.name, [family])

        self._call(ask, _ADMIN_SECONDS)

    def drop(self, table: str) -> None:
        """Drop the table. It is no error if it does not exist, or was half dropped."""
        for step in ("disableTable", "deleteTable"):
            with suppress(TableMissing):
                self._call(_step(step, table), _ADMIN_SECONDS)

    def _rows(
        self, table: str, keys: Iterable[bytes], columns: Collection[bytes], at_once: int
    ) -> Iterator[tuple[bytes, dict[bytes, Any]]]:
        wanted = list(dict.fromkeys(keys))
        only = list(columns) or None
        for start in range(0, len(wanted), at_once):
            for found in self._call(_get(table, wanted[start : start + at_once], only)):
                yield found.row, found.columns

    def _call(self, ask: Callable[[ThriftConnection], T], attempt_seconds: float | None = None) -> T:
        return self._calls.call(ask, self._until, attempt_seconds or self._attempt_seconds)


def _cells(found: Any) -> tuple[bytes, Row]:
    return found.row, {column: cell.value for column, cell in found.columns.items()}


def _get(table: str, keys: list[bytes], columns: list[bytes] | None) -> Callable[[ThriftConnection], list[Any]]:
    return _probing([table], lambda line: line.client.getRowsWithColumns(table, keys, columns, {}))


def _put(table: str, mutations: list[Any], stamp: int) -> Callable[[ThriftConnection], None]:
    return _probing([table], lambda line: line.client.mutateRowsTs(table, mutations, stamp, {}))


def _get_call(table: str, keys: Sequence[bytes]) -> tuple[str, tuple[Any, ...]]:
    if len(keys) == 1:  # asked for one row HBase says at once that the table is gone
        return "getRowWithColumns", (table, keys[0], None, {})
    return "getRowsWithColumns", (table, keys, None, {})


def _rows_of(answer: Sequence[Any], first: bytes) -> tuple[int, dict[bytes, Row]]:
    stamps = [cell.timestamp for found in answer if found.row == first for cell in found.columns.values()]
    return max(stamps, default=0), dict(map(_cells, answer))


def _probing(tables: Sequence[str], ask: Callable[[ThriftConnection], T]) -> Callable[[ThriftConnection], T]:
    """HBase says nothing for long about many rows of a dropped table, and then not why. About one row it answers at
    once. So from the second attempt on, ask about one row first."""
    attempts = 0

    def attempt(line: ThriftConnection) -> T:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            for table in tables:
                line.client.getRowWithColumns(table, b"\0", [FAMILY], {})
        return ask(line)

    return attempt


def _step(step: str, table: str) -> Callable[[ThriftConnection], None]:
    return lambda line: getattr(line.client, step)(table)


def _value(line: ThriftConnection, table: str, row: bytes, column: bytes) -> bytes | None:
    found = line.client.getRowWithColumns(table, row, [column], {})
    return found[0].columns[column].value if found else None


def _parts(cells: Iterable[Cell]) -> Iterator[list[Any]]:
    """The parts of a batch, each of which is one call. Rows keep the order in which they first come.

    No row is divided: HBase writes a row whole, so that a reader finds all of what a batch says about it, or nothing.
    So a part may exceed its bounds by one row.
    """
    rows: dict[bytes, list[Any]] = {}
    for row, column, value in cells:
        mutation = Mutation(column=column, value=value)
        if (mutations := rows.get(row)) is None:
            rows[row] = [mutation]
        else:
            mutations.append(mutation)
    part: list[Any] = []
    count = size = 0
    for row, mutations in rows.items():
        part.append(BatchMutation(row, mutations))
        count += len(mutations)
        size += sum(len(mutation.value) for mutation in mutations)
        if count >= _PUT_CELLS or size >= _PUT_BYTES:
            yield part
            part, count, size = [], 0, 0
    if part:
        yield part
