"""The figures of a load, from its history."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tools.people.checker import Checker
from tools.people.history import Operation, operations

# Past this the client library gives up: for its user the request was refused.
DEADLINE_SECONDS: Final = 30.0
_DOUBLED: Final = ("times", "two answers", "a second time", "stands at")


class Figures(msgspec.Struct):
    """``acknowledged``: messages. ``retried``: attempts that were not the last of their request, by what they met.

    ``unwritable``: the longest time between two acknowledgements of a room that is written steadily, in seconds.
    ``longest``: from the first attempt of a request to its answer. ``failed``: requests that were refused for good, or
    not answered within the deadline.
    """

    seconds: float = 0.0
    requests: int = 0
    acknowledged: int = 0
    retried: dict[str, int] = {}
    failed: int = 0
    unwritable: float = 0.0
    longest: float = 0.0
    deliveries: int = 0
    reconnections: int = 0
    violations: list[str] = []

    @property
    def lost(self) -> int:
        return sum("lost" in each for each in self.violations)

    @property
    def doubled(self) -> int:
        return sum("lost" not in each and any(word in each for word in _DOUBLED) for each in self.violations)


@dataclass
class _Session:
    """Asks one thing after the other, each until it is answered: ``open_since`` is when the present one began."""

    open_since: float | None = None
    acknowledged_at: float = 0.0


def reckon(path: Path, writers: int) -> Figures:
    """``writers``: so many sessions, counted from 0, write to one room each, steadily."""
    figures, retried, posted = Figures(), Counter[str](), set[str]()
    sessions: defaultdict[int, _Session] = defaultdict(_Session)
    for op in operations(path):
        if not op.outcome:
            continue  # a finding
        session = sessions[op.session]
        began = op.started if session.open_since is None else session.open_since
        figures.seconds = max(figures.seconds, op.ended)
        figures.longest = max(figures.longest, op.ended - began)
        if op.outcome in ("refused", "unknown"):
            session.open_since = began
            retried[_met(op)] += 1
            continue
        session.open_since = None
        figures.requests += 1
        figures.failed += op.outcome == "rejected" or op.ended - began > DEADLINE_SECONDS
        if op.kind == "post" and op.outcome == "acknowledged":
            posted.add(op.key)
            if op.session < writers:
                if session.acknowledged_at:
                    figures.unwritable = max(figures.unwritable, op.ended - session.acknowledged_at)
                session.acknowledged_at = op.ended
    figures.acknowledged = len(posted)
    figures.failed += sum(session.open_since is not None for session in sessions.values())
    figures.retried = dict(retried.most_common())
    figures.violations = Checker().check(operations(path))
    return figures


def _met(op: Operation) -> str:
    return f"{op.status} {op.code}" if op.status else op.code
