"""A rebuild by simulated time: for how long live tables are closed at its end, by the history that it has to apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from falcon.domain.events import CommandAnswered
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.projections.rebuild import Rebuild
from falcon.read.store import Recipe
from tools.bench.growing.term import Bound, Figures, Term

_APPLIED: Final = 16_000  # events a second that it applies, as `make bench SUITE=cluster` found
_ARRIVING: Final = 4_000  # events a second
_EVENT: Final = Recorded(0, Envelope(0, 1, 0, 0, CommandAnswered()))


class _Clock:
    now = 0.0


class _Log:
    """One partition. It grows with the clock, and reading takes the time that applying would take."""

    partitions = 1

    def __init__(self, history: int, clock: _Clock) -> None:
        self._history = history
        self._clock = clock

    def end(self) -> Cursor:
        return {0: Position(self._history + int(_ARRIVING * self._clock.now))}

    def read(self, cursor: Cursor, limit: int) -> tuple[Sequence[Recorded], Cursor]:
        start = cursor[0].offset
        stop = min(start + limit, self.end()[0].offset)
        self._clock.now += (stop - start) / _APPLIED
        return [_EVENT] * (stop - start), {0: Position(stop)}


class _Tables:
    """``closed``: seconds for which the live tables were closed, the longest time first."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._at = Position()
        self.closed: list[float] = []
        self.events: list[int] = []

    def unfinished_rebuild(self, projection: str) -> None:
        """There is none to resume."""

    def begin_rebuild(self, projection: str, recipe: Recipe) -> str:
        return f"{projection} again"

    def cursor(self, projection: str) -> Cursor:
        return {0: self._at}

    def apply(self, projection: str, before: Cursor, after: Cursor, writes: object) -> None:
        self._at = after[0]

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        began, at = self._clock.now, self._at.offset
        is_done = catch_up()
        self.closed.append(self._clock.now - began)
        self.events.append(self._at.offset - at)
        return is_done


def measure(history: int) -> Figures:
    clock = _Clock()
    tables: Any = _Tables(clock)
    log: Any = _Log(history, clock)
    Rebuild("timeline", lambda envelope: (), log, tables, monotonic=lambda: clock.now).run()
    return {
        "events while closed": max(tables.events),
        "seconds closed": max(tables.closed),
        "times closed": len(tables.closed),
        "minutes in all": clock.now / 60,
    }


TERM: Final = Term(
    name="rebuild",
    title="A rebuild",
    unit="events of history",
    sizes=(100_000, 3_000_000, 30_000_000),
    short=(10_000, 100_000),
    measure=measure,
    bounds=(Bound("seconds closed", 5), Bound("events while closed", 16_000), Bound("times closed", 3)),
    note=f"{_ARRIVING:,} events arrive each second, and it applies {_APPLIED:,}. While tables are closed, nothing new "
    "can be read.",
)
