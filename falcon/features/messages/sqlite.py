"""The timeline in SQLite.

A row has the offset of the event that says its message, which the journal has in the same file: a message is stored
once. A row that says the message itself is of a schema before 8, or of a missing message.

``place`` is room_id << 32 | seq. A table by rowid has narrow inner pages and appends cheaply. With a primary key of two
columns twice as many pages are written for a message. It holds for room ids below 2^31, two thousand million of them,
and as many messages in each.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from falcon.domain.ids import SEQ_MAX, RoomId, Seq
from falcon.features.messages.bodies import SAID_VERSION, data_in, encode, lost_message, row_of
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange, fit, fit_range, fit_range_back
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.messages.table import RoomSeq, SetRevision, UpsertMessage
from falcon.journal import codec
from falcon.journal.envelope import Recorded
from falcon.journal.record import Record
from falcon.read.sqlite import Files, SqliteModel, SqliteQueryContext, by_file, in_file_of, query
from falcon.read.times import rfc3339
from falcon.read.write import Write

# The columns of a row ``t`` and of its event, for ``messages_in``.
ROW: Final = "t.place, t.message, j.type, j.version, j.data"
ITS_EVENT: Final = "LEFT JOIN journal j ON j.offset = t.message"

_ROWS: Final = f"FROM timeline t {ITS_EVENT} WHERE t.place"
_OF_A_PAGE: Final = f"{_ROWS} BETWEEN ?1 << 32 | ?2 AND ?1 << 32 | ?3 ORDER BY t.place"
_MESSAGES: Final = f"SELECT {ROW} {_OF_A_PAGE}"
_MESSAGES_FROM_LAST: Final = f"{_MESSAGES} DESC"
_MESSAGE: Final = f"SELECT {ROW} {_ROWS} = ? << 32 | ?"

# Of the version of a room's messages: a trillion changes. The other bits of the 63 count rebuilds.
REVISION_BITS: Final = 40


class ReferToMessage(NamedTuple):
    """``offset``: of the event that says the message."""

    room_id: RoomId
    seq: Seq
    offset: int


def project(recorded: Recorded) -> tuple[Write, ...]:
    """The projection of ``table``, with references."""
    match recorded.envelope.event:
        case MessagePosted(message=message):
            return (ReferToMessage(message.room_id, message.seq, recorded.offset),)
        case MessageEdited(message=message, revision=revision) | MessageDeleted(message=message, revision=revision):
            put = ReferToMessage(message.room_id, message.seq, recorded.offset)
            return (put, SetRevision(message.room_id, revision))
        case _:
            return ()


_PUT: Final = "INSERT INTO timeline{} VALUES (?1 << 32 | ?2, ?3) ON CONFLICT DO UPDATE SET message = excluded.message"

MODEL: Final = SqliteModel(
    tables={
        "timeline": "CREATE TABLE timeline{} (place INTEGER PRIMARY KEY, message BLOB NOT NULL)",
        "revisions": "CREATE TABLE revisions{} (room_id INTEGER PRIMARY KEY, revision INTEGER NOT NULL)",
    },
    identities={"timeline": "place >> 32", "revisions": "room_id"},
    statements={
        ReferToMessage: (_PUT,),
        UpsertMessage: (_PUT,),
        SetRevision: ("INSERT OR REPLACE INTO revisions{} VALUES (?1, ?2)",),
    },
    project=project,
)


def messages_in(rows: Iterable[Any]) -> Iterator[bytes]:
    """The message of each row. It is one call for all of them, and takes 0.5 us for each. A message whose event is gone
    or damaged is lost."""
    for place, message, type, version, data in rows:
        try:
            if not isinstance(message, int):
                row = message
            elif version == SAID_VERSION:
                said = data_in(data).event.message
                said.posted_at = rfc3339(said.posted_at)
                if said.edited_at is not None:
                    said.edited_at = rfc3339(said.edited_at)
                row = encode(said)
            else:
                event: Any = codec.decode(Record(type, version, True, place >> 32, data), 0, 0, 0, 0).envelope.event
                row = row_of(event.message)
        except (msgspec.DecodeError, UnicodeDecodeError, codec.Undecodable):
            row = lost_message(place >> 32, place & SEQ_MAX)
        yield row


def newest_in(place: int | None, *row: Any) -> tuple[Seq, bytes] | None:
    """The message of a row, and its seq. None if the room has none."""
    return None if place is None else (place & SEQ_MAX, next(messages_in([(place, *row)])))


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
    messages, _ = fit(messages_in(rows), bytes_max)
    if len(messages) != last - first + 1:
        return _with_missing(view, room_id, first, last, from_last, bytes_max)
    if from_last:
        messages.reverse()
    return MessageRange(first, messages)


def message(view: SqliteQueryContext, room_id: RoomId, seq: Seq) -> bytes | None:
    if not 1 <= seq <= SEQ_MAX:  # its upper bits would name a place in another room
        return None
    row: Any = view.execute(_MESSAGE, (room_id, seq)).fetchone()
    if row is not None:
        return next(messages_in([row]))
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


def _with_missing(
    view: SqliteQueryContext, room_id: RoomId, first: Seq, last: Seq, from_last: bool, bytes_max: int
) -> MessageRange:
    """A page that has a hole or is too large. The timeline is written in the order of the log, a transaction a batch.
    So nothing will fill a hole before its newest message any more."""
    last = min(last, newest(view, room_id, SEQ_MAX))
    rows: Any = view.execute(_MESSAGES_FROM_LAST if from_last else _MESSAGES, (room_id, first, last))
    if from_last:
        return fit_range_back(last, _each(room_id, range(last, first - 1, -1), rows), bytes_max)
    return fit_range(first, _each(room_id, range(first, last + 1), rows), bytes_max)


def _each(room_id: RoomId, seqs: Iterable[Seq], rows: Iterator[Any]) -> Iterator[bytes]:
    """The message of each seq, from rows in the same order. Some rows may not exist."""
    row = next(rows, None)
    for seq in seqs:
        if row is not None and seq == row[0] & SEQ_MAX:
            yield next(messages_in([row]))
            row = next(rows, None)
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
