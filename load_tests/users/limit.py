"""Finding the limit: the rate is raised stage by stage until something is broken. It knows nothing of locust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from load_tests.users.objectives import Objectives
from load_tests.users.recorder import COUNTED, Timeline

_RAISED_BY: Final = 1.25
_SETTLE_SECONDS: Final = 3.0
_STAGE_SECONDS: Final = 12.0
_REPORTED_SECONDS: Final = 2.0  # by then workers have told of a second
_REACHED: Final = 0.9  # of the acts that were meant
_GENERATOR_DELAY: Final = 0.25  # s, past which a stage says more about the generator than about Falcon


@dataclass(frozen=True, slots=True)
class Limit:
    """The finding. ``rate``: the acts a second that held, with so many ``people``. ``reason``: why there were no more.

    ``of_falcon``: an objective was broken. Otherwise Falcon can do more than could be asked of it here.
    """

    rate: float
    people: int
    reason: str
    of_falcon: bool


class Search:
    """Raises the rate by a quarter, stage by stage, until an objective is broken, the generator cannot do more, or the
    time is over. Times in seconds by the clock that the timeline has."""

    def __init__(
        self, timeline: Timeline, objectives: Objectives, acts: float, people: int, people_max: int, seconds: float
    ) -> None:
        """``acts``: a second, of one person; ``people``: in the first stage."""
        self._timeline = timeline
        self._objectives = objectives
        self._acts = acts
        self._people = people
        self._people_max = people_max
        self._seconds = seconds
        self._stage_seconds = min(_STAGE_SECONDS, max(_SETTLE_SECONDS + _REPORTED_SECONDS + 3, seconds / 8))
        self._begun: float | None = None
        self._stage_begun = 0.0
        self._held = (0.0, 0)
        self.limit: Limit | None = None

    def people(self, now: float) -> int | None:
        """How many users there should be. None when the limit was found."""
        if self._begun is None:
            self._begun = self._stage_begun = now
        if self.limit is None and now - self._stage_begun >= self._stage_seconds:
            self.limit = self._judged(self._stage_begun + _SETTLE_SECONDS, now - _REPORTED_SECONDS)
            self._stage_begun = now
            self._people = min(self._people_max, max(self._people + 1, round(self._people * _RAISED_BY)))
        if self.limit is None and now - self._begun >= self._seconds:
            self.limit = Limit(*self._held, "the time was over", of_falcon=False)
        return None if self.limit is not None else self._people

    def _judged(self, begin: float, end: float) -> Limit | None:
        """True if this stage is beyond the limit, or the last possible one."""
        sums = self._timeline.over(begin, end)
        meant = self._people * self._acts
        done = sum(each.times.count for kind, each in sums.items() if kind in COUNTED) / max(1, int(end) - int(begin))
        delay = self._timeline.loop_delay(begin, end)
        if delay > _GENERATOR_DELAY:
            late = f"the load generator itself was {delay * 1000:.0f} ms late at {meant:.0f} acts/s"
            return Limit(*self._held, f"{late}: give it more workers, on cores of their own", of_falcon=False)
        for verdict in self._objectives.judge(sums, self._timeline.violated):
            if not verdict.held:
                reason = f"{verdict.what} was {verdict.found} at {meant:.0f} acts/s, and may be {verdict.wanted}"
                return Limit(*self._held, reason, of_falcon=True)
        if done < meant * _REACHED:
            reason = f"of {meant:.0f} acts/s that were meant only {done:.0f} were done"
            return Limit(*self._held, reason, of_falcon=True)
        self._held = (done, self._people)
        if self._people == self._people_max:
            return Limit(*self._held, f"there were no more than {self._people_max} people to come", of_falcon=False)
        return None
