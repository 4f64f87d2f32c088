"""More connections than a process has descriptors: open ones are still served, and health checks are answered."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

DESCRIPTORS = 300
# A connection for each request. There is no TLS, and to make a context takes 20 ms.
_client = httpx.Client(timeout=60, verify=False, limits=httpx.Limits(max_keepalive_connections=0))


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    running = Falcon(tmp_path, descriptors=DESCRIPTORS).start()
    yield running
    running.stop()


def cut(falcon: Falcon, reason: str) -> float:
    page = _client.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}).text
    found = re.search(rf'^falcon_connections_cut_total{{reason="{reason}"}} (\S+)', page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def open_descriptors(falcon: Falcon) -> int:
    (serve,) = falcon.pids("serve")
    return len(list(Path(f"/proc/{serve}/fd").iterdir()))


def is_refused(connection: socket.socket) -> bool:
    """True if it has been answered with 503. To be asked once."""
    connection.setblocking(False)
    try:
        return connection.recv(64).startswith(b"HTTP/1.1 503")
    except OSError:
        return False


def asks(falcon: Falcon) -> int:
    """The status on a new connection; 503 also where it was closed before the answer could be read."""
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    try:
        return _client.get(f"{falcon.info['url']}/v1/me", headers=headers).status_code
    except httpx.TransportError:
        return 503


def test_silent_clients_keep_nobody_out_for_long_and_no_probe_fails(falcon: Falcon) -> None:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    connections: list[socket.socket] = []
    with ExitStack() as silent, httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as client:
        assert client.post("/v1/rooms", json={"name": "Tea"}).status_code == 201

        def connect() -> None:
            address = ("127.0.0.1", falcon.settings["http_port"])
            connections.append(silent.enter_context(socket.create_connection(address, 60)))

        for number in range(600):
            connect()
            if number % 50 == 0:
                assert client.get("/v1/me").status_code == 200
                assert open_descriptors(falcon) < DESCRIPTORS - 20
                for probe in ("/livez", "/readyz"):
                    assert _client.get(falcon.info["ops_url"] + probe).status_code == 200
        while not cut(falcon, "full"):  # the first ones were closed before the last ones came
            for _ in range(DESCRIPTORS):
                connect()
        refused = sum(map(is_refused, connections))
        assert refused
        until(lambda: refused <= cut(falcon, "full"))  # a process shows its counts once a second
        # Silent connections are closed after ten seconds, in the order in which they came.
        until(lambda: asks(falcon) == 200)
        until(lambda: client.post("/v1/rooms", json={"name": "Tea"}).status_code == 201)
    assert "descriptor" not in falcon.log() and "Too many open files" not in falcon.log()
