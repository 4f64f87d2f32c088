"""Finding the limit: the rate is raised stage by stage until something is broken. It knows nothing of locust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from load_tests.users.objectives import Objectives
from load_tests.users.recorder import COUNTED, PROMISE, Met

_RAISED_BY: Final = 1.25
_SETTLE_SECONDS: Final = 3.0
_STAGE_SECONDS: Final = 12.0
_REACHED: Final = 0.9  # of the acts that were meant
_GENERATOR_BUSY: Final = 0.9  # of a core, past which a stage says more about the generator than about Falcon


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
    time is over. Times in seconds."""

    def __init__(self, objectives: Objectives, acts: float, people: int, people_max: int, seconds: float) -> None:
        """``acts``: a second, of one person; ``people``: in the first stage."""
        self._objectives = objectives
        self._acts = acts
        self._people = people
        self._people_max = people_max
        self._seconds = seconds
        self._stage_seconds = min(_STAGE_SECONDS, max(_SETTLE_SECONDS + 5, seconds / 8))
        self._begun: float | None = None
        self._stage_begun = 0.0
        self._settled: tuple[float, Mapping[str, Met]] | None = None
        self._held = (0.0, 0)
        self.limit: Limit | None = None

    def people(self, now: float, met: Mapping[str, Met], busy: float) -> int | None:
        """How many users there should be. None when the limit was found. ``met``: since the beginning; ``busy``: the
        share of a core that the busiest worker uses."""
        if self._begun is None:
            self._begun = self._stage_begun = now
        if self._settled is None and now - self._stage_begun >= _SETTLE_SECONDS:
            self._settled = (now, met)
        if self._settled is not None and now - self._stage_begun >= self._stage_seconds:
            began, before = self._settled
            # A promise that was broken at any time stays so.
            stage = {kind: each.since(before.get(kind) if kind != PROMISE else None) for kind, each in met.items()}
            self.limit = self._judged(stage, now - began, busy)
            self._stage_begun, self._settled = now, None
            self._people = min(self._people_max, max(self._people + 1, round(self._people * _RAISED_BY)))
        if self.limit is None and now - self._begun >= self._seconds:
            self.limit = Limit(*self._held, "the time was over", of_falcon=False)
        return None if self.limit is not None else self._people

    def _judged(self, met: Mapping[str, Met], seconds: float, busy: float) -> Limit | None:
        """The limit if this stage is beyond it, or the last possible one."""
        meant = self._people * self._acts
        done = sum(each.count for kind, each in met.items() if kind in COUNTED) / seconds
        if busy > _GENERATOR_BUSY:
            used = f"the load generator itself used {busy * 100:.0f} % of a core at {meant:.0f} acts/s"
            return Limit(*self._held, f"{used}: give it more workers, on cores of their own", of_falcon=False)
        for verdict in self._objectives.judge(met):
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
