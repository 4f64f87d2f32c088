"""Bookmarks in the stream of their own account."""

from typing import Final

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.features.bookmarks.rules import BookmarkRemoved, BookmarkSet
from falcon.streams.event import Shown, StreamEvent


class StreamedBookmark(msgspec.Struct, frozen=True):
    """``note``: empty if the bookmark is removed."""

    room_id: RoomId
    seq: Seq
    note: str


_SET: Final = StreamEvent("bookmark.set", "You set a bookmark, or change its note, on any device.", StreamedBookmark)
_REMOVED: Final = StreamEvent("bookmark.removed", "You remove a bookmark, on any device.", StreamedBookmark)
EVENTS: Final = (_SET, _REMOVED)
TO_THE_ACCOUNT: Final = {
    BookmarkSet: Shown(_SET, lambda event: StreamedBookmark(event.room_id, event.seq, event.note)),
    BookmarkRemoved: Shown(_REMOVED, lambda event: StreamedBookmark(event.room_id, event.seq, "")),
}
