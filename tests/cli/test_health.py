"""`falcon health` asks the operations port, as a container engine without curl would."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from falcon.base.process import start_ticks
from falcon.cli import app


class _Ops(BaseHTTPRequestHandler):
    """It is live; ``ready`` of the server says if it is ready."""

    def do_GET(self) -> None:
        ready = self.path == "/livez" or bool(vars(self.server).get("ready"))
        said = b"ok" if ready else b"Kafka does not answer"
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *arguments: object) -> None:
        """Prints nothing: the answers show the requests."""


def up(folder: Path, ops_url: str) -> None:
    """A Falcon runs on the folder."""
    pid = os.getpid()
    told = {"url": "", "ops_url": ops_url, "pid": pid, "start_ticks": start_ticks(pid)}
    (folder / "up.json").write_text(json.dumps(told))


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Ops)
    monkeypatch.setenv("FALCON_HOST", "0.0.0.0")  # as in a container: the command asks on loopback
    monkeypatch.setenv("FALCON_OPS_PORT", str(server.server_port))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _health(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["health", *arguments])


def test_a_falcon_that_lives_is_well(ops: HTTPServer) -> None:
    found = _health()
    assert (found.exit_code, found.stdout) == (0, "Falcon is live.\n")


def test_one_that_cannot_serve_says_why(ops: HTTPServer) -> None:
    found = _health("--ready")
    assert found.exit_code == 1
    assert found.stderr == "Falcon is not ready: Kafka does not answer\n"
    vars(ops)["ready"] = True
    assert _health("--ready").stdout == "Falcon is ready.\n"


def test_where_no_falcon_runs_it_says_so(ops: HTTPServer) -> None:
    ops.server_close()
    found = _health()
    assert found.exit_code == 1
    assert found.stderr.startswith("nothing answers on port ")
    assert found.stderr.endswith(": start Falcon with `falcon up`, or set FALCON_OPS_PORT to its port\n")


def test_a_host_whose_name_is_none_is_one_line(ops: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALCON_OPS_HOST", "a..b")
    assert _health().stderr == "'a..b' is not the name of a host: set FALCON_OPS_HOST\n"


def test_the_falcon_of_the_data_folder_is_found_on_whatever_port_it_has(
    ops: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    up(tmp_path, f"http://0.0.0.0:{ops.server_port}")
    for set_port in (None, "0"):  # 0: the system chose the port
        monkeypatch.delenv("FALCON_OPS_PORT", raising=False)
        if set_port is not None:
            monkeypatch.setenv("FALCON_OPS_PORT", set_port)
        found = _health("--data-dir", str(tmp_path))
        assert (found.exit_code, found.stdout) == (0, "Falcon is live.\n")


def test_a_port_that_was_named_is_asked_and_no_other(
    ops: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    up(tmp_path, "http://127.0.0.1:1")
    assert _health("--data-dir", str(tmp_path)).stdout == "Falcon is live.\n"


@pytest.mark.parametrize("port", ["0", "-1"])
def test_without_a_port_and_without_a_falcon_it_says_what_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FALCON_OPS_PORT", port)
    found = _health()
    assert found.exit_code == 1
    assert found.stderr == (
        "no Falcon runs on data/: start one with `falcon up`, "
        "or set FALCON_OPS_PORT to the operations port of the Falcon that runs\n"
    )


def test_a_falcon_without_an_operations_port_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    up(tmp_path, "")
    monkeypatch.setenv("FALCON_OPS_PORT", "-1")
    found = _health("--data-dir", str(tmp_path))
    assert found.stderr == (f"the Falcon of {tmp_path}/ has no operations port: start it without FALCON_OPS_PORT=-1\n")
