"""The first steps of a process."""

import resource
import sys

import pytest

from falcon.run import startup
from falcon.run.settings import Settings
from falcon.telemetry import logs, otel


def test_a_process_begins_with_short_turns_of_threads_and_leaves_no_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread on its way would let it wait for Python's five, while the event loop is busy."""
    for module in (logs, otel):
        monkeypatch.setattr(module, "configure", lambda *_: None)
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append((kind, limit)))
    before = sys.getswitchinterval()
    try:
        startup.begin(Settings(), "serve-0")
        assert sys.getswitchinterval() == pytest.approx(0.001)
        assert (resource.RLIMIT_CORE, (0, 0)) in limits, "a crash would write tokens to disk"
    finally:
        sys.setswitchinterval(before)
