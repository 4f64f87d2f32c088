"""The projections there are."""

from collections.abc import Callable
from typing import Final, TypeAlias

from falcon.journal.envelope import Envelope
from falcon.projections import accounts, memberships, rooms, timeline
from falcon.read.store import Write

Project: TypeAlias = Callable[[Envelope], tuple[Write, ...]]

PROJECTIONS: Final[dict[str, Project]] = {
    "timeline": timeline.project,
    "rooms": rooms.project,
    "memberships": memberships.project,
    "accounts": accounts.project,
}

# What some of them write instead for an event that is skipped. The others write nothing.
PASSED_OVER: Final[dict[str, Project]] = {"timeline": timeline.passed_over}
