"""Keys, cells and the context of queries, which the read models in HBase share.

Keys begin with two bytes of a hash. It spreads them over a table's regions, which are split by the first byte. If a
table has several kinds of rows, a byte for the kind follows.
"""

import functools
import hashlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Concatenate, Final, Literal, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from falcon.domain.ids import ID_MAX, RoomId

P = ParamSpec("P")
T = TypeVar("T")

Row: TypeAlias = dict[bytes, bytes]
Cells: TypeAlias = tuple[tuple[bytes, bytes, bytes], ...]
# An account in a room, the room with its newest message, or what only changes of messages and reactions move on.
TellsOf: TypeAlias = Literal["member", "newest", "history"]
# Plain tuples: a page that is kept makes four of each.
# A row that only events of a room change: its table, its key, and the keys of rows beside it that may be read with it.
RowAbout: TypeAlias = tuple[str, bytes, TellsOf, Sequence[bytes]]
# The row, which is empty if it does not exist, and the existing rows beside it, which are at least as new. None if the
# row was not read now, or they may be older.
RowFound: TypeAlias = tuple[Row, dict[bytes, Row] | None]
Layout: TypeAlias = tuple[int, tuple[tuple[str, str], ...]]

PREFIXES_KEPT: Final = 65_536  # of some 100 bytes: a hash of the id costs a microsecond
FAST_DIFF: Final = ("DATA_BLOCK_ENCODING", "FAST_DIFF")
YES, NO = b"1", b"0"
ALL_ROWS: Final = 2**31 - 1  # the most that Thrift's scan takes
# Scans only rows whose cell d:i is YES.
THERE_ONLY: Final = "SingleColumnValueFilter('d', 'i', =, 'binary:1', true, true)"

U64 = Struct(">Q").pack
U32 = Struct(">I").pack
U16 = Struct(">H").pack
encode = msgspec.json.Encoder().encode


class Cell(NamedTuple):
    row: bytes
    column: bytes
    value: bytes


class Stamp(Protocol):
    """A cell's value, and the offset in its timestamp."""

    @property
    def value(self) -> bytes: ...

    @property
    def stamp(self) -> int: ...


def id_after_hash(table: str, key: bytes, row: Row) -> int:
    return int.from_bytes(key[2:10], "big")


class HBaseModel(NamedTuple):
    """The layout of a read model in HBase.

    ``tables``: by name, with the number of regions and the attributes that differ from the usual ones. ``cells``: for
    each kind of write, the index in ``puts`` and the function that makes the cells. ``puts``: the tables in the order
    in which the cells of a batch are put. ``identity``: the id of the room or account whose partition the write, or the
    row's cells, belong to.
    """

    tables: Mapping[str, Layout]
    puts: tuple[str, ...]
    cells: Mapping[type[Any], tuple[int, Callable[[Any], Cells]]]
    identity: Callable[[Any], int]
    identity_of_row: Callable[[str, bytes, Row], int] = id_after_hash


class HBaseReads(Protocol):
    """The reads that queries use. Every method may raise ReadStoreUnavailable."""

    def row(self, table: str, key: bytes, columns: Collection[bytes] = ()) -> Row: ...

    def rows(self, table: str, keys: Iterable[bytes], columns: Collection[bytes] = ()) -> dict[bytes, Row]: ...

    def rows_at_once(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[tuple[int, dict[bytes, Row]]]: ...

    def stamped(self, table: str, keys: Iterable[bytes]) -> Mapping[bytes, Mapping[bytes, Stamp]]: ...

    def scan(self, table: str, start: bytes, stop: bytes, limit: int, filter: str = "") -> list[tuple[bytes, Row]]: ...


class HBaseQueryContext(Protocol):
    """The tables during one query."""

    @property
    def calls(self) -> HBaseReads: ...

    def rows_about(self, room_id: RoomId, wanted: Sequence[RowAbout]) -> list[RowFound]:
        """A query may have some of them without a call. All others are one wait."""

    def table(self, projection: str, table: str) -> str:
        """The table's name in HBase. Raises BeingFilled, ReadStoreUnavailable."""

    def generation(self, projection: str) -> int:
        """Raises BeingFilled, ReadStoreUnavailable."""

    def applied(self, projection: str, identity: int) -> int:
        """The offset up to which a projection has been applied in the partition of a room or account. Raises
        ReadStoreUnavailable."""


class HBaseAsking(Protocol):
    """A read store, which runs queries on threads of its own."""

    async def ask(
        self, query: Callable[Concatenate[HBaseQueryContext, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


def query(
    ask: Callable[Concatenate[HBaseQueryContext, P], T],
) -> Callable[Concatenate[HBaseAsking, P], Coroutine[Any, Any, T]]:
    """Makes a method of the read store, which runs a query."""

    @functools.wraps(ask)
    async def asked(self: HBaseAsking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.ask(ask, *args, **kwargs)

    return asked


def hashed(key: bytes, kind: bytes = b"") -> bytes:
    return hashlib.md5(key, usedforsecurity=False).digest()[:2] + kind + key


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that begin with ``prefix``."""
    return (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")


# --- walking through --------------------------------------------------------------------------------------------------
# Keys with a hash cannot be walked through in the order of the ids, so rooms and accounts have an index, which lies in
# one region. A room or account enters it once, when it is made.

ROW, PAIR, _INDEX = b"\x01", b"\x02", b"\x03"  # the index last, so that a scan of the others can stop before it
INDEXED: Final = b"d:i"
BEHIND_ALL: Final = b"\xff" * 32  # larger than any key
INDEX_START: Final = b"\xff\xff" + _INDEX


def index_key(identity: int) -> bytes:
    return INDEX_START + U64(identity)


def index_range(after: int) -> tuple[bytes, bytes]:
    """The start and the end of the index after ``after``."""
    return index_key(after + 1), prefix_end(INDEX_START)


def id_at_end(key: bytes) -> int:
    """The last id in a key of rooms, memberships, accounts or an index."""
    return int.from_bytes(key[-8:], "big")


def indexed(view: HBaseQueryContext, table: str, after: int, limit: int) -> list[int]:
    if limit <= 0 or after >= ID_MAX:
        return []
    start, stop = index_range(after)
    return [id_at_end(key) for key, _ in view.calls.scan(table, start, stop, limit)]
