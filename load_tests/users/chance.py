"""The distributions of the users' acts: when an act is meant to begin, how long a user thinks, which room it picks.

Each takes its source of chance, so a seed makes a run's plan the same again.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from random import Random


def even(rate: float, phase: float = 0.0) -> Iterator[float]:
    """Starts ``1 / rate`` s apart, in seconds, without end. ``phase``: of a gap, 0 to 1, before the first."""
    number = 0
    while True:
        yield (number + phase) / rate
        number += 1


def poisson(rate: float, chance: Random) -> Iterator[float]:
    """Starts of many who know nothing of one another: gaps are exponential with the mean ``1 / rate`` s."""
    at = 0.0
    while True:
        at += chance.expovariate(rate)
        yield at


class Thinking:
    """Log-normal pauses: most are about the median, some are several times as long, in seconds."""

    def __init__(self, median: float, sigma: float = 0.6) -> None:
        self.median = median
        self.sigma = sigma

    def draw(self, chance: Random) -> float:
        return self.median * math.exp(chance.gauss(0.0, self.sigma))

    @property
    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)


class Zipf:
    """Ranks from 0 on, of which the k-th is drawn ``k ** -exponent`` times as often as the first, k from 1 on."""

    def __init__(self, count: int, exponent: float = 1.0) -> None:
        self.weights = [rank**-exponent for rank in range(1, count + 1)]
        self._cumulative = list(accumulate(self.weights))

    def draw(self, chance: Random) -> int:
        at = chance.random() * self._cumulative[-1]
        return min(bisect(self._cumulative, at), len(self.weights) - 1)


class Pace:
    """When one person means to act next.

    A pause counts from when the last act was *meant* to begin, not from when it was answered. So a slow answer neither
    thins out what is asked, nor hides how long what comes behind it has waited: that counts from its own moment.
    """

    def __init__(self, now: float) -> None:
        self.meant = now
        self._is_due = False

    def pause(self, seconds: float) -> None:
        self.meant += seconds
        self._is_due = True

    def since(self, now: float) -> float:
        """The time from which the next act counts. An act that follows an answer at once was meant at that moment."""
        since = self.meant if self._is_due else now
        self._is_due = False
        return since
