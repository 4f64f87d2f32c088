"""Events of bookmarks, and the answer, as they stand in the log."""

from typing import Final

from falcon.features.bookmarks.rules import BookmarkAnswer, BookmarkRemoved, BookmarkSet
from falcon.journal.shapes.shape import answer, event

EVENTS: Final = (
    event("bookmark-set", BookmarkSet, critical=False, account_id=int, room_id=int, seq=int, note=str, created_at=int),
    event("bookmark-removed", BookmarkRemoved, critical=False, account_id=int, room_id=int, seq=int, created_at=int),
)
ANSWERS: Final = (answer("bookmark-answer", BookmarkAnswer, room_id=int, seq=int, note=str, created_at=int),)
