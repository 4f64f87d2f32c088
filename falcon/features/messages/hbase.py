"""The timeline in HBase.

A room's head comes first, and then its messages, newest first. The head's key is the common prefix of their keys: it is
shorter than any other key, so no other row has it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final

from falcon.domain.ids import RoomId, Seq
from falcon.features.messages.bodies import lost_message
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange, fit_range, fit_range_back
from falcon.features.messages.table import RoomSeq, SetRevision, UpsertMessage
from falcon.read.hbase import (
    FAST_DIFF,
    PREFIXES_KEPT,
    U32,
    U64,
    Cells,
    HBaseModel,
    HBaseQueryContext,
    Row,
    RowAbout,
    hashed,
    prefix_end,
    query,
)

BUCKET: Final = 25  # messages a row: small enough to read a whole row for a few, large enough for a page in three
SEQ_MAX: Final = BUCKET * 2**32
_LAST_BUCKET: Final = 2**32 - 1  # counted down from here: newer rows come first
REVISION: Final = b"d:r"
MESSAGE_COLUMNS: Final = tuple(b"d:" + bytes([place]) for place in range(BUCKET))
_REVISION_BITS: Final = 40  # a trillion changes of a room; the other bits of the 63 count rebuilds
_ROWS_AT_ONCE: Final = 3  # of messages
IN_ROWS_AT_ONCE: Final = BUCKET * (_ROWS_AT_ONCE - 1) + 1  # messages, wherever they begin in a row
_MESSAGES_AT_ONCE: Final = (
    25  # of which 100 in as many rows have 7 columns in a call: 175 messages, as two calls of a page
)
_room_id: Final = itemgetter(0)


# --- keys -------------------------------------------------------------------------------------------------------------


@lru_cache(PREFIXES_KEPT)
def head_key(room_id: RoomId) -> bytes:
    return hashed(U64(room_id))


def bucket_key(room_id: RoomId, seq: Seq) -> bytes:
    """The row with message ``seq``."""
    return head_key(room_id) + U32(_LAST_BUCKET - (seq - 1) // BUCKET)


def bucket_keys(room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """The rows with the messages ``first`` to ``last``, oldest first."""
    return [bucket_key(room_id, seq) for seq in range((first - 1) // BUCKET * BUCKET + 1, last + 1, BUCKET)]


def spans(first: Seq, last: Seq, rows: int) -> list[tuple[Seq, Seq]]:
    """The messages ``first`` to ``last`` in parts that stand in at most so many rows each, oldest first."""
    starts = range((first - 1) // BUCKET * BUCKET + 1, last + 1, BUCKET * rows) if first <= last else ()
    return [(max(start, first), min(start + BUCKET * rows - 1, last)) for start in starts]


def messages_range(room_id: RoomId, through: Seq) -> tuple[bytes, bytes]:
    """The start of the rows with the messages up to ``through``, newest first, and their end."""
    return bucket_key(room_id, through), prefix_end(head_key(room_id))


def message_column(seq: Seq) -> bytes:
    return MESSAGE_COLUMNS[(seq - 1) % BUCKET]


def message_seq(row: bytes, column: bytes) -> Seq:
    """The inverse of ``bucket_key`` and ``message_column``."""
    return (_LAST_BUCKET - int.from_bytes(row[-4:], "big")) * BUCKET + column[-1] + 1


def message_columns(first: Seq, last: Seq) -> tuple[bytes, ...]:
    """The columns of the messages from ``first`` on, to ``last`` or the end of the row."""
    place = (first - 1) % BUCKET
    return MESSAGE_COLUMNS[place : place + last - first + 1]


# --- writing ----------------------------------------------------------------------------------------------------------


def _put_message(write: UpsertMessage) -> Cells:
    return ((bucket_key(write.room_id, write.seq), message_column(write.seq), write.message),)


def _set_revision(write: SetRevision) -> Cells:
    return ((head_key(write.room_id), REVISION, b"%d" % write.revision),)


# Revisions are written after the messages: a reader of a revision must find messages that are at least as new.
MODEL: Final = HBaseModel(
    tables={"timeline": (8, (FAST_DIFF,))},
    puts=("timeline", "timeline"),
    cells={UpsertMessage: (0, _put_message), SetRevision: (1, _set_revision)},
    identity=attrgetter("room_id"),
)


# --- queries ----------------------------------------------------------------------------------------------------------


def _timeline(view: HBaseQueryContext) -> str:
    return view.table("timeline", "timeline")


def page(
    view: HBaseQueryContext,
    room_id: RoomId,
    first: Seq,
    last: Seq,
    *,
    from_last: bool = False,
    bytes_max: int = ITEMS_BYTES_MAX,
) -> MessageRange:
    """One call if all of it is there, one more if the timeline ends within it. More for more than three rows, so that
    large messages that do not fit into the page are read up to a bound only."""
    first, last = max(first, 1), min(last, SEQ_MAX)
    parts = spans(first, last, _ROWS_AT_ONCE)
    return (
        _page_to(view, room_id, first, parts, bytes_max)
        if from_last
        else _page_from(view, room_id, first, parts, bytes_max)
    )


def _page_from(
    view: HBaseQueryContext, room_id: RoomId, first: Seq, parts: Sequence[tuple[Seq, Seq]], bytes_max: int
) -> MessageRange:
    messages: list[bytes] = []
    for start, stop in parts:
        messages += _messages(view, room_id, start, stop)
        run = fit_range(first, messages, bytes_max)
        if run.truncated or len(messages) < stop - first + 1:
            return run
    return MessageRange(first, messages)


def _page_to(
    view: HBaseQueryContext, room_id: RoomId, first: Seq, parts: Sequence[tuple[Seq, Seq]], bytes_max: int
) -> MessageRange:
    messages: list[bytes] = []
    for start, stop in reversed(parts):
        found = _messages(view, room_id, start, stop)
        # stop at the first message that is not there yet
        messages = found + messages if len(found) == stop - start + 1 else found
        run = fit_range_back(start + len(messages) - 1, reversed(messages), bytes_max)
        if run.truncated:
            return run
    return MessageRange(first, messages)


def _messages(view: HBaseQueryContext, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """The messages ``first`` to ``last``, up to the first that is not there yet."""
    rows = view.calls.rows(_timeline(view), bucket_keys(room_id, first, last))
    messages = up_to_a_hole(rows, room_id, first, last)
    missing = range(first + len(messages), last + 1)
    return messages + _from_a_hole_on(view, room_id, missing) if missing else messages


def up_to_a_hole(rows: Mapping[bytes, Row], room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """The messages ``first`` to ``last`` up to the first that is not in the rows."""
    found: list[bytes] = []
    for key in bucket_keys(room_id, first, last):
        row = rows.get(key, {})
        for column in message_columns(first + len(found), last):
            message = row.get(column)
            if message is None:
                return found
            found.append(message)
    return found


def _from_a_hole_on(view: HBaseQueryContext, room_id: RoomId, seqs: Sequence[Seq]) -> list[bytes]:
    """The messages, in ascending order, up to the first that is not there yet. The first of them was not found.

    A batch is not written at once, so a reader may find a part of it. Then it must not show what stands after a hole.
    But once the timeline has been applied up to what stands after, all before it has been applied too, and nothing
    will fill the hole any more.
    """
    newest_row = view.calls.scan(_timeline(view), *messages_range(room_id, SEQ_MAX), 1)
    if _newest_in(newest_row) < seqs[0]:
        return []
    applied = view.applied("timeline", room_id)  # before the rows are read, which are then at least as new
    keys = [*(bucket_key(room_id, seq) for seq in seqs), *(key for key, _ in newest_row)]
    rows = view.calls.stamped(_timeline(view), keys)
    stamps = {message_seq(key, column): cell.stamp for key, row in rows.items() for column, cell in row.items()}
    through = max((seq for seq, stamp in stamps.items() if stamp <= applied), default=0)
    messages: list[bytes] = []
    for seq in seqs:
        cell = rows.get(bucket_key(room_id, seq), {}).get(message_column(seq))
        if cell is None and seq > through:
            break
        messages.append(lost_message(room_id, seq) if cell is None else cell.value)
    return messages


def newest(view: HBaseQueryContext, room_id: RoomId, through: Seq) -> Seq:
    seq, _ = _walk_back(view, {room_id: min(through, SEQ_MAX)}).get(room_id, (0, b""))
    return seq


def newest_messages(view: HBaseQueryContext, through: Mapping[RoomId, Seq]) -> dict[RoomId, tuple[Seq, bytes]]:
    """The newest message of each room up to a seq, with its own seq: one call per 1,000 rooms if those very messages
    are there. A call also reads some of the messages beside them, which costs more than a call for each room only if
    there are few rooms."""
    found = {room_id: (seq, message) for (room_id, seq), message in _present(view, through.items()).items()}
    lacking = {room_id: seq for room_id, seq in through.items() if room_id not in found}
    return found | _walk_back(view, lacking) if lacking else found


def _present(view: HBaseQueryContext, wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
    """The messages that are in the table. One call per 1,000 rows."""
    columns = {message_column(seq) for _, seq in wanted}
    rows = view.calls.rows(_timeline(view), (bucket_key(*each) for each in wanted), columns)
    return {
        (room_id, seq): message
        for room_id, seq in wanted
        if (message := rows.get(bucket_key(room_id, seq), {}).get(message_column(seq))) is not None
    }


def _walk_back(view: HBaseQueryContext, through: Mapping[RoomId, Seq]) -> dict[RoomId, tuple[Seq, bytes]]:
    """The newest messages of rooms whose timeline is behind. One call per 500 rooms reads the last two rows of each,
    which is mostly enough. In the other rooms it looks row by row, newest first."""
    keys = {room_id: bucket_keys(room_id, max(seq - BUCKET, 1), seq) for room_id, seq in through.items() if seq >= 1}
    near = view.calls.rows(_timeline(view), (key for of_room in keys.values() for key in of_room))
    found: dict[RoomId, tuple[Seq, bytes]] = {}
    for room_id, of_room in keys.items():
        rows = [(key, near[key]) for key in of_room if key in near]
        seq = _newest_in(rows, through[room_id])
        if not seq and message_seq(of_room[0], MESSAGE_COLUMNS[0]) > 1:
            # The first row may have newer messages only.
            start, stop = messages_range(room_id, through[room_id])
            rows = view.calls.scan(_timeline(view), start, stop, 2)
            seq = _newest_in(rows, through[room_id])
        if seq:
            found[room_id] = (seq, dict(rows)[bucket_key(room_id, seq)][message_column(seq)])
    return found


def _newest_in(rows: Iterable[tuple[bytes, Row]], through: Seq = SEQ_MAX) -> Seq:
    """The newest message of these rows up to ``through``; 0 if there is none."""
    seqs = (message_seq(key, column) for key, row in rows for column in row)
    return max((seq for seq in seqs if seq <= through), default=0)


def message(view: HBaseQueryContext, room_id: RoomId, seq: Seq) -> bytes | None:
    return messages(view, [(room_id, seq)]).get((room_id, seq))


def messages(view: HBaseQueryContext, wanted: Collection[RoomSeq]) -> dict[RoomSeq, bytes]:
    """One call per 25 messages if all are there. More for each room that lacks some. A call reads the same columns of
    all its rows, so messages of the same column share calls."""
    possible = sorted({each for each in wanted if 1 <= each[1] <= SEQ_MAX}, key=lambda each: message_column(each[1]))
    found: dict[RoomSeq, bytes] = {}
    for start in range(0, len(possible), _MESSAGES_AT_ONCE):
        found |= _present(view, possible[start : start + _MESSAGES_AT_ONCE])
    for room_id, of_room in groupby(sorted(set(possible) - found.keys()), _room_id):
        lacking = list(of_room)
        rest = _from_a_hole_on(view, room_id, [seq for _, seq in lacking])
        found |= zip(lacking, rest, strict=False)  # the rest is not there yet
    return found


def message_at(view: HBaseQueryContext, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
    # Read the revision first: what is read after it is at least as new.
    revision = _revision(view.calls.row(_timeline(view), head_key(room_id)))
    return message(view, room_id, seq), revision


def head_about(view: HBaseQueryContext, room_id: RoomId, first: Seq, last: Seq) -> RowAbout:
    """The head, and beside it the rows with the messages ``first`` to ``last``."""
    beside = bucket_keys(room_id, first, last) if first <= last else ()
    return _timeline(view), head_key(room_id), "history", beside


def version_in(view: HBaseQueryContext, head: Row) -> int:
    """Changes whenever messages of the room that could be read before may read otherwise."""
    rebuilds = view.generation("timeline") - 1
    return rebuilds << _REVISION_BITS | _revision(head)


def _revision(head: Row) -> int:
    return int(head.get(REVISION, b"0"))


class HBaseTimelineQueries:
    page = query(page)
    message = query(message)
    messages = query(messages)
    message_at = query(message_at)
    newest = query(newest)
