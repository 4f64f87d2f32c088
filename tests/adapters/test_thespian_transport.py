"""Messages between actors: on loopback, and unread unless they bear the key."""

import hmac
import logging
import os
import pickle
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from thespian.system.transport.streamBuffer import toSendBuffer

from falcon.adapters.thespian import KEY_BYTES, KEY_VARIABLE, transport
from falcon.telemetry import metrics
from tools.harness.falcon import Falcon
from tools.harness.waiting import until

KEY = b"k" * KEY_BYTES
LISTEN = "0A"


class Opened:
    """A pickle that leaves a trace of being read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def received(*pieces: bytes, key: bytes = KEY) -> Any:
    buffer = transport._SealedBuffer(transport.Seal(key), None)
    for piece in pieces:
        buffer.addMore(piece)
    return buffer


def sealed(message: object, key: bytes = KEY) -> bytes:
    framed: bytes = toSendBuffer(message, transport.Seal(key).dumps)
    return framed


def test_a_message_with_the_key_is_read_however_it_is_cut() -> None:
    whole = sealed(("from", {"text": "tea"}))
    for pieces in ([whole], [bytes([byte]) for byte in whole], [whole[:7], whole[7:40], whole[40:]]):
        buffer = received(*pieces)
        assert buffer.isDone()
        assert buffer.completed() == (("from", {"text": "tea"}), b"")


def test_a_message_that_has_not_come_wholly_is_waited_for() -> None:
    buffer = received(sealed("tea")[:-1])
    assert not buffer.isDone()
    assert buffer.remainingAmount() == 1
    assert buffer.completed() is None


@pytest.mark.parametrize("mac", [b"", bytes(32), hmac.digest(b"another" * 5, b"", "sha256")])
def test_a_message_without_the_key_is_not_unpickled(mac: bytes, tmp_path: Path) -> None:
    pickled = mac + pickle.dumps(Opened(tmp_path / "opened"))
    buffer = received(b"%d>" % len(pickled) + pickled)
    assert buffer.forged
    assert buffer.completed() is None
    assert not (tmp_path / "opened").exists()


def test_a_message_with_another_start_s_key_is_not_unpickled(tmp_path: Path) -> None:
    assert received(sealed(Opened(tmp_path / "opened"), b"o" * KEY_BYTES)).forged
    assert not (tmp_path / "opened").exists()


def test_one_changed_bit_makes_it_a_forgery() -> None:
    whole = bytearray(sealed("tea"))
    whole[-1] ^= 1
    assert received(bytes(whole)).forged


@pytest.mark.parametrize("head", [b"-1>", b"0>", b"32>", b"x>", b"9" * 21, b"999999999999>"])
def test_a_size_that_none_of_ours_has_is_refused_before_anything_is_kept(head: bytes) -> None:
    buffer = received(head)
    assert buffer.forged
    assert buffer.isDone()
    buffer.addMore(b"more")
    assert buffer._buf == b""


def test_forgeries_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    before = metrics.forged_messages.value
    transport._refusals._logged_at = -1e9
    with caplog.at_level(logging.WARNING, "falcon.actors"):
        for _ in range(50):
            received(b"x>")
    assert metrics.forged_messages.value == before + 50
    assert len(caplog.records) == 1


def test_without_a_key_no_actor_system_is_started_or_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "tea", "00" * 16):
        monkeypatch.setenv(KEY_VARIABLE, value)
        with pytest.raises(transport.NoKey, match=KEY_VARIABLE):
            transport.secure()


# --- the processes of a running Falcon --------------------------------------------------------------------------------

TCP = {"actors": "processes", "shards": 2, "http_workers": 2, "projection": "process"}


@pytest.fixture(params=[{}, TCP], ids=["in_process", "processes"])
def falcon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Falcon]:
    running = Falcon(
        tmp_path / "data", {**request.param, "host": "0.0.0.0", "ops_host": "0.0.0.0", "plaintext": "yes"}
    ).start()
    yield running
    running.stop()


def listening(falcon: Falcon) -> dict[int, str]:
    """The addresses that its processes listen on, by port."""
    assert falcon.process is not None
    sockets = set()
    for pid in (falcon.process.pid, *falcon.pids()):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(handle.readlink()))
            except FileNotFoundError:
                continue  # it has just been closed
    found: dict[int, str] = {}
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found[int(port, 16)] = socket.inet_ntop(family, b"".join(words))
    return found


def forged(falcon: Falcon) -> float:
    """The messages without the key that all processes have counted."""
    page = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=20).text
    counted = re.search(r"^falcon_forged_messages_total (\S+)", page, re.MULTILINE)
    return 0.0 if counted is None else float(counted[1])


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_only_the_two_servers_listen_on_the_network_and_no_port_runs_what_it_is_sent(
    falcon: Falcon, tmp_path: Path
) -> None:
    ports = listening(falcon)
    public = {falcon.settings["http_port"], falcon.settings["ops_port"]}
    assert {port for port, address in ports.items() if address != "127.0.0.1"} == public
    actors = sorted(ports.keys() - public)
    assert bool(actors) == ("actors" in falcon.settings)
    for port in ports:
        for number, mac in enumerate((b"", bytes(32))):
            pickled = mac + pickle.dumps(Opened(tmp_path / f"opened-{port}-{number}"))
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"%d>" % len(pickled) + pickled)
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}

    def posted() -> bool:
        """On a connection of its own, which any of the HTTP processes may accept."""
        rooms = f"{falcon.info['url']}/v1/rooms"
        return httpx.post(rooms, json={"name": "Tea"}, headers=headers, timeout=10).status_code == 201

    for _ in range(20):  # by way of both shards
        assert posted()
    if actors:  # each endpoint reads what came before once it has something to do
        until(lambda: posted() and forged(falcon) >= len(actors), "each endpoint has read what it was sent")
        assert "did not bear the key" in falcon.log()
    assert list(tmp_path.glob("opened-*")) == []
