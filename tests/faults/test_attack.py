"""All attacks at once for a few seconds: no other client is refused, nothing fails, and the server's memory stays
bounded. How long the others wait depends on the machine's other work: ``make attack`` judges that."""

import asyncio
from pathlib import Path

import pytest

from tests.support.volume import volume
from tools.attack.catalogue import ATTACKS
from tools.attack.siege import lay_siege

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

SECONDS = volume("FALCON_ATTACK_SECONDS", 10)


def test_a_hostile_client_hurts_nobody_else(tmp_path: Path) -> None:
    report = asyncio.run(lay_siege(tmp_path, SECONDS, list(ATTACKS)))
    assert not report.faults(timed=False), f"{report}"
    (_, attacked) = report.phases
    assert all(attacked.counts[name]["connections"] for name in ATTACKS)
