"""The projections there are."""

from collections.abc import Callable
from typing import Final, TypeAlias

from falcon.journal.envelope import Envelope
from falcon.read.accounts import projection as accounts
from falcon.read.memberships import projection as memberships
from falcon.read.rooms import projection as rooms
from falcon.read.store import Write
from falcon.read.timeline import projection as timeline

Project: TypeAlias = Callable[[Envelope], tuple[Write, ...]]

PROJECTIONS: Final[dict[str, Project]] = {
    "timeline": timeline.project,
    "rooms": rooms.project,
    "memberships": memberships.project,
    "accounts": accounts.project,
}

# On a cluster this projection's stream, which has to keep up with every message, records for the others where the log
# holds nothing for them, so that they move their positions only for what they write.
VOUCHING: Final = "timeline"
VOUCHED_FOR: Final = {name: project for name, project in PROJECTIONS.items() if name != VOUCHING}

# What some of them write instead for an event that is skipped. The others write nothing.
PASSED_OVER: Final[dict[str, Project]] = {"timeline": timeline.passed_over}
