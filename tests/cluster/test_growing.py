"""A cluster gets a read model that it did not have; it is filled from the log while people send and read."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.meta import Meta
from falcon.read.store import Fill
from tests.cluster.conftest import PARTITIONS
from tests.support import lengths
from tests.support.lengths import LENGTHS
from tools.harness.waiting import until
from tools.servers.cluster import Cluster

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

_SECONDS: Final = 240.0
_BEFORE: Final = 240
_SENDERS: Final = 24
_NAME: Final = "grow"


@pytest.fixture
def older(make_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """One of each role, of the earlier Falcon."""
    cluster = make_cluster(_NAME, session_seconds=3, hbase_create_command="")
    cluster.up(counts={"api": 1, "write": 1, "project": 1})
    yield cluster
    cluster.down()


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Holds up the read model that is filled: see tests/support/lengths.py."""
    return tmp_path / "hold"


@pytest.fixture
def newer(older: Cluster, tmp_path: Path, hold: Path) -> Iterator[Callable[[], Cluster]]:
    """Makes it the Falcon of after: what starts from then on has one read model more. Batches of one event are full, so
    no other projection confirms it, and waits with it."""

    def grow() -> Cluster:
        lengths.install()
        full = "from falcon.run.settings import Settings\n\nSettings.__init__.__kwdefaults__['project_events'] = 1\n"
        older._settings |= lengths.installing(tmp_path / "newer", hold, full)
        return older

    yield grow
    lengths.uninstall()


def test_a_cluster_gets_a_read_model_more_while_people_send_and_read(
    older: Cluster, newer: Callable[[], Cluster], hold: Path
) -> None:
    described = older.describe()
    headers = {"Authorization": f"Bearer {described['token']}"}
    room = asyncio.run(_conversation(described["urls"][0], headers))
    cluster = newer()
    cluster.falcon("prepare")
    with httpx.Client(base_url=described["urls"][0], headers=headers, timeout=60) as http:
        assert _sent_and_read(http, room) == _BEFORE + 1, "the edge of before does not know the model"
        cluster.process("api", 1).end()
        cluster.await_ready(cluster.start("api", 1))
        cluster.process("project", 1).end()
        gateways = Gateways(cluster.hbase.addresses.split(","))
        sent = _BEFORE + 1
        try:
            for third in (1, 2):
                lengths.hold_behind(third * _BEFORE // 3, hold)
                begun = _applied(gateways)
                cluster.start("project", 1)
                until = time.monotonic() + _SECONDS
                while _applied(gateways) <= begun:
                    assert time.monotonic() < until, "nothing is filled"
                sent += 1
                assert _sent_and_read(http, room) == sent
                assert _fill(gateways) is Fill.FILLING
                cluster.process("project", 1).kill()
            hold.unlink()
            cluster.start("project", 1)
            until = time.monotonic() + _SECONDS
            while _fill(gateways) is not Fill.SHOWN:
                assert time.monotonic() < until, cluster.process("project", 1).said()
                sent += 1
                assert _sent_and_read(http, room) == sent
        finally:
            gateways.close()
    said = cluster.falcon("verify", LENGTHS)
    assert said.startswith(f"{LENGTHS}: {sent:,} cells compared, 0 missing, 0 wrong, 0 that the log"), said


async def _conversation(url: str, headers: dict[str, str]) -> int:
    """Send so many messages from several clients at once. Returns the room."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        made = await http.post("/v1/rooms", json={"name": "Tea kitchen"})
        room = int(made.raise_for_status().json()["room_id"])

        async def send(count: int) -> None:
            for _ in range(count):
                key = _key()
                while (answer := await _post(http, room, key)).status_code == 503:
                    await asyncio.sleep(0.05)
                assert answer.status_code == 201, answer.text

        await asyncio.gather(*(send(_BEFORE // _SENDERS) for _ in range(_SENDERS)))
        return room


def _key() -> dict[str, str]:
    """For one message, however often it is sent."""
    return {"Idempotency-Key": secrets.token_hex(8)}


async def _post(http: httpx.AsyncClient, room: int, key: dict[str, str]) -> httpx.Response:
    return await http.post(f"/v1/rooms/{room}/messages", json={"text": "tea"}, headers=key)


def _sent_and_read(http: httpx.Client, room: int) -> int:
    """Sends one more message, and reads it; its seq. Neither waits for what is being filled."""
    key = _key()
    sent = _until_done(lambda: http.post(f"/v1/rooms/{room}/messages", json={"text": "more"}, headers=key))
    seq = int(sent.json()["seq"])
    position = {"Falcon-Position": sent.headers["Falcon-Position"], "Falcon-Wait": "10"}
    page = _until_done(lambda: http.get(f"/v1/rooms/{room}/messages", params={"after": seq - 1}, headers=position))
    assert [message["seq"] for message in page.json()["messages"]] == [seq]
    return seq


def _until_done(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """While processes come and go an answer may be 503; it is no other refusal."""

    def attempt() -> httpx.Response | None:
        try:
            answer = ask()
        except httpx.TransportError:
            return None
        assert answer.is_success or answer.status_code == 503, answer.text
        return answer if answer.is_success else None

    return until(attempt, "it is done", _SECONDS)


def _meta(gateways: Gateways) -> Meta:
    return Meta(gateways.within(20), _NAME)


def _applied(gateways: Gateways) -> int:
    applied: dict[int, Any] = _meta(gateways).applied(LENGTHS, 1, PARTITIONS)
    return sum(each.position.offset for each in applied.values())


def _fill(gateways: Gateways) -> Fill:
    generations = _meta(gateways).generations(LENGTHS)
    assert generations is not None
    return generations.fill
