"""The event of owners as it stands in the log."""

from typing import Final

from falcon.features.owners.rules import SteppedDown
from falcon.journal.shapes.shape import event

EVENTS: Final = (event("owner-stepped-down", SteppedDown, account_id=int, role_changes=int),)
ANSWERS: Final = ()
