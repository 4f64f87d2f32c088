"""Traffic to Falcon is encrypted, unless its operator has allowed plaintext."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from websockets.sync.client import connect

from falcon.base import certificates
from falcon.base.certificates import WrongCertificate, client_tls
from falcon.http.server.tls import Certificate
from tests.support.certificates import Authority
from tests.support.protocol_server import PATIENT, serving
from tests.support.secret_files import write_secret
from tools.harness.falcon import Falcon
from tools.harness.waiting import eventually, until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates"),
]

DESCRIPTORS = 300


def certify(folder: Path, name: str = "chat") -> tuple[Path, Path]:
    """A new certificate for this machine, and its key. Existing files are replaced."""
    paths = folder / "certificate.pem", folder / "key.pem"
    made = [path.with_suffix(".new") for path in paths]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    for new, path in zip(made, paths, strict=True):
        new.replace(path)
    return paths


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the Falcon that tests share."""
    return certify(tmp_path_factory.mktemp("tls"))[0]


@pytest.fixture(scope="module")
def falcon(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    settings = {"tls_cert": shown, "tls_key": shown.with_name("key.pem"), "hsts_seconds": 3600}
    running = Falcon(tmp_path_factory.mktemp("falcon"), settings).start()
    yield running
    running.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certify(tmp_path)[0]


@pytest.fixture
def start(tmp_path: Path, certificate: Path) -> Iterator[Callable[..., Falcon]]:
    running: list[Falcon] = []

    def start(descriptors: int = 0, **settings: Any) -> Falcon:
        own = {"tls_cert": certificate, "tls_key": tmp_path / "key.pem", **settings}
        running.append(Falcon(tmp_path / "data", own, descriptors))
        return running[-1].start()

    yield start
    for each in running:
        each.stop()


def client(falcon: Falcon, certificate: Path) -> httpx.Client:
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    return httpx.Client(base_url=falcon.info["url"], headers=headers, verify=trusting(certificate), timeout=60)


def raw(falcon: Falcon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", falcon.settings["http_port"]), 60)


def secured(falcon: Falcon, certificate: Path) -> ssl.SSLSocket:
    return trusting(certificate).wrap_socket(raw(falcon), server_hostname="127.0.0.1")


def answer(connection: socket.socket) -> bytes:
    """All bytes until the other side closes, or sends nothing more."""
    received = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(65_536):
            received += data
    return received


def test_messages_are_sent_read_and_followed_over_tls(falcon: Falcon, shown: Path) -> None:
    assert falcon.info["url"].startswith("https://")
    with client(falcon, shown) as anna:
        room = anna.post("/v1/rooms", json={"name": "Tea"}).json()["room_id"]
        headers = {"Authorization": anna.headers["Authorization"]}
        address = f"wss://127.0.0.1:{falcon.settings['http_port']}/v1/stream"
        socket = connect(address, ssl=trusting(shown), additional_headers=headers, open_timeout=60)
        with socket, anna.stream("GET", "/v1/stream") as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: hello"
            assert json.loads(socket.recv())["event"] == "hello"
            texts = [f"message {number} " + "x" * 20_000 for number in range(40)]
            for text in texts:
                assert anna.post(f"/v1/rooms/{room}/messages", json={"text": text}).status_code == 201
            over_sse = [json.loads(line[6:])["text"] for line in lines_with("message ", lines, len(texts))]
            over_websocket = [json.loads(socket.recv())["data"]["text"] for _ in texts]
        assert over_sse == over_websocket == texts
        page = anna.get(f"/v1/rooms/{room}/messages").json()["messages"]
        assert [message["text"] for message in page] == texts


def lines_with(text: str, lines: Iterator[str], count: int) -> list[str]:
    return [next(line for line in lines if line.startswith("data:") and text in line) for _ in range(count)]


def test_the_command_line_trusts_the_authorities_that_its_operator_names(falcon: Falcon, shown: Path) -> None:
    listed = [sys.executable, "-m", "falcon", "rooms"]
    settings = {"FALCON_URL": falcon.info["url"], "FALCON_TOKEN": falcon.info["token"], "SSL_CERT_FILE": str(shown)}
    done = subprocess.run(listed, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(falcon: Falcon, shown: Path) -> None:
    for _ in range(3):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = trusting(shown).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with raw(falcon) as connection:
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65_536))
            session.write(b"GET /docs HTTP/1.1\r\nHost: falcon\r\nConnection: close\r\n\r\n")
            connection.sendall(outgoing.read())  # the last of the handshake, and the request
            incoming.write(answer(connection))
            assert session.read(65_536).startswith(b"HTTP/1.1 200 ")


def test_what_a_client_does_not_read_is_counted_under_tls_too(certificate: Path) -> None:
    async def ask() -> None:
        shown = Certificate(certificate, certificate.with_name("key.pem"))
        limits = replace(PATIENT, holder_bytes=32 << 20)
        async with asyncio.timeout(60), serving(limits, certificate=shown) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(certificate))
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /large HTTP/1.1\r\nHost: falcon\r\n\r\n")
            await eventually(lambda: server.held() >= 4 << 20)
            writer.transport.abort()
            await eventually(lambda: not server.held())

    uvloop.run(ask())


def test_what_is_no_tls_is_not_answered(falcon: Falcon, shown: Path) -> None:
    for request in (b"GET / HTTP/1.1\r\nHost: falcon\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\x02\x00" + b"\xff" * 600):
        with raw(falcon) as connection:
            connection.sendall(request)
            assert b"HTTP" not in answer(connection)
    with client(falcon, shown) as anna:
        assert anna.get("/v1/me").status_code == 200
    assert "Traceback" not in falcon.log()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: falcon\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: falcon\r\n\r\n", b"414"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: falcon\r\n", b"408"),
    ],
)
def test_a_connection_has_the_same_limits_under_tls(
    falcon: Falcon, shown: Path, request_head: bytes, status: bytes
) -> None:
    with secured(falcon, shown) as connection:
        began = time.monotonic()
        connection.sendall(request_head)
        received = answer(connection)
        assert received.startswith(b"HTTP/1.1 " + status)
        assert b"strict-transport-security: max-age=3600\r\n" in received
        assert time.monotonic() - began < 60


def test_silent_clients_before_the_handshake_keep_nobody_out(start: Callable[..., Falcon], certificate: Path) -> None:
    falcon = start(descriptors=DESCRIPTORS)
    with contextlib.ExitStack() as silent, client(falcon, certificate) as anna:
        assert anna.get("/v1/me").status_code == 200
        connections = [silent.enter_context(raw(falcon)) for _ in range(DESCRIPTORS * 2)]
        (serve,) = falcon.pids("serve")
        assert len(list(Path(f"/proc/{serve}/fd").iterdir())) < DESCRIPTORS - 20
        for probe in ("/livez", "/readyz"):
            assert httpx.get(falcon.info["ops_url"] + probe, timeout=60).status_code == 200
        assert anna.get("/v1/me").status_code == 200
        began = time.monotonic()
        assert [answer(connection) for connection in connections] == [b""] * len(connections)
        assert time.monotonic() - began < 60
        with client(falcon, certificate) as bob:
            assert bob.get("/v1/me").status_code == 200
        until(lambda: "timeout" in reasons(falcon))


def test_a_renewed_certificate_is_shown_without_a_restart(
    start: Callable[..., Falcon], certificate: Path, tmp_path: Path
) -> None:
    falcon = start()
    with client(falcon, certificate) as before:
        assert before.get("/v1/me").status_code == 200
        certify(tmp_path, "renewed")
        until(lambda: _is_shown(falcon, certificate), "the renewed certificate is shown")
        with client(falcon, certificate) as after:
            assert after.get("/v1/me").status_code == 200
        assert before.get("/v1/me").status_code == 200  # on its open connection


def _is_shown(falcon: Falcon, certificate: Path) -> bool:
    with contextlib.suppress(ssl.SSLError), secured(falcon, certificate):
        return True
    return False


def test_files_that_do_not_fit_each_other_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificates, "_LOOK_SECONDS", 0.0)
    certificate, key = certify(tmp_path)
    shown = Certificate(certificate, key)
    first = shown.context()
    assert shown.context() is first
    half = key.read_text()
    certify(tmp_path, "renewed")
    renewed = key.read_text()
    key.write_text(half)
    assert shown.context() is first
    key.unlink()
    assert shown.context() is first
    assert caplog.text.count("the certificates stay as they were") == 2
    write_secret(key, renewed)
    assert shown.context() is not first


def test_the_end_of_a_certificate_is_that_of_the_one_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_LOOK_SECONDS", 0.0)
    authority, day = Authority(tmp_path), 86_400
    pair = authority.issue("chat")
    shown = Certificate(pair.certificate, pair.key)
    client = client_tls(authority.certificate, pair.certificate, pair.key)
    assert [round((tls.certificate_ends() - time.time()) / day) for tls in (shown, client)] == [2, 2]
    assert round((client.authorities_end() - time.time()) / day) == 2
    authority.issue("chat", days=30)
    assert [round((tls.certificate_ends() - time.time()) / day) for tls in (shown, client)] == [30, 30]
    authority.issue("other", days=60).certificate.replace(pair.certificate)  # to which the key does not belong
    assert round((shown.certificate_ends() - time.time()) / day) == 30


@pytest.mark.parametrize("wrong", ["missing", "nonsense", "encrypted", "another"])
def test_a_certificate_that_does_not_serve_is_refused_with_a_line(tmp_path: Path, wrong: str) -> None:
    certificate, key = certify(tmp_path)
    if wrong == "missing":
        key.unlink()
    elif wrong == "nonsense":
        certificate.write_text("nonsense")
    elif wrong == "encrypted":
        plain = key.rename(tmp_path / "plain.pem")
        command = ["openssl", "pkey", "-in", str(plain), "-aes128", "-passout", "pass:tea and more tea"]
        subprocess.run([*command, "-out", str(key)], check=True, capture_output=True)
    else:
        (tmp_path / "other").mkdir()
        certify(tmp_path / "other")[1].replace(key)
    with pytest.raises(WrongCertificate, match=str(tmp_path)):
        Certificate(certificate, key)


def test_an_address_has_so_many_connections_before_and_after_the_handshake(
    start: Callable[..., Falcon], certificate: Path
) -> None:
    falcon = start(limits="on", address_connections=10, address_requests=0)
    with contextlib.ExitStack() as silent:
        for _ in range(30):
            silent.enter_context(raw(falcon))
        until(lambda: "address" in reasons(falcon))
    until(lambda: speaks(falcon, certificate))
    with contextlib.ExitStack() as secure:
        until(lambda: holds_ten(falcon, certificate, secure))
        assert not speaks(falcon, certificate)
    until(lambda: speaks(falcon, certificate))


def reasons(falcon: Falcon) -> set[str]:
    """The reasons for which Falcon has cut connections."""
    page = httpx.get(f"{falcon.info['ops_url']}/metrics", headers={"accept": "text/plain"}, timeout=60).text
    return set(re.findall(r'^falcon_connections_cut_total\{reason="(\w+)"\} [1-9]', page, re.MULTILINE))


def speaks(falcon: Falcon, certificate: Path) -> bool:
    with contextlib.suppress(OSError, ssl.SSLError), secured(falcon, certificate) as connection:
        connection.sendall(b"GET /v1/me HTTP/1.1\r\nHost: falcon\r\nConnection: close\r\n\r\n")
        return answer(connection).startswith(b"HTTP/1.1 401")
    return False


def holds_ten(falcon: Falcon, certificate: Path, holding: contextlib.ExitStack) -> bool:
    """Sends a request on each, since only those connections are kept for long."""
    taken = contextlib.ExitStack()
    try:
        for _ in range(10):
            connection = taken.enter_context(secured(falcon, certificate))
            connection.sendall(b"POST /v1/rooms HTTP/1.1\r\nHost: falcon\r\nContent-Length: 9\r\n\r\n")
    except OSError:
        taken.close()
        return False
    holding.enter_context(taken)
    return True


# --- refusals to start ------------------------------------------------------------------------------------------------


def refused(tmp_path: Path, **settings: object) -> str:
    """The output of a Falcon that does not start."""
    falcon = Falcon(tmp_path / "refused", settings)
    falcon.data_dir.mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "falcon", "up"], env=falcon.environment(), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode in (1, 2)
    (line,) = ended.stderr.splitlines()
    return line


def test_beyond_the_machine_it_does_not_start_in_plaintext_unless_that_is_allowed(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        line = refused(tmp_path, host=host)
        shutil.rmtree(tmp_path / "refused")
        for setting in ("FALCON_TLS_CERT", "FALCON_TLS_KEY", "FALCON_TRUSTED_PROXIES", "FALCON_PLAINTEXT=yes"):
            assert setting in line


def test_beyond_the_machine_it_starts_in_plaintext_where_that_is_allowed_and_says_so(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"host": "0.0.0.0", "plaintext": "yes"}).start()
    assert falcon.log().count("FALCON_PLAINTEXT") == 1
    falcon.stop()


@pytest.mark.parametrize(("origins", "said"), [("", 1), ("https://chat.example", 0)])
def test_beyond_the_machine_it_says_which_address_links_of_the_command_line_name(
    tmp_path: Path, origins: str, said: int
) -> None:
    settings = {"host": "0.0.0.0", "plaintext": "yes", "allowed_origins": origins}
    falcon = Falcon(tmp_path, settings).start()
    url, bearer = falcon.info["url"], {"Authorization": f"Bearer {falcon.info['token']}"}
    assert falcon.log().count("set FALCON_ALLOWED_ORIGINS to the address that people use") == said
    made = httpx.post(f"{url}/v1/invitations", json={"role": "member"}, headers=bearer, timeout=60)
    falcon.stop()
    assert url.startswith("http://127.0.0.1:")
    assert made.json()["url"].startswith(f"{origins or url}/#invitation="), made.text


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0", "trusted_proxies": "10.0.0.0/8"}, {"host": "127.0.0.2"}])
def test_behind_a_proxy_or_on_the_machine_it_starts_without_a_word(tmp_path: Path, settings: dict[str, str]) -> None:
    falcon = Falcon(tmp_path, dict(settings)).start()
    assert "FALCON_PLAINTEXT" not in falcon.log()
    falcon.stop()


def test_a_key_that_every_user_can_read_is_refused(certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    key.chmod(0o640)
    Certificate(certificate, key)
    key.chmod(0o644)
    with pytest.raises(WrongCertificate, match="every user of this machine can read or change it; chmod o= "):
        Certificate(certificate, key)


def test_with_a_certificate_it_starts_beyond_the_machine(start: Callable[..., Falcon], certificate: Path) -> None:
    falcon = start(host="0.0.0.0")
    assert "FALCON_PLAINTEXT" not in falcon.log()
    assert falcon.info["url"].startswith("https://")


def test_a_wrong_certificate_is_said_in_a_line(tmp_path: Path) -> None:
    certificate, key = certify(tmp_path)
    assert "FALCON_TLS_KEY" in refused(tmp_path, tls_cert=certificate)
    shutil.rmtree(tmp_path / "refused")
    key.write_text("nonsense")
    assert str(key) in refused(tmp_path, tls_cert=certificate, tls_key=key)
