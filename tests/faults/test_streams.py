"""Servers are killed, and clients stall, go and come back: each client gets its events in order, once."""

import os
import random
from pathlib import Path

import pytest

from tools.faults.streams import torture

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SECONDS = float(os.environ.get("FALCON_FAULTS_SECONDS", "10"))
SEED = int(os.environ.get("FALCON_FAULTS_SEED", random.randrange(2**32)))


def test_everybody_gets_what_is_for_him_in_order_and_once(tmp_path: Path) -> None:
    report = torture(tmp_path, seconds=SECONDS, subscribers=30, seed=SEED)
    assert not report.violations, f"seed {SEED}\n{report}"
    assert report.acknowledged > 50 and report.kills
    assert report.connections["caught_up"] > 10
