"""Answers that are about no room or account in particular."""

from typing import Final

from falcon.domain.answers import Done, ImportAnswer, PositionAnswer
from falcon.journal.shapes.shape import answer

ANSWERS: Final = (
    answer("import-answer", ImportAnswer, imported=int, skipped=int),
    answer("done", Done),
    answer("position-answer", PositionAnswer, offset=int),
)
