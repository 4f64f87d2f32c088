"""Every thread has a name, and every pool its bounds and its figures."""

import re
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import Dispatcher, Saturated, start_thread
from tests.support.gate import Gate
from tools.harness.waiting import until

FALCON = Path(__file__).parents[2] / "falcon"


@pytest.fixture
def dispatcher(request: pytest.FixtureRequest) -> Iterator[Dispatcher]:
    """Two threads, one more may wait. Named for the test, so that its metrics start at zero."""
    made = Dispatcher(request.node.name, threads=2, queue=1)
    yield made
    made.close()


def gauge(name: str, dispatcher: Dispatcher) -> float:
    return float(getattr(metrics, name).labels(dispatcher.name).value)


def test_past_its_bound_it_refuses_at_once_and_says_so(dispatcher: Dispatcher) -> None:
    gate = Gate()
    running = [dispatcher.submit(gate) for _ in range(3)]
    with pytest.raises(Saturated, match="too many wait"):
        dispatcher.submit(gate)
    assert gauge("dispatcher_rejections", dispatcher) == 1
    gate.open()
    wait(running)
    assert dispatcher.submit(lambda: "served").result(60) == "served"


def test_it_shows_who_is_at_work_and_who_waits(dispatcher: Dispatcher) -> None:
    gate = Gate()
    running = [dispatcher.submit(gate) for _ in range(3)]
    assert gate.reached.acquire(timeout=60) and gate.reached.acquire(timeout=60)
    assert gauge("dispatcher_active", dispatcher) == gauge("dispatcher_threads_max", dispatcher) == 2
    assert gauge("dispatcher_queue", dispatcher) == 1
    assert gauge("dispatcher_oldest", dispatcher) > 0
    gate.open()
    wait(running)
    assert gauge("dispatcher_queue", dispatcher) == gauge("dispatcher_oldest", dispatcher) == 0
    assert until(lambda: metrics.dispatcher_run.labels(dispatcher.name).count == 3)


def test_time_with_all_threads_at_work_counts_while_it_lasts(dispatcher: Dispatcher) -> None:
    gate = Gate()
    running = [dispatcher.submit(gate) for _ in range(2)]
    assert gate.reached.acquire(timeout=60) and gate.reached.acquire(timeout=60)

    def all_active() -> float:
        gauge("dispatcher_active", dispatcher)  # as a sample does
        return gauge("dispatcher_all_active", dispatcher)

    before = all_active()
    assert until(lambda: all_active() > before)
    gate.open()
    wait(running)
    assert until(lambda: gauge("dispatcher_active", dispatcher) == 0)
    ended = all_active()
    assert dispatcher.submit(lambda: None).result(60) is None
    assert all_active() == ended, "one at work is not all"


def test_one_that_was_cancelled_waits_no_more(dispatcher: Dispatcher) -> None:
    gate = Gate()
    running = [dispatcher.submit(gate) for _ in range(2)]
    waiting = dispatcher.submit(gate)
    assert waiting.cancel()
    assert gauge("dispatcher_queue", dispatcher) == 0
    gate.open()
    wait(running)


def test_a_task_that_fails_is_done_too(dispatcher: Dispatcher) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        dispatcher.submit(fail).result(60)
    assert until(lambda: metrics.dispatcher_run.labels(dispatcher.name).count == 1)


def test_a_closed_one_takes_nothing(dispatcher: Dispatcher) -> None:
    dispatcher.close()
    with pytest.raises(RuntimeError):
        dispatcher.submit(lambda: None)
    assert gauge("dispatcher_queue", dispatcher) == 0


def test_a_thread_bears_its_name() -> None:
    gate = Gate()
    thread = start_thread("test", gate)
    assert thread.name == "falcon-test" and thread.daemon
    gate.open()
    thread.join(60)


def test_threads_and_executors_are_made_in_one_module_only() -> None:
    """``process`` has one more: it must import nothing, and it runs in processes that are not ours."""
    making = re.compile(
        r"\bthreading\.Thread\(|Executor\(|\bto_thread\(|run_in_executor\(|\bTimer\(|run_in_threadpool\("
    )
    allowed = {FALCON / "telemetry/dispatchers.py", FALCON / "process.py"}
    strangers = [path for path in FALCON.rglob("*.py") if path not in allowed and making.search(path.read_text())]
    assert strangers == []
