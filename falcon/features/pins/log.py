"""Events of pins, and the answer, as they stand in the log."""

from typing import Final

from falcon.features.pins.rules import PinAdded, PinAnswer, PinRemoved
from falcon.journal.shapes.shape import answer, event

EVENTS: Final = (
    event("pin-added", PinAdded, critical=False, room_id=int, seq=int, account_id=int, pinned_at=int, number=int),
    event("pin-removed", PinRemoved, critical=False, room_id=int, seq=int, account_id=int),
)
ANSWERS: Final = (answer("pin-answer", PinAnswer, room_id=int, seq=int, pinned_by=int, pinned_at=int),)
