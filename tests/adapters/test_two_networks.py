"""Falcon in a network of its own, joined to another one by a cable: which of its ports answer there, and to what."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

_NEAR, _FAR = f"falcon{os.getpid()}a", f"falcon{os.getpid()}b"
_ADDRESS: Final = "10.231.77.1"

# Run on the far side: every port is tried, and each that answers is sent a pickle, bare and behind an empty MAC.
_STRANGER: Final = """
import json, os, pickle, socket, sys
address, folder, token, *served = sys.argv[1:]

class Opened:
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (self.path,)

def connects(port):
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((address, port)) == 0

def asks(port, path, bearer=""):
    authorization = f"Authorization: Bearer {bearer}\\r\\n" if bearer else ""
    with socket.create_connection((address, port), 30) as client, client.makefile("rb") as answer:
        client.sendall(
            f"GET {path} HTTP/1.1\\r\\nHost: {address}\\r\\n{authorization}Connection: close\\r\\n\\r\\n".encode()
        )
        status = answer.readline().split()
    return int(status[1]) if status else 0

ports = [port for port in range(1, 65536) if connects(port)]
for port in ports:
    for number, mac in enumerate((b"", bytes(32))):
        pickled = mac + pickle.dumps(Opened(f"{folder}/opened-{port}-{number}"))
        with socket.create_connection((address, port), 5) as client:
            client.sendall(b"%d>" % len(pickled) + pickled)
paths = ("/v1/me", "/livez", "/metrics", "/debug/stacks", "/ops", "/internal/commands/0")
answers = {port: {path: asks(port, path) for path in paths} for port in map(int, served) if port in ports}
print(json.dumps({"ports": ports, "answers": answers, "mine": asks(int(served[0]), "/v1/me", token)}))
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def cable() -> Iterator[None]:
    """Two network namespaces, and the pair of devices that joins them."""
    near, far = "veth-near", "veth-far"
    try:
        _ip("netns", "add", _NEAR)
        _ip("netns", "add", _FAR)
        _ip("-n", _NEAR, "link", "add", near, "type", "veth", "peer", "name", far, "netns", _FAR)
        for namespace, device, address in ((_NEAR, near, _ADDRESS), (_FAR, far, "10.231.77.2")):
            _ip("-n", namespace, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"two network namespaces cannot be made: {getattr(error, 'stderr', '') or error}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(why)
        pytest.skip(why)
    finally:
        for namespace in (_NEAR, _FAR):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def stranger_sees(falcon: Falcon, folder: Path) -> dict[str, Any]:
    served = (str(falcon.settings["http_port"]), str(falcon.settings["ops_port"]))
    program = ["ip", "netns", "exec", _FAR, sys.executable, "-c", _STRANGER]
    told = subprocess.run(
        [*program, _ADDRESS, str(folder), falcon.info["token"], *served], check=True, capture_output=True, text=True
    ).stdout
    seen: dict[str, Any] = json.loads(told)
    return seen


@pytest.mark.parametrize(
    ("base", "ops_host"), [({}, "127.0.0.1"), ({"processes": 2}, "0.0.0.0")], ids=["alone", "places"]
)
def test_from_another_network_the_servers_answer_and_nothing_runs_what_it_is_sent(
    cable: None, base: dict[str, Any], ops_host: str, tmp_path: Path
) -> None:
    settings = {**base, "host": "0.0.0.0", "ops_host": ops_host, "plaintext": "yes"}
    falcon = Falcon(tmp_path / "data", settings, within=("ip", "netns", "exec", _NEAR)).start()
    try:
        seen = stranger_sees(falcon, tmp_path)
        alive = falcon.process is not None and falcon.process.poll() is None
    finally:
        falcon.stop()
    http_port, ops_port = falcon.settings["http_port"], falcon.settings["ops_port"]
    beyond = {http_port, ops_port} if ops_host == "0.0.0.0" else {http_port}
    assert set(seen["ports"]) == beyond
    assert list(tmp_path.glob("opened-*")) == []
    assert alive and seen["mine"] == 200
    public = seen["answers"][str(http_port)]
    assert public == {path: 401 if path == "/v1/me" else 404 for path in public}
    if ops_port in beyond:
        operators = seen["answers"][str(ops_port)]
        assert (operators["/livez"], operators["/metrics"]) == (200, 200)
        assert {operators["/debug/stacks"], operators["/ops"]} <= {401, 403, 404}
        assert (operators["/v1/me"], operators["/internal/commands/0"]) == (404, 404)
