"""Records what users meet: for locust's statistics, which it adds up over processes; and these by kind of act."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

AUDIT: Final = "audit"  # once more, of a room, after the end
PUSHED: Final = "pushed"  # from when its author meant to send a message, to its arrival at a listener
PROMISE: Final = "promise"  # of Falcon's, that was not held
FAULT: Final = "load test"  # it failed itself, so its figures mean nothing

_TEXTS_MAX: Final = 200  # different ones of a process

# Acts that users begin by themselves. All other kinds are parts of these, or follow from them.
COUNTED: Final = frozenset(
    {
        "list rooms",
        "read page",
        "send",
        "edit",
        "mark read",
        "open stream",
        "resume stream",
        "create account",
        "create room",
    }
)


class Recorder:
    """One instance a process. The loop's thread writes it and locust's takes from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: list[tuple[str, float, str | None]] = []
        self._texts: set[str] = set()

    def answered(self, kind: str, seconds: float, failure: str | None = None) -> None:
        with self._lock:
            if failure is not None and failure not in self._texts:
                if len(self._texts) >= _TEXTS_MAX:  # locust remembers each for ever
                    failure = "something else"
                else:
                    self._texts.add(failure)
            self._met.append((kind, seconds, failure))

    def violated(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.answered(PROMISE, 0.0, text)

    def faulted(self, text: str) -> None:
        self.answered(FAULT, 0.0, text)

    def take(self) -> list[tuple[str, float, str | None]]:
        """Kind, seconds, failure: each once."""
        with self._lock:
            met, self._met = self._met, []
        return met


@dataclass(frozen=True, slots=True)
class Met:
    """One kind of act: how often it was answered or given up, by ms, and how many of these failed."""

    times: Counter[int]
    failed: int

    def since(self, before: Met | None) -> Met:
        return self if before is None else Met(self.times - before.times, self.failed - before.failed)

    @property
    def count(self) -> int:
        return self.times.total()

    def quantile(self, share: float) -> float | None:
        """The ms that this share (0 to 1) does not exceed; None if there is none."""
        left = math.ceil(share * self.count)
        for milliseconds, times in sorted(self.times.items()):
            left -= times
            if left <= 0:
                return milliseconds
        return None


def by_kind(stats: Any) -> dict[str, Met]:
    """Locust's statistics of all processes."""
    return {entry.name: Met(Counter(entry.response_times), entry.num_failures) for entry in stats.entries.values()}
