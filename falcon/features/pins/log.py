"""Events of pins, and the answer, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.pins.rules import PinAdded, PinAnswer, PinRemoved
from falcon.journal.shapes.shape import alike


class PinAddedV1(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    account_id: int
    pinned_at: int
    number: int


class PinRemovedV1(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    account_id: int


class PinAnswerV1(msgspec.Struct, frozen=True, tag="pin-answer.v1"):
    room_id: int
    seq: int
    pinned_by: int
    pinned_at: int


EVENTS: Final = (
    alike("pin-added", PinAdded, PinAddedV1, critical=False),
    alike("pin-removed", PinRemoved, PinRemovedV1, critical=False),
)
ANSWERS: Final = (alike("pin-answer", PinAnswer, PinAnswerV1),)
