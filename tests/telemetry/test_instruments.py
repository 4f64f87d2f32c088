"""Instruments measure, and show what they measured."""

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from falcon.telemetry import instruments
from falcon.telemetry.buckets import classic_buckets, maximum_name, native_buckets
from falcon.telemetry.exposition import OPENMETRICS, PROTOBUF, TEXT, collect, render
from falcon.telemetry.instruments import SECONDS, SIZES, WINDOW_SECONDS, WINDOWS, Counter, Histogram, maximum
from falcon.telemetry.slots import views


@pytest.fixture
def declared() -> Iterator[None]:
    """Metrics declared in a test are gone after it."""
    before = dict(instruments.REGISTRY)
    instruments._forget()
    yield
    instruments._forget()
    instruments.REGISTRY.clear()
    instruments.REGISTRY.update(before)


def cells(histogram: Histogram) -> list[float]:
    histogram.settle()
    return list(histogram._cells[histogram._at : histogram._at + histogram.length])


@given(st.lists(st.floats(min_value=0, max_value=1000), max_size=30))
def test_a_classic_bucket_has_all_that_is_not_larger_than_its_bound(values: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    for bound, count in classic_buckets(SECONDS, cells(histogram)):
        assert count == sum(value <= float(bound) for value in values)
    assert histogram.count == len(values)
    assert histogram.total == pytest.approx(sum(values))


@given(st.floats(min_value=2.0**-16, max_value=60))
def test_a_native_bucket_is_nine_percent_wide_and_holds_the_value(value: float) -> None:
    histogram = Histogram(SECONDS)
    histogram.observe_many(value, 3)
    native = native_buckets(SECONDS, cells(histogram))
    ((index, length),) = native.spans
    assert (length, native.deltas, native.count) == (1, [3], 3)
    assert 2 ** ((index - 1) / 8) * 0.9999999 < value <= 2 ** (index / 8) * 1.0000001


def test_native_buckets_come_as_spans_and_differences() -> None:
    histogram = Histogram(SECONDS)
    for value, count in ((0.5, 2), (0.55, 5), (4.0, 1), (1e-9, 4)):
        histogram.observe_many(value, count)
    native = native_buckets(SECONDS, cells(histogram))
    assert native.spans == [(-8, 1), (1, 1), (21, 1)]  # buckets -8, -6 and 16
    assert native.deltas == [2, 3, -4]
    assert (native.zero_count, native.count) == (4, 12)


def test_sizes_have_bounds_that_are_whole() -> None:
    assert [bound for bound, _ in classic_buckets(SIZES, cells(Histogram(SIZES)))][:3] == ["1.0", "2.0", "4.0"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(instruments, "time", clock)
    return clock


def test_a_maximum_is_shown_for_a_minute_and_not_much_longer(clock: Clock) -> None:
    histogram = Histogram(SECONDS)
    histogram.observe(3.0)
    histogram.observe(1.0)
    histogram.settle()
    clock.now += 60.0
    histogram.observe(0.1)
    assert maximum(cells(histogram), clock.now) == 3.0
    clock.now += WINDOW_SECONDS
    assert maximum(cells(histogram), clock.now) == 0.1
    clock.now += WINDOWS * WINDOW_SECONDS
    assert maximum(cells(histogram), clock.now) == 0.0


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 100)), max_size=40))
def test_a_maximum_is_never_less_than_any_value_of_the_last_minute(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    histogram = Histogram(SECONDS)
    seen: list[tuple[float, float]] = []
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(instruments, "time", clock)
        for pause, value in steps:
            clock.now += pause
            histogram.observe(value)
            histogram.settle()
            seen.append((clock.now, value))
            recent = max(v for at, v in seen if at >= clock.now - 60)
            older = max(v for at, v in seen if at >= clock.now - WINDOWS * WINDOW_SECONDS)
            assert recent <= maximum(cells(histogram), clock.now) <= older


def test_what_was_counted_before_the_slot_was_there_counts(tmp_path: Path, declared: None) -> None:
    metric = instruments.counter("falcon_test", "Test.", ("what",))
    metric.labels("early").inc(2)
    instruments.attach(tmp_path, "serve-0")
    metric.labels("early").inc()
    metric.labels("late").inc(5)
    shown = render(collect(views(tmp_path)), [], TEXT).decode()
    assert 'falcon_test_total{what="early"} 3.0' in shown
    assert 'falcon_test_total{what="late"} 5.0' in shown


def test_processes_are_added_up_and_their_maxima_are_not(tmp_path: Path, declared: None) -> None:
    counters = instruments.counter("falcon_test", "Test.").labels()
    oldest = instruments.gauge("falcon_test_oldest", "Test.", across="max").labels()
    sizes = instruments.gauge("falcon_test_size", "Test.").labels()
    each = instruments.gauge("falcon_test_each", "Test.", across="process").labels()
    times = instruments.histogram("falcon_test_seconds", "Test.").labels()
    for name, value in (("serve-0", 2.0), ("serve-1", 3.0)):
        instruments._forget()  # as a process that was forked does
        instruments.attach(tmp_path, name)
        counters.inc(value)
        oldest.set(value)
        sizes.set(value)
        each.set(value)
        times.observe(value)
        instruments.sample()
    shown = render(collect(views(tmp_path)), [], TEXT).decode().splitlines()
    assert "falcon_test_total 5.0" in shown
    assert "falcon_test_oldest 3.0" in shown
    assert "falcon_test_size 5.0" in shown
    assert {'falcon_test_each{process="serve-0"} 2.0', 'falcon_test_each{process="serve-1"} 3.0'} <= set(shown)
    assert {"falcon_test_seconds_count 2.0", "falcon_test_max_seconds 3.0"} <= set(shown)


def test_a_forked_child_counts_for_itself(declared: None) -> None:
    counter = instruments.counter("falcon_test", "Test.").labels()
    counter.inc(5)
    pid = os.fork()
    if pid == 0:
        counter.inc()
        os._exit(round(counter.value))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert counter.value == 5


def test_nothing_is_lost_between_threads_that_observe_and_one_that_counts(declared: None) -> None:
    times = instruments.histogram("falcon_test_seconds", "Test.").labels()

    def work() -> None:
        for _ in range(10_000):
            times.observe(0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        instruments.settle()
    assert times.count == 40_000
    assert times.total == pytest.approx(40.0)


def test_every_format_tells_the_same(tmp_path: Path, declared: None) -> None:
    instruments.attach(tmp_path, "serve-0")
    instruments.counter("falcon_test", "Test.", ("what",)).labels("x").inc(2)
    measured = collect(views(tmp_path))
    text = {family.name: family for family in text_string_to_metric_families(render(measured, [], TEXT).decode())}
    assert text["falcon_test"].samples[0].value == 2
    assert render(measured, [], OPENMETRICS).decode().endswith("# EOF\n")
    assert b"falcon_test_total" in render(measured, [], PROTOBUF)


def test_a_maximum_has_a_name_of_its_own() -> None:
    assert maximum_name("falcon_read_seconds") == "falcon_read_max_seconds"
    assert maximum_name("falcon_batch_commands") == "falcon_batch_commands_max"


def test_switched_off_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "REGISTRY", {})
    monkeypatch.setattr(instruments, "_is_on", True)
    for kind, method in ((Counter, "inc"), (instruments.Gauge, "set"), (Histogram, "observe_many")):
        monkeypatch.setattr(kind, method, getattr(kind, method))  # put back after the test
    early = instruments.histogram("falcon_test_seconds", "Test.").labels()
    instruments.switch_off()
    counter, gauge, histogram = Counter(), instruments.Gauge(), Histogram(SECONDS)
    early.observe(1)
    counter.inc()
    gauge.set(1)
    histogram.observe(1)
    histogram.observe_many(1, 2)
    assert early.count == 0
    assert (counter.value, histogram.count) == (0, 0) and math.isnan(gauge.value)
