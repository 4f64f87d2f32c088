"""The projection lag, as alerts and autoscaling read it."""

import pytest

from falcon.domain.events import CommandAnswered
from falcon.journal.envelope import Envelope, Recorded
from falcon.projections.lag import TIMELINE, Lag
from falcon.telemetry import metrics
from tools.harness.clock import FakeClock

DECIDED = 1_000_000  # milliseconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The wall's, at the time at which the first event was decided."""
    clock = FakeClock()
    began = clock.monotonic()
    monkeypatch.setattr("falcon.projections.lag.time.time", lambda: DECIDED / 1_000 + clock.monotonic() - began)
    return clock


def event(partition: int, later: int = 0) -> Recorded:
    """``later``: milliseconds after the first."""
    return Recorded(7, Envelope(partition, 1, 0, DECIDED + later, CommandAnswered()))


def age(name: str) -> float:
    return float(metrics.projection_lag_seconds.labels(name).value)


def test_it_is_as_old_as_the_oldest_event_that_is_not_applied(clock: FakeClock) -> None:
    lag = Lag("of a test")
    assert age("of a test") == 0
    lag.read([event(0), event(0, later=2_000), event(1, later=3_000)])
    clock.advance(10)
    assert age("of a test") == pytest.approx(10)
    lag.applied([], [0], 0.01)
    assert age("of a test") == pytest.approx(7)
    lag.applied([], [1], 0.01)
    assert age("of a test") == 0
    lag.read([event(0)])
    lag.caught_up()
    assert age("of a test") == 0


def test_an_event_of_a_clock_that_is_ahead_is_not_younger_than_nothing(clock: FakeClock) -> None:
    lag = Lag("ahead")
    lag.read([event(0, later=60_000)])
    assert age("ahead") == 0


def test_a_message_has_become_readable_so_long_after_it_was_decided(clock: FakeClock) -> None:
    seconds = metrics.message_seconds.labels("readable")
    count, total = seconds.count, seconds.total
    clock.advance(5)
    Lag(TIMELINE).applied([event(0), event(0), event(0, later=4_000)], [0], 0.01)
    assert seconds.count - count == 3
    assert seconds.total - total == pytest.approx(5 + 5 + 1)


@pytest.mark.parametrize(("name", "messages"), [(TIMELINE, 1), ("rooms", 0)])
def test_only_the_timeline_makes_messages_readable(clock: FakeClock, name: str, messages: int) -> None:
    seconds = metrics.message_seconds.labels("readable")
    count = seconds.count
    Lag(name).applied([event(0)], [0], 0.01)
    assert seconds.count - count == messages
