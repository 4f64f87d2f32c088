"""The timeline in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from falcon.domain.ids import RoomId, Seq
from falcon.features.messages.bodies import lost_message
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange, fit_range, fit_range_back
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.read.write import Write
from tools.harness.memory.models import MemoryQueryContext, query

_REVISION_BITS: Final = 40


@dataclass
class TimelineTables:
    messages: dict[tuple[RoomId, Seq], bytes] = field(default_factory=dict)
    revisions: dict[RoomId, int] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case UpsertMessage(room_id, seq, message):
                self.messages[room_id, seq] = message
            case SetRevision(room_id, revision):
                self.revisions[room_id] = revision


def tables(view: MemoryQueryContext) -> TimelineTables:
    found: TimelineTables = view.tables("timeline")
    return found


def page(
    view: MemoryQueryContext,
    room_id: RoomId,
    first: Seq,
    last: Seq,
    *,
    from_last: bool = False,
    bytes_max: int = ITEMS_BYTES_MAX,
) -> MessageRange:
    there = tables(view).messages
    first, last = max(first, 1), min(last, max((seq for room, seq in there if room == room_id), default=0))
    places = [(room_id, seq) for seq in range(first, last + 1)]
    messages = [there.get(place) or lost_message(*place) for place in places]
    return fit_range_back(last, reversed(messages), bytes_max) if from_last else fit_range(first, messages, bytes_max)


def message(view: MemoryQueryContext, room_id: RoomId, seq: Seq) -> bytes | None:
    return next(iter(page(view, room_id, seq, seq).messages), None)


def messages(view: MemoryQueryContext, seqs: Mapping[RoomId, Seq]) -> dict[RoomId, bytes]:
    found = {room_id: message(view, room_id, seq) for room_id, seq in seqs.items()}
    return {room_id: each for room_id, each in found.items() if each is not None}


def message_at(view: MemoryQueryContext, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
    return message(view, room_id, seq), tables(view).revisions.get(room_id, 0)


def newest(view: MemoryQueryContext, room_id: RoomId, through: Seq) -> Seq:
    return max((seq for room, seq in tables(view).messages if room == room_id and seq <= through), default=0)


def version(view: MemoryQueryContext, room_id: RoomId) -> int:
    """Changes whenever messages of the room that could be read before may read otherwise."""
    return view.generation("timeline") << _REVISION_BITS | tables(view).revisions.get(room_id, 0)


class MemoryTimelineQueries:
    page = query(page)
    message = query(message)
    messages = query(messages)
    message_at = query(message_at)
    newest = query(newest)
