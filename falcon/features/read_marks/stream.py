"""Read marks in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.streams.event import StreamEvent


class StreamedReadMark(msgspec.Struct, frozen=True):
    room_id: RoomId
    read_seq: Seq
    unread: int
    mentions: int


READ_MOVED: Final = StreamEvent("read.moved", "Your own read mark moves, maybe on another device.", StreamedReadMark)
EVENTS: Final = (READ_MOVED,)
