"""A simulation schedules threads by its seed: the same seed is the same course of things, and time costs nothing."""

import asyncio
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tools.simulation.threads import Deadlock, Process, Simulation


def course(seed: int) -> tuple[list[str], int]:
    """Some threads, a pool and two loops work together."""
    seen: list[str] = []
    simulation = Simulation(seed)

    def count(name: str) -> None:
        for i in range(5):
            time.sleep(0.001)
            seen.append(f"{name}{i} at {time.monotonic():.6f} {secrets.token_hex(2)}")

    async def tasks(name: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(count, f"{name}{i}") for i in range(3)))

    def work() -> None:
        threads = [threading.Thread(target=count, args=(name,)) for name in "ab"]
        threads += [threading.Thread(target=lambda name=name: asyncio.run(tasks(name))) for name in "cd"]
        for thread in threads:
            thread.start()
        with ThreadPoolExecutor(2) as pool:
            seen.extend(map(str, pool.map(lambda i: i * i, range(4))))
        for thread in threads:
            thread.join()

    simulation.run(work)
    return seen, simulation.trace


def test_the_same_seed_is_the_same_course_and_another_one_is_another() -> None:
    assert course(1) == course(1)
    assert course(1) != course(2)


def test_a_day_takes_no_time() -> None:
    began, simulation = time.monotonic(), Simulation()
    simulation.run(lambda: time.sleep(86_400))
    assert simulation.now > 86_400
    assert time.monotonic() - began < 60


def test_from_a_new_seed_on_the_course_is_that_seeds() -> None:
    def course(first: int, second: int) -> tuple[str, str]:
        simulation = Simulation(first)

        def work() -> tuple[str, str]:
            before = secrets.token_hex()
            simulation.reseed(second)
            return before, secrets.token_hex()

        return simulation.run(work)

    assert course(1, 3)[0] != course(2, 3)[0]
    assert course(1, 3)[1] == course(2, 3)[1] != course(2, 4)[1]


def test_threads_that_wait_for_each_other_are_found_out() -> None:
    with pytest.raises(Deadlock, match="all wait for ever"):
        Simulation().run(threading.Event().wait)


def test_what_a_thread_raises_ends_the_simulation_with_it() -> None:
    def work() -> None:
        threading.Thread(target=lambda: 1 / 0).start()
        time.sleep(1)

    with pytest.raises(ZeroDivisionError):
        Simulation().run(work)


class _Interrupted(BaseException):
    """Raised by the handler of a signal."""


def test_what_a_signals_handler_raises_ends_the_simulation_even_if_a_thread_catches_it() -> None:
    def handle(number: int, frame: object) -> None:
        raise _Interrupted

    def catch() -> None:
        with suppress(_Interrupted):
            signal.raise_signal(signal.SIGUSR1)

    def work() -> None:
        threading.Thread(target=catch).start()
        threading.Event().wait()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(_Interrupted):
            Simulation().run(work)
        assert signal.getsignal(signal.SIGUSR1) is handle
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.processes
def test_a_test_whose_simulation_ends_early_has_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    module = tmp_path / "test_two.py"
    module.write_text(_TWO_TESTS)
    plugins = ["-p", "tests.simulation.conftest"]
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(tmp_path), *plugins, str(module)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Deadlock: all wait for ever" in ended.stdout
    assert "1 passed" in ended.stdout


_TWO_TESTS = """
import threading
import pytest

pytestmark = pytest.mark.simulated

@pytest.fixture
def event():
    yield threading.Event()

def test_one(event):
    event.wait()

def test_two(event):
    event.set()
"""


def test_a_process_that_is_stopped_goes_on_where_it_stood_and_one_that_is_killed_does_not() -> None:
    simulation = Simulation()
    ticks: dict[str, list[float]] = {"stopped": [], "killed": []}
    processes = {name: Process(name) for name in ticks}

    def tick(name: str) -> None:
        try:
            while True:
                time.sleep(1)
                ticks[name].append(simulation.now)
        finally:
            if not processes[name].dead:
                ticks[name].append(-1)

    def work() -> None:
        for name, process in processes.items():
            simulation.spawn(lambda name=name: tick(name), name, process)  # type: ignore[misc]
        time.sleep(3.5)
        simulation.stop(processes["stopped"])
        simulation.kill(processes["killed"])
        time.sleep(10)
        simulation.go_on(processes["stopped"])
        time.sleep(2.2)

    simulation.run(work)
    assert [int(each - 1_000) for each in ticks["stopped"]] == [1, 2, 3, 13, 14, 15]
    assert [int(each - 1_000) for each in ticks["killed"]] == [1, 2, 3]


def test_each_process_has_its_own_wall_clock() -> None:
    simulation = Simulation()
    found: list[float] = []

    def work() -> None:
        ahead = Process("ahead", skew=60)
        simulation.spawn(lambda: found.append(time.time()), "look", ahead)
        time.sleep(0.1)
        found.append(time.time())

    simulation.run(work)
    assert found[0] - found[1] == pytest.approx(60, abs=0.2)


def test_real_threads_beside_a_simulation_keep_real_time_and_move_no_clock_in_it() -> None:
    begin, done = threading.Lock(), threading.Lock()  # real ones
    times: list[float] = []

    def look() -> None:
        with begin:
            times.extend([time.monotonic(), time.time()])
        done.release()

    begin.acquire()
    done.acquire()
    beside = threading.Thread(target=look)
    beside.start()
    before = [time.monotonic(), time.time()]
    simulation = Simulation()

    def passed() -> float:
        began = simulation.now
        begin.release()
        done.acquire()
        return simulation.now - began

    assert simulation.run(passed) == 0
    beside.join()
    after = [time.monotonic(), time.time()]
    assert all(first <= each <= last for first, each, last in zip(before, times, after, strict=True))


def test_a_real_thread_beside_a_simulation_neither_waits_in_it_nor_lets_it_wait() -> None:
    """One that samples metrics, say: it meets the locks of what runs in the simulation."""
    begin, done = threading.Lock(), threading.Lock()  # real ones
    found: list[threading.Lock] = []

    def meet() -> None:
        with begin, found[0], found[1]:
            done.release()

    begin.acquire()
    done.acquire()
    beside = threading.Thread(target=meet)
    beside.start()

    def work() -> tuple[bool, bool]:
        found.extend([threading.Lock(), threading.RLock()])  # type: ignore[list-item]
        with found[0], found[1]:
            begin.release()
            assert done.acquire(timeout=60)
            beside.join()
            return found[0].locked(), found[1].locked()

    assert Simulation().run(work) == (True, True)


def test_a_loop_that_ends_closes_no_generator_of_another_loop() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def count() -> list[int]:
        asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(asyncio.sleep(0.2)))
        await asyncio.sleep(0.05)
        counted = []
        async for number in numbers():
            counted.append(number)
            await asyncio.sleep(0.3)
        return counted

    assert Simulation(1).run(lambda: asyncio.run(count())) == [0, 1, 2]


def test_what_a_dead_process_fails_with_when_all_ends_is_nothing_to_the_others() -> None:
    simulation = Simulation(1)

    def linger() -> None:
        try:
            time.sleep(60)
        finally:
            raise RuntimeError("it was in the middle of something")

    def work() -> str:
        process = Process("killed")
        simulation.spawn(linger, "linger", process)
        time.sleep(1)
        simulation.kill(process)
        return "done"

    assert simulation.run(work) == "done"
