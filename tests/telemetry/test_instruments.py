"""Instruments measure, and show what they measured, also of processes that were killed."""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import values

from falcon.telemetry import exposition, instruments
from falcon.telemetry.instruments import PROCESS_BYTES, SECONDS, SIZES, Counter, Histogram
from tests.support.small_disk import on_small_disk

# A process that counts and observes, and writes a byte for each once it has passed it on.
_WRITER: Final = """
import os, sys
from pathlib import Path
from falcon.telemetry import instruments
counter = instruments.counter("falcon_test", "Test.").labels()
times = instruments.histogram("falcon_test_seconds", "Test.").labels()
size = instruments.gauge("falcon_test_size", "Test.").labels()
size.set(7)
instruments.attach(Path(sys.argv[1]), "serve-0")
while True:
    counter.inc()
    times.observe(0.001)
    instruments.sample()
    os.write(1, b".")
"""


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Metrics declared in a test are gone after it, and this process measures nowhere."""
    monkeypatch.setattr(instruments, "REGISTRY", {})
    monkeypatch.setattr(instruments, "_place", None)
    monkeypatch.setattr(instruments, "_sign", None)
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    yield


def shown(folder: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """The values of each series, by its name and the values of its labels. A histogram has its sum and its count."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in exposition.collect(folder):
        for sample in family.samples:
            if "le" not in sample.labels:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def page(folder: Path, accept: str = "") -> str:
    return exposition.render(exposition.collect(folder), accept)[0].decode()


@given(st.lists(st.floats(min_value=0, max_value=1000), max_size=30))
def test_a_bucket_has_all_values_up_to_its_bound_that_are_above_the_one_before(found: list[float]) -> None:
    histogram = Histogram(SECONDS)
    for value in found:
        histogram.observe(value)
    assert histogram.count == len(found)
    assert histogram.total == pytest.approx(sum(found))
    for low, high, count in zip((-1.0, *SECONDS), (*SECONDS, math.inf), histogram._counts, strict=True):
        assert count == sum(low < value <= high for value in found)


def test_bounds_are_powers_of_two() -> None:
    assert (SECONDS[0], SECONDS[-1]) == (2**-13, 8.0)
    assert SIZES[:3] == (1.0, 2.0, 4.0)


def test_what_was_counted_before_a_process_has_its_files_counts(tmp_path: Path, declared: None) -> None:
    metric = instruments.counter("falcon_test", "Test.", ("what",))
    metric.labels("early").inc(2)
    instruments.attach(tmp_path, "serve-0")
    metric.labels("early").inc()
    metric.labels("late").inc(5)
    instruments.sample()
    assert shown(tmp_path) == {"falcon_test_total": {("early",): 3.0, ("late",): 5.0}}
    metric.labels("late").inc()
    assert metric.labels("late").value == 6.0


def test_processes_are_added_up_or_the_largest_counts_or_each(tmp_path: Path, declared: None) -> None:
    counter = instruments.counter("falcon_test", "Test.").labels()
    oldest = instruments.gauge("falcon_test_oldest", "Test.", across="max").labels()
    size = instruments.gauge("falcon_test_size", "Test.").labels()
    each = instruments.counter("falcon_test_each", "Test.", ("what",), across="process").labels("x")
    late = instruments.gauge("falcon_test_late", "Test.", across="process").labels()
    times = instruments.histogram("falcon_test_seconds", "Test.").labels()
    for name, value in (("serve-0", 2.0), ("serve-1", 3.0)):
        instruments.attach(tmp_path, name)
        counter.inc(value)
        oldest.set(value)
        size.set(value)
        each.inc(value)
        late.set(value)
        times.observe(value)
        times.observe_many(value, 20)
        instruments.sample()
    assert shown(tmp_path) == {
        "falcon_test_total": {(): 5.0},
        "falcon_test_oldest": {(): 3.0},
        "falcon_test_size": {(): 5.0},
        "falcon_test_each_total": {("serve-0", "x"): 2.0, ("serve-1", "x"): 3.0},
        "falcon_test_late": {("serve-0",): 2.0, ("serve-1",): 3.0},
        "falcon_test_seconds_count": {(): 42.0},
        "falcon_test_seconds_sum": {(): 105.0},
    }
    lines = page(tmp_path).splitlines()
    assert 'falcon_test_seconds_bucket{le="2.0"} 21.0' in lines
    assert 'falcon_test_seconds_bucket{le="4.0"} 42.0' in lines


def test_a_counter_that_nobody_looks_at_keeps_little() -> None:
    counter = Counter()
    for _ in range(10_000):
        counter.inc(0.5)
    assert counter.value == 5_000
    assert len(counter._aside) < 1_000


def test_a_counter_that_follows_a_total_rises_as_that_does(tmp_path: Path, declared: None) -> None:
    counter, totals = instruments.counter("falcon_test", "Test.").labels(), [7.0, 0.0]
    counter.inc()
    counter.follow(lambda: totals[0])
    instruments.attach(tmp_path, "serve-0")
    for totals[0] in (8.0, 8.0, 10.0):
        instruments.sample()
    assert shown(tmp_path)["falcon_test_total"] == {(): 4.0}
    totals[0] = 11.0
    counter.follow(lambda: totals[1])
    totals[1] = 2.0
    assert counter.value == 7.0


def test_a_finalizer_may_count_while_its_thread_passes_counts_on(tmp_path: Path, declared: None) -> None:
    """The garbage collector may call it within any call, also within one that holds prometheus-client's lock."""
    counter = instruments.counter("falcon_test", "Test.").labels()
    instruments.attach(tmp_path, "serve-0")
    counter.inc()
    instruments.sample()
    cells = [cell.cell_contents for cell in type(counter._shown._value).inc.__closure__]
    (lock,) = (each for each in cells if hasattr(each, "acquire"))
    with lock:
        counter.inc()
    instruments.sample()
    assert shown(tmp_path)["falcon_test_total"] == {(): 2.0}


def test_a_gauge_without_a_value_is_not_shown(tmp_path: Path, declared: None) -> None:
    instruments.gauge("falcon_test", "Test.").labels()
    instruments.attach(tmp_path, "serve-0")
    instruments.sample()
    assert shown(tmp_path) == {}


def test_a_killed_process_loses_no_count_and_all_gauges_and_leaves_nothing(tmp_path: Path, declared: None) -> None:
    done, files = 0, set()
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            done += len(writer.stdout.read(50))
            assert shown(tmp_path)["falcon_test_size"] == {(): 7.0}
            writer.send_signal(signal.SIGKILL)
            done += len(writer.stdout.read())
        instruments.attach(tmp_path, "launcher-0")
        instruments.forget_gauges("serve-0")
        found = shown(tmp_path)
        # A writer may have been killed after it had counted, and before it said so.
        assert done <= found["falcon_test_total"][()] <= done + 3
        assert done <= found["falcon_test_seconds_count"][()] <= done + 3
        assert "falcon_test_size" not in found
        files.add(len([*tmp_path.iterdir()]))
    assert len(files) == 1, "another start makes no more files"


def test_a_process_that_ends_with_a_fault_shows_what_it_has_just_counted(tmp_path: Path, declared: None) -> None:
    program = """
import sys; from pathlib import Path; from falcon.telemetry import instruments
counter = instruments.counter("falcon_test", "Test.").labels()
instruments.attach(Path(sys.argv[1]), "serve-0")
counter.inc()
instruments.end_process(71)
"""
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60).returncode == 71
    instruments.attach(tmp_path, "launcher-0")
    assert shown(tmp_path)["falcon_test_total"][()] == 1


def test_a_simulated_process_that_ends_leaves_measuring_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit):
        instruments.end_process(70)
    assert not instruments._sampling.locked()


def test_a_process_reserves_what_the_launcher_has_counted_for_it(tmp_path: Path, declared: None) -> None:
    instruments.attach(tmp_path, "serve-0")
    assert sum(file.stat().st_blocks * 512 for file in tmp_path.iterdir()) == PROCESS_BYTES


def test_nothing_is_lost_between_threads_that_measure_and_one_that_passes_it_on(tmp_path: Path, declared: None) -> None:
    counter = instruments.counter("falcon_test", "Test.").labels()
    times = instruments.histogram("falcon_test_seconds", "Test.").labels()
    instruments.attach(tmp_path, "serve-0")

    def work() -> None:
        for _ in range(10_000):
            counter.inc()
            times.observe(0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        instruments.sample()
    instruments.sample()
    assert shown(tmp_path)["falcon_test_total"] == {(): 40_000.0}
    assert shown(tmp_path)["falcon_test_seconds_count"] == {(): 40_000.0}
    assert shown(tmp_path)["falcon_test_seconds_sum"][()] == pytest.approx(40.0)


def test_a_gauge_that_fails_holds_up_no_counter(tmp_path: Path, declared: None) -> None:
    def fails() -> float:
        raise RuntimeError("no value")

    instruments.gauge("falcon_test_broken", "Test.").labels().set_function(fails)
    counter = instruments.counter("falcon_test", "Test.").labels()
    counter.inc()
    instruments.attach(tmp_path, "serve-0")
    with pytest.raises(RuntimeError, match="no value"):
        instruments.sample()
    assert shown(tmp_path) == {"falcon_test_total": {(): 1.0}}


@pytest.mark.parametrize(
    ("accept", "end"),
    [
        ("", 'falcon_test_total{what="x"} 2.0\n'),
        ("application/openmetrics-text;version=1.0.0", "# EOF\n"),
        ("application/openmetrics-text;version=new", 'falcon_test_total{what="x"} 2.0\n'),
    ],
)
def test_both_formats_tell_the_same(tmp_path: Path, declared: None, accept: str, end: str) -> None:
    instruments.attach(tmp_path, "serve-0")
    instruments.counter("falcon_test", "Test.", ("what",)).labels("x").inc(2)
    instruments.sample()
    assert 'falcon_test_total{what="x"} 2.0\n' in page(tmp_path, accept)
    assert page(tmp_path, accept).endswith(end)


def test_a_process_counts_on_when_memory_is_full(tmp_path: Path) -> None:
    """A write to a page that the disk has no room for would end it with SIGBUS."""
    code = "import sys; from pathlib import Path; from falcon.telemetry import instruments, metrics\n"
    code += "folder = Path(sys.argv[1]); instruments.attach(folder, 'serve-0')\n"
    code += "with (folder / 'other').open('wb', buffering=0) as other:\n"
    code += "    try:\n        while True: other.write(bytes(4096))\n    except OSError as full: print(full.strerror)\n"
    code += "for number in range(200): metrics.read_seconds.labels(str(number)).observe(1); instruments.sample()\n"
    code += "from falcon.telemetry import exposition\n"
    code += "families = {family.name: family for family in exposition.collect(folder)}\n"
    code += "print(len({each.labels['call'] for each in families['falcon_read_seconds'].samples}) >= 200)"
    said = subprocess.run(
        [*on_small_disk(tmp_path, "2m"), sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "No space left on device\nTrue\n"
