"""Owners are stopped and killed, and the log has one writer a partition. The torture that checks it notices planted
faults."""

import os
import random
from pathlib import Path

import pytest

from tools.faults.fence import torture
from tools.servers.kafka import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("FALCON_FAULTS_SECONDS", "20"))
SEED = int(os.environ.get("FALCON_FAULTS_SEED", random.randrange(2**32)))
_ROUNDS = 4  # on a busy machine little happens in one


@pytest.mark.parametrize("twice", [False, True], ids=["each batch once", "some batches twice"])
def test_nothing_acknowledged_is_lost_and_nothing_void_is_acknowledged(
    twice: bool, kafka: Kafka, tmp_path: Path
) -> None:
    acknowledged = void = 0
    for seed in range(SEED, SEED + _ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = torture(kafka, folder, seconds=SECONDS, seed=seed, twice=twice)
        assert not report.violations, f"seed {seed}\n{report}"
        acknowledged += report.told["acknowledged"]
        void += report.log["void"]
        if acknowledged > 100 and void:
            return
    raise AssertionError(f"only {acknowledged} acknowledged, and {void} void: no owner was deposed while it wrote")


@pytest.mark.parametrize(
    ("mutation", "twice"), [("trusts-any-offset", False), ("reads-before-the-marker", False), ("ignores-n", True)]
)
def test_a_broken_rule_is_noticed(mutation: str, twice: bool, kafka: Kafka, tmp_path: Path) -> None:
    for seed in range(SEED, SEED + _ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = torture(kafka, folder, seconds=10, seed=seed, twice=twice, mutation=mutation, spare_brokers=True)
        if report.violations:
            return
    raise AssertionError(f"seed {SEED}: {mutation} went unnoticed\n{report}")
