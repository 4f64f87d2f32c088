"""Answers that are about no room or account in particular."""

from typing import Final

import msgspec

from falcon.domain.answers import Done, ImportAnswer, PositionAnswer
from falcon.journal.shapes.shape import alike


class ImportAnswerV1(msgspec.Struct, frozen=True, tag="import-answer.v1"):
    imported: int
    skipped: int


class DoneV1(msgspec.Struct, frozen=True, tag="done.v1"):
    pass


class PositionAnswerV1(msgspec.Struct, frozen=True, tag="position-answer.v1"):
    offset: int


ANSWERS: Final = (
    alike("import-answer", ImportAnswer, ImportAnswerV1),
    alike("done", Done, DoneV1),
    alike("position-answer", PositionAnswer, PositionAnswerV1),
)
