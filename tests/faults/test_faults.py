"""Processes are killed under load: no acknowledged message is lost or doubled, and Falcon serves again soon."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.volume import volume
from tools.faults.chaos import FAULTS, FULL_DISK, PARTITIONS, SETTINGS, errors, hurt
from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

SECONDS = volume("FALCON_FAULTS_SECONDS", 8)
SEED = 1  # the moments differ all the same; `make faults` and `make chaos` take others
SOON_SECONDS = 60.0  # for a machine full of other work; `make faults` judges by three


@pytest.mark.parametrize("base", list(SETTINGS))
def test_nothing_acknowledged_is_lost_and_streams_tell_it_once_whatever_is_killed(base: str, tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, dict(SETTINGS[base])).start()
    try:
        report = asyncio.run(hurt(falcon, tmp_path, FAULTS, SECONDS, SEED, recovery_seconds=SOON_SECONDS))
    finally:
        falcon.stop()
    assert not report.violations, f"seed {SEED}\n{report}\n{falcon.log()[-3000:]}"
    assert report.counts.acknowledged > 30, str(report)
    resumed = report.heard.connections["caught_up"] + report.heard.connections["catch_up"]
    assert resumed > 3, str(report)  # after a kill of all processes many have missed too much for a replay
    assert not falcon.left()
    assert not list(errors(falcon))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 48 MiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs", str(tmp_path)], check=False)
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


def test_a_start_without_a_free_byte_serves_what_can_be_read(small_disk: Path) -> None:
    falcon = Falcon(small_disk, {"partitions": PARTITIONS}).start()
    with httpx.Client(base_url=falcon.info["url"], headers=_authorized(falcon), timeout=60) as client:
        room = client.post("/v1/rooms", json={"name": "Tea kitchen"}).json()["room_id"]
        sent = client.post(f"/v1/rooms/{room}/messages", json={"text": "before"})
        assert sent.status_code == 201
        until(lambda: _finds(client, "before"), "the index has the message")
    falcon.stop()
    filling = small_disk / "filling"
    _fill(filling)
    try:
        falcon.start()
        with httpx.Client(base_url=falcon.info["url"], headers=_authorized(falcon), timeout=60) as client:
            assert client.get(f"/v1/rooms/{room}/messages").json()["messages"][0]["text"] == "before"
            assert _finds(client, "before")
            assert httpx.get(f"{falcon.info['ops_url']}/readyz", timeout=60).status_code == 200
            refused = client.post(f"/v1/rooms/{room}/messages", json={"text": "no room"})
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert "disk" in refused.json()["detail"]
            filling.unlink()
            until(
                lambda: client.post(f"/v1/rooms/{room}/messages", json={"text": "again"}).status_code == 201,
                "all is taken again",
            )
            until(lambda: _finds(client, "again"), "the index has the new message")
    finally:
        falcon.stop()


def _finds(client: httpx.Client, word: str) -> bool:
    return bool(client.get("/v1/search", params={"q": word}).json()["hits"])


def _authorized(falcon: Falcon) -> dict[str, str]:
    return {"authorization": f"Bearer {falcon.info['token']}"}


def _fill(file: Path) -> None:
    """All that is left of its disk."""
    with file.open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while filling.write(bytes(4096)):
            pass
