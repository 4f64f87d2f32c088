"""Records times and failures, second by second, in each process. The leader adds them up."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from tools.harness.histogram import Histogram

_TEXTS_MAX: Final = 200

AUDIT: Final = "audit"  # once more, of a room, after the end
PUSHED: Final = "pushed"  # from when its author meant to send a message, to its arrival at a listener

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


class Cell(msgspec.Struct):
    """One kind of act in one second: times of all that were answered or given up, and how many of them failed."""

    longest: float
    buckets: list[int]
    failed: int = 0


class Second(msgspec.Struct):
    """``loop_delay``: how much later than asked for the generator's own loop called, at worst, in s; ``cpu``: what the
    generator's process used, in s. The worst and the sum of all workers."""

    cells: dict[str, Cell] = {}
    people: int = 0
    loop_delay: float = 0.0
    cpu: float = 0.0


class Part(msgspec.Struct):
    """The records since the last part. Seconds by the machine's monotonic clock; texts with how often they came.

    ``violations``: of Falcon's promises; ``failures``: of acts; ``faults``: of the load test itself.
    """

    seconds: dict[int, Second] = {}
    violations: dict[str, int] = {}
    failures: dict[str, int] = {}
    faults: dict[str, int] = {}


class _Now:
    """The second that is being gathered."""

    def __init__(self) -> None:
        self.times: dict[str, Histogram] = {}
        self.failed: dict[str, int] = {}
        self.people = 0
        self.loop_delay = 0.0
        self.cpu = 0.0


class Recorder:
    """One instance a process. The loop's thread writes it and another one takes from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[int, _Now] = {}
        self._violations: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._faults: dict[str, int] = {}
        self._for_locust: list[tuple[str, float, str | None]] = []

    def answered(self, kind: str, seconds: float, failure: str | None = None) -> None:
        with self._lock:
            now = self._now()
            histogram = now.times.get(kind)
            if histogram is None:
                histogram = now.times[kind] = Histogram()
            histogram.add(seconds)
            if failure is not None:
                now.failed[kind] = now.failed.get(kind, 0) + 1
                _count(self._failures, f"{kind}: {failure}")
            self._for_locust.append((kind, seconds, failure))

    def violated(self, texts: list[str]) -> None:
        """Each is a failure for locust as well."""
        if texts:
            with self._lock:
                for text in texts:
                    _count(self._violations, text)
                    self._for_locust.append(("promise", 0.0, text))

    def faulted(self, text: str) -> None:
        """The load test itself failed, so its figures mean nothing."""
        with self._lock:
            _count(self._faults, text)

    def ran(self, people: int, loop_delay: float, cpu: float) -> None:
        """How the generator itself is."""
        with self._lock:
            now = self._now()
            now.people = people
            now.loop_delay = max(now.loop_delay, loop_delay)
            now.cpu += cpu

    def take(self, *, everything: bool = False) -> Part:
        """The seconds that are over, each once; with ``everything`` also the one that is not."""
        with self._lock:
            open_since = math.inf if everything else int(time.time())
            seconds = {at: now for at, now in self._seconds.items() if at < open_since}
            self._seconds = {at: now for at, now in self._seconds.items() if at >= open_since}
            violations, self._violations = self._violations, {}
            failures, self._failures = self._failures, {}
            faults, self._faults = self._faults, {}
        return Part({at: _packed(now) for at, now in seconds.items()}, violations, failures, faults)

    def take_for_locust(self) -> list[tuple[str, float, str | None]]:
        """Kind, seconds, failure; for its own statistics."""
        with self._lock:
            taken, self._for_locust = self._for_locust, []
        return taken

    def _now(self) -> _Now:
        second = int(time.time())
        now = self._seconds.get(second)
        if now is None:
            now = self._seconds[second] = _Now()
        return now


def _packed(now: _Now) -> Second:
    cells = {kind: Cell(*histogram.packed(), failed=now.failed.get(kind, 0)) for kind, histogram in now.times.items()}
    return Second(cells, now.people, now.loop_delay, now.cpu)


def _count(texts: dict[str, int], text: str, times: int = 1) -> None:
    """Beyond some hundred different texts, all others are counted together."""
    if text not in texts and len(texts) >= _TEXTS_MAX:
        text = "and others"
    texts[text] = texts.get(text, 0) + times


def _count_all(texts: dict[str, int], more: dict[str, int]) -> None:
    for text, times in more.items():
        _count(texts, text, times)


class Sum:
    """Times and failures of some seconds together."""

    def __init__(self) -> None:
        self.times = Histogram()
        self.failed = 0

    def add(self, cell: Cell) -> None:
        self.times.merge(Histogram.unpacked(cell.longest, cell.buckets))
        self.failed += cell.failed


class Timeline:
    """All parts of all workers, added up."""

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}
        self.violations: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.faults: dict[str, int] = {}

    def add(self, part: Part) -> None:
        for at, second in part.seconds.items():
            known = self.seconds.setdefault(at, Second({}))
            known.people += second.people
            known.loop_delay = max(known.loop_delay, second.loop_delay)
            known.cpu += second.cpu
            for kind, cell in second.cells.items():
                known.cells[kind] = _added(known.cells.get(kind), cell)
        _count_all(self.violations, part.violations)
        _count_all(self.failures, part.failures)
        _count_all(self.faults, part.faults)

    @property
    def violated(self) -> int:
        return sum(self.violations.values())

    def over(self, begin: float, end: float) -> dict[str, Sum]:
        """By kind, over the whole seconds from ``begin`` to before ``end``."""
        found: dict[str, Sum] = {}
        for _, second in self._between(begin, end):
            for kind, cell in second.cells.items():
                found.setdefault(kind, Sum()).add(cell)
        return found

    def loop_delay(self, begin: float, end: float) -> float:
        """The worst of the generator's."""
        return max((second.loop_delay for _, second in self._between(begin, end)), default=0.0)

    def _between(self, begin: float, end: float) -> Iterator[tuple[int, Second]]:
        for at in sorted(self.seconds):
            if begin <= at < end:
                yield at, self.seconds[at]


def _added(known: Cell | None, cell: Cell) -> Cell:
    if known is None:
        return cell
    both = Sum()
    both.add(known)
    both.add(cell)
    return Cell(*both.times.packed(), failed=both.failed)
