"""Counter, gauge and histogram, as cells of this process's slot.

prometheus-client's own would lose what a killed process has counted, and know no native buckets and no maxima. It only
renders what these have measured (``exposition``).

Until :func:`attach` the cells are the process's own memory. A forked child begins with cells of its own, at zero.
"""

import math
import os
import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from falcon.telemetry.slots import Slot, SlotHeader, UnmeasuredSlot

# A native bucket's bound is 2^(1/8) times the bound of the one before: Prometheus' schema 3.
SCHEMA: Final = 3
PER_DOUBLING: Final = 1 << SCHEMA

_ASIDE_MAX: Final = 1 << 16  # of a histogram: more than a process observes in a second
_AT_ONCE: Final = 512
_SOME: Final = 16  # up to so many equal values, setting each aside is cheaper

# A maximum covers the present window and the twelve before: the last minute, and a little more.
WINDOW_SECONDS: Final = 5.0
WINDOWS: Final = 13

Cells: TypeAlias = "array[float] | memoryview[float]"
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Across: TypeAlias = Literal["sum", "max", "process"]


class Range(NamedTuple):
    """The range of a histogram: from ``2 ** low`` to ``2 ** high``, with a classic bucket for each doubling from ``2 **
    classic``. Powers of two make both kinds of buckets counts of the same thing."""

    low: int
    high: int
    classic: int

    @property
    def buckets(self) -> int:
        """The native buckets, between two outer ones for what is below and above."""
        return (self.high - self.low) * PER_DOUBLING + 2


@lru_cache
def _bounds(range_: Range) -> list[float]:
    """Upper bounds of all buckets but the last. The bounds of a doubling are exactly those of another times a power of
    two."""
    fractions = [2 ** (i / PER_DOUBLING - 1) for i in range(PER_DOUBLING)]
    doublings = range(range_.low + 1, range_.high + 1)
    return [*(math.ldexp(each, doubling) for doubling in doublings for each in fractions), 2.0**range_.high]


SECONDS: Final = Range(-17, 6, -13)  # 7.6 µs to 64 s; classic from 0.12 ms to 8 s
SIZES: Final = Range(-1, 16, 0)

_SUM, _MAXIMA = 0, 1
BUCKETS_AT: Final = 1 + 2 * WINDOWS


class _Child:
    """The values of one label set."""

    kind: Kind
    length: int

    def __init__(self) -> None:
        self._cells: Cells = array("d", [0.0] * self.length)
        self._at = 0
        self._lock = threading.Lock()

    def move(self, cells: Cells, at: int) -> None:
        """Move to other cells. Values that these have already continue, with what has been counted until now."""
        with self._lock:
            self._add_to(cells, at)
            self._cells, self._at = cells, at

    def _add_to(self, cells: Cells, at: int) -> None:
        for i in range(self.length):
            cells[at + i] += self._cells[self._at + i]

    def forget(self) -> None:
        """Start again with new cells, also after a fork: a thread of the parent may have held the lock."""
        self._cells, self._at = array("d", [0.0] * self.length), 0
        self._lock = threading.Lock()


class Counter(_Child):
    """Counts events."""

    kind: Kind = "counter"
    length = 1

    def inc(self, amount: float = 1.0) -> None:
        with self._lock:
            self._cells[self._at] += amount

    @staticmethod
    def inc_all(counters: "Iterable[Counter]", amount: float) -> None:
        """All of them by the same amount, in one call."""
        for each in counters:
            with each._lock:
                each._cells[each._at] += amount

    @property
    def value(self) -> float:
        return self._cells[self._at]


class Gauge(_Child):
    """A present value."""

    kind: Kind = "gauge"
    length = 1

    def __init__(self) -> None:
        super().__init__()
        self._function: Callable[[], float] | None = None
        self._cells[0] = math.nan

    def set(self, value: float) -> None:
        self._cells[self._at] = value

    def set_function(self, function: Callable[[], float]) -> None:
        """``function`` is called about once a second, from another thread, for the value."""
        self._function = function

    def sample(self) -> None:
        if self._function is not None:
            self._cells[self._at] = self._function()

    @property
    def value(self) -> float:
        self.sample()
        return self._cells[self._at]

    def _add_to(self, cells: Cells, at: int) -> None:
        cells[at] = self._cells[self._at]

    def forget(self) -> None:
        super().forget()
        self._cells[0] = math.nan
        self._function = None


class Histogram(_Child):
    """Counts values in native buckets, and keeps the largest of the last minute.

    ``observe`` sets a value aside with one call of the interpreter's own, since every message pays for it.
    :meth:`settle` counts the values later. Without it only the last ones are kept.
    """

    kind: Kind = "histogram"
    observe: Callable[[float], object]

    def __init__(self, range_: Range) -> None:
        self.range = range_
        self.length = BUCKETS_AT + range_.buckets
        self._bounds = _bounds(range_)
        self._aside: deque[float] = deque(maxlen=_ASIDE_MAX)
        self.observe = self._aside.append if _is_on else _nothing
        super().__init__()

    def observe_many(self, value: float, count: int) -> None:
        if count <= _SOME:
            self._aside.extend(repeat(value, count))
            return
        with self._lock:
            cells, at = self._cells, self._at
            cells[at] += value * count
            cells[at + BUCKETS_AT + bisect_left(self._bounds, value)] += count
            self._note_largest(value)

    def settle(self) -> None:
        """Count the values that were set aside, some at a time, so that no thread waits for all of it."""
        while self._aside:
            with self._lock:
                self._settle_some()

    def _settle_some(self) -> None:
        aside = self._aside
        values = sorted([aside.popleft() for _ in range(min(len(aside), _AT_ONCE))])
        if not values:  # another thread has just done it
            return
        cells, at = self._cells, self._at
        cells[at] += sum(values)
        for bucket, count in _tally(values, self._bounds):
            cells[at + BUCKETS_AT + bucket] += count
        self._note_largest(values[-1])

    def _note_largest(self, value: float) -> None:
        window = time.monotonic() // WINDOW_SECONDS
        cells, largest = self._cells, self._at + _MAXIMA + int(window % WINDOWS) * 2
        if cells[largest] != window:
            cells[largest] = window
            cells[largest + 1] = value
        elif value > cells[largest + 1]:
            cells[largest + 1] = value

    def move(self, cells: Cells, at: int) -> None:
        self.settle()
        super().move(cells, at)

    def forget(self) -> None:
        super().forget()
        self._aside.clear()

    @property
    def count(self) -> float:
        self.settle()
        return sum(self._cells[self._at + BUCKETS_AT : self._at + self.length])

    @property
    def total(self) -> float:
        """The sum of the observed values."""
        self.settle()
        return self._cells[self._at]

    def _add_to(self, cells: Cells, at: int) -> None:
        cells[at] += self._cells[self._at]
        for i in range(_MAXIMA, BUCKETS_AT):
            cells[at + i] = self._cells[self._at + i]
        for i in range(BUCKETS_AT, self.length):
            cells[at + i] += self._cells[self._at + i]


def _tally(values: list[float], bounds: list[float]) -> Iterator[tuple[int, int]]:
    """How many of the sorted values fall into each bucket: looks up each bucket once, not each value."""
    start = 0
    while start < len(values):
        bucket = bisect_left(bounds, values[start])
        end = bisect_right(values, bounds[bucket], start) if bucket < len(bounds) else len(values)
        yield bucket, end - start
        start = end


def maximum(cells: list[float], now: float) -> float:
    """The largest value of the last minute in a histogram's cells; 0 if there was none. ``now``: CLOCK_MONOTONIC."""
    oldest = now // WINDOW_SECONDS - WINDOWS
    windows = zip(cells[_MAXIMA:BUCKETS_AT:2], cells[_MAXIMA + 1 : BUCKETS_AT : 2], strict=True)
    return max((value for window, value in windows if window > oldest), default=0.0)


C = TypeVar("C", Counter, Gauge, Histogram)


class Metric(Generic[C]):
    """A metric and its values by label set.

    ``across``: how the processes' values combine: the sum, the largest, or one value for each process, which is then a
    label.
    """

    def __init__(
        self,
        name: str,
        help: str,
        labels: tuple[str, ...],
        kind: Kind,
        make: Callable[[], C],
        range_: Range | None = None,
        across: Across = "sum",
    ) -> None:
        self.name = name
        self.help = help
        self.label_names = labels
        self.kind: Kind = kind
        self._make_child: Callable[[], C] = make
        self.range = range_
        self.across: Across = across
        self._children: dict[tuple[str, ...], C] = {}
        self._making = threading.Lock()
        assert name not in REGISTRY, f"{name} is declared twice"
        REGISTRY[name] = self

    def labels(self, *values: str) -> C:
        """Look it up once if it is used often."""
        child = self._children.get(values)
        return child if child is not None else self._make(values)

    def begin(self, *alternatives: tuple[str, ...]) -> None:
        """Show these label sets from now on. If a counter appears only with its first event, no rate shows that
        event."""
        for values in alternatives:
            self.labels(*values)

    def children(self) -> list[C]:
        return list(self._children.values())

    def _make(self, values: tuple[str, ...]) -> C:
        assert len(values) == len(self.label_names), f"{self.name} has the labels {self.label_names}"
        with self._making:
            child = self._children.get(values)
            if child is None:
                child = self._make_child()
                if _slot is not None:
                    child.move(_slot.cells, _slot.allocate((self.name, values), child.length, child.kind))
                self._children[values] = child
        return child

    def attach(self, slot: Slot) -> None:
        with self._making:
            for values, child in self._children.items():
                child.move(slot.cells, slot.allocate((self.name, values), child.length, child.kind))

    def forget(self) -> None:
        self._making = threading.Lock()
        for child in self._children.values():
            child.forget()

    def clear(self) -> None:
        """Forget what was measured."""
        for child in self.children():
            child.forget()


REGISTRY: "dict[str, Metric[Counter] | Metric[Gauge] | Metric[Histogram]]" = {}
_header: SlotHeader | None = None
_slot: Slot | None = None
_is_on = True


def counter(name: str, help: str, labels: tuple[str, ...] = (), across: Across = "sum") -> Metric[Counter]:
    """``name`` without ``_total``, which Prometheus' formats add."""
    return Metric(name, help, labels, "counter", Counter, across=across)


def gauge(name: str, help: str, labels: tuple[str, ...] = (), across: Across = "sum") -> Metric[Gauge]:
    return Metric(name, help, labels, "gauge", Gauge, across=across)


def histogram(
    name: str, help: str, labels: tuple[str, ...] = (), range_: Range = SECONDS, across: Across = "sum"
) -> Metric[Histogram]:
    """It is exposed with a gauge of its maximum: ``falcon_x_seconds`` has ``falcon_x_max_seconds``."""
    return Metric(name, help, labels, "histogram", lambda: Histogram(range_), range_, across)


def attach(folder: Path, name: str) -> None:
    """Put all measurements of this process into its slot from here on. Once a process. Raises NoRoom."""
    global _header, _slot
    if not _is_on:
        _header = UnmeasuredSlot(folder, name)
        return
    _header = _slot = Slot(folder, name)
    for metric in list(REGISTRY.values()):
        metric.attach(_slot)


def sample() -> None:
    """Call the functions of all gauges, and count what was set aside. About once a second in each measured process:
    when a process is killed, what its histograms observed since is lost."""
    settle()
    if _header is not None:
        _header.sampled()
    for metric in list(REGISTRY.values()):
        for child in metric.children():
            if isinstance(child, Gauge):
                child.sample()


def settle() -> None:
    """Count what was set aside in this process."""
    for metric in list(REGISTRY.values()):
        if metric.kind == "histogram":
            for child in metric.children():
                if isinstance(child, Histogram):
                    child.settle()


def switch_off() -> None:
    """Measure nothing for the whole life of the process. The difference is what measuring costs."""
    global _is_on
    _is_on = False
    for kind, method in ((Counter, "inc"), (Counter, "inc_all"), (Gauge, "set"), (Histogram, "observe_many")):
        setattr(kind, method, _nothing)
    for metric in list(REGISTRY.values()):
        for child in metric.children():
            if isinstance(child, Histogram):
                child.observe = _nothing


def _nothing(*anything: object) -> None:
    pass


def _forget() -> None:
    global _header, _slot
    _header = _slot = None
    for metric in REGISTRY.values():
        metric.forget()


os.register_at_fork(after_in_child=_forget)
