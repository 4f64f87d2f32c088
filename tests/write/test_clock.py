"""The clock that gives events their times follows the machine's, but for jumps."""

import logging
import time

import pytest

from falcon.write.clock import SystemClock

START = 1_790_000_000_000


class Machine:
    """Its wall clock, and how long it has been up, in milliseconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.up = START, 5_000
        monkeypatch.setattr(time, "time_ns", lambda: self.wall * 1_000_000)
        monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: self.up * 1_000_000)

    def go_on(self, millis: int) -> None:
        self.wall += millis
        self.up += millis


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_it_is_the_time_of_day() -> None:
    assert abs(SystemClock().now() / 1000 - time.time()) < 5


def test_it_goes_on_as_the_machine_does(machine: Machine) -> None:
    clock = SystemClock()
    assert clock.now() == START
    machine.go_on(3_600_000)
    assert clock.now() == START + 3_600_000


@pytest.mark.parametrize("drift", [-9_999, 9_999])
def test_a_small_correction_is_followed(machine: Machine, drift: int) -> None:
    clock = SystemClock()
    machine.wall += drift
    assert clock.now() == START + drift


@pytest.mark.parametrize("jump", [-3_600_000, -10_000, 10_000, 3_600_000])
def test_a_jump_is_not_followed_and_is_said_once(machine: Machine, jump: int, caplog: pytest.LogCaptureFixture) -> None:
    clock = SystemClock()
    machine.wall += jump
    machine.go_on(1_000)
    assert [clock.now(), clock.now()] == [START + 1_000] * 2
    (record,) = caplog.records
    assert f"jumped by {jump // 1_000:+d} s" in record.getMessage()
    machine.wall -= jump
    assert clock.now() == START + 1_000
    machine.wall += jump
    clock.now()
    assert len(caplog.records) == 2, "the next jump is said again"


def test_a_machine_by_itself_follows_a_jump_that_lasts(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    clock = SystemClock(followed_after_seconds=300)
    for jump in (3_600_000, -7_200_000):
        machine.wall += jump
        for _ in range(5):
            assert clock.now() == machine.wall - jump
            machine.go_on(60_000)
        assert clock.now() == machine.wall
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2


def test_a_short_jump_is_not_followed_and_the_next_one_is_as_new(machine: Machine) -> None:
    clock = SystemClock(followed_after_seconds=300)
    for _ in range(5):
        machine.wall += 3_600_000
        for _ in range(4):
            assert clock.now() == machine.wall - 3_600_000
            machine.go_on(60_000)
        machine.wall -= 3_600_000
        assert clock.now() == machine.wall


def test_how_far_it_is_ahead_of_another_clock(machine: Machine) -> None:
    assert SystemClock().ahead_of(START - 7) == 7


def test_a_jump_that_others_confirm_was_a_correction_and_is_followed(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.wall += 3_600_000
    clock = SystemClock()
    assert clock.ahead_of(START) == 3_600_000
    machine.wall -= 3_600_000
    assert clock.now() == START + 3_600_000, "no other machine has confirmed it yet"
    with caplog.at_level(logging.WARNING):
        assert clock.ahead_of(START + 3) == -3
    assert "was wrong by +3599 s when this process started" in caplog.text
    assert clock.now() == START


def test_a_jump_that_others_contradict_is_not_followed_though_they_are_asked(machine: Machine) -> None:
    clock = SystemClock()
    machine.wall += 3_600_000
    assert clock.ahead_of(START) == 0
    assert clock.now() == START


def test_its_seconds_are_those_of_the_other_processes() -> None:
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()
