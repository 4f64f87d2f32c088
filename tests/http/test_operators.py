"""The operators' pages admit clients on the machine itself, and others with a token."""

import base64
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from falcon.http.ops.app import create_ops_app
from falcon.http.ops.operators import Operators
from falcon.telemetry import instruments, probes
from falcon.telemetry.dispatchers import Dispatcher
from falcon.telemetry.health import Health
from falcon.telemetry.process_tree import ProcessTree
from tests.support.http import Api
from tests.support.secret_files import write_secret
from tools.harness.falcon import Falcon

TOKEN = "a token for operators"
_PART = 16  # characters of a secret from which on they are one
OPEN = ("/livez", "/startupz", "/readyz", "/metrics")
INSIDE = ("/ops", "/ops/main.js", "/debug", "/debug/stacks", "/debug/heap", "/debug/shards")


class Ports:
    """Operations ports of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dispatcher = Dispatcher("operations", threads=2, queue=4)
        self._apis: list[Api] = []

    def open(self, token_file: Path | None, *, on_loopback: bool) -> Api:
        operators = Operators(token_file, on_loopback=on_loopback)
        api = Api(create_ops_app(ProcessTree(self._folder, os.getpid(), "serve"), self._dispatcher, operators))
        self._apis.append(api)
        return api

    def close(self) -> None:
        for api in self._apis:
            api.close()
        self._dispatcher.close()


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ports]:
    """Their process has few objects: to count those of all tests takes seconds each time."""
    counted = {"objects": 0, "bytes": 0, "complete": True, "seconds": 0.0, "classes": {}}
    monkeypatch.setattr("falcon.telemetry.heap.count_objects", lambda arguments: counted)
    monkeypatch.setattr(instruments, "_sign", None)  # its folder is gone after the test
    probes.start(tmp_path, "serve-0")
    health = Health()
    health.started = True
    health.tell(None)
    ports = Ports(tmp_path)
    yield ports
    ports.close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "ops-token"
    return write_secret(path, TOKEN)


def status(api: Api, path: str, **headers: str) -> int:
    headers = {"host": "127.0.0.1:8081", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.send("GET", path, headers=headers).status_code


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"operator:{password}".encode()).decode()


def test_on_the_machine_itself_no_token_is_needed(ports: Ports) -> None:
    ops = ports.open(None, on_loopback=True)
    for host in ("127.0.0.1:8081", "localhost:8081", "[::1]:8081"):
        assert [status(ops, path, host=host) for path in (*OPEN, *INSIDE)] == [200] * 10


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8081", "127.0.0.1.evil.example", ""])
def test_a_browser_is_not_led_inside_by_a_name_that_points_here(ports: Ports, host: str) -> None:
    ops = ports.open(None, on_loopback=True)
    assert [status(ops, path, host=host) for path in ("/metrics", *INSIDE)] == [403] * 7


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_page_of_another_site_makes_a_browser_look_inside(ports: Ports, token_file: Path, site: str) -> None:
    for ops in (ports.open(None, on_loopback=True), ports.open(token_file, on_loopback=True)):
        assert status(ops, "/debug/stacks", sec_fetch_site=site, authorization=basic(TOKEN)) == 403
        assert status(ops, "/debug/stacks", sec_fetch_site="same-origin", authorization=basic(TOKEN)) == 200


def test_beyond_the_machine_health_and_metrics_are_all_there_is_without_a_token(ports: Ports) -> None:
    ops = ports.open(None, on_loopback=False)
    assert [status(ops, path) for path in OPEN] == [200] * 4
    assert [status(ops, path) for path in INSIDE] == [403] * 6
    assert [status(ops, path, authorization="Bearer ") for path in INSIDE] == [403] * 6


@pytest.mark.parametrize("on_loopback", [True, False])
def test_with_a_token_one_can_look_inside_and_without_it_nobody(
    ports: Ports, token_file: Path, on_loopback: bool
) -> None:
    ops = ports.open(token_file, on_loopback=on_loopback)
    assert [status(ops, path) for path in OPEN] == [200] * 4
    assert [status(ops, path) for path in INSIDE] == [401] * 6
    for right in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)):
        assert [status(ops, path, authorization=right) for path in INSIDE] == [200] * 6
    for wrong in ("", TOKEN, "Bearer", "Bearer another token for operators", basic(""), basic(TOKEN[:-1]), "Basic !"):
        assert [status(ops, path, authorization=wrong) for path in INSIDE] == [401] * 6
    answer = ops.send("GET", "/ops")
    assert answer.headers["www-authenticate"].startswith("Basic ")  # then a browser asks for the token


def test_operators_tokens_are_changed_while_it_runs(
    ports: Ports, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.base.secret_files._LOOK_SECONDS", 0.0)
    ops = ports.open(token_file, on_loopback=False)
    new = "the next token for operators"
    assert status(ops, "/debug", authorization=f"Bearer {TOKEN}") == 200
    token_file.write_text(f"{new}\n{TOKEN}\n")
    assert [status(ops, "/debug", authorization=f"Bearer {token}") for token in (TOKEN, new)] == [200, 200]
    token_file.write_text(new)
    assert [status(ops, "/debug", authorization=f"Bearer {token}") for token in (TOKEN, new)] == [401, 200]


def test_without_the_file_of_the_token_nobody_looks_inside_and_probes_go_on(ports: Ports, tmp_path: Path) -> None:
    ops = ports.open(tmp_path / "none", on_loopback=True)
    assert [status(ops, path) for path in OPEN] == [200] * 4
    assert [status(ops, path, authorization="Bearer ") for path in INSIDE] == [503] * 6
    write_secret(tmp_path / "none", TOKEN)
    assert status(ops, "/debug", authorization=f"Bearer {TOKEN}") == 200


# --- whole processes --------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.timeout(60)
def test_the_operations_port_stays_on_the_machine_though_the_public_one_does_not(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path, {"host": "0.0.0.0", "plaintext": "yes"}).start()
    try:
        elsewhere = address_of_this_machine()
        public, ops = falcon.settings["http_port"], falcon.settings["ops_port"]
        assert httpx.get(f"http://{elsewhere}:{public}/docs", timeout=60).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{elsewhere}:{ops}/livez")
        assert httpx.get(f"http://127.0.0.1:{ops}/debug", timeout=60).status_code == 200
    finally:
        falcon.stop()


def address_of_this_machine() -> str:
    """An address of this machine beside loopback, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.2"
        host: str = probe.getsockname()[0]
        return host


@pytest.mark.processes
@pytest.mark.timeout(120)
@pytest.mark.parametrize("base", [{}, {"processes": 2}], ids=["alone", "places"])
def test_no_secret_is_in_any_log_error_page_or_metric(
    tmp_path: Path, token_file: Path, base: dict[str, object]
) -> None:
    settings = {**base, "log_level": "debug", "ops_token_file": token_file}
    falcon = Falcon(tmp_path / "data", settings).start()
    secrets = {"token": falcon.info["token"], "admin's token": falcon.info["admin_token"], "operators' token": TOKEN}
    shown: dict[str, str] = {}

    def ask(client: httpx.Client, method: str, path: str, **request: object) -> httpx.Response:
        answer = client.request(method, path, **request)  # type: ignore[arg-type]
        shown[f"{method} {path.partition('?')[0]} {len(shown)}"] = f"{answer.headers} {answer.text}"
        return answer

    try:
        with httpx.Client(base_url=falcon.info["url"], timeout=60) as public:
            public.headers["Authorization"] = f"Bearer {secrets['token']}"
            room = ask(public, "POST", "/v1/rooms", json={"name": "Tea"}).json()["room_id"]
            ask(public, "POST", f"/v1/rooms/{room}/messages", json={"text": "a private text of Ann's"})
            secrets["ticket"] = public.post("/v1/stream/tickets").json()["ticket"]
            admin = {"Authorization": "Bearer " + falcon.info["admin_token"]}
            made = public.post("/v1/accounts", json={"name": "Ann"}, headers=admin).json()
            secrets["new token"] = made["token"]
            # Errors of every kind, with secrets in every place.
            for token in (secrets["new token"] + "x", secrets["token"][:-4], "x"):
                ask(public, "GET", "/v1/me", headers={"Authorization": f"Bearer {token}"})
                ask(public, "GET", "/v1/me", headers={"Authorization": token})
            ask(public, "POST", "/v1/rooms", json={"name": 7})
            ask(public, "GET", "/nowhere?token=" + secrets["token"])
            ask(public, "GET", f"/v1/accounts/{made['account_id']}/tokens", headers=admin)
        with httpx.Client(base_url=falcon.info["url"], timeout=60) as stranger:
            ask(stranger, "GET", f"/v1/stream?ticket={secrets['ticket']}&resume=x")
            ask(stranger, "GET", f"/v1/stream?ticket=x{secrets['ticket']}")
        with httpx.Client(base_url=falcon.info["ops_url"], timeout=60) as ops:
            ops.headers["Authorization"] = f"Bearer {TOKEN}"
            ask(ops, "GET", "/metrics")
            for page in ("", "/shards", "/stacks", "/heap"):
                for accept in ("application/json", "text/html"):
                    assert ask(ops, "GET", f"/debug{page}", headers={"accept": accept}).status_code == 200
            ask(ops, "GET", "/debug", headers={"Authorization": f"Bearer {TOKEN}x"})
    finally:
        falcon.stop()
    shown["log"] = falcon.log()
    shown |= {str(path): path.read_text() for path in falcon.data_dir.glob("*.log")}
    secrets["secret of the data folder"] = (falcon.data_dir / "secret").read_bytes().hex()
    secrets["text"] = "a private text of Ann's"
    shown = {where: text for where, text in shown.items() if not where.startswith(f"POST /v1/rooms/{room}/messages")}
    # A ticket may have an underscore near its end: what comes after that is no secret by itself.
    parts = {
        name: [part for part in (secret, secret.split("_", 2)[-1], secret.rpartition(".")[2]) if len(part) >= _PART]
        for name, secret in secrets.items()
    }
    assert [
        (name, where) for name, each in parts.items() for where, text in shown.items() if any(p in text for p in each)
    ] == []
