"""The first steps of a process."""

import sys

import pytest

from falcon import startup
from falcon.settings import Settings
from falcon.telemetry import logs, otel


def test_a_command_waits_a_millisecond_at_most_for_the_thread_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread on its way would let it wait for Python's five, while the event loop is busy."""
    for module in (logs, otel):
        monkeypatch.setattr(module, "configure", lambda *_: None)
    before = sys.getswitchinterval()
    try:
        startup.begin(Settings(), "serve-0")
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)
