"""Mistakes of projections, tables, and what is read from them."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from falcon.adapters.hbase import client, tables
from falcon.adapters.hbase.cells import fold
from falcon.adapters.hbase.meta import Meta, applied_key
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.schema import table_name
from falcon.adapters.hbase.thrift import BatchMutation, Mutation
from falcon.features.messages import api as messages
from falcon.features.messages.pages import TimelinePage, TimelinePages
from falcon.features.read_marks import hbase as memberships_hbase
from falcon.features.read_marks.table import MemberRoom, RoomSummaryRow
from falcon.features.rooms import hbase as rooms_hbase
from falcon.http import requests
from falcon.http.freshness import Freshness
from falcon.http.stream import opening
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Moves
from tools.simulation.mutants.mutant import Mutant, Replaced, mutant
from tools.simulation.schedules import BEHIND, CALM, TROUBLED


def _all_alike(table: str, mutations: list[Any], stamp: int) -> Callable[..., None]:
    """Every cell gets the same timestamp, so that a late batch undoes a later one."""
    return client._probing([table], lambda line: line.client.mutateRowsTs(table, mutations, 1, {}))


def _cut_anywhere(cells: Iterable[Any]) -> Iterator[list[Any]]:
    """A batch ends in the middle of a row."""
    rest = iter(cells)
    while part := list(itertools.islice(rest, 3)):
        yield [BatchMutation(row, [Mutation(column=column, value=value)]) for row, column, value in part]


def _position_first(
    self: tables.HBaseTables, projection: str, generation: int, partition: int, expected: Any, after: Any, writes: Any
) -> None:
    """The position says that events have been applied before their cells are there."""
    within = self._hbase.within(self._seconds, tables._ATTEMPT_SECONDS)
    key = applied_key(tables._base(projection), generation, partition)
    if not Meta(within, self._prefix).move(key, expected, after):
        raise tables._stale(projection, partition, expected.position)
    for table, cells in fold(READ_MODELS[tables._base(projection)].hbase, writes):
        within.put(table_name(self._prefix, table, generation), cells, after.position.offset)


_apply = tables.HBaseTables._apply


def _told_first(
    self: tables.HBaseTables, projection: str, generation: int, partition: int, expected: Any, after: Any, writes: Any
) -> None:
    """Edges hear of a position that the tables have not reached."""
    self._tell(Moves(projection, generation, {partition: after.reached}))
    _apply(self, projection, generation, partition, expected, after, writes)


async def _first_bounds(
    edge: Any, room_id: int, access: Any, query: Any, first: int, last: int, newest: Any
) -> tuple[TimelinePage, int]:
    """The list of rooms says how far a page goes, though the timeline is behind it."""
    page = await edge.pages.read(room_id, access.version, first, last, from_last=query.after is None)
    return page, access.last_seq


def _around(query: Any, last_seq: int) -> tuple[int, int]:
    """Half of the page stands before the message, also where there is nothing behind it."""
    if query.around is not None:
        first = max(1, query.around - query.limit // 2)
        return first, min(first + query.limit // 2, last_seq)
    return _bounds(query, last_seq)


_bounds = messages._bounds


def _unlevelled(room: Any, role: Any, read_seq: int, mentions: int, newest: tuple[int, bytes] | None) -> RoomSummaryRow:
    """Each number of a summary is that of its own table."""
    return RoomSummaryRow(room, role, read_seq, mentions, None if newest is None else newest[1])


_applied_everywhere = HBaseReadStore.applied_everywhere


async def _of_rooms(self: HBaseReadStore, partitions: int, projections: Sequence[str] | None = None) -> Any:
    return await _applied_everywhere(self, partitions, projections or ("rooms",))


def _as_listed(replay: Any, seqs: Mapping[int, int], member: MemberRoom) -> MemberRoom:
    return member


async def _believed(self: Freshness, partition: int, seconds: float) -> None:
    """A no of the tables is taken at once."""


_read = TimelinePages.read


async def _keeps_all(self: TimelinePages, room_id: int, version: int, first: int, last: int, **how: Any) -> Any:
    """Also a page that is short is kept."""
    page = await _read(self, room_id, version, first, last, **how)
    self._kept[room_id, version, first, last, how.get("from_last", False)] = page
    return page


def _loosely(query: bytes, query_type: Any) -> Any:
    """Everything that msgspec takes for a number is one."""
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    try:
        return msgspec.convert(parameters, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise requests.from_validation(error, query_type) from None


MUTANTS: Final = (
    mutant("the last call to the tables wins", client, "_put", _all_alike, TROUBLED),
    Mutant(
        "a batch ends in the middle of a row",
        (
            Replaced(client, "_parts", _cut_anywhere),
            Replaced(rooms_hbase, "ROOM_CELLS", frozenset({rooms_hbase.ROOM_MADE})),
            Replaced(memberships_hbase, "MEMBER_CELLS", frozenset({memberships_hbase.MEMBER})),
        ),
        BEHIND,
    ),
    mutant("a position moves before its cells are there", tables.HBaseTables, "_apply", _position_first, TROUBLED),
    mutant("edges are told of a position before it is there", tables.HBaseTables, "_apply", _told_first, BEHIND),
    mutant("a page goes as far as the list of rooms", messages, "_page", _first_bounds, BEHIND),
    mutant("a page around a message is short near the end", messages, "_bounds", _around, CALM),
    mutant(
        "the numbers of a summary are those of several places", memberships_hbase, "room_summary", _unlevelled, BEHIND
    ),
    Mutant(
        "a stream begins where the list of rooms stands, though pages are behind",
        (
            Replaced(memberships_hbase, "room_summary", _unlevelled),
            Replaced(HBaseReadStore, "applied_everywhere", _of_rooms),
            Replaced(opening, "_as_of", _as_listed),
        ),
        BEHIND,
    ),
    mutant("a no of the tables is not checked with the owner", Freshness, "catch_up", _believed, BEHIND),
    mutant("pages that are short are kept", TimelinePages, "read", _keeps_all, BEHIND),
    Mutant(
        "texts are read as numbers",
        (Replaced(requests, "_cached_query", _loosely), Replaced(requests, "_decode_query", _loosely)),
        CALM,
    ),
)
