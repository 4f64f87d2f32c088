"""The event of read marks, and the answer, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.read_marks.rules import ReadAnswer, ReadMoved
from falcon.journal.shapes.shape import alike


class ReadMovedV1(msgspec.Struct, frozen=True):
    room_id: int
    account_id: int
    read_seq: int
    unread: int
    mentions: int


class ReadAnswerV1(msgspec.Struct, frozen=True, tag="read-answer.v1"):
    room_id: int
    read_seq: int
    unread: int
    mentions: int


EVENTS: Final = (alike("read-moved", ReadMoved, ReadMovedV1),)
ANSWERS: Final = (alike("read-answer", ReadAnswer, ReadAnswerV1),)
