"""Counter, gauge and histogram: covers of prometheus-client's, in its multiprocess mode.

There a process keeps its values in mapped files, so that they outlive it, and one process shows those of all
(``exposition``). A write costs 1 µs and an observation 3 to 6 µs, too much for every message, and takes one lock for
all metrics: a finalizer that counts, as that of a failed task does, would wait for its own thread. So all
measurements are set aside, and only :func:`sample` passes them on, about once a second.

Before :func:`attach`, as in a command or a test, nothing is shown, and prometheus-client is not even imported.
"""

import contextlib
import math
import os
import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Final, Generic, Literal, Never, TypeAlias, TypeVar

from falcon.telemetry.run_folder import SIGN_BYTES, SignOfLife, reserve

# Bounds of buckets, each twice the one before.
SECONDS: Final = tuple(2.0**exponent for exponent in range(-13, 4))  # 0.12 ms to 8 s
SIZES: Final = tuple(2.0**exponent for exponent in range(17))

# The files of a process, as prometheus-client names them, and what is reserved for each: twice what it has when every
# route, command and query has been used. A series takes some 200 bytes, and a histogram has 19 of them.
_FILES: Final = {"counter": 1 << 17, "histogram": 1 << 20, "gauge_livesum": 1 << 16, "gauge_livemax": 1 << 16}
PROCESS_BYTES: Final = SIGN_BYTES + sum(_FILES.values())

_ASIDE_MAX: Final = 1 << 16  # of a histogram: more than a process observes in a second
_AT_ONCE: Final = 512  # values that are added up at once: 20 µs, or 50 µs where they are sorted
_END_SECONDS: Final = 1.0  # a process that ends waits so long for a sample that is under way
_SOME: Final = 16  # up to so many equal values, setting each aside is cheaper

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Across: TypeAlias = Literal["sum", "max", "process"]
Make: TypeAlias = Callable[[], Any]  # makes the values of a label set in prometheus-client


class Counter:
    """Counts events. It takes no lock: a finalizer may count while its own thread is within any other call."""

    def __init__(self) -> None:
        self._aside: deque[float] = deque()
        self._total: Callable[[], float] = float
        self._followed = 0.0  # what it has risen by for the total
        self._shown: Any = None

    def inc(self, amount: float = 1.0) -> None:
        self._aside.append(amount)
        if len(self._aside) > _AT_ONCE:
            self._aside.append(self._taken())

    def follow(self, total: Callable[[], float]) -> None:
        """Rise as ``total`` does from here on. It is called about once a second, from another thread."""
        self._rise()
        self._total, self._followed = total, total()

    def _rise(self) -> None:
        total = self._total()
        if total != self._followed:
            self.inc(total - self._followed)
            self._followed = total

    def _taken(self) -> float:
        """Takes what was set aside."""
        total = 0.0
        with contextlib.suppress(IndexError):
            while True:
                total += self._aside.popleft()
        return total

    def show(self, make: Make) -> None:
        self._rise()
        if self._shown is None:
            self._shown = make()
        if self._aside:
            self._shown.inc(self._taken())

    def hide(self) -> None:
        self._shown = None

    @property
    def value(self) -> float:
        self._rise()
        return sum(list(self._aside)) + (0.0 if self._shown is None else float(self._shown._value.get()))


class Gauge:
    """A present value. It has no series until it has a value."""

    def __init__(self) -> None:
        self._value = math.nan
        self._function: Callable[[], float] | None = None
        self._shown: Any = None

    def set(self, value: float) -> None:
        self._value = value

    def set_function(self, function: Callable[[], float]) -> None:
        """``function`` is called about once a second, from another thread, for the value."""
        self._function = function

    def show(self, make: Make) -> None:
        value = self.value
        if self._shown is None and not math.isnan(value):
            self._shown = make()
        if self._shown is not None:
            self._shown.set(value)

    def hide(self) -> None:
        self._shown = None

    @property
    def value(self) -> float:
        if self._function is not None:
            self._value = self._function()
        return self._value


class Histogram:
    """Counts values in buckets.

    ``observe`` sets a value aside with one call of the interpreter's own, since every message pays for it. Without
    :meth:`show` only the last ones are kept.
    """

    observe: Callable[[float], object]

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # of values that prometheus-client does not have yet
        self._total = 0.0
        self._aside: deque[float] = deque(maxlen=_ASIDE_MAX)
        self._lock = threading.Lock()
        self._shown: Any = None
        self.observe = self._aside.append

    def observe_many(self, value: float, count: int) -> None:
        if count <= _SOME:
            self._aside.extend(repeat(value, count))
            return
        with self._lock:
            self._total += value * count
            self._counts[bisect_left(self._bounds, value)] += count

    def show(self, make: Make) -> None:
        """Each bucket is written once, however many values it has got."""
        self._count_aside()
        if self._shown is None:
            self._shown = make()
        with self._lock:
            counts, self._counts = self._counts, [0] * len(self._counts)
            total, self._total = self._total, 0.0
        if total:
            self._shown._sum.inc(total)
        for bucket, count in enumerate(counts):
            if count:
                self._shown._buckets[bucket].inc(count)

    def hide(self) -> None:
        self._shown = None

    def _count_aside(self) -> None:
        """Some at a time, so that no thread waits for all of it."""
        aside = self._aside
        while aside:
            with self._lock:
                values = sorted([aside.popleft() for _ in range(min(len(aside), _AT_ONCE))])
                self._total += sum(values)
                for bucket, count in _tally(values, self._bounds):
                    self._counts[bucket] += count

    @property
    def count(self) -> int:
        """Number of the values that are not shown yet; ``total`` is their sum."""
        self._count_aside()
        return sum(self._counts)

    @property
    def total(self) -> float:
        self._count_aside()
        return self._total


def _tally(values: list[float], bounds: Sequence[float]) -> Iterator[tuple[int, int]]:
    """How many of the sorted values fall into each bucket: looks up each bucket once, not each value."""
    start = 0
    while start < len(values):
        bucket = bisect_left(bounds, values[start])
        end = bisect_right(values, bounds[bucket], start) if bucket < len(bounds) else len(values)
        yield bucket, end - start
        start = end


C = TypeVar("C", Counter, Gauge, Histogram)


class Metric(Generic[C]):
    """A metric and its values by label set.

    ``across``: how the processes' values combine: the sum, the largest, or one value for each process, which is then a
    label. ``bounds``: of a histogram's buckets.
    """

    def __init__(
        self,
        name: str,
        help: str,
        labels: tuple[str, ...],
        kind: Kind,
        make: Callable[[], C],
        bounds: Sequence[float] = (),
        across: Across = "sum",
    ) -> None:
        self.name = name
        self.help = help
        self.label_names = labels
        self.kind: Kind = kind
        self.bounds = bounds
        self.across: Across = across
        self._make_child: Callable[[], C] = make
        self._children: dict[tuple[str, ...], C] = {}
        self._making = threading.Lock()
        self._shown: Any = None
        assert name not in REGISTRY, f"{name} is declared twice"
        REGISTRY[name] = self

    def labels(self, *values: str) -> C:
        """Look it up once if it is used often."""
        child = self._children.get(values)
        if child is not None:
            return child
        assert len(values) == len(self.label_names), f"{self.name} has the labels {self.label_names}"
        with self._making:
            return self._children.setdefault(values, self._make_child())

    def begin(self, *alternatives: tuple[str, ...]) -> None:
        """Show these label sets from now on. If a counter appears only with its first event, no rate shows that
        event."""
        for values in alternatives:
            self.labels(*values)

    def children(self) -> list[C]:
        return list(self._children.values())

    @property
    def shown_labels(self) -> tuple[str, ...]:
        return (*self.label_names, "process") if self.across == "process" else self.label_names

    def show(self, process: str) -> None:
        own: tuple[str, ...] = (process,) if self.across == "process" else ()
        children: list[tuple[tuple[str, ...], C]] = list(self._children.items())
        for given, child in children:
            child.show(partial(self._show_labels, given + own))

    def hide(self) -> None:
        self._shown = None
        for child in self.children():
            child.hide()

    def _show_labels(self, values: tuple[str, ...]) -> Any:
        import prometheus_client

        if self._shown is None:
            declared: dict[str, Any] = {"labelnames": self.shown_labels, "registry": None}
            if self.kind == "counter":
                self._shown = prometheus_client.Counter(self.name, self.help, **declared)
            elif self.kind == "gauge":
                mode: Any = "livemax" if self.across == "max" else "livesum"
                self._shown = prometheus_client.Gauge(self.name, self.help, multiprocess_mode=mode, **declared)
            else:
                self._shown = prometheus_client.Histogram(self.name, self.help, buckets=self.bounds, **declared)
        return self._shown.labels(*values) if values else self._shown


AnyMetric: TypeAlias = Metric[Counter] | Metric[Gauge] | Metric[Histogram]

REGISTRY: dict[str, AnyMetric] = {}
_sampling: Final = threading.Lock()
_place: tuple[Path, str] | None = None
_sign: SignOfLife | None = None


def counter(name: str, help: str, labels: tuple[str, ...] = (), across: Across = "sum") -> Metric[Counter]:
    """``name`` without ``_total``, which Prometheus' formats add."""
    return Metric(name, help, labels, "counter", Counter, across=across)


def gauge(name: str, help: str, labels: tuple[str, ...] = (), across: Across = "sum") -> Metric[Gauge]:
    return Metric(name, help, labels, "gauge", Gauge, across=across)


def histogram(
    name: str,
    help: str,
    labels: tuple[str, ...] = (),
    bounds: Sequence[float] = SECONDS,
    across: Across = "sum",
) -> Metric[Histogram]:
    return Metric(name, help, labels, "histogram", lambda: Histogram(bounds), bounds, across)


def attach(folder: Path, name: str) -> None:
    """Show all measurements of this process, as those of ``name``, from the next :func:`sample` on. Once a process.
    Raises NoRoom."""
    global _place, _sign
    for kind, size in _FILES.items():
        reserve(folder / f"{kind}_{name}.db", size)
    with _sampling:
        _place, _sign = (folder, name), SignOfLife(folder, name)
        for metric in list(REGISTRY.values()):
            metric.hide()
        # prometheus-client keeps what it makes from now on in files of this name. Its own name would be the pid, and
        # each process would leave files.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


def sample() -> None:
    """Pass on what was set aside, and call the functions of all gauges. About once a second in each measured process:
    when a process is killed, what it has counted and observed since is lost."""
    with _sampling:
        _sample()


def end_process(code: int) -> Never:
    """End at once, with a fault, but not without the last counts: they say which fault it was."""
    if _sampling.acquire(timeout=_END_SECONDS):
        try:
            with contextlib.suppress(Exception):  # a gauge's function may look at what is broken
                _sample()
        finally:
            _sampling.release()  # in a simulation other processes live on in this one
    os._exit(code)


def _sample() -> None:
    if _sign is None or _place is None:
        return
    _sign.renew()
    metrics = sorted(REGISTRY.values(), key=lambda metric: metric.kind == "gauge")
    for metric in metrics:  # gauges come last, since a function may fail
        metric.show(_place[1])


def forget_gauges(name: str) -> None:
    """A process of this tree has ended, and its gauges say nothing any more."""
    if _place is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(name, str(_place[0]))  # type: ignore[no-untyped-call]
