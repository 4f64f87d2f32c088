"""Events of claims as they stand in the log."""

from typing import Final, Literal

import msgspec

from falcon.features.claims.rules import ClaimAnswer, TextClaimed, TextReleased
from falcon.journal.shapes.shape import alike, answer


class _TextV1(msgspec.Struct, frozen=True):
    space: Literal["handle", "email"]
    text: str
    account_id: int
    wish: int


class TextClaimedV1(_TextV1, frozen=True):
    pass


class TextReleasedV1(_TextV1, frozen=True):
    pass


EVENTS: Final = (
    alike("text-claimed", TextClaimed, TextClaimedV1),
    alike("text-released", TextReleased, TextReleasedV1),
)
ANSWERS: Final = (answer("claim-answer", ClaimAnswer, account_id=int),)
