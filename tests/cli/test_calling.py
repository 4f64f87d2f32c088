import os
import ssl
from pathlib import Path

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from falcon import __version__
from falcon.base.process import start_ticks
from falcon.cli import app
from falcon.cli.calling import Outside, find_credentials, find_server
from falcon.cli.faults import Fault
from tests.cli.fake import FakeClock, FakeFalcon

URL = "http://127.0.0.1:8080"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of a running `falcon up`."""
    up = {"url": URL, "ops_url": "http://127.0.0.1:8081", "pid": os.getpid(), "start_ticks": start_ticks(os.getpid())}
    credentials = {"account_id": 130, "token": "t0ken", "admin_account_id": 64, "admin_token": "4dmin"}
    (tmp_path / "up.json").write_bytes(msgspec.json.encode(up))
    (tmp_path / "credentials.json").write_bytes(msgspec.json.encode(credentials))
    return tmp_path


def test_server_and_token_are_those_of_the_data_directory(data_dir: Path) -> None:
    assert find_server(None, None, data_dir, admin=False) == ([URL], "t0ken")
    assert find_server(None, None, data_dir, admin=True) == ([URL], "4dmin")
    assert find_server(URL + "/", None, data_dir, admin=True)[1] == "4dmin"


def test_what_is_given_counts_before_the_data_directory(data_dir: Path) -> None:
    found = find_server("http://one.test, http://two.test", "mine\n", data_dir, admin=False)
    assert found == (["http://one.test", "http://two.test"], "mine")


def test_the_data_directorys_token_does_not_go_to_another_server(data_dir: Path) -> None:
    with pytest.raises(
        Fault, match=r"no token for http://elsewhere\.test: give one with --token or FALCON_ADMIN_TOKEN"
    ):
        find_server("http://elsewhere.test", None, data_dir, admin=True)


def test_without_a_running_falcon_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="start one with `falcon up`, or name one with --url"):
        find_server(None, None, tmp_path / "none", admin=False)


def test_a_falcon_that_was_killed_is_told_from_one_that_runs(data_dir: Path) -> None:
    (data_dir / "up.json").write_bytes(
        b'{"url":"http://127.0.0.1:8080","ops_url":"","pid":%d,"start_ticks":1}' % (2**22 + 1)
    )
    with pytest.raises(Fault, match="has ended: start it with `falcon up`"):
        find_server(None, None, data_dir, admin=False)


def test_a_token_is_not_sent_to_the_address_of_a_killed_falcon_whose_pid_another_process_has(data_dir: Path) -> None:
    started = start_ticks(os.getpid())
    assert started is not None
    up = {"url": URL, "ops_url": "", "pid": os.getpid()}
    (data_dir / "up.json").write_bytes(msgspec.json.encode({**up, "start_ticks": started}))
    assert find_server(None, None, data_dir, admin=False) == ([URL], "t0ken")
    (data_dir / "up.json").write_bytes(msgspec.json.encode({**up, "start_ticks": started - 1}))
    with pytest.raises(Fault, match="has ended: start it with `falcon up`"):
        find_server(None, None, data_dir, admin=False)


@pytest.mark.parametrize("broken", [b"{", b'{"url":"\xff"}'])
def test_a_broken_file_of_the_data_directory_is_named(data_dir: Path, broken: bytes) -> None:
    (data_dir / "up.json").write_bytes(broken)
    with pytest.raises(Fault, match=r"up\.json: .*`falcon up` writes it again"):
        find_server(None, None, data_dir, admin=False)
    (data_dir / "credentials.json").write_bytes(broken.replace(b"url", b"token"))
    with pytest.raises(Fault, match=r"credentials\.json: .*put it back from a copy, or give a token"):
        find_credentials(data_dir)


def test_commands_use_the_data_directory_that_they_are_given(data_dir: Path, server: FakeFalcon) -> None:
    outside = Outside(server.transport(), FakeClock().clock())
    result = CliRunner().invoke(app, ["send", "64", "Hi", "--data-dir", str(data_dir)], obj=outside)
    assert result.exit_code == 0
    assert server.requests[0].headers["Authorization"] == "Bearer t0ken"
    assert str(server.requests[0].url).startswith(URL)


@pytest.mark.parametrize("token", [["--token", "t0ken"], []])
def test_an_address_that_is_none_is_one_line(server: FakeFalcon, token: list[str]) -> None:
    outside = Outside(server.transport())
    result = CliRunner().invoke(app, ["rooms", "--url", "localhost:8080", *token], obj=outside)
    assert result.exit_code == 1
    assert (
        result.stderr
        == "'localhost:8080' is not an address: one begins with http:// or https://, such as http://127.0.0.1:8080\n"
    )


@pytest.mark.parametrize("url", ["http://[bad", "http://localhost:99999"])
def test_an_address_that_no_server_can_have_is_one_line(server: FakeFalcon, url: str) -> None:
    result = CliRunner().invoke(app, ["rooms", "--url", url, "--token", "t0ken"], obj=Outside(server.transport()))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"'{url}' is not an address: ")


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"falcon {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *("up", "send", "tail", "rooms", "import", "export", "rebuild", "doctor"),
        *("read", "room create", "room direct", "room members", "room add", "room remove"),
        *(
            "room rename",
            "room describe",
            "room delete",
            "account add",
            "account list",
            "account token",
            "account revoke",
        ),
    ],
)
def test_each_commands_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"falcon {command}" in result.stdout.split("Example")[1]


def test_a_certificate_that_is_not_trusted_fails_at_once_and_says_that_nothing_was_sent() -> None:
    clock = FakeClock()

    def refuse(request: httpx.Request) -> httpx.Response:
        fault = ssl.SSLCertVerificationError(1, "certificate verify failed")
        fault.verify_message = "self-signed certificate"
        raise httpx.ConnectError("certificate verify failed", request=request) from fault

    command = ["send", "64", "Hi", "--url", "https://chat.test", "--token", "t0ken"]
    result = CliRunner().invoke(app, command, obj=Outside(httpx.MockTransport(refuse), clock.clock()))
    assert (result.exit_code, clock.slept) == (1, [])
    assert "its certificate is not trusted (self-signed certificate)" in result.stderr
    assert "nothing was sent" in result.stderr
    assert "unknown" not in result.stderr
