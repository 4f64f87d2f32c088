"""Rows that say who may read a room and what has changed there, kept until something happens in the room.

An edge reads the whole log for its streams. A row was read when the tables showed the log up to some offset. It is
as it was for as long as the log has nothing of the room from there on.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from falcon.adapters.hbase.client import HBaseClient
from falcon.domain.ids import ID_MAX, AccountId, RoomId
from falcon.read.hbase import Row, RowAbout, RowFound
from falcon.streams.feed import Unchanged

ROWS_MAX: Final = 50_000  # of some 600 bytes: 30 MB
_SECONDS: Final = 60.0  # `falcon verify --correct` changes rows, and the log does not say so

_UNKNOWN: Final = (ID_MAX, Unchanged())


class NotKept(Exception):
    """A row has to be read."""


K = TypeVar("K")
V = TypeVar("V")


class Kept(NamedTuple, Generic[V]):
    value: V
    offset: int  # the tables showed all before it
    until: float  # on CLOCK_MONOTONIC


class KeptRows(Generic[K, V]):
    """Up to ``most`` answers about rooms. One instance for each event loop. Tables that a rebuild replaces have
    other names, so their rows are not used.

    ``unchanged_since``: the offsets from which on nothing has happened in a room that changes what its rows say to an
    account. It tells none below the last argument apart.
    """

    def __init__(self, unchanged_since: Callable[[RoomId, AccountId, int], Unchanged], most: int) -> None:
        self.unchanged_since = unchanged_since
        self._most = most
        self._rows: OrderedDict[K, Kept[V]] = OrderedDict()

    def get(self, name: K, now: float) -> Kept[V] | None:
        """``now``: on CLOCK_MONOTONIC. Any thread may ask."""
        kept = self._rows.get(name)
        return kept if kept is not None and kept.until > now else None

    def keep(self, rows: dict[K, V], offset: int) -> None:
        until = time.monotonic() + _SECONDS
        for name, row in rows.items():
            self._rows[name] = Kept(row, offset, until)
            self._rows.move_to_end(name)
        while len(self._rows) > self._most:
            self._rows.popitem(last=False)


class RowsOfRooms:
    """The rows of one query of an account. It is made twice: first on the event loop, with kept rows only, and if one
    is not kept then with ``may_call`` on a thread, which reads the others."""

    def __init__(self, kept: KeptRows[tuple[str, bytes], Row], account_id: AccountId) -> None:
        self._kept = kept
        self._account_id = account_id
        self._unchanged: dict[RoomId, tuple[int, Unchanged]] = {}  # with the floor
        self.may_call = False
        self.shown = 0  # the offset that the tables showed before a row was read
        self.read: dict[tuple[str, bytes], Row] = {}

    def rows(self, calls: HBaseClient, room_id: RoomId, wanted: Sequence[RowAbout]) -> list[RowFound]:
        """Raises NotKept, ReadStoreUnavailable."""
        found: list[RowFound] = []
        lacking: list[int] = []
        floor, unchanged = self._unchanged.get(room_id, _UNKNOWN)
        now = time.monotonic()
        for table, key, tells_of, _ in wanted:
            kept = self._kept.get((table, key), now)
            offset = 0 if kept is None else kept.offset
            if offset < floor and not self.may_call:
                floor, unchanged = offset, self._kept.unchanged_since(room_id, self._account_id, offset)
                self._unchanged[room_id] = floor, unchanged
            if kept is not None and offset >= getattr(unchanged, tells_of):
                found.append((kept.value, None))
                continue
            if not self.may_call:
                raise NotKept
            lacking.append(len(found))
            found.append(({}, None))
        if lacking:
            read = read_rows(calls, [wanted[place] for place in lacking], self.shown)
            for place, each in zip(lacking, read, strict=True):
                table, key, _, _ = wanted[place]
                found[place], self.read[table, key] = each, each[0]
        return found


def read_rows(calls: HBaseClient, wanted: Sequence[RowAbout], shown: int) -> list[RowFound]:
    """Read the rows, each with those beside it. HBase reads them in any order, so the rows beside may be the older ones
    if the row has changed since the tables showed the log up to offset ``shown``. Then they are left out."""
    read = calls.rows_at_once([(table, (key, *beside)) for table, key, _, beside in wanted])
    return [
        (rows.pop(key, {}), rows if stamp <= shown else None)
        for (_, key, _, _), (stamp, rows) in zip(wanted, read, strict=True)
    ]
