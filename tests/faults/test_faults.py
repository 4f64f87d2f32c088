"""Processes are killed under load: no acknowledged message is lost or doubled, and Falcon serves again soon."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.faults.chaos import FAULTS, FULL_DISK, PARTITIONS, SETTINGS, hurt
from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("FALCON_FAULTS_SECONDS", "10"))
SEED = int(os.environ.get("FALCON_FAULTS_SEED", random.randrange(2**32)))
SOON_SECONDS = 15.0  # for a machine full of other work; `make faults` judges by three


@pytest.mark.parametrize("base", list(SETTINGS))
def test_nothing_acknowledged_is_lost_whatever_is_killed(base: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(SETTINGS[base])).start()
    try:
        report = asyncio.run(hurt(falcon, tmp_path, FAULTS, SECONDS, SEED, recovery_seconds=SOON_SECONDS))
    finally:
        falcon.stop()
    assert not report.violations, f"seed {SEED}\n{report}\n{falcon.log()[-3000:]}"
    assert report.counts.acknowledged > 100
    assert not falcon.left()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 48 MiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("a small file system needs root, which CI has")
        pytest.skip("a small file system needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    falcon = Falcon(small_disk, {"command_seconds": 1.0, "partitions": PARTITIONS}).start()
    try:
        notes = tmp_path_factory.mktemp("notes")
        report = asyncio.run(hurt(falcon, notes, FULL_DISK, 1, SEED, recovery_seconds=SOON_SECONDS))
    finally:
        falcon.stop()
    assert not report.violations, f"seed {SEED}\n{report}\n{falcon.log()[-3000:]}"
    assert report.counts.refused, "a full disk went unnoticed"
