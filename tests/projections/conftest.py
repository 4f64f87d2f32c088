import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.telemetry import metrics
from tests.projections.embedded import Embedded


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Embedded]:
    with Embedded(tmp_path / "falcon.db") as falcon:
        yield falcon


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The runners' log lines, wherever else the process logs."""
    log = logging.getLogger("falcon.projections")
    log.addHandler(caplog.handler)
    before = log.level, log.propagate
    log.setLevel(logging.INFO)  # which, unlike the attribute, takes effect
    log.propagate = False
    yield caplog
    log.removeHandler(caplog.handler)
    log.setLevel(before[0])
    log.propagate = before[1]


@pytest.fixture(autouse=True)
def _fresh_gauges() -> Iterator[None]:
    yield
    for gauge in metrics.projection_stopped.children():
        gauge.set(0)
