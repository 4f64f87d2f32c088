"""Owners are stopped and killed, and the log has one writer a partition. The torture that checks it notices planted
faults."""

import os
import random
from pathlib import Path

import pytest

from tools.faults.fence import torture
from tools.servers.kafka import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("FALCON_FAULTS_SECONDS", "10"))
SEED = int(os.environ.get("FALCON_FAULTS_SEED", random.randrange(2**32)))


@pytest.mark.parametrize("twice", [False, True], ids=["each batch once", "some batches twice"])
def test_nothing_acknowledged_is_lost_and_nothing_void_is_acknowledged(
    twice: bool, kafka: Kafka, tmp_path: Path
) -> None:
    report = torture(kafka, tmp_path, seconds=SECONDS, seed=SEED, twice=twice)
    assert not report.violations, f"seed {SEED}\n{report}"
    assert report.told["acknowledged"] > 100
    assert report.log["void"], "nobody was ever deposed while writing"


@pytest.mark.parametrize(
    ("mutation", "twice"), [("trusts-any-offset", False), ("reads-before-the-marker", False), ("ignores-n", True)]
)
def test_a_broken_rule_is_noticed(mutation: str, twice: bool, kafka: Kafka, tmp_path: Path) -> None:
    report = torture(kafka, tmp_path, seconds=10, seed=SEED, twice=twice, mutation=mutation, spare_brokers=True)
    assert report.told["acknowledged"] > 100
    assert report.violations, f"seed {SEED}: {mutation} went unnoticed\n{report}"
