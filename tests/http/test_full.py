"""More connections than a process has descriptors: open ones are still served, and health checks are answered."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

DESCRIPTORS = 300
ROOM_FOR = DESCRIPTORS - 128


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    running = Falcon(tmp_path, descriptors=DESCRIPTORS).start()
    yield running
    running.stop()


def cut(falcon: Falcon, reason: str) -> float:
    page = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=20).text
    found = re.search(rf'^falcon_connections_cut_total{{reason="{reason}"}} (\S+)', page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def open_descriptors(falcon: Falcon) -> int:
    (serve,) = falcon.pids("serve")
    return len(list(Path(f"/proc/{serve}/fd").iterdir()))


def asks(falcon: Falcon) -> int:
    """The status on a new connection; 503 also where it was closed before the answer could be read."""
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    try:
        return httpx.get(f"{falcon.info['url']}/v1/me", headers=headers, timeout=10).status_code
    except httpx.TransportError:
        return 503


def test_silent_clients_keep_nobody_out_for_long_and_no_probe_fails(falcon: Falcon) -> None:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    with ExitStack() as silent, httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=10) as client:
        assert client.post("/v1/rooms", json={"name": "Tea"}).status_code == 201
        began = time.monotonic()
        for number in range(600):
            silent.enter_context(socket.create_connection(("127.0.0.1", falcon.settings["http_port"]), 10))
            if number % 50 == 0:
                assert client.get("/v1/me").status_code == 200
                assert open_descriptors(falcon) < DESCRIPTORS - 20
                for probe in ("/livez", "/readyz"):
                    assert httpx.get(falcon.info["ops_url"] + probe, timeout=10).status_code == 200
        assert asks(falcon) == 503
        assert cut(falcon, "full") >= 600 - ROOM_FOR
        # Silent connections are closed after ten seconds, in the order in which they came.
        until(lambda: asks(falcon) == 200)
        until(lambda: client.post("/v1/rooms", json={"name": "Tea"}).status_code == 201)
        assert time.monotonic() - began < 60
    assert "descriptor" not in falcon.log() and "Too many open files" not in falcon.log()
