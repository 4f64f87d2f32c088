"""The timeline in SQLite.

``place`` is room_id << 32 | seq. A table by rowid has narrow inner pages and appends cheaply. With a primary key of two
columns twice as many pages are written for a message. It holds for room ids below 2^31, two thousand million of them,
and as many messages in each.
"""

import operator
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from falcon.domain.ids import SEQ_MAX, RoomId, Seq
from falcon.features.messages.bodies import lost_message
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange, fit, fit_range, fit_range_back
from falcon.features.messages.table import RoomSeq, SetRevision, UpsertMessage
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, query

_OF_A_PAGE: Final = "FROM timeline WHERE place BETWEEN ?1 << 32 | ?2 AND ?1 << 32 | ?3 ORDER BY place"
_MESSAGES: Final = f"SELECT message {_OF_A_PAGE}"
_MESSAGES_FROM_LAST: Final = f"{_MESSAGES} DESC"
_PLACED: Final = f"SELECT message, place & 0xffffffff {_OF_A_PAGE}"
_PLACED_FROM_LAST: Final = f"{_PLACED} DESC"
_first: Final = operator.itemgetter(0)

_REVISION_BITS: Final = 40  # a trillion changes of a room; the other bits of the 63 count rebuilds

MODEL: Final = SqliteModel(
    tables={
        "timeline": "CREATE TABLE timeline{} (place INTEGER PRIMARY KEY, message BLOB NOT NULL)",
        "revisions": "CREATE TABLE revisions{} (room_id INTEGER PRIMARY KEY, revision INTEGER NOT NULL)",
    },
    identities={"timeline": "place >> 32", "revisions": "room_id"},
    statements={
        UpsertMessage: (
            "INSERT INTO timeline{} VALUES (?1 << 32 | ?2, ?3) ON CONFLICT DO UPDATE SET message = excluded.message",
        ),
        SetRevision: ("INSERT OR REPLACE INTO revisions{} VALUES (?1, ?2)",),
    },
)


def page(
    view: SqliteQueryContext,
    room_id: RoomId,
    first: Seq,
    last: Seq,
    *,
    from_last: bool = False,
    bytes_max: int = ITEMS_BYTES_MAX,
) -> MessageRange:
    first, last = max(first, 1), min(last, SEQ_MAX)
    if first > last:
        return MessageRange(first, [])
    rows: Any = view.execute(_MESSAGES_FROM_LAST if from_last else _MESSAGES, (room_id, first, last))
    messages, _ = fit(map(_first, rows), bytes_max)
    if len(messages) != last - first + 1:
        return _with_missing(view, room_id, first, last, from_last, bytes_max)
    if from_last:
        messages.reverse()
    return MessageRange(first, messages)


def message(view: SqliteQueryContext, room_id: RoomId, seq: Seq) -> bytes | None:
    if not 1 <= seq <= SEQ_MAX:  # its upper bits would name a place in another room
        return None
    row: Any = view.execute("SELECT message FROM timeline WHERE place = ? << 32 | ?", (room_id, seq)).fetchone()
    if row is not None:
        message: bytes = row[0]
        return message
    return next(iter(_with_missing(view, room_id, seq, seq, False, ITEMS_BYTES_MAX).messages), None)


def messages(view: SqliteQueryContext, wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
    return {each: found for each in wanted if (found := message(view, *each)) is not None}


def message_at(view: SqliteQueryContext, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
    # Read the revision first: what is read after it is at least as new.
    row: Any = view.execute("SELECT revision FROM revisions WHERE room_id = ?", (room_id,)).fetchone()
    return message(view, room_id, seq), 0 if row is None else row[0]


def newest(view: SqliteQueryContext, room_id: RoomId, through: Seq) -> Seq:
    row: Any = view.execute(
        "SELECT coalesce(max(place), 0) & 0xffffffff FROM timeline WHERE place BETWEEN ?1 << 32 AND ?1 << 32 | ?2",
        (room_id, min(through, SEQ_MAX)),
    ).fetchone()
    return int(row[0])


def with_generation(view: SqliteQueryContext, revision: int) -> int:
    """The version of a room whose messages have this revision."""
    return view.generation("timeline") << _REVISION_BITS | revision


def _with_missing(
    view: SqliteQueryContext, room_id: RoomId, first: Seq, last: Seq, from_last: bool, bytes_max: int
) -> MessageRange:
    """A page that has a hole or is too large. The timeline is written in the order of the log, a transaction a batch.
    So nothing will fill a hole before its newest message any more."""
    last = min(last, newest(view, room_id, SEQ_MAX))
    rows: Any = view.execute(_PLACED_FROM_LAST if from_last else _PLACED, (room_id, first, last))
    if from_last:
        return fit_range_back(last, _each(room_id, range(last, first - 1, -1), rows), bytes_max)
    return fit_range(first, _each(room_id, range(first, last + 1), rows), bytes_max)


def _each(room_id: RoomId, seqs: Iterable[Seq], rows: Iterator[tuple[bytes, Seq]]) -> Iterator[bytes]:
    """The message of each seq, from rows in the same order. Some rows may not exist."""
    message, found = next(rows, (b"", 0))
    for seq in seqs:
        if seq == found:
            yield message
            message, found = next(rows, (b"", 0))
        else:
            yield lost_message(room_id, seq)


class SqliteTimelineQueries:
    page = query(page, "timeline")
    message = query(message, "timeline")
    messages = query(messages, "timeline")
    message_at = query(message_at, "timeline")
    newest = query(newest, "timeline")


class SqliteFilesTimelineQueries:
    page = in_file_of(SqliteTimelineQueries.page)
    message = in_file_of(SqliteTimelineQueries.message)
    message_at = in_file_of(SqliteTimelineQueries.message_at)
    newest = in_file_of(SqliteTimelineQueries.newest)

    async def messages(self: Files, wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
        found: dict[RoomSeq, bytes] = {}
        for file, of_file in by_file(self, {room_id for room_id, _ in wanted}).items():
            found |= await SqliteTimelineQueries.messages(file, [each for each in wanted if each[0] in of_file])
        return found
