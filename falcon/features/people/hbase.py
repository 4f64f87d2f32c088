"""The directory in HBase: one range of rows, since it is read in its order."""

from operator import attrgetter
from typing import Final

from falcon.domain.ids import DEFAULT_ORGANIZATION
from falcon.features.people.table import DropEntry, PutEntry
from falcon.read.hbase import (
    NO,
    THERE_ONLY,
    U64,
    YES,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    hashed,
    id_at_end,
    query,
)

_THERE, _WORDS = b"d:i", b"d:v"  # the first is 1 while there is the entry
_ORGANIZATION: Final = hashed(U64(DEFAULT_ORGANIZATION))


def _put(write: PutEntry) -> Cells:
    row = _ORGANIZATION + write.key
    return (row, _THERE, YES), (row, _WORDS, write.value)


def _drop(write: DropEntry) -> Cells:
    row = _ORGANIZATION + write.key
    return (row, _THERE, NO), (row, _WORDS, b"")


MODEL: Final = HBaseModel(
    tables={"directory": (4, ())},
    puts=("directory",),
    cells={PutEntry: (0, _put), DropEntry: (0, _drop)},
    identity=attrgetter("identity"),
    identity_of_row=lambda table, key, row: id_at_end(key),
)


def directory(view: HBaseQueryContext, first: bytes, last: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    table = view.table("directory", "directory")
    # The end of a scan is left out, so it is the first key after ``last``.
    found = view.calls.scan(table, _ORGANIZATION + first, _ORGANIZATION + last + b"\0", limit, THERE_ONLY)
    return [(key.removeprefix(_ORGANIZATION), row[_WORDS]) for key, row in found if _WORDS in row]


class HBaseDirectoryQueries:
    directory = query(directory)
