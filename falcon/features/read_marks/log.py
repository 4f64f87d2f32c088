"""The event of read marks, and the answer, as they stand in the log."""

from typing import Final

from falcon.features.read_marks.rules import ReadAnswer, ReadMoved
from falcon.journal.shapes.shape import answer, event

EVENTS: Final = (event("read-moved", ReadMoved, room_id=int, account_id=int, read_seq=int, unread=int, mentions=int),)
ANSWERS: Final = (answer("read-answer", ReadAnswer, room_id=int, read_seq=int, unread=int, mentions=int),)
