"""Tables in HBase of every format that there was, and what queries must show of them for ever.

``tables/format-N.json`` is never changed once a Falcon of that format was released. After a new format, run
``python -m tests.history.tables``, which writes the file that is missing, and commit it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from falcon.adapters.hbase.prepare import prepare, through_gateway
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.schema import FORMAT
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.hbase.thrift import ColumnDescriptor
from falcon.domain.ids import partition_of
from falcon.features.accounts.table import AccountRow, TokenRow
from falcon.features.messages.ranges import MessageRange
from falcon.features.rooms.table import RoomRow
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.read.catalogue import projections
from tests.projections.busy import BusyFalcon
from tests.support.builders import NOW, nth_id
from tests.support.hbase import FakeHBase
from tools.simulation.hbase.servers import Cell as StoredCell
from tools.simulation.hbase.servers import Table

FOLDER: Final = Path(__file__).with_name("tables")
PREFIX: Final = "falcon"
LOG: Final = "2e37f5149cee0280"
PARTITIONS: Final = 2
_IDS: Final = [nth_id(number) for number in range(1, 16)]  # of rooms and accounts, which share them
_SEQS: Final = 30
_FAMILY: Final = ColumnDescriptor(name=b"d:", maxVersions=1, timeToLive=-1)


class Cell(msgspec.Struct, array_like=True, frozen=True):
    table: str
    row: bytes
    column: bytes
    value: bytes
    stamp: int


class Shown(msgspec.Struct, array_like=True, frozen=True):
    """The answer to a query."""

    query: str
    arguments: tuple[Any, ...]
    answer: Any


class Tables(msgspec.Struct, frozen=True):
    cells: list[Cell]
    shown: list[Shown]

    def hbase(self) -> FakeHBase:
        """One that holds these cells."""
        hbase = FakeHBase()
        for cell in self.cells:
            table = hbase.servers.tables.setdefault(cell.table, Table({b"d:": _FAMILY}))
            table.put(cell.row, cell.column, StoredCell(cell.value, cell.stamp))
        return hbase


def read(version: int) -> Tables:
    return msgspec.json.decode(_path(version).read_bytes(), type=Tables)


async def _account(store: HBaseReadStore, account_id: int) -> AccountRow | None:
    rows = await store.accounts(account_id - 1, 1)
    return rows[0] if rows and rows[0].account_id == account_id else None


async def _direct_room(store: HBaseReadStore, smaller: int, larger: int) -> RoomRow | None:
    rooms = await store.direct_rooms([(smaller, larger)])
    return rooms[0] if rooms else None


def _of_then(answer: Any) -> Any:
    """Accounts and tokens as the rows of format 1 had them."""
    if isinstance(answer, list):
        return [_of_then(each) for each in answer]
    if isinstance(answer, AccountRow):
        assert answer.role == ("owner" if answer.is_admin else "member")
        fields = (answer.account_id, answer.name, answer.is_admin, answer.created_at)
        return dict(zip(("account_id", "name", "is_admin", "created_at"), fields, strict=True))
    if isinstance(answer, TokenRow):
        assert answer == TokenRow(answer.token_id, answer.created_at)
        return {"token_id": answer.token_id, "created_at": answer.created_at}
    return answer


# Queries that there are no more, made of others.
_FORMER: Final[dict[str, Callable[..., Awaitable[Any]]]] = {"account": _account, "direct_room": _direct_room}


# Fields that rows have got since the first file was made, and what they are in rows from before.
_LATER: Final[dict[str, Any]] = {
    "open": False,
    "default": False,
    "members": 0,
    "parent": None,
    "has_threads": False,
    "follows": False,
}


def _without_later(told: Any) -> Any:
    match told:
        case dict():
            kept = {name: value for name, value in told.items() if name not in _LATER or value != _LATER[name]}
            return {name: _without_later(value) for name, value in kept.items()}
        case list():
            return [_without_later(each) for each in told]
        case _:
            return told


def answers(hbase: FakeHBase) -> list[Shown]:
    """The answers to queries of every kind."""

    async def asked() -> list[Shown]:
        store = HBaseReadStore(hbase, PREFIX, threads=1)
        shown = []
        for query, arguments in _queries():
            ask = partial(_FORMER[query], store) if query in _FORMER else getattr(store, query)
            answer = await ask(*arguments)
            answer = answer.messages if isinstance(answer, MessageRange) else answer
            told = msgspec.to_builtins(_of_then(answer))
            if query == "access" and told is not None:
                del told["reactions"]  # HBase's tables do not tell
            shown.append(Shown(query, arguments, _without_later(told)))
        store.close()
        return shown

    return msgspec.json.decode(msgspec.json.encode(asyncio.run(asked())), type=list[Shown])


def _queries() -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "accounts", (0, 50)
    yield "all_rooms", (0, 50)
    for one in _IDS:
        yield "page", (one, 1, _SEQS)
        yield "room", (one,)
        yield "members", (one, 0, 50)
        yield "account", (one,)
        yield "tokens", (one,)
        yield "rooms_of", (one, None, 50)
        for other in _IDS[:6]:
            yield "access", (one, other)
            yield "mentions", (other, one, 0, _SEQS)
            yield "direct_room", (min(one, other), max(one, other))
    for number in range(6):
        yield "bearer", (nth_id(number + 1), f"hash {number}")


def _filled() -> FakeHBase:
    """Filled by this Falcon, with something of everything."""
    hbase = FakeHBase()
    prepare(hbase, PREFIX, LOG, PARTITIONS, through_gateway(hbase))
    tables = HBaseTables(hbase, PREFIX, PARTITIONS, through_gateway(hbase))
    for offset, event in enumerate(BusyFalcon(7, 250).events):
        envelope = Envelope(partition_of(_IDS[0], PARTITIONS), 1, offset, NOW + offset, event)
        after: Cursor = dict.fromkeys(range(PARTITIONS), Position(offset + 1, 1, offset + 1))
        for name, project in projections().items():
            tables.apply(name, tables.cursor(name), after, project(Recorded(offset, envelope)))
    tables.close()
    return hbase


def _path(version: int) -> Path:
    return FOLDER / f"format-{version}.json"


if __name__ == "__main__" and not _path(FORMAT).exists():
    made = _filled()
    every = [
        Cell(name, row, column, cell.value, cell.stamp)
        for name, table in sorted(made.servers.tables.items())
        for row, columns in sorted(table.rows.items())
        for column, cell in sorted(columns.items())
    ]
    lines = msgspec.json.encode(Tables(every, answers(made))).replace(b"],[", b"],\n[")
    FOLDER.mkdir(exist_ok=True)
    _path(FORMAT).write_bytes(lines + b"\n")
