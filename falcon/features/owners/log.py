"""The event of owners as it stands in the log."""

from typing import Final

import msgspec

from falcon.features.owners.rules import SteppedDown
from falcon.journal.shapes.shape import alike


class SteppedDownV1(msgspec.Struct, frozen=True):
    account_id: int
    role_changes: int


EVENTS: Final = (alike("owner-stepped-down", SteppedDown, SteppedDownV1),)
ANSWERS: Final = ()
