"""Fixture: the clock of the owners moves on by a millisecond at least each time it is read, so no two events bear the
same time. On a quick machine several are decided in a millisecond."""

import pytest

from falcon.write.clock import SystemClock


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    now, last = SystemClock.now, 0

    def later(clock: SystemClock) -> int:
        nonlocal last
        last = max(now(clock), last + 1)
        return last

    monkeypatch.setattr(SystemClock, "now", later)
